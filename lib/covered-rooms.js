// @ts-check
"use strict";

/**
 * Rooms of a sharded cluster that sockets have been told to join: others may not listen to their channels yet, so that
 * they are reached by the channel of the namespace, which all servers listen to.
 */

/** How long that is done, in milliseconds. */
const JOIN_COVER = 2000;

/** More rooms than this are not remembered one by one. */
const MAX_COVERED = 10_000;

class CoveredRooms {
  /** Until when each may be on its way. @type {Map<string, number>} */
  #until = new Map();
  /** Until when that is so for any room. */
  #allUntil = 0;

  /** Sockets somewhere are joining rooms. @param {any[]} rooms */
  add(rooms) {
    const until = performance.now() + JOIN_COVER;
    if (this.#until.size + rooms.length > MAX_COVERED) {
      this.#until.clear();
      this.#allUntil = until;
      return;
    }
    for (const room of rooms) {
      const name = String(room);
      // Anew, so that the oldest stand first.
      this.#until.delete(name);
      this.#until.set(name, until);
    }
  }

  /** @param {any} room */
  has(room) {
    if (this.#until.size === 0 && this.#allUntil === 0) return false;
    const now = performance.now();
    if (now >= this.#allUntil) this.#allUntil = 0;
    for (const [name, until] of this.#until) {
      if (now < until) break;
      this.#until.delete(name);
    }
    return this.#allUntil > 0 || this.#until.has(String(room));
  }
}

module.exports = { CoveredRooms };
