// @ts-check
"use strict";

/**
 * What the adapters of all families have in common: a member of a link, the rooms and sockets that Rust is told of,
 * a broadcast's way out and in. How a message looks is the subclasses' matter (lib/adapter/classic.js, lib/adapter/sharded.js,
 * lib/adapter/streams.js).
 */

// What it keeps private is where a packet becomes text: `encoder` and `_encode`.
const { Adapter } = /** @type {{ Adapter: any }} */ (require("socket.io-adapter"));
const { EVENT, decodeTarget, lazyPacket, printsStandardText } = require("../delivery/delivery");
const { KIND } = require("../link/inbox");
const { keepFor } = require("../base/lifetime");
const { SocketsAnswer } = require("../base/native");
const { SENT } = require("../link/link");
const { NestingError } = require("../msgpack/format");
const { toDelay } = require("../options/options");
const { frameOf, payloadOf } = require("../delivery/frames");
const { holdsDate, isPlain, readAttachments, toBuffer } = require("../delivery/outgoing");
const { Run, isWatched } = require("../delivery/run");
const { explainEvent, explainRefusal } = require("../link/refusals");
const { PrintedHandshakes } = require("../messages/printed-handshakes");
const { DESCRIPTIONS, Request } = require("../messages/answers");
const { REQUEST } = require("../messages/requests");
const { Routing } = require("../link/routing");
const { offerRemoteSockets } = require("./remote-sockets");
const { checkSocketIo } = require("../base/socket-io-version");
const { throwAlone } = require("../base/throw-alone");
const debug = require("debug")("socket.io-redis");

/** How a request ends that the adapter does not outlive. */
const CLOSED = Object.freeze({ status: "failed", expected: 0, answers: [] });

/** The same of one that the link does not. */
const BROKEN = Object.freeze({ status: "broken", expected: 0, answers: [] });

/** What tells a member of a link, of whatever class and copy of this package. */
const MEMBER = Symbol.for("socket.io-redis-native.member");
/** The same of one that a closed adapter is asked for: it has no others, as with the reference. */
const ALONE = Object.freeze({ status: "done", expected: 0, answers: [] });

/** What a promise has not come to in time. */
const LATE = Symbol("late");

/** What cannot be sent, since it is nested too deep. */
const TOO_DEEP = Symbol("too deep");

/** A room that no socket is in: whoever answers that it has nobody there has worked off what came before. */
const NOBODY = "\u0000nobody";

/** @type {0} */ const BROADCASTS = 0;
/** @type {1} */ const REQUESTS = 1;
/** @type {2} */ const RESPONSES = 2;

const UNCONFIRMED = "timeout reached: Redis has not confirmed the subscriptions of this server";

/**
 * @typedef {import("../delivery/outgoing").BroadcastOptions} BroadcastOptions
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {{ packet: any, encoded: any[], frame: Buffer | null }} Incoming
 * @typedef {{ status: string, expected: number, answers: any[], refusal?: string }} Outcome `answers`: the lists that
 *   others answer with, or their answers as they came
 * @typedef {{ maker: import("../messages/answers").Maker }} Wanted what becomes of the sockets of others; Socket.IO may want
 *   something else than others do
 *
 * @typedef {object} Follower
 * @property {() => void} [onReady]
 * @property {(error: Error) => boolean | void} [onDegraded] may say that it was heard of
 * @property {(error: Error) => boolean} [onError] returns whether it has heard of it
 * @property {() => void} [onClose]
 */

/** @abstract */
class MemberAdapter extends Adapter {
  /** @type {import("../link/link").Link} */
  #link;
  /** @type {Routing} */
  #routing;
  #member = 0;
  #closed = false;
  /** The last of the events that tell of it. */
  #state = "new";
  /** Since when this node does not hear the others, as `performance.now()` has it, and why. */
  /** @type {{ since: number, reason: string } | null} */
  #gap = null;
  /** Whether somebody was told of the outage. */
  #outageHeard = false;
  /** Whether the server's parser prints the text that Rust reads and writes. */
  #standardText;
  /** Whether socket.io-adapter makes WebSocket frames of it. */
  #makesFrames;
  /** The broadcast that is being encoded by the parent class, to be published when it is. */
  /** @type {{ packet: any, opts: BroadcastOptions, done: boolean } | null} */
  #outgoing = null;
  /** The broadcast from another node that the parent class is delivering. */
  /** @type {Incoming | null} */
  #incoming = null;
  /** The ids of those that the next broadcast goes to, if somebody wants to know. @type {string[] | null} */
  #receivers = null;
  /** @type {Follower[]} */
  #followers = [];
  /** Made when somebody asks for it. @type {{ promise: Promise<void>, settle: () => void } | null} */
  #ready = null;
  /** Whether this node has ever heard the others. */
  #wasReady = false;
  /** How many servers Redis has last counted. */
  #servers = 1;
  /** Whether Socket.IO is about to ask for that number, for an acknowledged broadcast. */
  #asksForAcks = false;
  /** A count that has not come in time, and may come yet. @type {Promise<number | Error | null> | null} */
  #overdue = null;
  /** Those who wait for the next time that it does. @type {Set<() => void>} */
  #readyWaiters = new Set();

