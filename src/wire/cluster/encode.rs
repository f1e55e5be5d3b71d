//! The messages that this node sends.

use serde::Serialize;

use super::kind::{self, BROADCAST};
use super::request::Request;
use super::tail::tail;
use crate::packet::{EventText, Malformed, json_to_msgpack, write_map_len, write_str, write_uint};
use crate::wire::broadcast::EVENT;
use crate::wire::request::RequestType;
use crate::wire::target::{write_plain_opts, write_plain_opts_json};

/// The message of a member that has joined: in msgpack where all messages are.
pub fn hello(uid: &str, nsp: &str, msgpack: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if msgpack {
        // A short map and two short names always have room.
        let _ = write_map_len(&mut out, 3);
        let _ = write_str(&mut out, "type");
        write_uint(&mut out, kind::HEARTBEAT);
        let _ = write_str(&mut out, "uid");
        let _ = write_str(&mut out, uid);
        let _ = write_str(&mut out, "nsp");
        let _ = write_str(&mut out, nsp);
    } else {
        out.extend_from_slice(format!(r#"{{"type":{}"#, kind::HEARTBEAT).as_bytes());
        out.extend_from_slice(&tail(uid, nsp));
    }
    out
}

/// Appends a broadcast for an Engine.IO payload that socket.io-parser printed: in JSON, or in msgpack if there are
/// attachments. `opts` are the options, in the same encoding; none for those of a plain emit to `room` or everyone.
///
/// # Errors
/// If the payload is not the text of an event, or nested too deep. The caller takes back the bytes that were appended by
/// then.
pub fn encode_broadcast(
    uid: &str,
    nsp: &str,
    payload: &[u8],
    attachments: &[&[u8]],
    room: Option<&str>,
    opts: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if attachments.is_empty() {
        out.extend_from_slice(br#"{"type":3,"data":"#);
        encode_broadcast_data(nsp, payload, attachments, room, opts, out)?;
        out.extend_from_slice(&tail(uid, nsp));
        return Ok(());
    }
    write_map_len(out, 4)?;
    write_str(out, "type")?;
    write_uint(out, BROADCAST);
    write_str(out, "data")?;
    encode_broadcast_data(nsp, payload, attachments, room, opts, out)?;
    write_str(out, "uid")?;
    write_str(out, uid)?;
    write_str(out, "nsp")?;
    write_str(out, nsp)
}

/// Appends the `data` of a broadcast.
///
/// # Errors
/// As [`encode_broadcast`].
pub fn encode_broadcast_data(
    nsp: &str,
    payload: &[u8],
    attachments: &[&[u8]],
    room: Option<&str>,
    opts: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let text = EventText::parse(payload, nsp)?;
    if text.attachments != attachments.len() {
        return Err(Malformed::WrongShape("attachments are missing"));
    }
    if attachments.is_empty() {
        out.extend_from_slice(br#"{"packet":{"type":2,"data":"#);
        out.extend_from_slice(text.json);
        out.extend_from_slice(br#"},"opts":"#);
        match opts {
            Some(opts) => out.extend_from_slice(opts),
            None => write_plain_opts_json(out, room),
        }
        out.push(b'}');
        return Ok(());
    }
    write_map_len(out, 2)?;
    write_str(out, "packet")?;
    write_map_len(out, 2)?;
    write_str(out, "type")?;
    write_uint(out, EVENT);
    write_str(out, "data")?;
    json_to_msgpack(text.json, attachments, out)?;
    write_str(out, "opts")?;
    match opts {
        Some(opts) => out.extend_from_slice(opts),
        None => write_plain_opts(out, room)?,
    }
    Ok(())
}

/// The answer of a node that has no client for an acknowledged broadcast, or no socket to tell of: in JSON, or in msgpack
/// as members with streams speak.
pub fn nothing_here(request: &Request, uid: &str, nsp: &str, msgpack: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        r#type: u64,
        data: Data<'a>,
        uid: &'a str,
        nsp: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_count: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sockets: Option<[u8; 0]>,
    }
    let request_id = request.request_id().unwrap_or_default();
    let (kind, data) = if request.kind() == RequestType::RemoteFetch {
        (kind::FETCH_SOCKETS_RESPONSE, Data { request_id, client_count: None, sockets: Some([]) })
    } else {
        (kind::BROADCAST_CLIENT_COUNT, Data { request_id, client_count: Some(0), sockets: None })
    };
    let envelope = Envelope { r#type: kind, data, uid, nsp };
    // Structs of integers and strings always serialise.
    if msgpack {
        rmp_serde::to_vec_named(&envelope).unwrap_or_default()
    } else {
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}
