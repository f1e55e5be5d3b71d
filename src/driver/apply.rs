//! Hands the commands of JS to the core, one by one.

use super::command::{Command, Commands};
use crate::core::effects::Effects;
use crate::core::{Ask, Core, Emit};
use crate::transport::Incoming;
use crate::transport::client::Report;

/// A room of this name of member 0, which no link has, makes a link of a debug build panic.
#[cfg(debug_assertions)]
pub(super) const FAULT: &[u8] = b"panic";

/// Applies the commands to the core, and leaves those that concern the carrier in `deferred`.
pub(super) fn apply(core: &mut Core, commands: &mut Commands, deferred: &mut Vec<Command>, fx: &mut Effects) {
    for command in std::mem::take(&mut commands.list) {
        commands.in_hand = command.is_message();
        if commands.in_hand {
            core.saw_message();
        }
        match command {
            #[cfg(debug_assertions)]
            Command::Room { member: 0, room, .. } if commands.get(&room) == FAULT => {
                panic!("a test wants it to");
            }
            Command::Join(id, spec) => core.join(id, *spec, fx),
            Command::Leave(id) => core.leave(id, fx),
            Command::Room { member, room, present } => core.set_room(member, commands.get(&room), present),
            Command::WhenSubscribed(member, token) => core.when_subscribed(member, token, fx),
            Command::GiveUpWaiting(member, token) => core.give_up_waiting(member, token),
            Command::WhenAnswered(token) => core.when_answered(token, fx),
            Command::OddRoom(id, present) => {
                if let Some(interest) = core.interest(id) {
                    interest.set_odd_room(present);
                }
            }
            Command::Occupied(id, occupied) => {
                if let Some(interest) = core.interest(id) {
                    interest.set_occupied(occupied);
                }
            }
            Command::Settled(id, count) => {
                if let Some(interest) = core.interest(id) {
                    interest.settle(count);
                }
            }
            Command::Broadcast { member, payload, attachments, room, opts, takes_room_channel } => {
                let attachments: Vec<&[u8]> = attachments.iter().map(|range| commands.get(range)).collect();
                let room = room.as_ref().map(|room| String::from_utf8_lossy(commands.get(room)));
                let opts = opts.as_ref().map(|opts| commands.get(opts));
                let emit = Emit {
                    payload: commands.get(&payload),
                    attachments: &attachments,
                    room: room.as_deref(),
                    opts,
                    takes_room_channel,
                };
                core.broadcast(member, &emit, fx);
            }
            Command::SendSockets { member, to, response } => core.send(member, &to, &response.bytes(), fx),
            Command::Send { member, to, bytes } => core.send(member, &to, commands.get(&bytes), fx),
            Command::Publish { channel, bytes } => {
                core.publish(0, commands.get(&channel), commands.get(&bytes), fx);
            }
            Command::PublishAgain { channel, bytes } => {
                core.publish_again(commands.get(&channel), commands.get(&bytes), fx);
                deferred.push(Command::Client(Report::ReturnedToCore));
            }
            Command::Append { member, kind, data } => core.append(member, kind, commands.get(&data), fx),
            Command::Persist { member, key, session, lifetime } => {
                core.persist(member, commands.get(&key), commands.get(&session), lifetime);
            }
            Command::Restore { member, token, key, offset } => {
                core.restore(member, token, commands.get(&key), commands.get(&offset), fx);
            }
            Command::Carried(member) => core.carried(member, fx.now),
            Command::Request { member, id, kind, bytes, timeout, carried } => {
                core.request(
                    member,
                    &Ask { id: &id, kind, body: commands.get(&bytes), timeout, carried },
                    fx,
                );
            }
            Command::ServerCount(member, token) => core.server_count(member, token, fx),
            Command::CountSubscribers(token, channels) => core.count_subscribers(token, channels),
            // The link's own connections bring it as well.
            Command::ClientMessage { .. } if !core.is_by_clients() => {}
            Command::ClientMessage { kind, name, channel, payload } => {
                let message = Incoming::Message {
                    subscriber: 0,
                    kind,
                    name: commands.get(name.as_ref().unwrap_or(&channel)),
                    channel: commands.get(&channel),
                    payload: commands.get(&payload),
                };
                // JS has subscribed to rooms before they were followed here.
                core.follow_rooms(fx);
                core.incoming(message, fx);
            }
            command => deferred.push(command),
        }
        commands.in_hand = false;
    }
    commands.clear();
}
