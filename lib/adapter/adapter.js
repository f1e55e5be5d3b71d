// @ts-check
"use strict";

/**
 * The adapter of all families: a member of a link, the rooms and sockets that Rust is told of, a broadcast's way out and in. How
 * a message looks is its codec's matter (lib/messages); what else a family does, its class's (classic.js, sharded.js, streams.js).
 */

const { checkSocketIo } = require("../base/socket-io-version");
const { keepFor } = require("../base/lifetime");
const { SocketsAnswer } = require("../base/native");
const { decodeTarget, lazyPacket, printsStandardText } = require("../delivery/delivery");
const { frameOf } = require("../delivery/frames");
const { toBuffer } = require("../delivery/outgoing");
const { Run, isWatched } = require("../delivery/run");
const { KIND } = require("../link/inbox");
const { explainEvent } = require("../link/refusals");
const { Routing } = require("../link/routing");
const { DESCRIPTIONS } = require("../messages/answers");
const { PrintedHandshakes } = require("../messages/printed-handshakes");
const { REQUEST } = require("../messages/requests");
const { printJson } = require("../messages/sockets");
const { toDelay } = require("../options/options");
const { Asker } = require("./asker");
const { Adapter, encodeInParent, makesFrames, writesToEachSocket } = require("./parent");
const { Publisher, TOO_DEEP } = require("./publisher");
const { Readiness } = require("./readiness");
const { offerRemoteSockets } = require("./remote-sockets");
const { Responder } = require("./responder");
const { ServerCount } = require("./server-count");
const debug = require("debug")("socket.io-redis");

/** What tells a member of a link, of whatever class and copy of this package. */
const MEMBER = Symbol.for("socket.io-redis-native.member");

/** @type {0} */ const BROADCASTS = 0;
/** @type {1} */ const REQUESTS = 1;
/** @type {2} */ const RESPONSES = 2;

/**
 * @typedef {import("../delivery/outgoing").BroadcastOptions} BroadcastOptions
 * @typedef {import("../messages/requests").Fields} Fields
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {{ packet: any, encoded: any[], frame: Buffer | null }} Incoming
 */

/** @abstract */
class MemberAdapter extends Adapter {
  /** @type {import("./publisher").Membership} */
  #membership;
  #codec;
  #closed = false;
  #readiness;
  #count;
  #asker;
  #publisher;
  #responder;
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

