// @ts-check
"use strict";

/**
 * What others were told last of this server's sockets. It seldom changes, and what has not is not printed again. Most of it is
 * the handshakes: Rust has their texts (`src/binding/handshakes.rs`), and puts them in. The rest is kept here.
 *
 * Users may change all of it at any time. So it is compared, leaf by leaf, with what it was. That takes a fifth of the time that
 * printing takes.
 */

const { forgetHandshake, keepHandshake } = require("../base/native");
const { isAsBefore, snapshotOf } = require("./snapshots");

/** What is kept for one namespace, in characters of text. Beside it stands what is compared, which is about as much. */
const MOST_TEXT = 64 * 1024 * 1024;

/** The part of a handshake that others are not told: it may hold anything. */
const STORE = "sessionStore";

/**
 * @typedef {import("./snapshots").Snapshot} Snapshot
 *
 * @typedef {object} Rest what is told of a socket beside its handshake
 * @property {string[]} rooms
 * @property {Snapshot} data
 * @property {string} text in which the handshake is a 0
 *
 * @typedef {object} Printed
 * @property {Snapshot} snapshot of the handshake
 * @property {number} number of the handshake in Rust
 * @property {number} size of the handshake's text
 * @property {Rest | null} rest
 */

class PrintedSockets {
  #print;
  #isHere;
  /** By the ids of the sockets. @type {Map<string, Printed>} */
  #all = new Map();
  #size = 0;

  /**
   * @param {(handshake: object) => Buffer} print
   * @param {(id: string) => boolean} isHere whether a socket has not left
   */
  constructor(print, isHere) {
    this.#print = print;
    this.#isHere = isHere;
  }

  /** What has the number of a socket's handshake, as it is now; null if that has to be printed. @param {any} socket */
  of(socket) {
    try {
      return this.#of(socket);
    } catch {
      // A getter of the user's has thrown. What prints the socket leaves that out.
      this.forget(socket.id);
      return null;
    }
  }

  /** @param {any} socket @returns {Printed | null} */
  #of({ id, handshake }) {
    const known = this.#all.get(id);
    if (known !== undefined) {
      if (isAsBefore(handshake, known.snapshot, STORE)) return known;
      this.forget(id);
    }
    const snapshot = typeof id === "string" ? snapshotOf(handshake, STORE) : null;
    if (snapshot === null) return null;
    const text = this.#print(withoutStore(handshake));
    // It may have left while others were described: nobody would have it forgotten.
    if (this.#size + text.length > MOST_TEXT || !this.#isHere(id)) return null;
    const printed = { snapshot, number: keepHandshake(text), size: text.length, rest: null };
    this.#all.set(id, printed);
    this.#size += text.length;
    return printed;
  }

  /**
   * What is told of a socket, as it is now. Throws what a getter of the user's throws, and what `print` does.
   *
   * @param {any} socket
   * @param {Printed} known of that socket
   * @param {() => string} print
   */
  textOf(socket, known, print) {
    const { rooms, data } = socket;
    const { rest } = known;
    if (rest !== null && isSameList(rooms, rest.rooms) && isAsBefore(data, rest.data)) return rest.text;
    const list = [...rooms];
    const snapshot = list.every((room) => typeof room === "string") ? snapshotOf(data) : null;
    const text = print();
    // What was read and printed are the user's functions, too: the socket may have left.
    if (this.#all.get(socket.id) === known)
      this.#keepRest(known, snapshot && { rooms: list, data: snapshot, text });
    return text;
  }

  /** @param {Printed} known @param {Rest | null} rest */
  #keepRest(known, rest) {
    this.#size -= known.rest?.text.length ?? 0;
    known.rest = rest !== null && this.#size + rest.text.length <= MOST_TEXT ? rest : null;
    this.#size += known.rest?.text.length ?? 0;
  }

  /** The socket has left. @param {string} id */
  forget(id) {
    const known = this.#all.get(id);
    if (known === undefined) return;
    forgetHandshake(known.number);
    this.#keepRest(known, null);
    this.#all.delete(id);
    this.#size -= known.size;
  }

  clear() {
    for (const id of this.#all.keys()) this.forget(id);
  }
}

/** What others are told of a handshake. @param {any} handshake */
function withoutStore({ [STORE]: _, ...rest }) {
  return rest;
}

/** @param {Set<unknown>} set @param {unknown[]} list in the set's order */
function isSameList(set, list) {
  if (set.size !== list.length) return false;
  let n = 0;
  for (const element of set) if (element !== list[n++]) return false;
  return true;
}

module.exports = { PrintedSockets, withoutStore };
