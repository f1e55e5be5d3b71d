// @ts-check
"use strict";

/**
 * The requests of other members: the part of the answer that only this node's sockets can give.
 */

const { eventOf } = require("../delivery/delivery");
const msgpack = require("../msgpack");
const { broadcastWithAck, describeSockets, once, printJson, serverSideEmit } = require("./sockets");
const debug = require("debug")("socket.io-redis");

/** What requests and responses are; the numbers are the wire's. */
const REQUEST = Object.freeze({
  SOCKETS: 0,
  ALL_ROOMS: 1,
  REMOTE_JOIN: 2,
  REMOTE_LEAVE: 3,
  REMOTE_DISCONNECT: 4,
  REMOTE_FETCH: 5,
  SERVER_SIDE_EMIT: 6,
  BROADCAST: 7,
  BROADCAST_CLIENT_COUNT: 8,
  BROADCAST_ACK: 9,
});

/** How the payload of a request is encoded, as `Encoding` in Rust. */
const ENCODING = Object.freeze({ JSON: 0, MSGPACK: 1, CUSTOM: 2 });

/**
 * @typedef {(...args: any[]) => void} Callback
 *
 * @typedef {object} Context what a responder needs of its adapter
 * @property {() => any} nsp the namespace
 * @property {(request: any) => boolean} isOwn
 * @property {(bytes: Buffer) => any} decode
 * @property {(value: any) => Buffer | string} encode by the parser
 * @property {(request: any, response: Buffer | string) => void} respond
 * @property {(error: string) => void} ignore
 * @property {() => void} settled the request is worked off, whatever it has done to the rooms
 * @property {import("./sockets").Local} local
 * @property {(requestId: string | null, count: number) => import("../../binding").SocketsAnswer} newAnswer
 * @property {(request: any, answer: import("../../binding").SocketsAnswer) => void} respondSockets
 * @property {import("./printed-handshakes").PrintedHandshakes} printed
 */

/** Does what other members ask, and answers them. */
class Responder {
  #context;

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * A request of another member. Rejects with what a listener of the user's throws.
   *
   * @param {Buffer} bytes
   * @param {number} encoding
   */
  async onRequest(bytes, encoding) {
    const { decode, ignore, isOwn, settled } = this.#context;
    try {
      let request;
      try {
        request = encoding === ENCODING.MSGPACK ? msgpack.decode(bytes) : decode(bytes);
        // Rust has looked at it already, unless only the user's parser can read it.
        if (encoding === ENCODING.CUSTOM) {
          checkRequest(request);
          if (isOwn(request)) return;
        }
        if (request.type === REQUEST.BROADCAST) eventOf(request.packet);
      } catch (error) {
        return ignore(String(error));
      }
      debug("received request %j", request);
      await this.#answer(request);
    } finally {
      settled();
    }
  }

