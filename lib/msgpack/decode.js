// @ts-check
"use strict";

/** Reads msgpack. */

const { bytesOf } = require("../base/memory");
const { MAX_DEPTH, TIMESTAMP, TWO_32 } = require("./format");

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

/** Reads a message from front to back. No length in it is believed before its bytes are seen to be there. */
class Reader {
  /** @type {Buffer} */
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : bytesOf(bytes);
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

module.exports = { decode };
