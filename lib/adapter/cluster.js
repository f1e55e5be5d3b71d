// @ts-check
"use strict";

/**
 * What the adapters have in common whose messages are `{ type, data, uid, nsp }`: the sharded one and that of streams.
 */

const { randomBytes } = require("node:crypto");
const { Adapter, ClusterAdapter } = /** @type {{ Adapter: any, ClusterAdapter: any }} */ (
  require("socket.io-adapter")
);
const { MemberAdapter, REQUESTS, RESPONSES, reasonOf } = require("./adapter");
const { DESCRIPTIONS } = require("../messages/answers");
const { ClusterResponder, MESSAGE, decodeMessage } = require("../messages/cluster-messages");
const { eventOf, readTarget } = require("../delivery/delivery");
const msgpack = require("../msgpack");
const { checkNesting, rawOptions } = require("../delivery/outgoing");
const { REQUEST } = require("../messages/requests");

/** What the methods return that are asynchronous in the reference: there is nothing to wait for. */
const DONE = Promise.resolve();

/** @abstract */
class ClusterMemberAdapter extends MemberAdapter {
  #responder = new ClusterResponder({
    nsp: () => this.nsp,
    respond: (requester, type, data) => this._send(RESPONSES, requester, this._encodeMessage(type, data)),
    respondSockets: (requester, answer) => this._respondSockets(requester, answer),
    newAnswer: (...args) => this._newAnswer(...args),
    printed: this._printed,
    isText: () => this._isText,
    pack: (value) => this._pack(value),
    ignore: (error) => this._ignore(error),
    settled: () => this._settled(),
    subscribed: () => this._confirmation(),
    local: this._local,
  });

  // --- what a family defines ---------------------------------------------------------------------------

  /** A message as it goes over a channel. @param {number} _type @param {object} _data @returns {Buffer} */
  _encodeMessage(_type, _data) {
    throw new Error("abstract");
  }

  /** Whether messages are JSON where that can carry them. */
  get _isText() {
    return true;
  }

  /** A value in a message that is msgpack. @param {any} value */
  _pack(value) {
    return msgpack.encode(value);
  }

  /** @param {object} handshake */
  _printHandshake(handshake) {
    return this._isText ? super._printHandshake(handshake) : this._pack(handshake);
  }

  /** Tells the other members what this one does to its sockets. @param {number} _type @param {any} _data */
  _tell(_type, _data) {
    throw new Error("abstract");
  }

  /** Sends any message, as its type has it. @param {number} _type @param {any} _data */
  _sendMessage(_type, _data) {
    throw new Error("abstract");
  }

  /** When Redis has confirmed the rooms of by now, or after a while; null if it has. @returns {Promise<boolean> | null} */
  _confirmation() {
    return null;
  }

  // --- how messages look -------------------------------------------------------------------------------

  /** @param {any} opts @param {boolean} binary */
  _encodeOptions(opts, binary) {
    const options = rawOptions(opts);
    return binary ? msgpack.encode(options) : Buffer.from(JSON.stringify(options));
  }

  /** The text goes into the message as it is. @param {any} _packet @param {Buffer[]} attachments */
  _isExact(_packet, attachments) {
    return attachments.length === 0;
  }

  _newRequestId() {
    return randomId();
  }

  /** @param {string} requestId @param {any} packet @param {any} opts */
  _encodeAckRequest(requestId, { type, data }, opts) {
    const message = { packet: { type, data }, requestId, opts: rawOptions(opts) };
    return checkNesting(this._encodeMessage(MESSAGE.BROADCAST, message));
  }

  /** @param {string} requestId @param {any} opts */
  _encodeFetch(requestId, opts) {
    return this._encodeMessage(MESSAGE.FETCH_SOCKETS, { opts: rawOptions(opts), requestId });
  }

  /** @param {Buffer} bytes @param {string} offset @returns {{ packet: any, opts: any } | null} */
  _decodeBroadcast(bytes, offset) {
    const { data } = decodeMessage(bytes);
    const { type, id } = data.packet;
    const packet = eventOf({
      type,
      data: data.packet.data,
      nsp: this.nsp.name,
      ...(id !== undefined && { id }),
    });
    if (offset !== "") packet.data.push(offset);
    return { packet, opts: readTarget(data.opts ?? {}) };
  }

  /** @param {Buffer} bytes */
  _onRequest(bytes) {
    return this.#responder.onRequest(bytes);
  }

  /** @param {Buffer} bytes @param {string | null} id */
  async _onResponse(bytes, id) {
    let message;
    try {
      message = decodeMessage(bytes);
    } catch (error) {
      return this._ignore(String(error));
    }
    const { type, data } = message;
    const request = this.ackRequests.get(id ?? data.requestId);
    if (type === MESSAGE.BROADCAST_CLIENT_COUNT) request?.clientCountCallback(data.clientCount);
    else if (type === MESSAGE.BROADCAST_ACK) request?.ack(data.packet);
  }

  // --- what a ClusterAdapter has ------------------------------------------------------------------------

  /**
   * Sends a message that is complete, for a subclass or another package that does so.
   *
   * @param {{ type: number, data: any }} message
   * @returns {Promise<string>}
   */
  async doPublish({ type, data }) {
    this._sendMessage(type, data);
    return "";
  }

  /** @param {string} requester its uid @param {{ type: number, data: any }} response */
  async doPublishResponse(requester, { type, data }) {
    this._send(RESPONSES, requester, this._encodeMessage(type, data));
  }

  /** What waits for answers here is told of them by Rust, all at once: one alone is of no use. @param {any} response */
  onResponse(response) {
    if (!this.requests.has(response.data?.requestId)) super.onResponse(response);
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /** @param {any} packet @param {any} opts @returns {Promise<void>} */
  broadcast(packet, opts) {
    super.broadcast(packet, opts);
    return DONE;
  }

  // --- requests ----------------------------------------------------------------------------------------

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const everywhere = { rooms: new Set(), except: new Set(), flags: {} };
    for (const sockets of await this.#fetch(everywhere, this.requestsTimeout))
      for (const socket of sockets) for (const room of socket.rooms) rooms.add(room);
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
    const sids = await this._local.sockets(rooms);
    const opts = { rooms, except: new Set(), flags: {} };
    for (const sockets of await this.#fetch(opts, this.requestsTimeout))
      for (const { id } of sockets) sids.add(id);
    return sids;
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  fetchSockets(opts) {
    return this._fetchAll(opts, (wanted) =>
      this.#fetch(opts, opts.flags?.timeout || this.requestsTimeout, wanted),
    );
  }

  /**
   * The sockets of the other servers, a list of each.
   *
   * @param {any} opts
   * @param {number} timeout in milliseconds
   * @param {import("./adapter").Wanted} [wanted]
   * @returns {Promise<any[][]>}
   */
  async #fetch(opts, timeout, wanted = { maker: DESCRIPTIONS }) {
    const requestId = this._unusedId();
    const request = this._encodeFetch(requestId, opts);
    const outcome = await this._ask(requestId, REQUEST.REMOTE_FETCH, request, timeout, wanted);
    const { status, expected, answers } = outcome;
    const { ofList } = wanted.maker;
    const lists = answers.map((answer) =>
      Array.isArray(answer) ? answer : ofList(decodeMessage(answer).data.sockets),
    );
    if (status === "done") return lists;
    const responses = lists.map((sockets) => ({ requestId, sockets }));
    // What has come is not thrown away.
    throw Object.assign(this.#failed(outcome), { responses, expected });
  }

  /** @param {any} opts @param {any[]} rooms @returns {Promise<void>} */
  addSockets(opts, rooms) {
    if (opts.flags?.local) {
      this._local.addSockets(opts, rooms);
      return DONE;
    }
    this._inOrder(() => this._local.addSockets(opts, rooms));
    this._cover(rooms);
    this._tell(MESSAGE.SOCKETS_JOIN, { opts: rawOptions(opts), rooms: [...rooms] });
    return DONE;
  }

  /** @param {any} opts @param {any[]} rooms @returns {Promise<void>} */
  delSockets(opts, rooms) {
    if (opts.flags?.local) {
      this._local.delSockets(opts, rooms);
      return DONE;
    }
    this._inOrder(() => this._local.delSockets(opts, rooms));
    this._tell(MESSAGE.SOCKETS_LEAVE, { opts: rawOptions(opts), rooms: [...rooms] });
    return DONE;
  }

  /** @param {any} opts @param {boolean} close @returns {Promise<void>} */
  disconnectSockets(opts, close) {
    if (opts.flags?.local) {
      this._local.disconnectSockets(opts, close);
      return DONE;
    }
    this._inOrder(() => this._local.disconnectSockets(opts, close));
    this._tell(MESSAGE.DISCONNECT_SOCKETS, { opts: rawOptions(opts), close });
    return DONE;
  }

  /**
   * @param {any[]} packet the arguments, with a callback at the end if answers are wanted
   * @returns {Promise<void>}
   */
  serverSideEmit(packet) {
    const withAck = typeof packet[packet.length - 1] === "function";
    if (!withAck) {
      this._send(REQUESTS, null, checkNesting(this._encodeMessage(MESSAGE.SERVER_SIDE_EMIT, { packet })));
      return DONE;
    }
    const ack = packet.pop();
    const requestId = this._unusedId();
    const request = checkNesting(this._encodeMessage(MESSAGE.SERVER_SIDE_EMIT, { requestId, packet }));
    const asked = this._ask(requestId, REQUEST.SERVER_SIDE_EMIT, request, this.requestsTimeout);
    const told = asked.then((outcome) => {
      const responses = outcome.answers.map((bytes) => decodeMessage(bytes).data.packet);
      ack(outcome.status === "done" ? null : this.#failed(outcome), responses);
    });
    this._guard(told);
    return DONE;
  }

  /** Why a request has not brought what it should. @param {import("./adapter").Outcome} outcome */
  #failed({ status, expected, answers, refusal }) {
    if (status !== "timeout") return new Error(reasonOf(status));
    return this._failure(
      `timeout reached: only ${answers.length} responses received out of ${expected}`,
      refusal,
    );
  }
}

// As those of the reference, these are `ClusterAdapter`s: behind what all members have comes what that class has. The
// `super` of the members' methods stays what it is, `Adapter`: nothing of theirs is done by `ClusterAdapter`.
const { constructor: _, ...members } = Object.getOwnPropertyDescriptors(MemberAdapter.prototype);
Object.setPrototypeOf(
  ClusterMemberAdapter.prototype,
  Object.create(ClusterAdapter?.prototype ?? Adapter.prototype, members),
);

/** Sixteen hexadecimal digits, for uids and request ids. */
function randomId() {
  return randomBytes(8).toString("hex");
}

module.exports = { ClusterMemberAdapter, DONE, randomId };
