// @ts-check
"use strict";

/**
 * What members ask each other, whatever their family; and the shapes of what only the user's parser can read.
 */

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
 * @typedef {object} Fields what a request of this member says, beside its kind
 * @property {any} [opts] the sockets that it is about
 * @property {any[]} [rooms]
 * @property {boolean} [close]
 * @property {any[]} [args] of a `serverSideEmit`
 */

/**
 * A request of another member, whatever its family says it in.
 *
 * @typedef {object} Asked
 * @property {number} kind a `REQUEST`
 * @property {string | null | undefined} requestId
 * @property {string | null} requester its uid, if it is known
 * @property {boolean} wantsAnswer whether a `serverSideEmit` does
 * @property {any} target the sockets that it is about; null if the request names one by `sid`, as those of old members do
 * @property {any[]} rooms
 * @property {boolean} close
 * @property {any[]} args
 * @property {any} packet
 * @property {string} [sid]
 * @property {any} [room]
 */

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

module.exports = { ENCODING, REQUEST, checkRequest, checkResponse };
