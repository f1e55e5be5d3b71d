// @ts-check
"use strict";

/**
 * Makes the subscriptions that Rust wants by the user's clients, and makes them again when they fail or are lost. Where the
 * client does not know whether a subscription holds, it is proven by what is received.
 */

const { CHANNEL, PATTERN, SHARD, keyOf } = require("../clients/client");
const { ChannelProber } = require("./channel-prober");
const { isPassing, messageOf } = require("./hold");
const { Keepalive } = require("./keepalive");

/** How long a subscription that failed waits for its next attempt, in milliseconds: doubled each time. */
const RETRY = Object.freeze({ first: 50, most: 2000 });

/** After so many messages that were handed to Rust, what Rust made of them is handed to the members. */
const DRAIN_EVERY = 32;

const LOST = "the client has lost the subscription";

const DEAF = "the client is subscribed, as it says, and hears nothing";

const MUTE = "the node that the client listens to does not answer";

/**
 * @typedef {object} Wanted
 * @property {number} kind
 * @property {string} name
 * @property {number} delay before the next attempt, in milliseconds
 * @property {boolean} holds
 * @property {boolean} isForeseen whether Rust has not asked for it yet
 * @property {number} since when it has held last; never, if negative
 */

class Subscriptions {
  #clients;
  #native;
  #events;
  /** Messages handed to Rust since then. */
  #handedOver = 0;
  /** Proves the subscriptions, if the client does not know whether they hold. @type {ChannelProber | null} */
  #prober = null;
  /** Checks the connection that has all global channels, for the same reason. @type {Keepalive | null} */
  #keepalive = null;
  /**
   * The channel that proves the connection for all global channels: one that only this server is subscribed to, so that a
   * probe disturbs nobody; null while there is none. Shard channels are proven one by one.
   *
   * @type {string | null}
   */
  #lead = null;
  #stopped = false;
  /** The subscriptions that Rust wants. @type {Map<string, Wanted>} */
  #wanted = new Map();
  /** The patterns among them, by the prefix of the channels that they match. @type {Map<string, Wanted>} */
  #patterns = new Map();

