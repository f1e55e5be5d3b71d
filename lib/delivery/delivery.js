// @ts-check
"use strict";

/**
 * Delivers broadcasts of other servers to local sockets. The parent class writes the ready frame to each socket. The arguments
 * are only decoded if somebody reads them.
 */

const msgpack = require("../msgpack");
const { EVENT } = require("./offsets");

/** The type that old emitters give to an event with binary attachments. */
const BINARY_EVENT = 5;

/** Names that clients do not take for an event's. @type {ReadonlySet<any>} */
const RESERVED_EVENTS = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

/**
 * The source of a broadcast's arguments.
 *
 * @typedef {object} Source
 * @property {string} text what socket.io-parser would print
 * @property {Buffer | null} data msgpack of the arguments; null if the text says all
 */

/**
 * Returns a packet whose `data` is decoded when it is first looked at: by an outgoing listener, by another
 * implementation of `broadcast`, by another parser.
 *
 * @param {string} nsp
 * @param {Source} source
 */
function lazyPacket(nsp, source) {
  /** @type {any} */
  let data;
  return {
    type: EVENT,
    nsp,
    get data() {
      return (data ??= readData(nsp, source));
    },
    set data(value) {
      data = value;
    },
  };
}

/** @param {string} nsp @param {Source} source */
function readData(nsp, { text, data }) {
  // What JSON does not carry (dates, binary) is in the msgpack.
  if (data !== null) return msgpack.decode(data);
  const start = nsp === "/" ? 1 : nsp.length + 2;
  return JSON.parse(text.slice(text.indexOf("[", start)));
}

/**
 * Returns the options that a broadcast came with, as the parent class wants them.
 *
 * @param {Buffer} bytes msgpack or JSON; empty if it is for everyone
 */
function decodeTarget(bytes) {
  if (bytes.length === 0) return readTarget({});
  return readTarget(bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : msgpack.decode(bytes));
}

/** The same, decoded already. Other implementations leave out what is empty. @param {any} options */
function readTarget({ rooms, except, flags }) {
  return { rooms: new Set(rooms), except: new Set(except), flags: flags ?? {} };
}

/**
 * Returns the packet of a broadcast that was decoded in JS. Throws for what would make the clients close their
 * connections, as Rust does for what it decodes.
 *
 * @param {any} packet
 */
function eventOf(packet) {
  const { type, data } = packet;
  const [name] = Array.isArray(data) ? data : [];
  const isName = typeof name === "number" || (typeof name === "string" && !RESERVED_EVENTS.has(name));
  if ((type !== EVENT && type !== BINARY_EVENT) || !isName) throw new TypeError("a broadcast is an event");
  // The parser of the server sees by itself whether there is anything binary in it.
  packet.type = EVENT;
  return packet;
}

/**
 * Whether a server's encoder prints the standard text, which is what Rust reads and writes. A parser of another
 * kind, a subclass or one with a replacer does not, or may not.
 *
 * @param {any} encoder
 */
function printsStandardText(encoder) {
  try {
    const prototype = Object.getPrototypeOf(encoder);
    if (
      encoder.replacer !== undefined ||
      Object.hasOwn(encoder, "encode") ||
      Object.getPrototypeOf(prototype) !== Object.prototype ||
      typeof prototype.encodeAsString !== "function" ||
      typeof prototype.encodeAsBinary !== "function"
    ) {
      return false;
    }
    const [text, ...attachments] = encoder.encode({
      type: EVENT,
      nsp: "/a",
      data: ["e", { b: [1, "é"] }, null],
    });
    return text === '2/a,["e",{"b":[1,"é"]},null]' && attachments.length === 0;
  } catch {
    return false;
  }
}

module.exports = {
  EVENT,
  RESERVED_EVENTS,
  decodeTarget,
  eventOf,
  lazyPacket,
  printsStandardText,
  readTarget,
};
