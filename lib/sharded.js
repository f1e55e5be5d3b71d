// @ts-check
"use strict";

/**
 * The sharded adapter: envelopes over sharded pub/sub, as `createShardedAdapter` of `@socket.io/redis-adapter` sends
 * them. Rooms may have channels of their own, which only the servers with sockets in them listen to.
 */

const { randomBytes } = require("node:crypto");
const { JOIN_PATIENCE, MemberAdapter, REQUESTS, RESPONSES } = require("./adapter");
const { CoveredRooms } = require("./covered-rooms");
const { ClusterResponder, MESSAGE, decodeMessage, encodeMessage } = require("./cluster-messages");
const { eventOf, readTarget } = require("./delivery");
const { Later } = require("./later");
const { Link, channelRoom } = require("./link");
const msgpack = require("./msgpack");
const { readShardedOptions } = require("./options");
const { rawOptions } = require("./outgoing");
const { REQUEST } = require("./requests");

class ShardedRedisAdapter extends MemberAdapter {
  #mode;
  #covered = new CoveredRooms();
  /** Whether rooms were subscribed to since Redis last confirmed everything. */
  #unconfirmed = false;
  #responder = new ClusterResponder({
    nsp: () => this.nsp,
    respond: (requester, type, data) => this._send(RESPONSES, requester, this.#encode(type, data)),
    ignore: (error) => this._ignore(error),
    settled: () => this._settled(),
    subscribed: () => (this.#unconfirmed ? this._subscribed(JOIN_PATIENCE) : null),
    joined: (rooms) => this.#cover(rooms),
    local: this._local,
  });

  /**
   * @param {any} nsp the namespace
   * @param {any} pubClient a client that publishes
   * @param {any} subClient a client that receives
   * @param {any} [opts]
   */
  constructor(nsp, pubClient, subClient, opts) {
    const options = readShardedOptions(opts);
    const link = pubClient instanceof Link ? pubClient : Link.ofClients(pubClient, subClient, options);
    const uid = randomId();
    super(nsp, link, {
      uid,
      prefix: options.key,
      family: "sharded",
      mode: options.subscriptionMode,
      customParser: false,
      specificResponses: true,
    });
    this.pubClient = pubClient instanceof Link ? null : pubClient;
    this.subClient = pubClient instanceof Link ? null : subClient;
    this.opts = { ...opts, channelPrefix: options.key, subscriptionMode: options.subscriptionMode };
    this.channel = `${options.key}#${nsp.name}#`;
    this.responseChannel = `${this.channel}${uid}#`;
    this.requestsTimeout = options.requestsTimeout;
    this.#mode = options.subscriptionMode;
    this._join();
  }

  // --- how messages look -------------------------------------------------------------------------------

