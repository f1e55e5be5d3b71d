// @ts-check
"use strict";

/**
 * The messages of the cluster family, `{ type, data, uid, nsp }`, as they look. Rust knows them as `src/wire/cluster/`.
 */

const msgpack = require("../msgpack");

/** What messages are; the numbers are the wire's. */
const MESSAGE = Object.freeze({
  BROADCAST: 3,
  SOCKETS_JOIN: 4,
  SOCKETS_LEAVE: 5,
  DISCONNECT_SOCKETS: 6,
  FETCH_SOCKETS: 7,
  FETCH_SOCKETS_RESPONSE: 8,
  SERVER_SIDE_EMIT: 9,
  SERVER_SIDE_EMIT_RESPONSE: 10,
  BROADCAST_CLIENT_COUNT: 11,
  BROADCAST_ACK: 12,
});

/** Those that may hold something binary, and are msgpack if they do. @type {Set<number>} */
const MAY_BE_BINARY = new Set([
  MESSAGE.BROADCAST,
  MESSAGE.FETCH_SOCKETS_RESPONSE,
  MESSAGE.SERVER_SIDE_EMIT,
  MESSAGE.SERVER_SIDE_EMIT_RESPONSE,
  MESSAGE.BROADCAST_ACK,
]);

/**
 * A message of the sharded adapter.
 *
 * @param {number} type
 * @param {object} data
 * @param {string} uid
 * @param {string} nsp
 * @returns {Buffer}
 */
function encodeMessage(type, data, uid, nsp) {
  const message = printMessage(type, data, uid, nsp);
  return typeof message === "string" ? Buffer.from(message) : message;
}

/**
 * The same, as a string if it is JSON.
 *
 * @param {number} type
 * @param {object} data
 * @param {string} uid
 * @param {string} nsp
 * @returns {Buffer | string}
 */
function printMessage(type, data, uid, nsp) {
  const message = { type, data, uid, nsp };
  return MAY_BE_BINARY.has(type) && holdsBinary(data) ? msgpack.encode(message) : JSON.stringify(message);
}

/**
 * What stands in the field `data` of an entry of a stream.
 *
 * @param {number} type
 * @param {object} data
 * @param {boolean} onlyPlaintext whether nothing is binary, as the user has said
 * @returns {string}
 */
function encodeData(type, data, onlyPlaintext) {
  return !onlyPlaintext && MAY_BE_BINARY.has(type) && holdsBinary(data)
    ? msgpack.encodeAsIs(data).toString("base64")
    : JSON.stringify(data);
}

/** The same, decoded. Throws if it makes no sense. @param {string} text @returns {any} */
function decodeData(text) {
  return text.startsWith("{") ? JSON.parse(text) : msgpack.decode(Buffer.from(text, "base64"));
}

/** @param {Buffer} bytes @returns {any} */
function decodeMessage(bytes) {
  return bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : msgpack.decode(bytes);
}

/**
 * Whether there is something in it that JSON cannot carry. Most members are no objects, and are not worth a call.
 *
 * @param {any} value
 * @param {boolean} [printed]
 * @returns {boolean}
 */
function holdsBinary(value, printed = false) {
  if (value === null || typeof value !== "object") return false;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return true;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      const item = value[n];
      if (typeof item === "object" && holdsBinary(item)) return true;
    }
    return false;
  }
  for (const key of Object.keys(value)) {
    const member = value[key];
    if (typeof member === "object" && holdsBinary(member)) return true;
  }
  return typeof value.toJSON === "function" && !printed && holdsBinary(value.toJSON(), true);
}

module.exports = {
  MESSAGE,
  decodeData,
  decodeMessage,
  encodeData,
  encodeMessage,
  holdsBinary,
  printMessage,
};
