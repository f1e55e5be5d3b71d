// @ts-check
"use strict";

/**
 * Writes the reply that a client has got in Redis' own format (RESP2), so that Rust reads it like any other.
 */

/** The names of the errors that are replies of Redis. */
const REFUSALS = new Set(["ErrorReply", "ReplyError"]);

/** @param {any} reply with Buffers for texts @returns {Buffer} */
function encodeReply(reply) {
  /** @type {Buffer[]} */
  const parts = [];
  write(reply, parts);
  return Buffer.concat(parts);
}

/** An error of Redis. @param {Error} error */
function encodeRefusal({ message }) {
  return Buffer.from(`-${String(message).replace(/[\r\n]+/g, " ")}\r\n`);
}

/** Whether an error is a reply of Redis, rather than the lack of one. @param {any} error */
function isRefusal(error) {
  for (let kind = error; kind; kind = Object.getPrototypeOf(kind))
    if (REFUSALS.has(kind.constructor?.name)) return true;
  return false;
}

/** @param {any} value @param {Buffer[]} parts */
function write(value, parts) {
  if (value === null || value === undefined) push(parts, "$-1");
  else if (Buffer.isBuffer(value)) parts.push(Buffer.from(`$${value.length}\r\n`), value, END);
  else if (typeof value === "string") push(parts, `+${value}`);
  else if (typeof value === "object") writeList(itemsOf(value), parts);
  else push(parts, `:${Number(value)}`);
}

/** @param {any[]} items @param {Buffer[]} parts */
function writeList(items, parts) {
  push(parts, `*${items.length}`);
  for (const item of items) write(item, parts);
}

/** A map is a list of pairs in RESP2, where it comes from (XREAD). @param {any} value @returns {any[]} */
function itemsOf(value) {
  if (Array.isArray(value)) return value;
  const pairs = value instanceof Map ? [...value] : Object.entries(value);
  return pairs.map(([key, item]) => [Buffer.from(key), item]);
}

/** @param {Buffer[]} parts @param {string} line */
function push(parts, line) {
  parts.push(Buffer.from(line), END);
}

const END = Buffer.from("\r\n");

module.exports = { encodeReply, encodeRefusal, isRefusal };
