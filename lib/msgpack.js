// @ts-check
"use strict";

/**
 * msgpack as the reference's parser (notepack.io 3) puts it on the wire: the way round the fast path, for what
 * Rust does not encode. Bytes are the same wherever the reference is right; where it is not, see FAULTS.
 */

const { isAnyArrayBuffer, isBooleanObject, isDate, isNumberObject, isStringObject } =
  require("node:util").types;

/** Deepest nesting, in both directions: what is deeper cannot be read by a peer of ours, so it is not sent. */
const MAX_DEPTH = 1024;

/** Size of the scratch buffer, in bytes; one that a large message made grow beyond it is given up afterwards. */
const SCRATCH_SIZE = 64 * 1024;

/** Strings shorter than this, in characters, are written in JS: a call into C++ costs more than they do. */
const SHORT_STRING = 32;

/** Messages up to this size, in bytes, are copied in JS, for the same reason. */
const SHORT_MESSAGE = 64;

/** From this length on, in characters, a string is measured before it is written, lest it reserve thrice that. */
const LONG_STRING = 64 * 1024;

const TWO_32 = 2 ** 32;
const TWO_34 = 2 ** 34;
const TWO_63 = 2 ** 63;
const TWO_64 = 2 ** 64;

const TIMESTAMP = -1;

let scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE);
let at = 0;

/**
 * Returns the msgpack bytes of `value`, in a buffer of their own. Throws for what has none: a BigInt, a symbol,
 * a function that is not an object's member (those are left out), a circular or too deep value.
 *
 * @param {unknown} value
 * @returns {Buffer}
 */
function encode(value) {
  // A toJSON or a getter may encode as well: its bytes go behind what is written so far.
  const start = at;
  try {
    write(value, 0);
    const size = at - start;
    const bytes = Buffer.allocUnsafe(size);
    if (size > SHORT_MESSAGE) scratch.copy(bytes, 0, start, at);
    else for (let i = 0; i < size; i++) bytes[i] = scratch[start + i];
    return bytes;
  } finally {
    at = start;
    if (start === 0 && scratch.length > SCRATCH_SIZE) scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE);
  }
}

/**
 * Returns the value of a msgpack message. Binary is a view into `bytes`, not a copy. Throws for anything but
 * exactly one value.
 *
 * @param {Uint8Array} bytes
 * @returns {any}
 */
function decode(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.end();
  return value;
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
      if (typeof toJSON === "function") return write(toJSON.call(value), depth + 1);
      throw new Error("Could not encode");
    }
  }
}

/**
 * @param {any} value
 * @param {number} depth
 * @returns {void}
 */
