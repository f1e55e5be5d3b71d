// @ts-check
"use strict";

/**
 * Takes sessions from Redis, a few at a time: each may bring as much with it as a stream holds.
 */

/** How many Rust works on at a time. */
const AT_ONCE = 4;

/** How many wait at most; the client of one more begins a new session. */
const MAX_WAITING = 10_000;

/**
 * @typedef {(record: import("./inbox").InboxRecord | null) => void} OnRestored with null if it was not tried
 *
 * @typedef {object} Restore
 * @property {(token: number) => boolean} start hands it to Rust; false if that cannot be any more
 * @property {OnRestored} onRestored
 */

class Restores {
  /** @type {Map<number, Restore>} */
  #running = new Map();
  /** @type {Set<Restore>} */
  #waiting = new Set();
  #nextToken = 0;

  /** @param {Restore["start"]} start @param {OnRestored} onRestored */
  add(start, onRestored) {
    if (this.#waiting.size >= MAX_WAITING) return onRestored(null);
    this.#waiting.add({ start, onRestored });
    this.#startSome();
  }

  /** @param {import("./inbox").InboxRecord} record */
  onRecord(record) {
    const restore = this.#running.get(record.token);
    this.#running.delete(record.token);
    try {
      restore?.onRestored(record);
    } finally {
      this.#startSome();
    }
  }

  /** Ends all of them without a session. */
  fail() {
    const all = [...this.#running.values(), ...this.#waiting];
    this.#running.clear();
    this.#waiting.clear();
    for (const { onRestored } of all) onRestored(null);
  }

  #startSome() {
    for (const restore of this.#waiting) {
      if (this.#running.size >= AT_ONCE) return;
      this.#waiting.delete(restore);
      this.#nextToken = (this.#nextToken + 1) >>> 0;
      if (restore.start(this.#nextToken)) this.#running.set(this.#nextToken, restore);
      else restore.onRestored(null);
    }
  }
}

module.exports = { Restores };
