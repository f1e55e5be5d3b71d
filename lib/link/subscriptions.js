// @ts-check
"use strict";

/**
 * The subscriptions that Rust wants of the user's clients: made, made again when they fail or are lost, and proven where the
 * client does not know whether they hold.
 */

const { CHANNEL, PATTERN, SHARD, keyOf } = require("../clients/client");
const { Hearing } = require("./hearing");
const { isPassing, messageOf } = require("./hold");
const { SignsOfLife } = require("./signs-of-life");

/** How long a subscription that failed waits for its next attempt, in milliseconds: doubled each time. */
const RETRY = Object.freeze({ first: 50, most: 2000 });

/** So many messages of the client are handed over before what came of earlier ones is handed on. */
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
 * @property {boolean} isForeseen Rust has not asked for it yet
 * @property {number} since when it has held last; never, if negative
 */

class Subscriptions {
  #clients;
  #native;
  #events;
  /** Messages handed over since Rust's were last handed on. */
  #handedOver = 0;
  /** If the client does not know whether its subscriptions hold. @type {Hearing | null} */
  #hearing = null;
  /** The same for the connection that has all global channels. @type {SignsOfLife | null} */
  #life = null;
  /**
   * The channel by which it is proven that this connection brings something; null while none is subscribed to on which a
   * probe means nothing to anybody. Those of shards are each proven by themselves.
   *
   * @type {string | null}
   */
  #lead = null;
  #stopped = false;
  /** The subscriptions that Rust wants. @type {Map<string, Wanted>} */
  #wanted = new Map();
  /** The patterns among them, by how the channels begin that they mean. @type {Map<string, Wanted>} */
  #patterns = new Map();

