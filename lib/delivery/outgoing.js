// @ts-check
"use strict";

/**
 * Prepares an emit for Rust: the text that the server's parser has printed, its attachments, and the options.
 */

const { isSharedArrayBuffer } = require("node:util").types;
const { bytesOf } = require("../base/memory");
const { nestsDeeper } = require("../base/native");
const { MAX_DEPTH, NestingError } = require("../msgpack/format");

/** @typedef {{ rooms: Set<any>, except?: Set<any>, flags?: any }} BroadcastOptions */

/**
 * The binary attachments behind the text, or null if there is one (a Blob) whose bytes are not at hand.
 *
 * @param {any[]} encoded
 * @returns {Buffer[] | null}
 */
function readAttachments(encoded) {
  if (encoded.length === 1) return NONE;
  const attachments = [];
  for (let index = 1; index < encoded.length; index++) {
    const value = encoded[index];
    if (!ArrayBuffer.isView(value) && !(value instanceof ArrayBuffer)) return null;
    attachments.push(unshared(bytesOf(value)));
  }
  return attachments;
}

/**
 * The bytes that a parser made, fit for Rust.
 *
 * @param {any} bytes
 * @returns {Buffer}
 */
function toBuffer(bytes) {
  return unshared(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes));
}

/**
 * The bytes where no other thread writes: Rust relies on nothing changing while JavaScript waits for it. For memory
 * that threads share this is a copy.
 *
 * @param {Buffer} bytes
 */
function unshared(bytes) {
  return isSharedArrayBuffer(bytes.buffer) ? Buffer.from(bytes) : bytes;
}

/** @type {Buffer[]} */
const NONE = [];

/**
 * Whether the options say nothing but (at most) one room.
 *
 * @param {BroadcastOptions} opts
 * @param {any} room
 */
function isPlain({ rooms, except, flags }, room) {
  if (rooms.size > 1 || (except !== undefined && except.size > 0) || flags === undefined) return false;
  for (const _ in flags) return false;
  return rooms.size === 0 || typeof room === "string";
}

/** @param {any} opts */
function rawOptions({ rooms, except, flags }) {
  return { rooms: [...rooms], except: [...new Set(except)], flags };
}

/** @param {any} opts */
function rawTarget({ rooms, except }) {
  return { rooms: [...rooms], except: [...(except ?? [])] };
}

/**
 * Whether there is a Date somewhere in it. Throws if it is nested too deep to be sent.
 *
 * @param {any} value
 * @param {number} [depth] how many levels it is in
 * @returns {boolean}
 */
function holdsDate(value, depth = 0) {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return false;
  if (value instanceof Date) return true;
  if (depth >= MAX_DEPTH) throw new NestingError(`Could not encode: nested deeper than ${MAX_DEPTH}`);
  const isOne = (/** @type {any} */ member) => holdsDate(member, depth + 1);
  if (Array.isArray(value)) return value.some(isOne);
  if (typeof value.toJSON === "function") {
    value = value.toJSON();
    // If that is an object, it is not asked again, as in JSON: it may be the same.
    if (!isMap(value)) return holdsDate(value, depth);
  }
  return Object.values(value).some(isOne);
}

/** Whether its members are all that counts. @param {any} value */
function isMap(value) {
  const isObject = typeof value === "object" && value !== null;
  return isObject && !Array.isArray(value) && !(value instanceof Date) && !ArrayBuffer.isView(value);
}

/**
 * Returns a message, or the part of one that so many arrays and objects will stand around. Throws if it is JSON that is nested
 * deeper than other servers read: they would drop it.
 *
 * @param {Buffer} bytes
 * @param {number} [around]
 */
function checkNesting(bytes, around = 0) {
  const levels = MAX_DEPTH - around;
  // Each level takes two bytes.
  if (bytes.length > 2 * levels && bytes[0] === BRACE && nestsDeeper(bytes, levels))
    throw new NestingError(`Could not encode: nested deeper than ${MAX_DEPTH}`);
  return bytes;
}

/** The same for a text. @param {string} text @param {number} around */
function checkTextNesting(text, around) {
  if (text.length > 2 * (MAX_DEPTH - around)) checkNesting(Buffer.from(text), around);
  return text;
}

const BRACE = 0x7b;

module.exports = {
  checkNesting,
  checkTextNesting,
  holdsDate,
  isPlain,
  rawOptions,
  rawTarget,
  readAttachments,
  toBuffer,
};