  /**
   * @param {import("../clients").Clients} clients
   * @param {import("../../binding").Link} native
   * @param {object} events
   * @param {() => boolean} events.isUp whether the clients are connected
   * @param {() => void} events.drain hands on what Rust has made of messages
   * @param {(payload: Buffer) => void} events.onMessage something has come in
   * @param {() => void} events.onTrouble a subscription is lost, or the client has followed a change of the cluster
   * @param {(channel: string) => boolean} events.isOwn whether a channel is that of a member of this link alone
   */
  constructor(clients, native, events) {
    this.#clients = clients;
    this.#native = native;
    this.#events = events;
    clients.onLost((kind, name) => this.#lose(this.#wanted.get(keyOf(kind, name))));
    if (!clients.needsProof) return;
    this.#prober = new ChannelProber({
      isUp: () => {
        // A message on a new connection proves nothing about the one before. A look goes through all subscriptions.
        // Of shard channels there is one for each room, so there the client's own, less frequent look has to do.
        if (clients.channelKind === "global") clients.look();
        return events.isUp();
      },
      // A node counts its own subscribers only, and this link may be subscribed at another one.
      publish: (channel, probe) =>
        clients
          .publish(channel, probe)
          .then((receivers) => (clients.channelKind === "shard" ? receivers : 1)),
      placeOf: (channel) => clients.placeOf(SHARD, channel),
      onDeaf: (channel) => this.#deafen(channel),
    });
    clients.onTrouble(() => {
      this.probeSoon();
      events.onTrouble();
    });
    if (clients.channelKind !== "shard") this.#keepalive = this.#followLife();
  }

  /** The subscription to a shard channel, if Rust wants it. @param {string} channel @returns {Readonly<Wanted> | undefined} */
  ofShard(channel) {
    return this.#wanted.get(keyOf(SHARD, channel));
  }

  /** Whether this link is, or was, subscribed to a global channel. @param {string} channel */
  listensTo(channel) {
    return (
      (this.#wanted.get(keyOf(CHANNEL, channel))?.since ?? -1) >= 0 || this.beginningOf(channel) !== null
    );
  }

  /**
   * The prefix of the pattern by which this link is, or was, subscribed to a channel; null if it is not.
   *
   * @param {string} channel
   */
  beginningOf(channel) {
    // Our patterns match a prefix that ends in "#".
    for (let end = channel.indexOf("#"); end >= 0; end = channel.indexOf("#", end + 1)) {
      const beginning = channel.slice(0, end + 1);
      if ((this.#patterns.get(beginning)?.since ?? -1) >= 0) return beginning;
    }
    return null;
  }

  /** Subscriptions may have moved, or be lost: those that have to be proven are probed soon. */
  probeSoon() {
    this.#prober?.probeSoon();
  }

  /** The clients are not connected any more. */
  disconnected() {
    this.probeSoon();
    // The gap begins when the connection that has all global channels was last known to work, which is before now.
    if (this.#keepalive !== null) this.#clients.look();
  }

  /** Nothing more is to be subscribed to. */
  stop() {
    this.#stopped = true;
    this.#prober?.stop();
    this.#keepalive?.stop();
  }

  /**
   * Rust will want a shard channel, or will not want it any more. Subscribes ahead of what is published in the same tick.
   *
   * @param {string} name
   * @param {boolean} present
   */
  foresee(name, present) {
    const wanted = this.#wanted.get(keyOf(SHARD, name));
    if (present && wanted === undefined) this.#add(SHARD, name, true);
    // Rust never asks for a room that came and went in one tick.
    else if (!present && wanted?.isForeseen) this.forget(SHARD, name);
  }

  /** Rust asks for a subscription. @param {number} kind @param {string} name */
  want(kind, name) {
    const wanted = this.#wanted.get(keyOf(kind, name));
    if (!wanted?.isForeseen) return this.#add(kind, name, false);
    wanted.isForeseen = false;
    if (wanted.holds) this.#native.clientSubscribed(kind, Buffer.from(name));
  }

  /** @param {number} kind @param {string} name @param {boolean} isForeseen */
  #add(kind, name, isForeseen) {
    const wanted = { kind, name, delay: RETRY.first, holds: false, since: -1, isForeseen };
    this.#wanted.set(keyOf(kind, name), wanted);
    if (kind === PATTERN) this.#patterns.set(beginningOf(name), wanted);
    this.#subscribe(wanted);
  }

  /** Rust does not need a subscription any more. @param {number} kind @param {string} name */
  forget(kind, name) {
    this.#wanted.delete(keyOf(kind, name));
    if (kind === PATTERN) this.#patterns.delete(beginningOf(name));
    if (kind === SHARD) this.#prober?.forget(name);
    else if (kind === CHANNEL && name === this.#lead) this.#changeLead();
    this.#unsubscribe(kind, name, RETRY.first);
  }

  /** Unsubscribes; tries again if Redis refuses it for now. @param {number} kind @param {string} name @param {number} delay */
  #unsubscribe(kind, name, delay) {
    this.#clients.unsubscribe(kind, name).catch((error) => {
      if (!isPassing(error)) return;
      const again = () => {
        if (this.#stopped || this.#wanted.has(keyOf(kind, name))) return;
        this.#unsubscribe(kind, name, Math.min(delay * 2, RETRY.most));
      };
      setTimeout(again, delay).unref();
    });
  }

  /** The channel that proves the connection is not wanted any more: takes another one, if there is one. */
  #changeLead() {
    if (this.#lead !== null) this.#prober?.forget(this.#lead);
    this.#lead = null;
    for (const { kind, name, holds } of this.#wanted.values()) if (holds) this.#listens(kind, name);
  }

  /** A subscription holds. @param {number} kind @param {string} name */
  #listens(kind, name) {
    if (this.#lead === null && kind === CHANNEL && this.#events.isOwn(name)) this.#lead = name;
    if (kind === SHARD || name === this.#lead) this.#prober?.listens(name);
  }

  /**
   * A message was received. Returns whether it is a probe.
   *
   * @param {number} by the kind of the subscription
   * @param {Buffer} channel
   * @param {Buffer} payload
   */
  #hears(by, channel, payload) {
    if (this.#prober === null) return false;
    if (by === SHARD) return this.#prober.hears(channel, payload);
    return this.#lead !== null && this.#prober.hears(this.#lead, payload);
  }

  /** Whether this very subscription is still wanted: Rust may have dropped it, or dropped it and asked again. @param {Wanted} wanted */
  #isWanted(wanted) {
    return !this.#stopped && this.#wanted.get(keyOf(wanted.kind, wanted.name)) === wanted;
  }

  /** @param {Wanted} wanted */
  #subscribe(wanted) {
    if (!this.#isWanted(wanted)) return;
    const { kind, name } = wanted;
    const askedAt = performance.now();
    this.#clients
      .subscribe(kind, name, (by, glob, channel, payload) => {
        if (this.#hears(by, channel, payload)) return;
        this.#events.onMessage(payload);
        this.#native.clientMessage(by, glob, channel, payload);
        // The client cannot be told to read less. It does read less while earlier messages are worked off.
        if (++this.#handedOver % DRAIN_EVERY === 0) this.#events.drain();
      })
      .then(
        () => {
          if (!this.#isWanted(wanted)) return this.#leave(wanted);
          wanted.delay = RETRY.first;
          wanted.holds = true;
          wanted.since = performance.now();
          this.#keepalive?.begin(askedAt);
          this.#listens(kind, name);
          if (!wanted.isForeseen) this.#native.clientSubscribed(kind, Buffer.from(name));
        },
        (error) => {
          if (!this.#isWanted(wanted)) return this.#leave(wanted);
          this.#native.clientSubscribeFailed(messageOf(error));
          this.#again(wanted);
        },
      );
  }

  /**
   * The client has subscribed to what is not wanted any more. It may not have begun when it was told to unsubscribe, since it
   * first looked where the channel is.
   *
   * @param {Wanted} wanted
   */
  #leave({ kind, name }) {
    // Others that have these clients by now may want it.
    if (!this.#stopped && !this.#wanted.has(keyOf(kind, name))) this.#unsubscribe(kind, name, RETRY.first);
  }

  /**
   * Nothing is received on a channel, though the client says that it is subscribed.
   *
   * @param {string} channel
   */
  #deafen(channel) {
    if (this.#clients.channelKind !== "shard") return void (this.#events.isUp() && this.#deafenAll(DEAF));
    const wanted = this.#wanted.get(keyOf(SHARD, channel));
    if (wanted === undefined || !wanted.holds || !this.#events.isUp()) return;
    this.#clients.mistrust(SHARD, channel);
    this.#lose(wanted, DEAF);
  }

  /** Nothing is received by the connection that has all global channels. @param {string} reason */
  #deafenAll(reason) {
    this.#clients.listenElsewhere();
    for (const wanted of this.#wanted.values()) if (wanted.holds) this.#lose(wanted, reason);
  }

  /** Looks after the connection that has all global channels, while there are any. */
  #followLife() {
    return new Keepalive({
      ask: () => {
        // The client may end a connection by which nothing is received. 5 then never ends its close(), if a question waits.
        if (this.#wanted.size === 0) return null;
        // The answer of a new connection says nothing about the one before.
        this.#clients.look();
        return this.#clients.askListening()?.then(() => this.#clients.look()) ?? null;
      },
      onMute: () => this.#deafenAll(MUTE),
    });
  }

  /**
   * The client has lost a subscription, and does not subscribe again by itself.
   *
   * @param {Wanted | undefined} wanted
   * @param {string} [reason]
   */
  #lose(wanted, reason = LOST) {
    if (wanted === undefined) return;
    const silence = this.#loses(wanted, reason);
    this.#events.onTrouble();
    // Publishes wait meanwhile: other members may have lost their subscriptions, too.
    if (wanted.holds && !wanted.isForeseen)
      this.#native.clientLost(wanted.kind, Buffer.from(wanted.name), reason, Math.ceil(silence));
    wanted.holds = false;
    this.#again(wanted);
  }

  /**
   * For how long a lost subscription may have received nothing, in milliseconds.
   *
   * @param {Wanted} wanted
   * @param {string} reason
   */
  #loses({ kind, name }, reason) {
    if (this.#prober === null) return 0;
    if (kind === SHARD) return this.#prober.loses(name);
    const silence = reason === DEAF ? this.#prober.silenceOf(String(this.#lead)) : this.#keepalive?.silence;
    if (name === this.#lead) this.#prober.loses(name);
    return silence ?? 0;
  }

  /** Subscribes again after a pause. @param {Wanted} wanted */
  #again(wanted) {
    setTimeout(() => this.#subscribe(wanted), wanted.delay).unref();
    wanted.delay = Math.min(wanted.delay * 2, RETRY.most);
  }
}

/** The prefix of the channels that one of our globs matches. @param {string} glob */
function beginningOf(glob) {
  return glob.slice(0, -1).replace(/\\(.)/gs, "$1");
}

module.exports = { Subscriptions };
