// @ts-check
"use strict";

/** The sockets in a room: numbers of lent connections, side by side, and the ids of sockets whose connections are not lent. */

class SlotList {
  /** The first `count` of them are in use. */
  slots = new Int32Array(16);
  count = 0;
  /** The ids of the other sockets. @type {Set<string>} */
  others = new Set();
  /** Where in `slots` each is. @type {Map<number, number>} */
  #places = new Map();

  get size() {
    return this.count + this.others.size;
  }

  /** @param {number} slot */
  add(slot) {
    if (this.#places.has(slot)) return;
    if (this.count === this.slots.length) {
      const larger = new Int32Array(2 * this.count);
      larger.set(this.slots);
      this.slots = larger;
    }
    this.#places.set(slot, this.count);
    this.slots[this.count++] = slot;
  }

  /** The last one takes its place. @param {number} slot */
  remove(slot) {
    const place = this.#places.get(slot);
    if (place === undefined) return;
    this.#places.delete(slot);
    const last = this.slots[--this.count];
    if (last === slot) return;
    this.slots[place] = last;
    this.#places.set(last, place);
  }
}

module.exports = { SlotList };