function writeObject(value, depth) {
  if (depth >= MAX_DEPTH) throw new Error(`Could not encode: circular, or nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) {
    writeHead(value.length, 0x90, 0x10, 0, 0xdc);
    for (let i = 0; i < value.length; i++) write(value[i], depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  const plain = prototype === Object.prototype || prototype === null;
  if (!plain) {
    if (isDate(value)) return writeDate(value.getTime());
    if (ArrayBuffer.isView(value))
      return writeBytes(asBuffer(value.buffer, value.byteOffset, value.byteLength));
    if (isAnyArrayBuffer(value)) return writeBytes(asBuffer(value, 0, value.byteLength));
  }
  if (typeof value.toJSON === "function") return write(value.toJSON(), depth + 1);
  if (!plain && (isStringObject(value) || isNumberObject(value) || isBooleanObject(value))) {
    return write(value.valueOf(), depth + 1);
  }
  writeMap(value, depth);
}

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
    if (value === undefined || typeof value === "function") continue;
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
  if (!Number.isInteger(value) || value >= TWO_64 || value < -TWO_63) {
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
  reserve(bytes.length);
  at += bytes.copy(scratch, at);
}

/**
 * @param {ArrayBufferLike} memory
 * @param {number} offset
 * @param {number} length
 */
function asBuffer(memory, offset, length) {
  return Buffer.from(/** @type {ArrayBuffer} */ (memory), offset, length);
}

/** Reads a message from front to back. No length in it is believed before its bytes are seen to be there. */
class Reader {
  /** @type {Buffer} */
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : asBuffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  end() {
    const trailing = this.#bytes.length - this.#at;
    if (trailing !== 0) throw new Error(`${trailing} trailing bytes`);
  }

  /**
   * @param {number} depth
   * @returns {any}
   */
  value(depth) {
    const first = this.#bytes[this.#take(1)];
    if (first < 0x80) return first;
    if (first < 0x90) return this.#map(first & 0x0f, depth);
    if (first < 0xa0) return this.#array(first & 0x0f, depth);
    if (first < 0xc0) return this.#text(first & 0x1f);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#unsigned8());
      case 0xc5:
        return this.#binary(this.#unsigned16());
      case 0xc6:
        return this.#binary(this.#unsigned32());
      case 0xc7:
        return this.#extension(this.#unsigned8(), false);
      case 0xc8:
        return this.#extension(this.#unsigned16(), false);
      case 0xc9:
        return this.#extension(this.#unsigned32(), false);
      case 0xca:
        return this.#bytes.readFloatBE(this.#take(4));
      case 0xcb:
        return this.#bytes.readDoubleBE(this.#take(8));
      case 0xcc:
        return this.#unsigned8();
      case 0xcd:
        return this.#unsigned16();
      case 0xce:
        return this.#unsigned32();
      case 0xcf:
        return this.#unsigned32() * TWO_32 + this.#unsigned32();
      case 0xd0:
        return this.#bytes.readInt8(this.#take(1));
      case 0xd1:
        return this.#bytes.readInt16BE(this.#take(2));
      case 0xd2:
        return this.#signed32();
      case 0xd3:
        return this.#signed32() * TWO_32 + this.#unsigned32();
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (first - 0xd4), true);
      case 0xd9:
        return this.#text(this.#unsigned8());
      case 0xda:
        return this.#text(this.#unsigned16());
      case 0xdb:
        return this.#text(this.#unsigned32());
      case 0xdc:
        return this.#array(this.#unsigned16(), depth);
      case 0xdd:
        return this.#array(this.#unsigned32(), depth);
      case 0xde:
        return this.#map(this.#unsigned16(), depth);
      case 0xdf:
        return this.#map(this.#unsigned32(), depth);
      default:
        throw new Error("Could not parse");
    }
  }

  /**
   * Returns where the next `size` bytes begin, and goes past them.
   *
   * @param {number} size
   */
  #take(size) {
    const start = this.#at;
    if (size > this.#bytes.length - start) throw new Error("Could not parse: truncated");
    this.#at = start + size;
    return start;
  }

  #unsigned8() {
    return this.#bytes[this.#take(1)];
  }

  #unsigned16() {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  #unsigned32() {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  #signed32() {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  /** @param {number} length */
  #text(length) {
    const start = this.#take(length);
    return this.#bytes.toString("utf8", start, start + length);
  }

  /** @param {number} length */
  #binary(length) {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  /**
   * Throws if so many items cannot be in what is left, or lie too deep.
   *
   * @param {number} count
   * @param {number} size of an item at least, in bytes
   * @param {number} depth
   */
  #enter(count, size, depth) {
    if (count * size > this.#bytes.length - this.#at) throw new Error("Could not parse: truncated");
    if (depth >= MAX_DEPTH) throw new Error(`Could not parse: nested deeper than ${MAX_DEPTH}`);
  }

  /**
   * @param {number} count
   * @param {number} depth
   */
  #array(count, depth) {
    this.#enter(count, 1, depth);
    const array = [];
    for (let i = 0; i < count; i++) array.push(this.value(depth + 1));
    return array;
  }

  /**
   * @param {number} count
   * @param {number} depth
   */
  #map(count, depth) {
    this.#enter(count, 2, depth);
    /** @type {Record<string, any>} */
    const map = {};
    for (let i = 0; i < count; i++) {
      const key = String(this.value(depth + 1));
      const value = this.value(depth + 1);
      if (key === "__proto__") {
        Object.defineProperty(map, key, { value, configurable: true, enumerable: true, writable: true });
      } else {
        map[key] = value;
      }
    }
    return map;
  }

  /**
   * Type -1 is a timestamp; type 0 is what notepack.io 2 used for undefined, dates and ArrayBuffers.
   *
   * @param {number} length
   * @param {boolean} fixed whether the form has the length in its first byte
   */
  #extension(length, fixed) {
    const type = this.#bytes.readInt8(this.#take(1));
    const bytes = this.#binary(length);
    if (type === TIMESTAMP) {
      if (length === 4) return new Date(bytes.readUInt32BE(0) * 1000);
      if (length === 8) {
        const high = bytes.readUInt32BE(0);
        return new Date(((high & 3) * TWO_32 + bytes.readUInt32BE(4)) * 1000 + (high >>> 2) / 1e6);
      }
      if (length === 12) {
        const seconds = bytes.readInt32BE(4) * TWO_32 + bytes.readUInt32BE(8);
        return new Date(seconds * 1000 + bytes.readUInt32BE(0) / 1e6);
      }
    } else if (type === 0) {
      if (!fixed) return new Uint8Array(bytes).buffer;
      if (length === 1) return undefined;
      if (length === 8) return new Date(bytes.readInt32BE(0) * TWO_32 + bytes.readUInt32BE(4));
    }
    return [type, bytes];
  }
}

module.exports = { encode, decode };