  /**
   * @param {any} nsp the namespace
   * @param {import("../link/link").Link} link
   * @param {Omit<import("../link/routing").Identity, "nsp" | "frames">} identity
   * @param {import("./responder").Codec} codec how its messages look
   */
  constructor(nsp, link, identity, codec) {
    checkSocketIo(nsp.server);
    super(nsp);
    this.uid = identity.uid;
    this.#standardText = printsStandardText(this.encoder);
    this.#makesFrames = this.#standardText && makesFrames(this);
    const routing = new Routing({ ...identity, nsp: nsp.name, frames: this.#standardText });
    this.#membership = { link, routing, number: 0 };
    this.#codec = codec;
    const emit = (/** @type {string} */ event, /** @type {any[]} */ ...args) => super.emit(event, ...args);
    const listenerCount = (/** @type {string} */ event) => this.listenerCount(event);
    this.#readiness = new Readiness({ emit, listenerCount }, nsp.name);
    this.#count = new ServerCount(() => this.#countServers());
    this.#publisher = new Publisher(this.#membership, codec, this.#standardText, this);
    /** @type {any} */
    const self = this;
    this.#asker = new Asker(this.#membership, codec, self);
    this.#responder = new Responder(self, codec);
    /** Requests of this node that wait for answers, by their id. */
    this.requests = this.#asker.requests;
    /** Acknowledged broadcasts of this node, by their id. */
    this.ackRequests = this.#asker.ackRequests;
    const pack = (/** @type {object} */ handshake) => codec.pack(handshake);
    const print = (/** @type {object} */ handshake) => printJson([handshake]);
    /** The handshakes that other servers were told of. */
    this._printed = new PrintedHandshakes(codec.isText ? print : pack);
  }

  /**
   * Resolves when this node hears the others, for the first time, or is closed: nobody handles a rejection of what is
   * only there to be waited for. Whoever has asked for it waits: the process is kept, however long Redis is away.
   *
   * @returns {Promise<void>}
   */
  get ready() {
    return this.#readiness.ready;
  }

  /** Tells somebody what becomes of this adapter. Not by listeners, which the user may remove. @param {import("./readiness").Follower} follower */
  _follow(follower) {
    this.#readiness.follow(follower);
  }

  /**
   * Tells what a listener or a callback of the user's has thrown that was called for another server: to those who listen
   * to errors, or on stderr. Some of the reference's adapters hide it, others end the process for it.
   *
   * @param {any} error
   */
  _tellThrown(error) {
    if (!this.#readiness.tellError(error))
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
    const { stream } = this.#membership.routing.identity;
    if (stream === undefined && this.nsp.server.opts?.connectionStateRecovery) warnOfRecovery(this.nsp.name);
    this.#membership.number = this.#membership.link.join(this.#membership.routing, {
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
    return this.#membership.routing.names;
  }

  /** Who carries the bytes, whether that is proven, and why. */
  get transport() {
    return this.#membership.link.transport;
  }

  /** The counters of the link that this namespace shares with the others of its clients; null if it is closed. */
  stats() {
    return this.#membership.link.stats();
  }

  // --- what a family may do otherwise ------------------------------------------------------------------

  /**
   * Sends a broadcast that Rust does not encode.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {string | null} room if it is exactly one
   */
  _sendBroadcast(packet, opts, room) {
    this._send(BROADCASTS, room, this.#codec.encodeBroadcast(packet, opts));
  }
  /** Rust has got a broadcast. */
  _handedOver() {}
  /** Tells the other members what this one does to its sockets. @param {number} kind @param {Fields} fields */
  _tell(kind, fields) {
    this._send(REQUESTS, null, this.#codec.encodeRequest(kind, undefined, fields));
  }
  /** Does something to the local sockets, behind what has to be done before. @param {() => void} act */
  _inOrder(act) {
    act();
  }
  /** Sockets somewhere are told to join rooms: what is sent there next is not to miss them. @param {any[]} rooms */
  _cover(rooms) {
    this.#membership.routing.native.cover(rooms.map(nameOf));
  }
  /** Rooms were joined that Redis is asked for something for. */
  _onSubscribing() {}
  /** When Redis has confirmed the rooms of by now, or after a while; null if it has. @returns {Promise<boolean> | null} */
  _confirmation() {
    return null;
  }
  /** The id of a request of this node. */
  _newRequestId() {
    return this.#codec.newId();
  }
  /** A message that was added to a stream is there. @param {number} _token @param {string} _id of the entry; empty if that is not known */
  _onAdded(_token, _id) {}
  /** The link has failed: nothing that it was asked is answered any more. */
  _onFailed() {
    this.#asker.end(true);
  }
  /** It was made anew, and knows of no rooms. */
  _onRejoin() {
    for (const room of this.rooms.keys()) this.#setRoom(room, true);
    if (this.sids.size > 0) this.#occupied(true);
  }
  /** What is told to some families only. @param {import("../link/link").LinkEvent} _event */
  _onEvent(_event) {}

  // --- what it does that with --------------------------------------------------------------------------

  /** @param {0 | 1 | 2} to @param {string | null} name @param {Buffer | string} bytes */
  _send(to, name, bytes) {
    const { link, routing, number } = this.#membership;
    link.send(number, routing, to, name, toBuffer(bytes));
  }

  /** Answers another member. @param {string | null} requester its uid @param {Buffer | string} bytes */
  _respond(requester, bytes) {
    this._send(RESPONSES, requester, bytes);
  }

  /**
   * An answer to a request for sockets, of so many descriptions.
   *
   * @param {string | null} requestId
   * @param {boolean} isJson
   * @param {number} count
   */
  _newAnswer(requestId, isJson, count) {
    return new SocketsAnswer(this.#membership.routing.native.id, requestId, isJson, count);
  }

  /** @param {string | null} requester its uid @param {InstanceType<typeof SocketsAnswer>} answer */
  _respondSockets(requester, answer) {
    const { link, routing, number } = this.#membership;
    link.sendSockets(number, routing, requester, answer);
  }

  /** The link, for what a family alone needs of it. */
  get _membership() {
    return this.#membership;
  }

  /** Whether this node hears the others now. */
  get _isReady() {
    return this.#readiness.isReady;
  }

  get _isClosed() {
    return this.#closed;
  }

  /** Resolves when this node hears the others, or is closed, or after so many milliseconds. @param {number} timeout @returns {Promise<void>} */
  _whenReady(timeout) {
    return this.#readiness.whenReady(timeout);
  }

  /** What cannot be read is said. Returns whether somebody has heard of it. @param {string} reason */
  _onUnreadable(reason) {
    return this.#readiness.onUnreadable(reason);
  }

  /** Whether a request is of this member itself. @param {any} request */
  _isOwn({ uid, requestId }) {
    return uid === this.uid || this.requests.has(requestId) || this.ackRequests.has(requestId);
  }

  /** A message is malformed. @param {string} why */
  _ignore(why) {
    this.#membership.link.ignore(why);
  }

  /** A request of another member is worked off, whatever it has done to the rooms. */
  _settled() {
    this.#membership.link.settled(this.#membership.number);
  }

  /**
   * Resolves when Redis has confirmed all that this node listens to by now, to true; or to false, if it has not after
   * so many milliseconds.
   *
   * @param {any} timeout
   * @returns {Promise<boolean>}
   */
  _subscribed(timeout) {
    const { link, number } = this.#membership;
    return this.#closed ? Promise.resolve(false) : link.subscribed(number, toDelay(timeout));
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
    const { link, number } = this.#membership;
    if (link.room(number, nameOf(room), present, typeof room === "string")) this._onSubscribing();
  }

  /** @param {boolean} isOccupied whether there are any sockets */
  #occupied(isOccupied) {
    this.#membership.link.occupied(this.#membership.number, isOccupied);
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
      if (first && this.sids.size > 0) this.#occupied(true);
    }
  }

  /** @param {any} id */
  delAll(id) {
    const occupied = this.sids.size > 0;
    try {
      super.delAll(id);
    } finally {
      this._printed.forget(id);
      if (occupied && this.sids.size === 0) this.#occupied(false);
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
      if (!outgoing.done) this.#publisher.publish(packet, opts, this.encoder.encode(packet), null);
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
    this.#publisher.publish(packet, outgoing.opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
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
    this.#publisher.publish(packet, opts, encoded, packetOpts.wsPreEncodedFrame);
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

  /**
   * @param {any} packet
   * @param {any} opts
   * @param {Callback} clientCountCallback
   * @param {Callback} ack
   */
  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    this.#count.expectAcks();
    packet.nsp = this.nsp.name;
    const here = () => super.broadcastWithAck(packet, opts, clientCountCallback, ack);
    if (opts?.flags?.local) return here();
    const id = this.#asker.unusedId();
    const encode = () => toBuffer(this.#codec.encodeAckRequest(id, packet, opts));
    const request = this.#publisher.encodable(encode);
    // If it is nested too deep, the local sockets acknowledge it; that others do not ends it in time.
    if (request !== TOO_DEEP) {
      if (this.#closed) this._send(REQUESTS, null, request);
      else this.#asker.broadcastWithAck(id, request, clientCountCallback, ack, opts.flags?.timeout);
    }
    this._inOrder(here);
  }

  /**
   * The same for the local sockets alone. Returns the ids of those that have got it, if they are known.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {Callback} count
   * @param {Callback} ack
   * @returns {string[] | null}
   */
  _broadcastHere(packet, opts, count, ack) {
    const receivers = (this.#receivers = /** @type {string[]} */ ([]));
    try {
      super.broadcastWithAck(packet, opts, count, ack);
      // Another implementation does not come by `apply`.
      return this.#receivers === receivers ? null : receivers;
    } finally {
      this.#receivers = null;
    }
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
    return this.#count.get(toDelay(this.requestsTimeout));
  }

  /** @returns {Promise<number | null>} */
  #countServers() {
    const { link, routing, number } = this.#membership;
    return this.#closed ? link.serverCountWithout(routing) : link.serverCount(number);
  }

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const opts = { rooms: new Set(), except: new Set(), flags: {} };
    const timeout = this.requestsTimeout;
    for (const list of await this.#asker.lists(REQUEST.ALL_ROOMS, { opts }, "allRooms", timeout))
      for (const room of this.#codec.roomsIn(list)) rooms.add(room);
    return rooms;
  }

  /**
   * The ids of the sockets of the cluster that are in one of the rooms, or of all.
   *
   * @param {Set<any>} [rooms]
   * @returns {Promise<Set<any>>}
   */
  async sockets(rooms) {
    rooms ??= new Set();
    const sids = await super.sockets(rooms);
    const opts = { rooms, except: new Set(), flags: {} };
    const timeout = this.requestsTimeout;
    for (const list of await this.#asker.lists(REQUEST.SOCKETS, { opts }, "sockets", timeout))
      for (const id of this.#codec.idsIn(list)) sids.add(id);
    return sids;
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  fetchSockets(opts) {
    const wanted = { maker: DESCRIPTIONS };
    const fetchOthers = () => {
      const timeout = opts.flags?.timeout || this.requestsTimeout;
      return this.#asker.lists(REQUEST.REMOTE_FETCH, { opts }, "fetchSockets", timeout, wanted);
    };
    const fetch = async () => {
      const sockets = await super.fetchSockets(opts);
      const lists = opts.flags?.local ? [] : await fetchOthers();
      return wanted.maker.ofList(sockets).concat(...lists);
    };
    return offerRemoteSockets(fetch(), wanted, this);
  }

  /** @param {any} opts @param {any[]} rooms @returns {any} */
  addSockets(opts, rooms) {
    this.#change(opts, REQUEST.REMOTE_JOIN, { opts, rooms }, () => super.addSockets(opts, rooms));
  }

  /** @param {any} opts @param {any[]} rooms @returns {any} */
  delSockets(opts, rooms) {
    this.#change(opts, REQUEST.REMOTE_LEAVE, { opts, rooms }, () => super.delSockets(opts, rooms));
  }

  /** @param {any} opts @param {boolean} close @returns {any} */
  disconnectSockets(opts, close) {
    const act = () => super.disconnectSockets(opts, close);
    this.#change(opts, REQUEST.REMOTE_DISCONNECT, { opts, close }, act);
  }

  /** Does something to the local sockets, and has others do it to theirs. @param {any} opts @param {number} kind @param {Fields} fields @param {() => void} act */
  #change(opts, kind, fields, act) {
    if (opts.flags?.local) return act();
    this._inOrder(act);
    this._tell(kind, fields);
  }

  /** @param {any[]} packet the arguments, with a callback at the end if answers are wanted @returns {any} */
  serverSideEmit(packet) {
    if (typeof packet[packet.length - 1] === "function") {
      const ack = packet.pop();
      this._guard(this.#asker.serverSideEmit(packet, ack));
    } else {
      const note = this.#codec.encodeRequest(REQUEST.SERVER_SIDE_EMIT, undefined, { args: packet });
      this._send(REQUESTS, null, note);
    }
  }

  /**
   * Resolves when every server has worked off what this one has sent before, and Redis hands over to it what is
   * published to the rooms that its sockets have joined by that. Rejects if one of them does not answer in time.
   *
   * @returns {Promise<void>}
   */
  barrier() {
    return keepFor(this.#asker.barrier(), `a barrier in ${this.nsp.name}`);
  }

  /**
   * Resolves when Redis hands over to this server what is published to the rooms that its sockets have joined by now;
   * the part of the barrier that asks no other server. Rejects if Redis does not confirm that in time.
   *
   * @returns {Promise<void>}
   */
  subscribed() {
    return this.#asker.subscribed();
  }

  /** Ends the subscriptions of this namespace. The user's clients stay as they are. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#count.close();
    this.#membership.link.leave(this.#membership.number);
    this.#readiness.close();
    this.#asker.end(false);
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
        return this._guard(this.#responder.onRequest(copy(record.part(0)), record.n));
      case KIND.ANSWER:
        return this.requests.get(record.text(0))?.add(record);
      case KIND.ANSWERS:
        return this.#asker.onAnswers(record.text(0), JSON.parse(record.text(1)));
      case KIND.ACK:
        return this._guard(this.#onResponse(copy(record.part(1)), record.text(0)));
      case KIND.ACK_END:
        return void this.ackRequests.delete(record.text(0));
      case KIND.RESPONSE:
        return this._guard(this.#onResponse(copy(record.part(0)), null));
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
      return this.#membership.link.ignore(String(error));
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
      decoded = this.#codec.decodeBroadcast(bytes, offset);
    } catch (error) {
      return this.#membership.link.ignore(String(error));
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

  /** An answer to an acknowledged broadcast. @param {Buffer} bytes @param {string | null} id if Rust knows it */
  async #onResponse(bytes, id) {
    let acknowledge;
    try {
      acknowledge = this.#asker.onAcknowledged(bytes, id);
    } catch (error) {
      return this._ignore(String(error));
    }
    acknowledge();
  }

  /** @param {import("../link/link").LinkEvent} event @returns {boolean | void} whether somebody has heard of it */
  #onEvent(event) {
    switch (event.type) {
      case "ready":
        return this.#readiness.onReady();
      case "failed":
        this._onFailed();
        return this.#readiness.onLost(explainEvent(event), event.age);
      case "down":
      case "deaf":
        // An event loop that was blocked hears of it late.
        return this.#readiness.onLost(explainEvent(event), (event.silence ?? 0) + (event.age ?? 0));
      case "refused":
        debug("Redis refused to %s: %s", event.what, event.error);
        return this.#readiness.tellError(new Error(explainEvent(event, this.#membership.routing)));
      default:
        this._onEvent(event);
    }
  }
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

module.exports = { JOIN_PATIENCE, MemberAdapter, BROADCASTS, REQUESTS };
