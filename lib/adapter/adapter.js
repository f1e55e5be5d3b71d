// @ts-check
"use strict";

/**
 * The adapter of all families: what a server asks the others, and what it does when it is asked. How a message looks is its
 * codec's matter (lib/messages); what else a family does, its class's (classic.js, sharded.js, streams.js).
 */

const { keepFor } = require("../base/lifetime");
const { SocketsAnswer } = require("../base/native");
const { toBuffer } = require("../delivery/outgoing");
const { KIND } = require("../link/inbox");
const { DESCRIPTIONS } = require("../messages/answers");
const { PrintedSockets } = require("../messages/printed-sockets");
const { REQUEST } = require("../messages/requests");
const { toDelay } = require("../options/options");
const { Asker } = require("./asker");
const { BroadcastingAdapter } = require("./broadcasting");
const { TOO_DEEP } = require("./publisher");
const { offerRemoteSockets } = require("./remote-sockets");
const { Responder } = require("./responder");
const { ServerCount } = require("./server-count");

/** @type {1} */ const REQUESTS = 1;
/** @type {2} */ const RESPONSES = 2;

/**
 * @typedef {import("../messages/requests").Fields} Fields
 * @typedef {(...args: any[]) => void} Callback
 */

/** @abstract */
class AskingAdapter extends BroadcastingAdapter {
  #count;
  #asker;
  #responder;

  /**
   * @param {any} nsp the namespace
   * @param {import("../link/link").Link} link
   * @param {Omit<import("../link/routing").Identity, "nsp" | "frames">} identity
   * @param {import("./responder").Codec} codec how its messages look
   */
  constructor(nsp, link, identity, codec) {
    super(nsp, link, identity, codec);
    this.#count = new ServerCount(() => this.#countServers());
    /** @type {any} */
    const self = this;
    this.#asker = new Asker(this._membership, codec, self);
    this.#responder = new Responder(self, codec);
    /** Requests of this node that wait for answers, by their id. */
    this.requests = this.#asker.requests;
    /** Acknowledged broadcasts of this node, by their id. */
    this.ackRequests = this.#asker.ackRequests;
    /** What other servers were told of this one's sockets. */
    this._printed = new PrintedSockets(
      (handshake) => codec.printer.all([handshake]),
      (id) => !this._isClosed && this.sids.has(id),
    );
  }

  // --- what a family may do otherwise ------------------------------------------------------------------

  /** Tells the other members what this one does to its sockets. @param {number} kind @param {Fields} fields */
  _tell(kind, fields) {
    this._send(REQUESTS, null, this._codec.encodeRequest(kind, undefined, fields));
  }
  /** When Redis has confirmed the rooms of by now, or after a while; null if it has. @returns {Promise<boolean> | null} */
  _confirmation() {
    return null;
  }
  /** The id of a request of this node. */
  _newRequestId() {
    return this._codec.newId();
  }
  /** A message that was added to a stream is there. @param {number} _token @param {string} _id of the entry; empty if that is not known */
  _onAdded(_token, _id) {}

  // --- what it does that with --------------------------------------------------------------------------

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
    return new SocketsAnswer(this._membership.routing.native.id, requestId, isJson, count);
  }

  /** @param {string | null} requester its uid @param {InstanceType<typeof SocketsAnswer>} answer */
  _respondSockets(requester, answer) {
    const { link, routing, number } = this._membership;
    link.sendSockets(number, routing, requester, answer);
  }

  /** Whether a request is of this member itself. @param {any} request */
  _isOwn({ uid, requestId }) {
    return uid === this.uid || this.requests.has(requestId) || this.ackRequests.has(requestId);
  }

  _onFailed() {
    this.#asker.end(true);
  }

  // --- requests ----------------------------------------------------------------------------------------

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
    const encode = () => toBuffer(this._codec.encodeAckRequest(id, packet, opts));
    const request = this._publisher.encodable(encode);
    // If it is nested too deep, the local sockets acknowledge it; that others do not ends it in time.
    if (request !== TOO_DEEP) {
      if (this._isClosed) this._send(REQUESTS, null, request);
      else this.#asker.broadcastWithAck(id, request, clientCountCallback, ack, opts.flags?.timeout);
    }
    this._inOrder(here);
  }

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
    const { link, routing, number } = this._membership;
    return this._isClosed ? link.serverCountWithout(routing) : link.serverCount(number);
  }

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const opts = { rooms: new Set(), except: new Set(), flags: {} };
    const timeout = this.requestsTimeout;
    for (const list of await this.#asker.lists(REQUEST.ALL_ROOMS, { opts }, "allRooms", timeout))
      for (const room of this._codec.roomsIn(list)) rooms.add(room);
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
      for (const id of this._codec.idsIn(list)) sids.add(id);
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
      const note = this._codec.encodeRequest(REQUEST.SERVER_SIDE_EMIT, undefined, { args: packet });
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
    if (this._isClosed) return;
    this.#count.close();
    super.close();
    this.#asker.end(false);
    this._printed.clear();
  }

  /** @param {any} id */
  delAll(id) {
    try {
      super.delAll(id);
    } finally {
      this._printed.forget(id);
    }
  }

  // --- incoming ----------------------------------------------------------------------------------------

  /** @param {import("../link/inbox").InboxRecord} record */
  _onRecord(record) {
    switch (record.kind) {
      case KIND.FRAME:
        return this._onFrames(record);
      case KIND.BROADCAST:
        return this._onBroadcast(copy(record.part(0)), record.text(1));
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
}

/** Of its own memory: the next fetch writes the slab anew. @param {Buffer} bytes */
function copy(bytes) {
  return Buffer.from(bytes);
}

module.exports = { AskingAdapter, REQUESTS };