  /** The handshakes that other servers were told of. */
  _printed = new PrintedHandshakes((handshake) => this._printHandshake(handshake));

  /**
   * What the parent class does to the sockets of this node alone.
   *
   * @type {import("../messages/sockets").Local}
   */
  _local = {
    rooms: () => [...this.rooms.keys()],
    sockets: (rooms) => super.sockets(rooms),
    fetchSockets: (opts) => super.fetchSockets(opts),
    addSockets: (opts, rooms) => super.addSockets(opts, rooms),
    delSockets: (opts, rooms) => super.delSockets(opts, rooms),
    disconnectSockets: (opts, close) => super.disconnectSockets(opts, close),
    broadcastWithAck: (packet, opts, count, ack) => {
      const receivers = (this.#receivers = /** @type {string[]} */ ([]));
      try {
        super.broadcastWithAck(packet, opts, count, ack);
        // Another implementation does not come by `apply`.
        return this.#receivers === receivers ? null : receivers;
      } finally {
        this.#receivers = null;
      }
    },
  };

  /**
   * @param {any} nsp the namespace
   * @param {import("../link/link").Link} link
   * @param {Omit<import("../link/routing").Identity, "nsp" | "frames">} identity
   */
  constructor(nsp, link, identity) {
    checkSocketIo(nsp.server);
    super(nsp);
    this.#link = link;
    this.uid = identity.uid;
    /** Requests of this node that wait for answers, by their id. @type {Map<string, Request>} */
    this.requests = new Map();
    /** Acknowledged broadcasts of this node, by their id. @type {Map<string, { clientCountCallback: Callback, ack: Callback }>} */
    this.ackRequests = new Map();
    this.#standardText = printsStandardText(this.encoder);
    this.#makesFrames = this.#standardText && this.#probeFrames();
    this.#routing = new Routing({ ...identity, nsp: nsp.name, frames: this.#standardText });
  }

  /**
   * Resolves when this node hears the others, for the first time, or is closed: nobody handles a rejection of what is
   * only there to be waited for. Whoever has asked for it waits: the process is kept, however long Redis is away.
   *
   * @returns {Promise<void>}
   */
  get ready() {
    if (this.#ready === null) {
      let settle = () => {};
      const promise = new Promise((resolve) => (settle = () => resolve(undefined)));
      this.#ready = { promise: keepFor(promise, `"ready" of ${this.nsp.name}`), settle };
      if (this.#wasReady || this.#closed) settle();
    }
    return this.#ready.promise;
  }

  /**
   * Tells somebody what becomes of this adapter. Not by listeners, which the user may remove.
   *
   * @param {Follower} follower
   */
  _follow(follower) {
    this.#followers.push(follower);
  }

  /** Tells of an error, and says whether somebody has heard of it. @param {Error} error */
  _tellError(error) {
    let heard = false;
    /** @param {() => boolean | undefined} tell */
    const tellOne = (tell) => {
      try {
        heard = (tell() ?? false) || heard;
      } catch (thrown) {
        // Somebody has heard it, who does not keep it from the others.
        heard = true;
        throwAlone(thrown);
      }
    };
    for (const follower of this.#followers) tellOne(() => follower.onError?.(error));
    if (this.listenerCount("error") > 0) tellOne(() => super.emit("error", error));
    return heard;
  }

  /**
   * Tells what a listener or a callback of the user's has thrown that was called for another server: to those who listen
   * to errors, or on stderr. Some of the reference's adapters hide it, others end the process for it.
   *
   * @param {any} error
   */
  _tellThrown(error) {
    if (!this._tellError(error))
      console.error("socket.io-redis: a listener or a callback has thrown:", error);
  }

  /** Tells what a promise is rejected with. @param {Promise<any>} promise */
  _guard(promise) {
    promise.catch((error) => this._tellThrown(error));
  }

  /**
   * Joins the cluster; to be called when the subclass is complete.
   *
   * @param {((error: Error) => void) | null} onError as the option
   */
  _join(onError) {
    if (onError !== null) this._follow({ onError: (error) => (onError(error), true) });
    // The namespace gets a new adapter: the one that it had would go on listening, and be counted.
    if (this.nsp.adapter?.[MEMBER]) this.nsp.adapter.close();
    const { stream } = this.#routing.identity;
    if (stream === undefined && this.nsp.server.opts?.connectionStateRecovery) warnOfRecovery(this.nsp.name);
    this.#member = this.#link.join(this.#routing, {
      onRecord: (record) => this.#onRecord(record),
      onEvent: (event) => this.#onEvent(event),
      onRejoin: () => this._onRejoin(),
    });
  }

  /** @returns {boolean} */
  get [MEMBER]() {
    return true;
  }

  /** The names of its channels. */
  get _channels() {
    return this.#routing.names;
  }

  /** Who carries the bytes, whether that is proven, and why. */
  get transport() {
    return this.#link.transport;
  }

  /** The counters of the link that this namespace shares with the others of its clients; null if it is closed. */
  stats() {
    return this.#link.stats();
  }

  // --- what a family defines ---------------------------------------------------------------------------

  /** A broadcast in JS, for what Rust does not encode. @param {any} _packet @param {any} _opts @returns {any} */
  _encodeBroadcast(_packet, _opts) {
    throw new Error("abstract");
  }
  /** Its options, for Rust to put in. @param {any} _opts @param {boolean} _binary whether there are attachments @returns {Buffer} */
  _encodeOptions(_opts, _binary) {
    throw new Error("abstract");
  }
  /**
   * A broadcast from Redis that Rust has left to JS: null if it is not for this node. Throws if it makes no sense.
   *
   * @param {Buffer} _bytes
   * @param {string} _offset that is to be added to it, or none
   * @returns {{ packet: any, opts: any } | null}
   */
  _decodeBroadcast(_bytes, _offset) {
    throw new Error("abstract");
  }
  /** Whether Rust can encode what goes out. @param {Buffer[]} _attachments */
  _isNative(_attachments) {
    return true;
  }
  /**
   * Sends a broadcast that Rust does not encode.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {string | null} room if it is exactly one
   */
  _sendBroadcast(packet, opts, room) {
    this._send(BROADCASTS, room, this._encodeBroadcast(packet, opts));
  }
  /** Rust has got a broadcast. */
  _handedOver() {}
  /** Whether the text says all that the values do. @param {any} _packet @param {Buffer[]} _attachments */
  _isExact(_packet, _attachments) {
    return false;
  }
  /** Rooms were joined that Redis is asked for something for. */
  _onSubscribing() {}
  /** @param {string} _requestId @param {any} _packet @param {any} _opts @returns {Buffer} */
  _encodeAckRequest(_requestId, _packet, _opts) {
    throw new Error("abstract");
  }
  /** @param {string} _requestId @param {any} _opts @returns {Buffer} */
  _encodeFetch(_requestId, _opts) {
    throw new Error("abstract");
  }
  /** @param {Buffer} _bytes @param {number} _encoding @returns {Promise<any>} */
  _onRequest(_bytes, _encoding) {
    throw new Error("abstract");
  }
  /** An answer to an acknowledged broadcast. @param {Buffer} _bytes @param {string | null} _id if Rust knows it @returns {Promise<any>} */
  _onResponse(_bytes, _id) {
    throw new Error("abstract");
  }
  /** As other servers are told of it. @param {object} handshake @returns {Buffer} */
  _printHandshake(handshake) {
    return Buffer.from(JSON.stringify(handshake));
  }
  /** A message that was added to a stream is there. @param {number} _token @param {string} _id of the entry; empty if that is not known */
  _onAdded(_token, _id) {}
  /** The link has failed: nothing that it was asked is answered any more. */
  _onFailed() {
    for (const { finish } of this.requests.values()) finish(BROKEN);
    this.requests.clear();
    this.ackRequests.clear();
  }
  /** It was made anew, and knows of no rooms. */
  _onRejoin() {
    for (const room of this.rooms.keys()) this.#setRoom(room, true);
    if (this.sids.size > 0) this.#link.occupied(this.#member, true);
  }
  /** What is told to some families only. @param {import("../link/link").LinkEvent} _event */
  _onEvent(_event) {}

  // --- what it does that with --------------------------------------------------------------------------

  /** @param {0 | 1 | 2} to @param {string | null} name @param {Buffer | string} bytes */
  _send(to, name, bytes) {
    this.#link.send(this.#member, this.#routing, to, name, toBuffer(bytes));
  }

  /** Sockets somewhere are told to join rooms. @param {any[]} rooms */
  _cover(rooms) {
    this.#routing.native.cover(rooms.map(nameOf));
  }

  /**
   * An answer to a request for sockets, of so many descriptions.
   *
   * @param {string | null} requestId
   * @param {boolean} isJson
   * @param {number} count
   */
  _newAnswer(requestId, isJson, count) {
    return new SocketsAnswer(this.#routing.native.id, requestId, isJson, count);
  }

  /** @param {string | null} requester its uid @param {InstanceType<typeof SocketsAnswer>} answer */
  _respondSockets(requester, answer) {
    this.#link.sendSockets(this.#member, this.#routing, requester, answer);
  }

  /** Adds a message to the stream of the namespace. @param {number} type @param {string} data as it stands in the entry */
  _append(type, data) {
    this.#link.append(this.#member, type, Buffer.from(data));
  }

  /** Keeps a session. @param {string} key @param {Buffer} session @param {number} lifetime in milliseconds */
  _persist(key, session, lifetime) {
    this.#link.persist(this.#member, key, session, lifetime);
  }

  /** How far a stream is read of what this node has got; null if that is not to be said now. @param {string} stream */
  _position(stream) {
    return this.#link.position(stream);
  }

  /** Takes it again, with what was missed. @param {string} key @param {string} offset @param {import("../link/restores").OnRestored} onRestored */
  _restore(key, offset, onRestored) {
    this.#link.restore(this.#member, key, offset, onRestored);
  }

  /** Whether this node hears the others now. */
  get _isReady() {
    return this.#state === "ready" && !this.#closed;
  }

  get _isClosed() {
    return this.#closed;
  }

  /** Resolves when this node hears the others, or is closed, or after so many milliseconds. @param {number} timeout @returns {Promise<void>} */
  _whenReady(timeout) {
    if (this._isReady || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#readyWaiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeout).unref();
      this.#readyWaiters.add(done);
    });
  }

  /** What has come makes no sense. @param {string} why */
  _ignore(why) {
    this.#link.ignore(why);
  }

  /** A request of another member is worked off, whatever it has done to the rooms. */
  _settled() {
    this.#link.settled(this.#member);
  }

  /**
   * Resolves when Redis has confirmed all that this node listens to by now, to true; or to false, if it has not after
   * so many milliseconds.
   *
   * @param {any} timeout
   * @returns {Promise<boolean>}
   */
  _subscribed(timeout) {
    return this.#closed ? Promise.resolve(false) : this.#link.subscribed(this.#member, toDelay(timeout));
  }

  /** The id of a request of this node. */
  _newRequestId() {
    return "";
  }

  /**
   * Sends a request and resolves to how it ended.
   *
   * @param {string} requestId
   * @param {number} type as in lib/messages/requests.js, whatever the family
   * @param {Buffer} bytes
   * @param {any} timeout in milliseconds
   * @param {Wanted} [wanted]
   * @returns {Promise<Outcome>}
   */
  _ask(requestId, type, bytes, timeout, wanted = { maker: DESCRIPTIONS }) {
    if (this.#closed) return Promise.resolve(ALONE);
    const asked = new Promise((finish) => {
      this.requests.set(requestId, new Request(finish, wanted));
      this.#request(requestId, type, bytes, timeout);
    });
    return keepFor(asked, `the answers to a request in ${this.nsp.name}`);
  }

  /** @param {string} id @param {number} type @param {Buffer} bytes @param {any} timeout in milliseconds */
  #request(id, type, bytes, timeout) {
    const hears = this._isReady;
    this.#link.request(this.#member, id, type, bytes, toDelay(timeout), this.#routing, hears);
  }

  // --- which sockets are here --------------------------------------------------------------------------

  /**
   * Tells Rust of rooms that come and go. Not by a listener, which the user may remove.
   *
   * @param {any} event
   * @param {any[]} args
   * @returns {boolean}
   */
  emit(event, ...args) {
    if (event === "create-room") this.#setRoom(args[0], true);
    else if (event === "delete-room") this.#setRoom(args[0], false);
    return super.emit(event, ...args);
  }

  /** @param {any} room @param {boolean} present */
  #setRoom(room, present) {
    const isText = typeof room === "string";
    if (this.#link.room(this.#member, nameOf(room), present, isText)) this._onSubscribing();
  }

  /**
   * @param {any} id
   * @param {Set<any>} rooms
   */
  addAll(id, rooms) {
    const first = this.sids.size === 0;
    try {
      super.addAll(id, rooms);
    } finally {
      // A listener of the user's may have thrown, and the socket is here all the same.
      if (first && this.sids.size > 0) this.#link.occupied(this.#member, true);
    }
  }

  /** @param {any} id */
  delAll(id) {
    const occupied = this.sids.size > 0;
    try {
      super.delAll(id);
    } finally {
      this._printed.forget(id);
      if (occupied && this.sids.size === 0) this.#link.occupied(this.#member, false);
    }
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /**
   * @param {any} packet
   * @param {any} opts
   */
  broadcast(packet, opts) {
    if (opts?.flags?.local) return super.broadcast(packet, opts);
    packet.nsp = this.nsp.name;
    const outer = this.#outgoing;
    const outgoing = { packet, opts, done: false };
    this.#outgoing = outgoing;
    try {
      super.broadcast(packet, opts);
    } finally {
      this.#outgoing = outer;
      // Another implementation (uWebSockets.js brings one) does not come by `_encode`.
      if (!outgoing.done) this.#publish(packet, opts, this.encoder.encode(packet), null);
    }
  }

  /**
   * The one place where a packet becomes text, for the local sockets and for the other nodes alike.
   *
   * @param {any} packet
   * @param {any} packetOpts
   * @returns {any[]}
   */
  _encode(packet, packetOpts) {
    const incoming = this.#incoming;
    if (incoming !== null && packet === incoming.packet) {
      if (incoming.frame !== null) packetOpts.wsPreEncodedFrame = [incoming.frame];
      return incoming.encoded;
    }
    const outgoing = this.#outgoing;
    if (outgoing === null || packet !== outgoing.packet || outgoing.done)
      return encodeInParent(this, packet, packetOpts);
    outgoing.done = true;
    const encoded = encodeInParent(this, packet, packetOpts);
    this.#publish(packet, outgoing.opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
  }

  /**
   * @param {any} packet
   * @param {BroadcastOptions} opts
   * @param {any[]} encoded what the server's parser made of it
   * @param {any} frame the WebSocket frame, if there is one
   */
  #publish(packet, opts, encoded, frame) {
    const { rooms } = opts;
    const room = rooms.size === 1 ? rooms.values().next().value : null;
    const name = room === null ? null : String(room);
    if (this.#standardText) {
      const attachments = readAttachments(encoded);
      if (attachments !== null && this._isNative(attachments)) {
        const payload = payloadOf(frame) ?? Buffer.from("4" + encoded[0]);
        const encodeOptions = () => this._encodeOptions(opts, attachments.length > 0);
        const options = isPlain(opts, room) ? null : encodeOptions();
        const hand = (/** @type {Buffer | null} */ options, /** @type {boolean} */ exact) =>
          this.#link.broadcast(this.#member, this.#routing, payload, attachments, name, options, exact);
        const send = (/** @type {boolean} */ exact) => {
          const sent = hand(options, exact);
          return sent === SENT.AMBIGUOUS ? hand(encodeOptions(), exact) : sent;
        };
        if (send(this._isExact(packet, attachments)) === SENT.YES) return this._handedOver();
        // There may be a Date, printed as a string; for a server with another parser it is to stay a Date. Or an
        // object that looks like the place of an attachment.
        const datesMatter = this.#encodable(() => attachments.length > 0 || holdsDate(packet.data));
        if (datesMatter === TOO_DEEP) return;
        if (!datesMatter) {
          send(true);
          return this._handedOver();
        }
      }
    }
    this.#encodable(() => this._sendBroadcast(packet, opts, name));
  }

  /**
   * Does what is to be sent to the others, unless that is nested too deep for them. Then it is counted and told: it is no
   * reason to keep it from the local sockets. What a getter or a toJSON throws is the sender's.
   *
   * @template T
   * @param {() => T} act
   * @returns {T | typeof TOO_DEEP}
   */
  #encodable(act) {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof NestingError)) throw error;
      this.#link.unencodable();
      return TOO_DEEP;
    }
  }

  /**
   * Sends a broadcast to the other nodes alone, and returns what the server's parser made of it.
   *
   * @param {any} packet
   * @param {any} opts
   * @returns {any[]}
   */
  _publish(packet, opts) {
    packet.nsp = this.nsp.name;
    /** @type {any} */
    const packetOpts = {};
    const encoded = encodeInParent(this, packet, packetOpts);
    this.#publish(packet, opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
  }

  /**
   * What the parent class needs not encode again; null if only the server's parser knows how.
   *
   * @param {any} packet
   * @param {string} text
   * @param {any[]} attachments
   * @returns {Incoming | null}
   */
  _encodedTo(packet, text, attachments) {
    if (!this.#standardText) return null;
    const frame = attachments.length === 0 && this.#makesFrames ? frameOf(text) : null;
    return { packet, encoded: [text, ...attachments], frame };
  }

  /** Does something to the local sockets, behind what has to be done before. @param {() => void} act */
  _inOrder(act) {
    act();
  }

  /**
   * @param {any} packet
   * @param {any} opts
   * @param {Callback} clientCountCallback
   * @param {Callback} ack
   */
  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    // Socket.IO counts the servers next, in the same tick.
    this.#asksForAcks = true;
    queueMicrotask(() => (this.#asksForAcks = false));
    packet.nsp = this.nsp.name;
    if (!opts?.flags?.local) {
      const requestId = this._unusedId();
      const request = this.#encodable(() => toBuffer(this._encodeAckRequest(requestId, packet, opts)));
      if (request === TOO_DEEP) {
        // The local sockets acknowledge it; that others do not ends it in time.
      } else if (this.#closed) {
        this._send(REQUESTS, null, request);
      } else {
        this.ackRequests.set(requestId, { clientCountCallback, ack });
        this.#request(requestId, REQUEST.BROADCAST, request, opts.flags?.timeout);
      }
    }
    const here = () => super.broadcastWithAck(packet, opts, clientCountCallback, ack);
    if (opts?.flags?.local) here();
    else this._inOrder(here);
  }

  /**
   * Does something to each local socket that a broadcast is for.
   *
   * @param {any} opts
   * @param {(socket: any) => void} callback
   */
  apply(opts, callback) {
    const receivers = this.#receivers;
    if (receivers === null) return super.apply(opts, callback);
    this.#receivers = null;
    super.apply(opts, (/** @type {any} */ socket) => {
      receivers.push(socket.id);
      callback(socket);
    });
  }

  // --- requests ----------------------------------------------------------------------------------------

  /**
   * The number of servers in the cluster. Where Redis does not say so in time, it is what it has last said. Rejects if
   * Redis refuses to say so; but not what Socket.IO asks for an acknowledged broadcast, since it handles no rejection.
   *
   * @returns {Promise<number>}
   */
  async serverCount() {
    const wasClosed = this.#closed;
    // While Redis is away, all wait for the same count rather than for one each.
    const counted = this.#overdue ?? this.#count();
    const forAcks = this.#asksForAcks;
    const count = await inTime(counted, toDelay(this.requestsTimeout));
    if (count instanceof Error) {
      if (forAcks) return this.#servers;
      throw count;
    }
    if (count === LATE) this.#overdue = counted;
    // One that was closed meanwhile has not waited for the answer.
    if (typeof count !== "number" || this.#closed !== wasClosed) return this.#servers;
    return (this.#servers = count);
  }

  /** @returns {Promise<number | Error | null>} null if the link cannot be made, or ends before it knows */
  async #count() {
    try {
      const count = this.#closed
        ? this.#link.serverCountWithout(this.#routing)
        : this.#link.serverCount(this.#member);
      return await count.catch((/** @type {Error} */ refusal) => refusal);
    } catch (error) {
      debug("the servers cannot be counted: %s", error);
      return null;
    } finally {
      this.#overdue = null;
    }
  }

  /**
   * Fetches sockets, for Socket.IO or whoever asks the adapter itself.
   *
   * @param {any} opts
   * @param {(wanted: Wanted) => Promise<any[]>} fetchOthers resolves to what the others have answered
   * @returns {Promise<any[]>}
   */
  _fetchAll(opts, fetchOthers) {
    const wanted = { maker: DESCRIPTIONS };
    const fetch = async () => {
      const sockets = await this._local.fetchSockets(opts);
      const answers = opts.flags?.local ? [] : await fetchOthers(wanted);
      return wanted.maker.ofList(sockets).concat(...answers);
    };
    return offerRemoteSockets(fetch(), wanted, this);
  }

  /** An id for a request: none that waits has it. @returns {string} */
  _unusedId() {
    const id = this._newRequestId();
    return this.requests.has(id) || this.ackRequests.has(id) ? this._unusedId() : id;
  }

  /**
   * An error that says that Redis is away, if it is, or that it refuses to count.
   *
   * @param {string} message
   * @param {string} [refusal] what it says then
   */
  _failure(message, refusal) {
    const uncounted =
      refusal === undefined ? "" : `: the servers cannot be counted: ${explainRefusal(refusal)}`;
    return new Error(message + uncounted + this.#link.away);
  }

  /**
   * Resolves when every server has worked off what this one has sent before, and Redis hands over to it what is
   * published to the rooms that its sockets have joined by that. Rejects if one of them does not answer in time.
   *
   * @returns {Promise<void>}
   */
  barrier() {
    return keepFor(this.#barrier(), `a barrier in ${this.nsp.name}`);
  }

  async #barrier() {
    if (this.#closed) throw closedError();
    const requestId = this._unusedId();
    const nowhere = { rooms: new Set([NOBODY]), except: new Set(), flags: {} };
    const asked = this._ask(
      requestId,
      REQUEST.REMOTE_FETCH,
      this._encodeFetch(requestId, nowhere),
      this.requestsTimeout,
    );
    const confirmed = this._subscribed(this.requestsTimeout);
    const [{ status, expected, answers, refusal }, subscribed] = await Promise.all([asked, confirmed]);
    if (status === "timeout")
      throw this._failure(
        `timeout reached: only ${answers.length} responses received out of ${expected}`,
        refusal,
      );
    if (status !== "done") throw new Error(reasonOf(status));
    if (!subscribed) throw this._failure(UNCONFIRMED);
  }

  /**
   * Resolves when Redis hands over to this server what is published to the rooms that its sockets have joined by now;
   * the part of the barrier that asks no other server. Rejects if Redis does not confirm that in time.
   *
   * @returns {Promise<void>}
   */
  async subscribed() {
    const confirmed = await keepFor(
      this._subscribed(this.requestsTimeout),
      `subscriptions in ${this.nsp.name}`,
    );
    if (this.#closed) throw closedError();
    if (!confirmed) throw this._failure(UNCONFIRMED);
  }

  /** Ends the subscriptions of this namespace. The user's clients stay as they are. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#servers = Math.max(this.#servers - 1, 0);
    this.#overdue = null;
    this.#link.leave(this.#member);
    for (const follower of this.#followers) follower.onClose?.();
    this.#ready?.settle();
    for (const resume of this.#readyWaiters) resume();
    for (const { finish } of this.requests.values()) finish(CLOSED);
    this.requests.clear();
    this.ackRequests.clear();
    this._printed.clear();
  }

  // --- incoming ----------------------------------------------------------------------------------------

  /** @param {import("../link/inbox").InboxRecord} record */
  #onRecord(record) {
    switch (record.kind) {
      case KIND.FRAME:
        return this.#onFrames(record);
      case KIND.BROADCAST:
        return this.#onBroadcast(copy(record.part(0)), record.text(1));
      case KIND.REQUEST:
        return this._guard(this._onRequest(copy(record.part(0)), record.n));
      case KIND.ANSWER:
        return this.requests.get(record.text(0))?.add(record);
      case KIND.ANSWERS:
        return this.#onAnswers(record.text(0), JSON.parse(record.text(1)));
      case KIND.ACK:
        return this._guard(this._onResponse(copy(record.part(1)), record.text(0)));
      case KIND.ACK_END:
        return void this.ackRequests.delete(record.text(0));
      case KIND.RESPONSE:
        return this._guard(this._onResponse(copy(record.part(0)), null));
      case KIND.ADDED:
        return this._onAdded(record.token, record.text(0));
    }
  }

  /** Broadcasts for the same sockets, one behind the other. @param {import("../link/inbox").InboxRecord} record */
  #onFrames(record) {
    let opts;
    try {
      opts = decodeTarget(record.part(2));
    } catch (error) {
      return this.#link.ignore(String(error));
    }
    const isRun = record.length > 1 || record.count > 0;
    if (isRun && this.#joinsFrames(opts))
      return this._deliverRun(new Run(this.nsp.name, record, opts, (error) => this._tellThrown(error)), opts);
    for (const _ of record.each()) this.#onFrame(record, opts);
  }

  /**
   * Whether the frames of broadcasts may be written at once. Not if they are volatile: of these a socket gets the first
   * one only, while it is busy with that.
   *
   * @param {any} opts
   */
  #joinsFrames({ flags }) {
    const { engine } = this.nsp.server;
    const isPlain = this.#makesFrames && writesToEachSocket();
    return isPlain && !flags.volatile && engine !== undefined && !isWatched(engine);
  }

  /**
   * @param {Run} run
   * @param {any} opts whom it is for
   */
  _deliverRun(run, opts) {
    this.apply(opts, (socket) => run.deliver(socket));
  }

  /** @param {import("../link/inbox").InboxRecord} record @param {any} opts */
  #onFrame(record, opts) {
    const text = record.text(1);
    const packet = lazyPacket(this.nsp.name, { text, data: record.isExact ? null : copy(record.part(3)) });
    const incoming = {
      packet,
      encoded: [text, ...record.attachments().map(copy)],
      frame: record.count === 0 && this.#makesFrames ? copy(record.part(0)) : null,
    };
    this._deliver(packet, opts, incoming, record.offset);
  }

  /** A broadcast that Rust could not read, or not make a frame of. @param {Buffer} bytes @param {string} offset */
  #onBroadcast(bytes, offset) {
    let decoded;
    try {
      decoded = this._decodeBroadcast(bytes, offset);
    } catch (error) {
      return this.#link.ignore(String(error));
    }
    if (decoded !== null) this._deliver(decoded.packet, decoded.opts, null, offset);
  }

  /**
   * Hands a broadcast that needs no publishing to the parent class.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {Incoming | null} incoming what it is encoded to
   * @param {string} [_offset] that its clients know it by, if it has one
   */
  _deliver(packet, opts, incoming, _offset) {
    const outer = this.#incoming;
    this.#incoming = incoming;
    try {
      super.broadcast(packet, opts);
    } catch (error) {
      // An outgoing listener of the user's has thrown.
      this._tellThrown(error);
    } finally {
      this.#incoming = outer;
    }
  }

  /** @param {string} id @param {{ status: string, expected: number, refusal?: string }} outcome */
  #onAnswers(id, outcome) {
    const request = this.requests.get(id);
    if (request === undefined) return;
    this.requests.delete(id);
    // What came before it was known how many there are to be may have come twice.
    request.finish({ ...outcome, answers: request.answers.slice(0, outcome.expected) });
  }

  /** @param {import("../link/link").LinkEvent} event @returns {boolean | void} whether somebody has heard of it */
  #onEvent(event) {
    switch (event.type) {
      case "ready":
        return this.#onReady();
      case "failed":
        this._onFailed();
        return this.#onLost(explainEvent(event), event.age);
      case "down":
      case "deaf":
        // An event loop that was blocked hears of it late.
        return this.#onLost(explainEvent(event), (event.silence ?? 0) + (event.age ?? 0));
      case "refused":
        debug("Redis refused to %s: %s", event.what, event.error);
        return this._tellError(new Error(explainEvent(event, this.#routing)));
      default:
        this._onEvent(event);
    }
  }

  /**
   * What cannot be read is said, even in an outage that has begun otherwise. Says whether somebody has heard of it.
   *
   * @param {string} reason
   */
  _onUnreadable(reason) {
    return this.#state === "degraded" ? this._tellError(new Error(reason)) : this.#onLost(reason);
  }

  /**
   * @param {string} reason
   * @param {number} [silence] how long nothing may have come in already, in milliseconds
   * @returns {boolean} whether somebody has heard of the outage
   */
  #onLost(reason, silence = 0) {
    const since = performance.now() - silence;
    // Once for an outage, not with every attempt to end it.
    if (this.#state === "degraded") {
      // It had begun before it was noticed.
      if (this.#gap !== null) this.#gap.since = Math.min(this.#gap.since, since);
      return this.#outageHeard;
    }
    if (this.#state === "ready") this.#gap = { since, reason };
    this.#outageHeard = this.#onDegraded(new Error(reason));
    return this.#outageHeard;
  }

  /** @param {Error} error @returns {boolean} whether somebody has heard of it */
  #onDegraded(error) {
    const before = this.#state;
    this.#state = "degraded";
    let heard = this.listenerCount("degraded") > 0;
    for (const follower of this.#followers) heard = follower.onDegraded?.(error) === true || heard;
    this.#tell("degraded", error);
    if (before === "ready") this.#tell("disconnect", error);
    return this._tellError(error) || heard;
  }

  #onReady() {
    this.#wasReady = true;
    this.#ready?.settle();
    if (this.#state === "ready") return;
    this.#state = "ready";
    const gap = this.#gap;
    this.#gap = null;
    for (const resume of this.#readyWaiters) resume();
    for (const follower of this.#followers) follower.onReady?.();
    this.#tell("ready");
    // As a Redis client would say it, and socket.io-redis did.
    this.#tell("connect");
    if (gap === null) return;
    const { since, reason } = gap;
    this.#tell("gap", { milliseconds: Math.ceil(performance.now() - since), reason });
  }

  /**
   * Emits one of several events of a moment: what a listener throws does not keep the others from theirs. It is thrown
   * by itself, as from any listener.
   *
   * @param {string} event
   * @param {...any} args
   */
  #tell(event, ...args) {
    try {
      super.emit(event, ...args);
    } catch (error) {
      throwAlone(error);
    }
  }

  #probeFrames() {
    /** @type {any} */
    const packetOpts = {};
    encodeInParent(this, { type: EVENT, nsp: "/", data: ["probe"] }, packetOpts);
    return payloadOf(packetOpts.wsPreEncodedFrame) !== null;
  }
}

/** An implementation of `broadcast`, and whether it does nothing but encode and write to each socket. */
let known = { broadcast: /** @type {any} */ (null), isPlain: false };

/** Whether the parent class writes to each socket what `_encode` returns. uWebSockets.js brings another one that does not. */
function writesToEachSocket() {
  const { broadcast } = Adapter.prototype;
  if (known.broadcast !== broadcast) known = { broadcast, isPlain: isPlainBroadcast(broadcast) };
  return known.isPlain;
}

/** @param {any} broadcast */
function isPlainBroadcast(broadcast) {
  /** @type {string[]} */
  const steps = [];
  const nobody = Object.assign(Object.create(Adapter.prototype), {
    // No namespace is called so, and nobody is in it.
    nsp: { name: "\u0000probe", sockets: new Map() },
    rooms: new Map(),
    sids: new Map(),
    encoder: { encode: () => ["2"] },
    _encode: () => (steps.push("encode"), ["2"]),
    apply: () => void steps.push("apply"),
  });
  try {
    for (const rooms of [new Set(), new Set(["room"]), new Set(["room", "other"])])
      broadcast.call(nobody, { type: EVENT, data: ["probe"] }, { rooms, except: new Set(), flags: {} });
  } catch {
    return false;
  }
  return steps.join() === "encode,apply,encode,apply,encode,apply";
}

/** The namespaces whose connections are not recovered, and that this was said of. @type {Set<string>} */
const unrecovered = new Set();

/** @param {string} nsp */
function warnOfRecovery(nsp) {
  if (unrecovered.has(nsp)) return;
  unrecovered.add(nsp);
  console.warn(
    `socket.io-redis: connectionStateRecovery has no effect in ${nsp}: it needs the adapter of socket.io-redis-native/streams`,
  );
}

/** How long a subscription to the room of another server's sockets is waited for, in milliseconds. */
const JOIN_PATIENCE = 1000;

const encodeOfParent = Adapter.prototype._encode;

/**
 * Encodes as socket.io-adapter does.
 *
 * @param {any} adapter
 * @param {any} packet
 * @param {any} packetOpts
 */
function encodeInParent(adapter, packet, packetOpts) {
  return typeof encodeOfParent === "function"
    ? encodeOfParent.call(adapter, packet, packetOpts)
    : adapter.encoder.encode(packet);
}

/**
 * Settles as a promise does, or resolves to `LATE` after so many milliseconds. It keeps the process.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} timeout
 * @returns {Promise<T | typeof LATE>}
 */
function inTime(promise, timeout) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, timeout, LATE);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}

/** Why a request has ended without all answers, though in time. @param {string} status */
function reasonOf(status) {
  return REASONS[status] ?? "the adapter was closed";
}

/** @type {Record<string, string>} */
const REASONS = {
  broken: "the link to Redis has failed",
  tooMany: "too many requests wait for answers",
  tooLarge: "the answers are too large",
};

function closedError() {
  return new Error(reasonOf("failed"));
}

/** The name of a room in a channel. @param {any} room */
function nameOf(room) {
  if (typeof room === "string") return room;
  try {
    return String(room);
  } catch {
    // No broadcast can name it either.
    return "";
  }
}

/** Of its own memory: the next fetch writes the slab anew. @param {Buffer} bytes */
function copy(bytes) {
  return Buffer.from(bytes);
}

module.exports = { JOIN_PATIENCE, MemberAdapter, reasonOf, BROADCASTS, REQUESTS, RESPONSES };
