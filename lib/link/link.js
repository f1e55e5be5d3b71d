// @ts-check
"use strict";

/**
 * The JS side of a link to Redis, as its members see it: they join and leave, send, and ask. links.js says who shares a
 * link, lifecycle.js when there is one, transport.js who carries its bytes.
 */

const binding = require("../base/native");
const { hasStreams } = require("./member");
const { Lifecycle } = require("./lifecycle");
const { explainRefusal } = require("./refusals");
const debug = require("debug")("socket.io-redis:link");

const broadcast = binding.fastBroadcast();
const send = binding.fastSend();

/** What has become of a broadcast, as in `Sent` of src/binding/hot.rs. */
const SENT = Object.freeze({ YES: 0, MISLEADS: 1, AMBIGUOUS: 2 });

/**
 * @typedef {import("./routing").Routing} Routing
 * @typedef {import("./inbox").LinkEvent} LinkEvent
 * @typedef {import("./member").LinkOptions} LinkOptions
 * @typedef {import("./member").MemberHandlers} MemberHandlers
 */

class Link {
  #lifecycle;
  #transport;
  #members;
  #calls;
  #malformed = 0;
  #unencodable = 0;

  /**
   * @param {import("../clients").Clients | null} clients null if the link is all there is
   * @param {import("../clients/settings").Settings | null} settings where the own connections go
   * @param {LinkOptions} options those of the first member
   * @param {ReturnType<typeof import("../clients/duplicate").lifeOf>} [duplicate] of one of the clients, if it was made here
   */
  constructor(clients, settings, options, duplicate = null) {
    this.#lifecycle = new Lifecycle(clients, settings, options, duplicate);
    this.#transport = this.#lifecycle.transport;
    this.#members = this.#lifecycle.members;
    this.#calls = this.#lifecycle.calls;
  }

  /** Who carries the bytes, whether that is certain, and why. */
  get transport() {
    return this.#transport.state;
  }

  /** How many of the published messages Redis has answered. */
  get progress() {
    return this.#lifecycle.progress;
  }

  /** The counters of the link. */
  stats() {
    const stats = this.#transport.stats();
    if (stats === null) return null;
    // Rust has handed them on, since only the user's parser can read them.
    stats.unencodable += this.#unencodable;
    stats.malformed += this.#malformed;
    stats.delivered -= this.#malformed;
    return stats;
  }

  // --- members ----------------------------------------------------------------------------------------

  /**
   * Adds a member and returns its number.
   *
   * @param {Routing} routing
   * @param {MemberHandlers} handlers
   */
  join(routing, handlers) {
    return this.#lifecycle.join(routing, handlers);
  }

  /** @param {number} member */
  leave(member) {
    this.#lifecycle.leave(member);
  }

