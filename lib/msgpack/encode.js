// @ts-check
"use strict";

/** Writes msgpack: as notepack.io does, or as `@msgpack/msgpack` does, who differ in what they make of some values. */

const { isAnyArrayBuffer, isBooleanObject, isDate, isNumberObject, isStringObject } =
  require("node:util").types;
const { bytesOf } = require("../base/memory");
const { MAX_DEPTH, NestingError, TIMESTAMP, TWO_32, TWO_34, TWO_63, TWO_64 } = require("./format");

/** Size of the scratch buffer, in bytes; one that a large message made grow beyond it is given up afterwards. */
const SCRATCH_SIZE = 64 * 1024;

/** Strings shorter than this, in characters, are written in JS: a call into C++ costs more than they do. */
const SHORT_STRING = 32;

/** Messages up to this size, in bytes, are copied in JS, for the same reason. */
const SHORT_MESSAGE = 64;

/** From this length on, in characters, a string is measured before it is written, lest it reserve thrice that. */
const LONG_STRING = 64 * 1024;

let scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE);
let at = 0;
/** Whether values are written as they are, rather than as JSON would have them. */
let asIs = false;

/**
 * Returns the msgpack bytes of `value`, in a buffer of their own. What has none is treated as in JSON: a function or a
 * symbol is left out of an object, and nil elsewhere; a BigInt throws. So does what is circular or too deep, a
 * NestingError.
 *
 * @param {unknown} value
 * @param {number} [levels] how many arrays and maps will stand around it
 * @returns {Buffer}
 */
function encode(value, levels = 0) {
  return encoded(value, levels, false);
}

/**
 * Returns the bytes that `@msgpack/msgpack` 2.8 makes of it: no prototype's toJSON is asked, undefined members are there,
 * as nil, and integers that are not safe are doubles.
 *
 * Of what that package gets wrong, an ArrayBuffer is its bytes here, and a date that is none is nil. What it throws at
 * is written as JSON has it: functions and symbols, an object with a toJSON of its own, and what is nested deeper than
 * 100.
 *
 * @param {unknown} value
 * @param {number} [levels] how many arrays and maps will stand around it
 * @returns {Buffer}
 */
function encodeAsIs(value, levels = 0) {
  return encoded(value, levels, true);
}

/**
 * Returns the bytes of an array or map of which some are known: `head`, then `value`, then `tail`, then `last` if that
 * is not undefined. That spares a quarter of the time of a small message.
 *
 * @param {Buffer} head
 * @param {unknown} value two levels deep
 * @param {Buffer} tail
 * @param {unknown} [last] one level deep
 * @returns {Buffer}
 */
function encodeBetween(head, value, tail, last) {
  const start = at;
  const outer = asIs;
  asIs = false;
  try {
    writeRaw(head);
    write(value, 2);
    writeRaw(tail);
    if (last !== undefined) write(last, 1);
    return written(start);
  } finally {
    end(start, outer);
  }
}

/** @param {unknown} value @param {number} levels @param {boolean} plainly */
function encoded(value, levels, plainly) {
  // A toJSON or a getter may encode as well: its bytes go behind what is written so far.
  const start = at;
  const outer = asIs;
  asIs = plainly;
  try {
    write(value, levels);
    return written(start);
  } finally {
    end(start, outer);
  }
}

/** A copy of what is written from `start` on. @param {number} start */
function written(start) {
  const size = at - start;
  const bytes = Buffer.allocUnsafe(size);
  if (size > SHORT_MESSAGE) scratch.copy(bytes, 0, start, at);
  else for (let i = 0; i < size; i++) bytes[i] = scratch[start + i];
  return bytes;
}

/** @param {number} start @param {boolean} outer */
function end(start, outer) {
  at = start;
  asIs = outer;
  if (start === 0 && scratch.length > SCRATCH_SIZE) scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE);
}

/** @param {number} size bytes that will be written next, at most */
function reserve(size) {
  const needed = at + size;
  if (needed <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, scratch.length * 2));
  scratch.copy(larger, 0, 0, at);
  scratch = larger;
}

/**
 * @param {unknown} value
 * @param {number} depth
 * @returns {void}
 */
