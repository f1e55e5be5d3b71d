// @ts-check
"use strict";

/**
 * The handshakes of this server's sockets, as others were told of them last. They are most of what there is to tell, and they
 * seldom change: one that has not is not printed again. Rust has the texts (`src/binding/handshakes.rs`).
 *
 * Users may change them at any time. So each is compared, leaf by leaf, with what it was. That takes a fifth of the time that
 * printing takes.
 */

const { forgetHandshake, keepHandshake } = require("../base/native");

/** What is kept for one namespace, in bytes of text. */
const MOST_BYTES = 64 * 1024 * 1024;

/** A handshake with more keys, or nested deeper, is printed each time. */
const MOST_KEYS = 200;
const MOST_DEPTH = 4;

/** Stand in a snapshot where an object or an array begins, and where it ends. */
const OBJECT = Symbol("object");
const ARRAY = Symbol("array");
const END = Symbol("end");

/**
 * Keys and values in the order of printing.
 *
 * @typedef {any[]} Snapshot
 *
 * @typedef {object} Printed
 * @property {Snapshot} snapshot
 * @property {number} number in Rust
 * @property {number} size in bytes
 */

class PrintedHandshakes {
  #print;
  #isHere;
  /** By the ids of the sockets. @type {Map<string, Printed>} */
  #all = new Map();
  #bytes = 0;

  /**
   * @param {(handshake: object) => Buffer} print
   * @param {(id: string) => boolean} isHere whether a socket has not left
   */
  constructor(print, isHere) {
    this.#print = print;
    this.#isHere = isHere;
  }

  /** The number of a socket's handshake, as it is now; 0 if it has to be printed. @param {any} socket */
  numberOf(socket) {
    try {
      return this.#numberOf(socket);
    } catch {
      // A getter of the user's has thrown. What prints the socket leaves that out.
      this.forget(socket.id);
      return 0;
    }
  }

  /** @param {any} socket */
  #numberOf({ id, handshake }) {
    const known = this.#all.get(id);
    if (known !== undefined) {
      if (isAsBefore(handshake, known.snapshot)) return known.number;
      this.forget(id);
    }
    const snapshot = typeof id === "string" ? snapshotOf(handshake) : null;
    if (snapshot === null) return 0;
    const text = this.#print(withoutStore(handshake));
    // It may have left while others were described: nobody would have it forgotten.
    if (this.#bytes + text.length > MOST_BYTES || !this.#isHere(id)) return 0;
    const number = keepHandshake(text);
    this.#all.set(id, { snapshot, number, size: text.length });
    this.#bytes += text.length;
    return number;
  }

  /** The socket has left. @param {string} id */
  forget(id) {
    const known = this.#all.get(id);
    if (known === undefined) return;
    forgetHandshake(known.number);
    this.#all.delete(id);
    this.#bytes -= known.size;
  }

  clear() {
    for (const id of this.#all.keys()) this.forget(id);
  }
}

/** What others are told of a handshake: a `sessionStore` may hold anything. @param {any} handshake */
function withoutStore({ sessionStore: _, ...rest }) {
  return rest;
}

/** Null if what is printed of it may be different though its keys and values are not. @param {any} handshake @returns {Snapshot | null} */
function snapshotOf(handshake) {
  if (!isPlain(handshake)) return null;
  /** @type {Snapshot} */
  const snapshot = [];
  return add(withoutStore(handshake), snapshot, 0) ? snapshot : null;
}

/** @param {any} object @param {Snapshot} snapshot @param {number} depth @returns {boolean} whether it could be added */
function add(object, snapshot, depth) {
  for (const key in object) {
    const value = object[key];
    if (!Object.hasOwn(object, key) || snapshot.length > 2 * MOST_KEYS) return false;
    snapshot.push(key);
    switch (typeof value) {
      case "object":
        if (value === null) {
          snapshot.push(null);
          break;
        }
        if (depth === MOST_DEPTH || !isPlain(value)) return false;
        snapshot.push(Array.isArray(value) ? ARRAY : OBJECT);
        if (!add(value, snapshot, depth + 1)) return false;
        break;
      // These may have a toJSON.
      case "function":
      case "bigint":
        return false;
      default:
        snapshot.push(value);
    }
  }
  snapshot.push(END);
  return true;
}

/** Whether printing it takes its own keys and values alone. @param {any} object */
function isPlain(object) {
  if (object === null || typeof object !== "object" || typeof object.toJSON === "function") return false;
  const prototype = Object.getPrototypeOf(object);
  if (Array.isArray(object))
    return prototype === Array.prototype && Object.keys(object).length === object.length;
  // As `querystring` makes them: their prototype has none.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

/** What `isSame` returns for what is different. */
const DIFFERENT = 0;

/** @param {any} handshake @param {Snapshot} snapshot */
function isAsBefore(handshake, snapshot) {
  return isPlain(handshake) && isSame(handshake, snapshot, 0, true) !== DIFFERENT;
}

/**
 * @param {any} object
 * @param {Snapshot} snapshot
 * @param {number} at where the object begins there
 * @param {boolean} isOuter
 * @returns {number} where it ends
 */
function isSame(object, snapshot, at, isOuter) {
  for (const key in object) {
    if (isOuter && key === "sessionStore") continue;
    if (snapshot[at++] !== key) return DIFFERENT;
    const value = object[key];
    const before = snapshot[at++];
    // First of all, for it takes no look at a string that is still the same one.
    if (Object.is(before, value)) continue;
    if (before !== OBJECT && before !== ARRAY) return DIFFERENT;
    if (!isPlain(value) || Array.isArray(value) !== (before === ARRAY)) return DIFFERENT;
    at = isSame(value, snapshot, at, false);
    if (at === DIFFERENT) return DIFFERENT;
  }
  return snapshot[at] === END ? at + 1 : DIFFERENT;
}

module.exports = { PrintedHandshakes, withoutStore };