  /** @param {any} request */
  async #answer(request) {
    const { nsp, local, newAnswer, respondSockets, printed } = this.#context;
    const { requestId } = request;
    const respond = (/** @type {Buffer | string} */ response) => this.#context.respond(request, response);
    switch (request.type) {
      case REQUEST.SOCKETS:
        return respond(
          JSON.stringify({ requestId, sockets: [...(await local.sockets(new Set(request.rooms)))] }),
        );
      case REQUEST.ALL_ROOMS:
        return respond(JSON.stringify({ requestId, rooms: local.rooms() }));
      case REQUEST.REMOTE_FETCH: {
        const found = await local.fetchSockets(targetOf(request));
        const answer = newAnswer(requestId ?? null, found.length);
        return respondSockets(request, await describeSockets(found, answer, printJson, printed));
      }
      case REQUEST.REMOTE_JOIN:
        if (request.opts) return local.addSockets(targetOf(request), request.rooms);
        return this.#withSocket(request, (socket) => socket.join(request.room));
      case REQUEST.REMOTE_LEAVE:
        if (request.opts) return local.delSockets(targetOf(request), request.rooms);
        return this.#withSocket(request, (socket) => socket.leave(request.room));
      case REQUEST.REMOTE_DISCONNECT:
        if (request.opts) return local.disconnectSockets(targetOf(request), request.close);
        return this.#withSocket(request, (socket) => socket.disconnect(request.close));
      case REQUEST.SERVER_SIDE_EMIT:
        if (requestId !== undefined) {
          request.data.push(
            once((data) => respond(JSON.stringify({ type: REQUEST.SERVER_SIDE_EMIT, requestId, data }))),
          );
        }
        if (!serverSideEmit(nsp(), request.data))
          this.#context.ignore("a serverSideEmit of an error that nobody listens to");
        return;
      case REQUEST.BROADCAST:
        return this.#broadcast(request, respond);
      default:
        debug("ignoring unknown request type: %s", request.type);
    }
  }

  /**
   * A request of an older node: it names one socket.
   *
   * @param {any} request
   * @param {(socket: any) => void} act
   */
  #withSocket(request, act) {
    const { nsp, respond } = this.#context;
    const socket = nsp().sockets.get(request.sid);
    if (!socket) return;
    act(socket);
    respond(request, JSON.stringify({ requestId: request.requestId }));
  }

  /** @param {any} request @param {(response: Buffer | string) => void} respond */
  #broadcast({ requestId, packet, opts }, respond) {
    const { nsp, local, encode } = this.#context;
    const target = { rooms: new Set(opts.rooms), except: new Set(opts.except), flags: opts.flags ?? {} };
    broadcastWithAck(
      nsp(),
      local,
      packet,
      target,
      (clientCount) =>
        respond(JSON.stringify({ type: REQUEST.BROADCAST_CLIENT_COUNT, requestId, clientCount })),
      (arg) => respond(encode({ type: REQUEST.BROADCAST_ACK, requestId, packet: arg })),
    );
  }
}

/**
 * Throws unless a request that the user's parser has decoded has the shape of one. The others were checked in Rust
 * (`Request` in src/wire/classic/request.rs).
 *
 * @param {any} request
 */
function checkRequest(request) {
  const { type, opts, rooms, data, packet, requestId } = request;
  const isTarget = present(opts) && isList(opts.rooms) && isList(opts.except);
  const is = (/** @type {boolean} */ right) => {
    if (!right) throw new TypeError(`a request of type ${type} does not look like this`);
  };
  is(Number.isInteger(type) && (!present(opts) || isTarget));
  is(!present(requestId) || typeof requestId === "string");
  if (type === REQUEST.SOCKETS) is(!present(rooms) || areNames(rooms));
  if (type === REQUEST.REMOTE_JOIN || type === REQUEST.REMOTE_LEAVE) is(!isTarget || areNames(rooms));
  if (type === REQUEST.REMOTE_FETCH) is(isTarget);
  if (type === REQUEST.SERVER_SIDE_EMIT) is(Array.isArray(data));
  if (type === REQUEST.BROADCAST) is(isTarget && present(requestId) && Array.isArray(packet?.data));
}

/** The same for a response. @param {any} response */
function checkResponse(response) {
  const { type, clientCount } = response;
  if (type === REQUEST.BROADCAST_CLIENT_COUNT && !(Number.isInteger(clientCount) && clientCount >= 0)) {
    throw new TypeError("a number of clients does not look like this");
  }
}

/** @param {any} value */
function present(value) {
  return value !== undefined && value !== null;
}

/** @param {any} rooms */
function areNames(rooms) {
  return Array.isArray(rooms) && rooms.every((room) => typeof room === "string" || typeof room === "number");
}

/** @param {any} value */
function isList(value) {
  return !present(value) || Array.isArray(value);
}

/** @param {any} request */
function targetOf({ opts }) {
  return { rooms: new Set(opts.rooms), except: new Set(opts.except) };
}

module.exports = { REQUEST, Responder, checkResponse };