function write(value, depth) {
  switch (typeof value) {
    case "string":
      return writeString(value);
    case "number":
      return writeNumber(value);
    case "boolean":
      return writeByte(value ? 0xc3 : 0xc2);
    case "undefined":
      return writeByte(0xc0);
    case "object":
      return value === null ? writeByte(0xc0) : writeObject(value, depth);
    default: {
      const { toJSON } = /** @type {any} */ (value);
      if (typeof toJSON === "function") return writePrinted(toJSON.call(value), depth + 1);
      if (typeof value === "bigint") throw new Error("Could not encode");
      return writeByte(0xc0);
    }
  }
}

/**
 * Writes what a toJSON has returned. If that has one too, it is not asked, as in JSON: it may return itself.
 *
 * @param {unknown} value
 * @param {number} depth
 * @returns {void}
 */
function writePrinted(value, depth) {
  if (typeof value === "object" && value !== null) writeObject(value, depth, true);
  else write(value, depth);
}

/**
 * @param {any} value
 * @param {number} depth
 * @param {boolean} [printed] whether its toJSON was asked
 * @returns {void}
 */
function writeObject(value, depth, printed = false) {
  if (depth >= MAX_DEPTH)
    throw new NestingError(`Could not encode: circular, or nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) {
    writeHead(value.length, 0x90, 0x10, 0, 0xdc);
    for (let i = 0; i < value.length; i++) write(value[i], depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  const plain = prototype === Object.prototype || prototype === null;
  if (!plain) {
    if (isDate(value)) return writeDate(value.getTime());
    if (ArrayBuffer.isView(value) || isAnyArrayBuffer(value)) return writeBytes(bytesOf(value));
  }
  if (!printed && typeof value.toJSON === "function" && (!asIs || isEnumerable.call(value, "toJSON")))
    return writePrinted(value.toJSON(), depth + 1);
  if (asIs) return writeMap(value, depth);
  if (!plain && (isStringObject(value) || isNumberObject(value) || isBooleanObject(value))) {
    return write(value.valueOf(), depth + 1);
  }
  writeMap(value, depth);
}

const isEnumerable = Object.prototype.propertyIsEnumerable;

/**
 * Members are read once, so how many are left out is known only after they are written: the head is as wide
 * as all of them would need, and made smaller if it turns out too wide.
 *
 * @param {Record<string, unknown>} map
 * @param {number} depth
 */
function writeMap(map, depth) {
  const keys = Object.keys(map);
  const head = at;
  writeHead(keys.length, 0x80, 0x10, 0, 0xde);
  const body = at;
  let count = 0;
  for (const key of keys) {
    const value = map[key];
    const type = typeof value;
    if (type === "function" || type === "symbol" || (type === "undefined" && !asIs)) continue;
    writeString(key);
    write(value, depth + 1);
    count++;
  }
  if (count === keys.length) return;
  const end = at;
  at = head;
  writeHead(count, 0x80, 0x10, 0, 0xde);
  if (at !== body) scratch.copyWithin(at, body, end);
  at += end - body;
}

/** @param {number} byte */
function writeByte(byte) {
  reserve(1);
  scratch[at++] = byte;
}

/**
 * Writes the type and length of a string, a binary, an array or a map, in the smallest form there is.
 *
 * @param {number} length
 * @param {number} fix first byte of the form that has the length in it, for lengths below `fixEnd`
 * @param {number} fixEnd
 * @param {number} form8 first byte of the form with one byte of length; 0 if there is none
 * @param {number} form16 that of two bytes; the next number is that of four
 */
function writeHead(length, fix, fixEnd, form8, form16) {
  reserve(5);
  if (length < fixEnd) {
    scratch[at++] = fix | length;
  } else if (form8 !== 0 && length < 0x100) {
    scratch[at++] = form8;
    scratch[at++] = length;
  } else if (length < 0x10000) {
    scratch[at++] = form16;
    scratch[at++] = length >>> 8;
    scratch[at++] = length;
  } else if (length < TWO_32) {
    scratch[at++] = form16 + 1;
    write32(length);
  } else {
    throw new Error("Could not encode: too large");
  }
}

/** @param {number} length in bytes */
function writeStringHead(length) {
  writeHead(length, 0xa0, 0x20, 0xd9, 0xda);
}

/** @param {string} string */
function writeString(string) {
  const { length } = string;
  if (length < SHORT_STRING) {
    // The head is one byte as long as all is ASCII.
    reserve(1 + length);
    const bytes = scratch;
    let end = at;
    bytes[end++] = 0xa0 | length;
    for (let i = 0; i < length; i++) {
      const code = string.charCodeAt(i);
      if (code >= 0x80) return writeText(string);
      bytes[end++] = code;
    }
    at = end;
  } else if (length < LONG_STRING) {
    writeText(string);
  } else {
    const size = Buffer.byteLength(string);
    writeStringHead(size);
    reserve(size);
    at += scratch.write(string, at, "utf8");
  }
}

/**
 * Writes the text behind a head for as many bytes as it has characters, and moves it if that was too few.
 * Lone surrogates become U+FFFD.
 *
 * @param {string} string
 */
function writeText(string) {
  const head = at;
  writeStringHead(string.length);
  const body = at;
  reserve(string.length * 3 + 4);
  const size = scratch.write(string, at, "utf8");
  const place = head + (size < 0x20 ? 1 : size < 0x100 ? 2 : size < 0x10000 ? 3 : 5);
  if (place !== body) scratch.copyWithin(place, body, body + size);
  at = head;
  writeStringHead(size);
  at = place + size;
}

/** @param {number} value */
function writeNumber(value) {
  reserve(9);
  if (asIs ? !Number.isSafeInteger(value) : !Number.isInteger(value) || value >= TWO_64 || value < -TWO_63) {
    scratch[at] = 0xcb;
    at = scratch.writeDoubleBE(value, at + 1);
  } else if (value >= 0) {
    if (value < 0x80) {
      scratch[at++] = value;
    } else if (value < 0x100) {
      scratch[at++] = 0xcc;
      scratch[at++] = value;
    } else if (value < 0x10000) {
      scratch[at] = 0xcd;
      at = scratch.writeUInt16BE(value, at + 1);
    } else if (value < TWO_32) {
      scratch[at++] = 0xce;
      write32(value);
    } else {
      scratch[at++] = 0xcf;
      write32(Math.floor(value / TWO_32));
      write32(value);
    }
  } else if (value >= -0x20) {
    scratch[at++] = value;
  } else if (value >= -0x80) {
    scratch[at++] = 0xd0;
    scratch[at++] = value;
  } else if (value >= -0x8000) {
    scratch[at] = 0xd1;
    at = scratch.writeInt16BE(value, at + 1);
  } else if (value >= -0x80000000) {
    scratch[at++] = 0xd2;
    write32(value);
  } else {
    scratch[at++] = 0xd3;
    write32(Math.floor(value / TWO_32));
    write32(value);
  }
}

/**
 * Writes the low 32 bits of an integer; the room for them is reserved.
 *
 * @param {number} integer
 */
function write32(integer) {
  at = scratch.writeUInt32BE(integer >>> 0, at);
}

/** @param {number} time milliseconds since 1970, NaN for a date that is none */
function writeDate(time) {
  if (Number.isNaN(time)) return writeByte(0xc0);
  reserve(15);
  const seconds = Math.floor(time / 1000);
  const nanoseconds = (time - seconds * 1000) * 1e6;
  if (seconds < 0 || seconds >= TWO_34) {
    scratch[at++] = 0xc7;
    scratch[at++] = 12;
    scratch[at++] = TIMESTAMP;
    write32(nanoseconds);
    write32(Math.floor(seconds / TWO_32));
    write32(seconds);
  } else if (nanoseconds === 0 && seconds < TWO_32) {
    scratch[at++] = 0xd6;
    scratch[at++] = TIMESTAMP;
    write32(seconds);
  } else {
    scratch[at++] = 0xd7;
    scratch[at++] = TIMESTAMP;
    write32(nanoseconds * 4 + Math.floor(seconds / TWO_32));
    write32(seconds);
  }
}

/** @param {Buffer} bytes */
function writeBytes(bytes) {
  writeHead(bytes.length, 0, 0, 0xc4, 0xc5);
  writeRaw(bytes);
}

/** @param {Buffer} bytes of msgpack */
function writeRaw(bytes) {
  reserve(bytes.length);
  at += bytes.copy(scratch, at);
}

module.exports = { encode, encodeAsIs, encodeBetween };