  /**
   * @param {import("../clients").Clients} clients
   * @param {import("../../binding").Link} native
   * @param {object} events
   * @param {() => boolean} events.isUp whether the clients are connected
   * @param {() => void} events.drain hands on what Rust has made of messages
   * @param {(payload: Buffer) => void} events.onMessage something has come in
   * @param {() => void} events.onLost a subscription is lost
   * @param {(channel: string) => boolean} events.isOwn whether a channel is that of a member of this link alone
   */
  constructor(clients, native, events) {
    this.#clients = clients;
    this.#native = native;
    this.#events = events;
    clients.onLost((kind, name) => this.#lose(this.#wanted.get(keyOf(kind, name))));
    if (!clients.needsProof) return;
    this.#hearing = new Hearing({
      isUp: () => {
        // What comes in by another connection proves nothing of the one before. A look passes all subscriptions, of which
        // there is one for each room where shards are listened to: there the client's own look has to do.
        if (clients.space === "global") clients.look();
        return events.isUp();
      },
      // What a node answers counts those that listen at it, and another one may be listened at.
      publish: (channel, probe) =>
        clients.publish(channel, probe).then((receivers) => (clients.space === "shard" ? receivers : 1)),
      placeOf: (channel) => clients.placeOf(SHARD, channel),
      onDeaf: (channel) => this.#deafen(channel),
    });
    clients.onTrouble(() => this.doubt());
    if (clients.space !== "shard") this.#life = this.#followLife();
  }

  /** What this link wants of the channel of a shard. @param {string} channel @returns {Readonly<Wanted> | undefined} */
  ofShard(channel) {
    return this.#wanted.get(keyOf(SHARD, channel));
  }

  /** Whether this link has listened to a channel of all. @param {string} channel */
  listensTo(channel) {
    return (
      (this.#wanted.get(keyOf(CHANNEL, channel))?.since ?? -1) >= 0 || this.beginningOf(channel) !== null
    );
  }

  /**
   * How all channels begin that belong to the same pattern as this one, if this link has listened to it by a pattern.
   *
   * @param {string} channel
   */
  beginningOf(channel) {
    // A pattern of ours means what begins alike, up to a "#".
    for (let end = channel.indexOf("#"); end >= 0; end = channel.indexOf("#", end + 1)) {
      const beginning = channel.slice(0, end + 1);
      if ((this.#patterns.get(beginning)?.since ?? -1) >= 0) return beginning;
    }
    return null;
  }

  /** Subscriptions may be elsewhere now, or nowhere: those that have to be proven are to be proven soon. */
  doubt() {
    this.#hearing?.doubt();
  }

  /** The clients are not connected any more. */
  disconnected() {
    this.doubt();
    // The connection that has all global channels was last known to live before this was seen: the gap begins then.
    if (this.#life !== null) this.#clients.look();
  }

  /** Nothing more is to be subscribed to. */
  stop() {
    this.#stopped = true;
    this.#hearing?.stop();
    this.#life?.stop();
  }

  /**
   * Rust will want a channel of a shard, or no longer so: subscribes before what is published in the same tick goes out.
   *
   * @param {string} name
   * @param {boolean} present
   */
  foresee(name, present) {
    const wanted = this.#wanted.get(keyOf(SHARD, name));
    if (present && wanted === undefined) this.#add(SHARD, name, true);
    // What came and went in one tick Rust never asks for.
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
    if (kind === SHARD) this.#hearing?.forget(name);
    else if (kind === CHANNEL && name === this.#lead) this.#changeLead();
    this.#unsubscribe(kind, name, RETRY.first);
  }

  /** Lets Redis forget a subscription, also if that is to be tried again. @param {number} kind @param {string} name @param {number} delay */
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

  /** The channel that proves the connection is not wanted any more: another one is to, if there is one. */
  #changeLead() {
    if (this.#lead !== null) this.#hearing?.forget(this.#lead);
    this.#lead = null;
    for (const { kind, name, holds } of this.#wanted.values()) if (holds) this.#listens(kind, name);
  }

  /** A subscription holds. @param {number} kind @param {string} name */
  #listens(kind, name) {
    if (this.#lead === null && kind === CHANNEL && this.#events.isOwn(name)) this.#lead = name;
    if (kind === SHARD || name === this.#lead) this.#hearing?.listens(name);
  }

  /**
   * Something has come in. Returns whether it is a probe.
   *
   * @param {number} by the kind of the subscription
   * @param {Buffer} channel
   * @param {Buffer} payload
   */
  #hears(by, channel, payload) {
    if (this.#hearing === null) return false;
    if (by === SHARD) return this.#hearing.hears(channel, payload);
    return this.#lead !== null && this.#hearing.hears(this.#lead, payload);
  }

  /** Whether it is to be made yet: meanwhile Rust may have changed its mind, even twice. @param {Wanted} wanted */
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
        // The client cannot be told to read less; but it does, while what came before is worked off.
        if (++this.#handedOver % DRAIN_EVERY === 0) this.#events.drain();
      })
      .then(
        () => {
          if (!this.#isWanted(wanted)) return;
          wanted.delay = RETRY.first;
          wanted.holds = true;
          wanted.since = performance.now();
          this.#life?.begin(askedAt);
          this.#listens(kind, name);
          if (!wanted.isForeseen) this.#native.clientSubscribed(kind, Buffer.from(name));
        },
        (error) => {
          if (!this.#isWanted(wanted)) return;
          this.#native.clientSubscribeFailed(messageOf(error));
          this.#again(wanted);
        },
      );
  }

  /**
   * What is published on a channel does not come in, though the client says that it is subscribed to.
   *
   * @param {string} channel
   */
  #deafen(channel) {
    if (this.#clients.space !== "shard") return void (this.#events.isUp() && this.#deafenAll(DEAF));
    const wanted = this.#wanted.get(keyOf(SHARD, channel));
    if (wanted === undefined || !wanted.holds || !this.#events.isUp()) return;
    this.#clients.mistrust(SHARD, channel);
    this.#lose(wanted, DEAF);
  }

  /** Nothing comes in by the connection that has all global channels. @param {string} reason */
  #deafenAll(reason) {
    this.#clients.listenElsewhere();
    for (const wanted of this.#wanted.values()) if (wanted.holds) this.#lose(wanted, reason);
  }

  #followLife() {
    return new SignsOfLife({
      ask: () => {
        // What another connection answers says nothing of the one before.
        this.#clients.look();
        return this.#clients.askListening()?.then(() => this.#clients.look()) ?? null;
      },
      onMute: () => this.#deafenAll(MUTE),
    });
  }

  /**
   * The client has lost a subscription, and does not make it anew by itself.
   *
   * @param {Wanted | undefined} wanted
   * @param {string} [reason]
   */
  #lose(wanted, reason = LOST) {
    if (wanted === undefined) return;
    const silence = this.#loses(wanted, reason);
    this.#events.onLost();
    // What is published meanwhile waits for the other members, who may have lost theirs.
    if (wanted.holds && !wanted.isForeseen)
      this.#native.clientLost(wanted.kind, Buffer.from(wanted.name), reason, Math.ceil(silence));
    wanted.holds = false;
    this.#again(wanted);
  }

  /**
   * How long nothing may have come in already by a subscription that is lost, in milliseconds.
   *
   * @param {Wanted} wanted
   * @param {string} reason
   */
  #loses({ kind, name }, reason) {
    if (this.#hearing === null) return 0;
    if (kind === SHARD) return this.#hearing.loses(name);
    const silence = reason === DEAF ? this.#hearing.silenceOf(String(this.#lead)) : this.#life?.silence;
    if (name === this.#lead) this.#hearing.loses(name);
    return silence ?? 0;
  }

  /** Makes a subscription anew that failed or is lost. @param {Wanted} wanted */
  #again(wanted) {
    setTimeout(() => this.#subscribe(wanted), wanted.delay).unref();
    wanted.delay = Math.min(wanted.delay * 2, RETRY.most);
  }
}

/** How the channels begin that a glob of ours means. @param {string} glob */
function beginningOf(glob) {
  return glob.slice(0, -1).replace(/\\(.)/gs, "$1");
}

module.exports = { Subscriptions };
