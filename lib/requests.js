// @ts-check
"use strict";

/**
 * The requests of other members: the part of the answer that only this node's sockets can give.
 */

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

/**
 * @typedef {object} Context
 * @property {any} nsp the namespace
 * @property {any} local what the parent class does with the sockets of this node
 * @property {(response: Buffer | string) => void} respond
 * @property {(value: any) => Buffer | string} encode by the parser
 */

/**
 * Does what a request asks, and answers it.
 *
 * @param {any} request
 * @param {Context} context
 */
async function answer(request, context) {
  const { nsp, local, respond } = context;
  const { requestId } = request;
  switch (request.type) {
    case REQUEST.SOCKETS:
      return respond(
        JSON.stringify({ requestId, sockets: [...(await local.sockets(new Set(request.rooms)))] }),
      );
    case REQUEST.ALL_ROOMS:
      return respond(JSON.stringify({ requestId, rooms: local.rooms() }));
    case REQUEST.REMOTE_FETCH:
      return respond(
        `{"requestId":${JSON.stringify(requestId ?? null)},"sockets":${await local.fetchSockets(targetOf(request))}}`,
      );
    case REQUEST.REMOTE_JOIN:
      if (request.opts) return local.addSockets(targetOf(request), request.rooms);
      return withSocket(request, context, (socket) => socket.join(request.room));
    case REQUEST.REMOTE_LEAVE:
      if (request.opts) return local.delSockets(targetOf(request), request.rooms);
      return withSocket(request, context, (socket) => socket.leave(request.room));
    case REQUEST.REMOTE_DISCONNECT:
      if (request.opts) return local.disconnectSockets(targetOf(request), request.close);
      return withSocket(request, context, (socket) => socket.disconnect(request.close));
    case REQUEST.SERVER_SIDE_EMIT:
      if (requestId !== undefined) request.data.push(once((arg) => respondToEmit(request, arg, respond)));
      return nsp._onServerSideEmit(request.data);
    case REQUEST.BROADCAST:
      return broadcast(request, context);
    default:
      debug("ignoring unknown request type: %s", request.type);
  }
}

/**
 * Throws unless a request that the user's parser has decoded has the shape of one. The others were checked in Rust
 * (`Request` in src/wire/classic.rs).
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
  if (type === REQUEST.SOCKETS) is(isList(rooms));
  if (type === REQUEST.REMOTE_JOIN || type === REQUEST.REMOTE_LEAVE) is(!isTarget || Array.isArray(rooms));
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

/** @param {any} value */
function isList(value) {
  return !present(value) || Array.isArray(value);
}

/**
 * A request of an older node: it names one socket.
 *
 * @param {any} request
 * @param {Context} context
 * @param {(socket: any) => void} act
 */
function withSocket(request, { nsp, respond }, act) {
  const socket = nsp.sockets.get(request.sid);
  if (!socket) return;
  act(socket);
  respond(JSON.stringify({ requestId: request.requestId }));
}

/** @param {any} request @param {any} arg @param {(response: string) => void} respond */
function respondToEmit({ requestId }, arg, respond) {
  respond(JSON.stringify({ type: REQUEST.SERVER_SIDE_EMIT, requestId, data: arg }));
}

/** @param {any} request @param {Context} context */
function broadcast({ requestId, packet, opts }, { nsp, local, respond, encode }) {
  const target = { rooms: new Set(opts.rooms), except: new Set(opts.except), flags: opts.flags ?? {} };
  local.broadcastWithAck(
    packet,
    target,
    (/** @type {number} */ clientCount) =>
      respond(JSON.stringify({ type: REQUEST.BROADCAST_CLIENT_COUNT, requestId, clientCount })),
    (/** @type {any} */ arg) => respond(encode({ type: REQUEST.BROADCAST_ACK, requestId, packet: arg })),
  );
  // Clients that never answer would be waited for until they leave.
  const forget = () => nsp.sockets.forEach((/** @type {any} */ socket) => socket.acks.delete(packet.id));
  setTimeout(forget, Math.min(Number(target.flags.timeout) || 1, MAX_TIMER) + ACK_GRACE).unref();
}

/** The longest that a timer can run, in milliseconds. */
const MAX_TIMER = 2 ** 31 - 1 - 60_000;

/** How much later than at the asking node an acknowledgement is given up here, in milliseconds: it travels. */
const ACK_GRACE = 1000;

/** @param {any} request */
function targetOf({ opts }) {
  return { rooms: new Set(opts.rooms), except: new Set(opts.except) };
}

/** @param {(arg: any) => void} callback */
function once(callback) {
  let called = false;
  return (/** @type {any} */ arg) => {
    if (called) return;
    called = true;
    callback(arg);
  };
}

/**
 * What other nodes are told of sockets, as JSON. A field that has no JSON (`socket.data` may hold anything, itself
 * included) is left out, rather than the socket, or the answer.
 *
 * @param {any[]} sockets
 */
function describeSockets(sockets) {
  const descriptions = sockets.map(({ id, handshake, rooms, data }) => {
    // It may hold anything, too.
    const { sessionStore: _, ...rest } = handshake;
    const fields = { id, handshake: rest, rooms: [...rooms], data };
    try {
      return JSON.stringify(fields);
    } catch {
      return JSON.stringify(Object.fromEntries(Object.entries(fields).filter(hasJson)));
    }
  });
  return `[${descriptions.join(",")}]`;
}

/** @param {[string, any]} field */
function hasJson([name, value]) {
  try {
    JSON.stringify(value);
    return true;
  } catch (error) {
    if (!unprintable.has(name)) {
      unprintable.add(name);
      console.warn(`socket.io-redis: socket.${name} cannot be sent to other servers (${error})`);
    }
    return false;
  }
}

/** The fields of sockets that were warned of. */
const unprintable = new Set();

module.exports = { REQUEST, answer, checkRequest, checkResponse, describeSockets };