  /** Ends a link that nobody uses any more, rather than in a while. */
  end() {
    if (this.#members.size === 0) this.#lifecycle.close();
  }

  // --- outgoing ---------------------------------------------------------------------------------------

  /**
   * Broadcasts an event that socket.io-parser printed. Returns what has become of it: see `SENT`.
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {Buffer} payload the Engine.IO text
   * @param {Buffer[]} attachments
   * @param {string | null} room if it is exactly one
   * @param {Buffer | null} options msgpack; null if they say no more than the room
   * @param {boolean} checked whether the text is known to say all that the values did
   * @returns {number}
   */
  broadcast(member, routing, payload, attachments, room, options, checked) {
    const isEntry = hasStreams(routing.identity.family);
    // Rust knows the streams of members that have left, too.
    const isKnown = isEntry
      ? this.#lifecycle.native !== null
      : !this.#transport.byClient && this.#members.has(member);
    if (isKnown) {
      const sent =
        attachments.length === 0
          ? broadcast(this.#lifecycle.id, member, payload, room, options, checked)
          : binding.broadcastBinary(this.#lifecycle.id, member, payload, attachments, room, options, checked);
      if (sent === SENT.YES) this.#transport.handedOver++;
      if (isEntry && !this.#members.has(member)) this.#lifecycle.idle();
      return sent;
    }
    if (isEntry) return SENT.YES;
    if (!checked && binding.mayMislead(payload, attachments.length)) return SENT.MISLEADS;
    let bytes;
    try {
      bytes = routing.native.encodeBroadcast(payload, attachments, room, options);
    } catch {
      this.unencodable();
      return SENT.YES;
    }
    if (bytes === null) return SENT.AMBIGUOUS;
    this.send(member, routing, 0, room, bytes);
    return SENT.YES;
  }

  /** A broadcast is nested too deep to be published: the local sockets get it all the same. */
  unencodable() {
    this.#unencodable++;
    this.#lifecycle.reports.unencodable();
  }

  /**
   * Publishes bytes that are ready: a broadcast (0, `name` the room if it is exactly one), a request (1) or a response (2,
   * `name` the uid of the requester).
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {0 | 1 | 2} to
   * @param {string | null} name
   * @param {Buffer | string} bytes
   */
  send(member, routing, to, name, bytes) {
    const native = this.#lifecycle.open();
    const isMember = this.#members.has(member);
    if (this.#transport.isDirect())
      this.#transport.carrier?.publish(member, routing.channelOf(to, name), bytes);
    else {
      this.#transport.handOver();
      if (isMember) return void send(this.#lifecycle.id, member, to, name, bytes);
      // Published after close(): the link no longer knows the member, but still takes its bytes.
      native.publish(routing.channelOf(to, name), typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    }
    if (!isMember) this.#lifecycle.idle();
  }

  /**
   * Sends an answer to a request for sockets.
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {string | null} requester its uid
   * @param {import("../../binding").SocketsAnswer} answer
   */
  sendSockets(member, routing, requester, answer) {
    this.#lifecycle.open();
    if (this.#transport.isDirect() || !this.#members.has(member))
      return this.send(member, routing, 2, requester, answer.bytes());
    this.#transport.handOver();
    answer.send(this.#lifecycle.id, member, requester);
  }

  /**
   * Adds a message to the stream of a member, even if that has just left.
   *
   * @param {number} member
   * @param {number} type
   * @param {Buffer} data as it stands in the entry
   */
  append(member, type, data) {
    if (this.#lifecycle.native === null) return;
    this.#transport.handedOver++;
    this.#lifecycle.native.append(member, type, data);
    if (!this.#members.has(member)) this.#lifecycle.idle();
  }

  /**
   * The same for an emitter: directly if the user's client carries the bytes, since that may be ended in this tick.
   *
   * @param {number} member
   * @param {string} key of the stream
   * @param {string[]} command what adds it
   * @param {number} type
   * @param {string} data
   */
  add(member, key, command, type, data) {
    const direct = this.#transport.isDirect() && this.#lifecycle.native?.isFlushed();
    const append = () => this.append(member, type, Buffer.from(data));
    if (direct)
      this.#transport.carrier?.add(
        key,
        [...command, "type", String(type), "data", data].map(toBuffer),
        append,
      );
    else append();
  }

  /** Keeps a session. @param {number} member @param {string} key @param {Buffer} session @param {number} lifetime in milliseconds */
  persist(member, key, session, lifetime) {
    if (this.#lifecycle.native === null) return;
    this.#transport.handedOver++;
    this.#lifecycle.native.persist(member, Buffer.from(key), session, lifetime);
  }

  /** How far a stream is read of what JS has got; null if that is not to be said now. @param {string} stream */
  position(stream) {
    // Records that were fetched are not handed to the members yet.
    if (this.#lifecycle.native === null || !this.#lifecycle.isCaughtUp) return null;
    return this.#lifecycle.native.position(stream);
  }

  /**
   * Takes a session from Redis, with what it has missed. Calls back in any case.
   *
   * @param {number} member
   * @param {string} key
   * @param {string} offset
   * @param {import("./restores").OnRestored} onRestored
   */
  restore(member, key, offset, onRestored) {
    this.#lifecycle.restores.add((token) => {
      if (this.#lifecycle.native === null || !this.#members.has(member)) return false;
      this.#lifecycle.native.restore(member, token, Buffer.from(key), Buffer.from(offset));
      return true;
    }, onRestored);
  }

  /** The prefix that the user's clients put before the names of keys. */
  get keyPrefix() {
    return this.#transport.keyPrefix;
  }

  /**
   * Sends a request and gathers the answers; ends with an ANSWERS or ACK_END record.
   *
   * @param {number} member
   * @param {string} id
   * @param {number} type
   * @param {Buffer} bytes
   * @param {number} timeout in milliseconds
   * @param {Routing} routing
   * @param {boolean} hears whether the member is subscribed to its answers; until then Rust holds the request back
   */
  request(member, id, type, bytes, timeout, routing, hears) {
    const native = this.#lifecycle.open();
    // Publishes behind it in this tick do not wait for it, and the client may be told to quit then.
    const isDirect = hears && this.#members.has(member) && this.#transport.isDirect();
    if (!isDirect) this.#transport.handOver();
    native.request(member, id, type, bytes, timeout, isDirect);
    if (isDirect) this.#transport.carrier?.publish(member, routing.channelOf(1, null), bytes);
  }

  /** Why Redis has last refused to publish something. */
  get refusal() {
    const { error = "", stream } = this.#lifecycle.reports.lastOfPublish ?? {};
    return explainRefusal(error, { stream });
  }

  /** Why requests are not answered, if Redis is away: the end of a sentence. */
  get away() {
    return String(this.#lifecycle.outage);
  }

  /**
   * Resolves to the number of members of the cluster, as soon as the link can tell; to null if it ends before that.
   * Rejects with Redis' words if Redis refuses to count.
   *
   * @param {number} member
   * @returns {Promise<number | null>}
   */
  serverCount(member) {
    return this.#call(member, (native, token) => native.serverCount(member, token));
  }

  /**
   * The same for a member that has left, which is not counted; null if the link ends before that.
   *
   * @param {Routing} routing
   * @returns {Promise<number | null>}
   */
  serverCountWithout(routing) {
    const native = this.#lifecycle.open();
    if (this.#members.size === 0) this.#lifecycle.idle();
    return this.#calls.make((token) => native.serverCountWithout(routing.native.id, token));
  }

  /**
   * Resolves when Redis has confirmed all that a member listens to by now, to true; to false, if it has not after so many
   * milliseconds, or the link ends before.
   *
   * @param {number} member
   * @param {number} timeout
   * @returns {Promise<boolean>}
   */
  subscribed(member, timeout) {
    return new Promise((resolve) => {
      let asked = 0;
      const giveUp = () => {
        this.#calls.forget(asked);
        this.#lifecycle.native?.giveUpWaiting(member, asked);
        resolve(false);
      };
      const timer = setTimeout(giveUp, timeout).unref();
      this.#call(member, (native, token) => native.whenSubscribed(member, (asked = token))).then((answer) => {
        clearTimeout(timer);
        resolve(answer !== null);
      });
    });
  }

  /**
   * Calls what is answered by a COUNT record; 0 for a member that has left.
   *
   * @param {number} member
   * @param {(native: import("../../binding").Link, token: number) => void} call
   * @returns {Promise<number | null>}
   */
  #call(member, call) {
    if (!this.#members.has(member)) return Promise.resolve(0);
    const native = this.#lifecycle.open();
    return this.#calls.make((token) => call(native, token));
  }

  /**
   * The first local socket has joined a room, or the last one has left it. Returns whether Redis is asked for something for
   * it.
   *
   * @param {number} member
   * @param {string} room
   * @param {boolean} present
   * @param {boolean} isText whether it is a string for JS
   * @returns {boolean}
   */
  room(member, room, present, isText) {
    const routing = this.#members.get(member)?.routing;
    if (routing === undefined) return false;
    const isAsked = binding.setRoom(this.#lifecycle.id, member, room, present, isText);
    // A publish to the room may go out in this very tick.
    if (isAsked && this.#transport.carrier !== null) {
      const channel = routing.native.roomChannel(room);
      if (channel !== null) this.#transport.carrier.foresee(channel, present);
    }
    return isAsked;
  }

  /** @param {number} member @param {boolean} occupied */
  occupied(member, occupied) {
    if (this.#members.has(member)) binding.setOccupied(this.#lifecycle.id, member, occupied);
  }

  /** A member has received a malformed message. @param {string} why */
  ignore(why) {
    this.#malformed++;
    debug("ignoring malformed message: %s", why);
  }

  /** @param {number} member */
  settled(member) {
    if (this.#members.has(member)) binding.settled(this.#lifecycle.id, member, 1);
  }
}

/** @param {string} text */
function toBuffer(text) {
  return Buffer.from(text);
}

module.exports = { Link, SENT };
