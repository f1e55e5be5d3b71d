// @ts-check
"use strict";

/**
 * The classic adapter: msgpack broadcasts and JSON requests over plain pub/sub, as `createAdapter` of
 * `@socket.io/redis-adapter` sends them.
 */

const { randomBytes } = require("node:crypto");
const { MemberAdapter, REQUESTS, RESPONSES, reasonOf } = require("./adapter");
const { eventOf, readTarget } = require("../delivery/delivery");
const { linkOf, readForm } = require("../place/forms");
const { Link } = require("../link/link");
const msgpack = require("../msgpack");
const { readOptions } = require("../options/options");
const { checkNesting, rawOptions, rawTarget } = require("../delivery/outgoing");
const { DESCRIPTIONS } = require("../messages/answers");
const { REQUEST, Responder, checkResponse } = require("../messages/requests");

class RedisAdapter extends MemberAdapter {
  #customParser;
  #responder = new Responder({
    nsp: () => this.nsp,
    isOwn: (request) =>
      request.uid === this.uid ||
      this.requests.has(request.requestId) ||
      this.ackRequests.has(request.requestId),
    decode: (bytes) => this.#decode(bytes),
    encode: (value) => this.parser.encode(value),
    respond: (request, response) => this._send(RESPONSES, requesterOf(request), response),
    newAnswer: (requestId, count) => this._newAnswer(requestId, true, count),
    respondSockets: (request, answer) => this._respondSockets(requesterOf(request), answer),
    printed: this._printed,
    ignore: (error) => this._ignore(error),
    settled: () => this._settled(),
    local: this._local,
  });

  /**
   * @param {any} nsp the namespace
   * @param {any} pubClient a client that publishes, or where a Redis is
   * @param {any} subClient a client that receives, or the options that go with an address
   * @param {any} opts
   */
  constructor(nsp, pubClient, subClient, opts = undefined) {
    const form = readForm([pubClient, subClient, opts], { clients: 2, taker: "classic" });
    const options = readOptions(form.opts);
    const link = linkOf(form, options);
    super(nsp, link, {
      uid: randomId(),
      prefix: options.key,
      family: "classic",
      customParser: options.customParser,
      specificResponses: options.publishOnSpecificResponseChannel,
    });
    const isMade = pubClient instanceof Link;
    this.pubClient = isMade ? null : (form.pub ?? null);
    this.subClient = isMade ? null : (form.sub ?? null);
    const { broadcast, request, response, ownResponse } = this._channels;
    this.channel = broadcast;
    this.requestChannel = request;
    this.responseChannel = response;
    this.specificResponseChannel = ownResponse;
    this.requestsTimeout = options.requestsTimeout;
    this.publishOnSpecificResponseChannel = options.publishOnSpecificResponseChannel;
    this.parser = options.parser;
    this.#customParser = options.customParser;
    // What a factory has made tells it of errors.
    this._join(isMade ? null : options.onError);
  }

  // --- how messages look -------------------------------------------------------------------------------

  _isNative() {
    return !this.#customParser;
  }

  /** @param {any} packet @param {any} opts */
  _encodeBroadcast({ type, data, nsp }, opts) {
    return this.parser.encode([this.uid, { type, data, nsp }, rawOptions(opts)]);
  }

  /** @param {any} opts */
  _encodeOptions(opts) {
    return msgpack.encode(rawOptions(opts));
  }

  /** @param {Buffer} bytes */
  _decodeBroadcast(bytes) {
    const [uid, packet, opts] = this.parser.decode(bytes);
    if (uid === this.uid) return null;
    if (packet.nsp === undefined) packet.nsp = "/";
    if (packet.nsp !== this.nsp.name) return null;
    return { packet: eventOf(packet), opts: readTarget(opts) };
  }

  _newRequestId() {
    return randomId();
  }

  /** @param {string} requestId @param {any} packet @param {any} opts */
  _encodeAckRequest(requestId, { type, data, nsp }, opts) {
    return this.parser.encode({
      uid: this.uid,
      requestId,
      type: REQUEST.BROADCAST,
      packet: { type, data, nsp },
      opts: rawOptions(opts),
    });
  }

  /** @param {string} requestId @param {any} opts */
  _encodeFetch(requestId, opts) {
    return json({ uid: this.uid, requestId, type: REQUEST.REMOTE_FETCH, opts: rawTarget(opts) });
  }

  /** @param {Buffer} bytes @param {number} encoding */
  _onRequest(bytes, encoding) {
    return this.#responder.onRequest(bytes, encoding);
  }

  /** @param {Buffer} bytes @param {string | null} id */
  async _onResponse(bytes, id) {
    let response;
    try {
      response = this.#decode(bytes);
      if (id === null) checkResponse(response);
    } catch (error) {
      return this._ignore(String(error));
    }
    const request = this.ackRequests.get(id ?? response.requestId);
    if (response.type === REQUEST.BROADCAST_CLIENT_COUNT) request?.clientCountCallback(response.clientCount);
    else if (response.type === REQUEST.BROADCAST_ACK) request?.ack(response.packet);
  }

  /** A message off the fast path. JSON where it begins with a brace, whatever the parser. @param {Buffer} bytes */
  #decode(bytes) {
    return bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : this.parser.decode(bytes);
  }

  // --- requests ----------------------------------------------------------------------------------------

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const answers = await this.#request(REQUEST.ALL_ROOMS, {}, this.requestsTimeout, "allRooms");
    for (const theirs of answers) for (const room of theirs) rooms.add(room);
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
    const answers = await this.#request(
      REQUEST.SOCKETS,
      { rooms: [...rooms] },
      this.requestsTimeout,
      "sockets",
    );
    for (const ids of answers) for (const id of ids) sids.add(id);
    return sids;
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  fetchSockets(opts) {
    return this._fetchAll(opts, (wanted) => {
      const body = { opts: { rooms: [...opts.rooms], except: [...(opts.except ?? [])] } };
      const timeout = opts.flags?.timeout || this.requestsTimeout;
      return this.#request(REQUEST.REMOTE_FETCH, body, timeout, "fetchSockets", wanted);
    });
  }

  /** @param {any} opts @param {any[]} rooms */
  addSockets(opts, rooms) {
    super.addSockets(opts, rooms);
    this.#tell(opts, { type: REQUEST.REMOTE_JOIN, opts: rawTarget(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {any[]} rooms */
  delSockets(opts, rooms) {
    super.delSockets(opts, rooms);
    this.#tell(opts, { type: REQUEST.REMOTE_LEAVE, opts: rawTarget(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {boolean} close */
  disconnectSockets(opts, close) {
    super.disconnectSockets(opts, close);
    this.#tell(opts, { type: REQUEST.REMOTE_DISCONNECT, opts: rawTarget(opts), close });
  }

  /** @param {any[]} packet the arguments, with a callback at the end if answers are wanted */
  serverSideEmit(packet) {
    const withAck = typeof packet[packet.length - 1] === "function";
    if (!withAck) {
      const note = { uid: this.uid, type: REQUEST.SERVER_SIDE_EMIT, data: packet };
      this._send(REQUESTS, null, checkNesting(json(note)));
      return;
    }
    const ack = packet.pop();
    const requestId = this._unusedId();
    const asking = { uid: this.uid, requestId, type: REQUEST.SERVER_SIDE_EMIT, data: packet };
    const request = checkNesting(json(asking));
    const asked = this._ask(requestId, REQUEST.SERVER_SIDE_EMIT, request, this.requestsTimeout);
    const told = asked.then(({ status, expected, answers, refusal }) => {
      const responses = answers.map((bytes) => this.#decode(bytes).data);
      if (status === "done") return ack(null, responses);
      const error = `timeout reached: only ${responses.length} responses received out of ${expected}`;
      ack(status === "timeout" ? this._failure(error, refusal) : new Error(reasonOf(status)), responses);
    });
    this._guard(told);
  }

  /**
   * Sends a request and resolves to the lists that the other members answer with.
   *
   * @param {number} type
   * @param {object} body
   * @param {number} timeout in milliseconds
   * @param {string} name of the method, for the error
   * @param {import("./adapter").Wanted} [wanted]
   * @returns {Promise<any[][]>}
   */
  async #request(type, body, timeout, name, wanted = { maker: DESCRIPTIONS }) {
    const field = type === REQUEST.ALL_ROOMS ? "rooms" : "sockets";
    const requestId = this._unusedId();
    const request = json({ uid: this.uid, requestId, type, ...body });
    const { status, expected, answers, refusal } = await this._ask(requestId, type, request, timeout, wanted);
    const { ofList } = wanted.maker;
    const ofAnswer = (/** @type {Buffer} */ answer) => ofList(this.#decode(answer)[field]);
    const lists = answers.map((answer) => (Array.isArray(answer) ? answer : ofAnswer(answer)));
    if (status === "done") return lists;
    const responses = lists.map((list) => ({ requestId, [field]: list }));
    const error =
      status === "timeout"
        ? this._failure(`timeout reached while waiting for ${name} response`, refusal)
        : new Error(reasonOf(status));
    // What has come is not thrown away.
    throw Object.assign(error, { responses, expected });
  }

  /** Tells the other members what this one has done. @param {any} opts @param {object} request */
  #tell(opts, request) {
    if (opts.flags?.local) return;
    this._send(REQUESTS, null, json({ uid: this.uid, ...request }));
  }
}

/** @param {any} request */
function requesterOf({ uid }) {
  return uid === undefined ? null : String(uid);
}

/** Six characters of A-Z a-z 0-9 - _, for uids and request ids. */
function randomId() {
  return randomBytes(5).toString("base64url").slice(0, 6);
}

/** @param {object} value */
function json(value) {
  return Buffer.from(JSON.stringify(value));
}

module.exports = { RedisAdapter };
