// @ts-check
"use strict";

/**
 * The handshakes of other servers' sockets are read when somebody looks at them: they are most of what an answer holds, and
 * few look. Until then an accessor stands for each. It behaves as the value would, and becomes it.
 */

const { inspect } = require("node:util");

/** Neighbours are kept together, in so many bytes: these stay in memory as long as one of them is unread. */
const KEPT_TOGETHER = 16 * 1024;

/** Where an object has its unread handshake. A symbol, so that proxies and heirs of the object find it, too. */
const UNREAD = Symbol("unread handshake");

/** @typedef {(bytes: Buffer, start: number, end: number) => any} Read */

class UnreadHandshake {
  /** Null if it was read. @type {Buffer | null} */
  #bytes;
  #start;
  #end;
  #read;
  /** @type {any} */
  #value;

  /** @param {Buffer} bytes @param {number} start @param {number} end @param {Read} read */
  constructor(bytes, start, end, read) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#read = read;
  }

  /** The same one every time. */
  get value() {
    if (this.#bytes !== null) {
      this.#value = this.#read(this.#bytes, this.#start, this.#end);
      this.#bytes = null;
    }
    return this.#value;
  }

  /** Gives an object, which has no handshake yet, this one. @param {object} object */
  addTo(object) {
    Object.defineProperty(object, "handshake", ACCESSOR);
    Object.defineProperty(object, UNREAD, hidden(this));
    Object.defineProperty(object, inspect.custom, INSPECT);
  }
}

/** @param {any} value */
function hidden(value) {
  return { value, enumerable: false, configurable: true, writable: true };
}

/** @param {any} value */
function plain(value) {
  return { value, enumerable: true, configurable: true, writable: true };
}

/** The same functions for all: objects with functions of their own would be slow. */
const ACCESSOR = Object.freeze({
  /** @this {any} */
  get() {
    const unread = this[UNREAD];
    const { value } = unread;
    // It may be frozen.
    const isReplaced = Object.hasOwn(this, UNREAD) && Reflect.defineProperty(this, "handshake", plain(value));
    if (isReplaced) delete this[UNREAD];
    return value;
  },
  /** @this {any} @param {any} value */
  set(value) {
    if (Reflect.defineProperty(this, "handshake", plain(value))) delete this[UNREAD];
    // Sealed objects take it. Frozen ones throw, as for any other property.
    else this[UNREAD] = { value };
  },
  enumerable: true,
  configurable: true,
});

/** `console.log` is to show the value. */
const INSPECT = Object.freeze(
  hidden(
    /** @this {any} */
    function () {
      void this.handshake;
      return this;
    },
  ),
);

/**
 * The handshakes of a piece of an answer.
 *
 * @param {Buffer} bytes one behind the other; they are copied
 * @param {Buffer} ends where each ends
 * @param {Read} read
 * @returns {UnreadHandshake[]}
 */
function readHandshakesLater(bytes, ends, read) {
  const all = [];
  const count = ends.length / 4;
  const endOf = (/** @type {number} */ n) => ends.readUInt32LE(4 * n);
  for (let n = 0, first = 0; n < count;) {
    let behind = n + 1;
    while (behind < count && endOf(behind) - first <= KEPT_TOGETHER) behind++;
    const last = endOf(behind - 1);
    const kept = Buffer.from(bytes.subarray(first, last));
    for (let start = first; n < behind; n++) {
      const end = endOf(n);
      all.push(new UnreadHandshake(kept, start - first, end - first, read));
      start = end;
    }
    first = last;
  }
  return all;
}

module.exports = { UnreadHandshake, readHandshakesLater };