  /** @param {number} type @param {object} data */
  #encode(type, data) {
    return encodeMessage(type, data, this.uid, this.nsp.name);
  }

  /** @param {any} packet @param {any} opts */
  _encodeBroadcast({ type, data }, opts) {
    return this.#encode(MESSAGE.BROADCAST, { packet: { type, data }, opts: rawOptions(opts) });
  }

  /** @param {any} opts @param {boolean} binary */
  _encodeOptions(opts, binary) {
    const options = rawOptions(opts);
    return binary ? msgpack.encode(options) : Buffer.from(JSON.stringify(options));
  }

  /** The text goes into the envelope as it is. @param {any} _packet @param {Buffer[]} attachments */
  _isExact(_packet, attachments) {
    return attachments.length === 0;
  }

  /** @param {Buffer} bytes */
  _decodeBroadcast(bytes) {
    const { data } = decodeMessage(bytes);
    const { type, id } = data.packet;
    const packet = { type, data: data.packet.data, nsp: this.nsp.name, ...(id !== undefined && { id }) };
    return { packet: eventOf(packet), opts: readTarget(data.opts ?? {}) };
  }

  /** @param {any} room @returns {string | null} */
  _channelRoom(room) {
    return this.#covered.has(room) ? null : String(room);
  }

  /** @param {string} room */
  _subscribesTo(room) {
    const subscribes = channelRoom({ family: "sharded", mode: this.#mode }, room) !== null;
    this.#unconfirmed ||= subscribes;
    return subscribes;
  }

  /** @param {number} timeout */
  async _subscribed(timeout) {
    this.#unconfirmed = false;
    const confirmed = await super._subscribed(timeout);
    this.#unconfirmed ||= !confirmed;
    return confirmed;
  }

  _newRequestId() {
    return randomId();
  }

  /** @param {string} requestId @param {any} packet @param {any} opts */
  _encodeAckRequest(requestId, { type, data }, opts) {
    return this.#encode(MESSAGE.BROADCAST, { packet: { type, data }, requestId, opts: rawOptions(opts) });
  }

  /** @param {string} requestId @param {any} opts */
  _encodeFetch(requestId, opts) {
    return this.#encode(MESSAGE.FETCH_SOCKETS, { opts: rawOptions(opts), requestId });
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

  // --- requests ----------------------------------------------------------------------------------------

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const everywhere = { rooms: new Set(), except: new Set(), flags: {} };
    for (const socket of await this.#fetch(everywhere, this.requestsTimeout))
      for (const room of socket.rooms) rooms.add(room);
    return rooms;
  }

  /**
   * The ids of the sockets of the cluster that are in one of the rooms, or of all.
   *
   * @param {Set<any>} rooms
   * @returns {Promise<Set<any>>}
   */
  async sockets(rooms = new Set()) {
    const sids = await super.sockets(rooms);
    const opts = { rooms, except: new Set(), flags: {} };
    for (const { id } of await this.#fetch(opts, this.requestsTimeout)) sids.add(id);
    return sids;
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  async fetchSockets(opts) {
    const sockets = await super.fetchSockets(opts);
    if (opts.flags?.local) return sockets;
    return sockets.concat(await this.#fetch(opts, opts.flags?.timeout || this.requestsTimeout));
  }

  /**
   * The sockets of the other servers.
   *
   * @param {any} opts
   * @param {number} timeout in milliseconds
   * @returns {Promise<any[]>}
   */
  async #fetch(opts, timeout) {
    const requestId = randomId();
    const request = this._encodeFetch(requestId, opts);
    const { status, expected, answers } = await this._ask(requestId, REQUEST.REMOTE_FETCH, request, timeout);
    const responses = answers.map((bytes) => decodeMessage(bytes).data);
    if (status === "done") return responses.flatMap(({ sockets }) => sockets);
    // What has come is not thrown away.
    throw Object.assign(new Error(failure(status, answers.length, expected)), { responses, expected });
  }

  /** @param {any} opts @param {any[]} rooms @returns {any} what can be waited for: that all servers have done it */
  addSockets(opts, rooms) {
    super.addSockets(opts, rooms);
    if (!opts.flags?.local) this.#cover(rooms);
    return this.#tell(opts, MESSAGE.SOCKETS_JOIN, { opts: rawOptions(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {any[]} rooms @returns {any} as `addSockets` */
  delSockets(opts, rooms) {
    super.delSockets(opts, rooms);
    return this.#tell(opts, MESSAGE.SOCKETS_LEAVE, { opts: rawOptions(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {boolean} close @returns {any} as `addSockets` */
  disconnectSockets(opts, close) {
    super.disconnectSockets(opts, close);
    return this.#tell(opts, MESSAGE.DISCONNECT_SOCKETS, { opts: rawOptions(opts), close });
  }

  /** @param {any[]} packet the arguments, with a callback at the end if answers are wanted */
  serverSideEmit(packet) {
    const withAck = typeof packet[packet.length - 1] === "function";
    if (!withAck) return this._send(REQUESTS, null, this.#encode(MESSAGE.SERVER_SIDE_EMIT, { packet }));
    const ack = packet.pop();
    const requestId = randomId();
    const request = this.#encode(MESSAGE.SERVER_SIDE_EMIT, { requestId, packet });
    const asked = this._ask(requestId, REQUEST.SERVER_SIDE_EMIT, request, this.requestsTimeout);
    asked.then(({ status, expected, answers }) => {
      const responses = answers.map((bytes) => decodeMessage(bytes).data.packet);
      if (status === "done") ack(null, responses);
      else ack(new Error(failure(status, responses.length, expected)), responses);
    });
  }

  /** Tells the other members what this one has done. @param {any} opts @param {number} type @param {object} data */
  #tell(opts, type, data) {
    if (opts.flags?.local) return;
    this._send(REQUESTS, null, this.#encode(type, data));
    return new Later(() => this.barrier());
  }

  /** Sockets somewhere are joining rooms. @param {any[]} rooms */
  #cover(rooms) {
    if (this.#mode !== "static") this.#covered.add(rooms);
  }
}

/** @param {string} status @param {number} responses @param {number} expected */
function failure(status, responses, expected) {
  return status === "timeout"
    ? `timeout reached: only ${responses} responses received out of ${expected}`
    : "the adapter was closed";
}

/** Sixteen hexadecimal digits, for uids and request ids. */
function randomId() {
  return randomBytes(8).toString("hex");
}

module.exports = { ShardedRedisAdapter };
