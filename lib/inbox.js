// @ts-check
"use strict";

/**
 * What the link has for JS, fetched in batches: the bytes into a slab of our own, and a table of numbers that says
 * what stands where. `src/core/effects.rs` has the other side.
 */

const { fetch } = require("../binding");

/** What a record is; the numbers are those of `Kind` in Rust. */
const KIND = Object.freeze({
  FRAME: 0,
  BROADCAST: 1,
  REQUEST: 2,
  ANSWERS: 3,
  ACK: 4,
  ACK_END: 5,
  RESPONSE: 6,
  COUNT: 7,
  CARRY: 8,
  SUBSCRIBE: 9,
  UNSUBSCRIBE: 10,
  NUM_SUB: 11,
  EVENT: 12,
});

/** Numbers per record, as `STRIDE` in Rust. */
const STRIDE = 12;

/**
 * Records per fetch, and per turn of the event loop, which lets the sockets be written to in between: 512 made
 * binary broadcasts to 10 sockets half as dear again for the process as 64 did.
 */
const RECORDS = 64;

/** A frame keeps its slab alive until it is written: small enough not to matter, large enough to be rare. */
const SLAB_SIZE = 256 * 1024;

/**
 * One record. Valid until the next one is read; its parts are views of the slab, which is never written twice.
 */
class InboxRecord {
  /** @type {Uint32Array} */
  #table;
  #row = 0;
  /** @type {Buffer} */
  #slab;

  /** @param {Uint32Array} table @param {Buffer} slab */
  constructor(table, slab) {
    this.#table = table;
    this.#slab = slab;
  }

  /** @param {number} index @param {Buffer} slab */
  move(index, slab) {
    this.#row = index * STRIDE;
    this.#slab = slab;
  }

  get kind() {
    return this.#table[this.#row];
  }
  get member() {
    return this.#table[this.#row + 1];
  }
  get n() {
    return this.#table[this.#row + 2];
  }
  get token() {
    return this.#table[this.#row + 3];
  }

  /** Part `index`, 0 to 3. @param {number} index */
  part(index) {
    const at = this.#row + 4 + 2 * index;
    return this.#slab.subarray(this.#table[at], this.#table[at + 1]);
  }

  /** Part `index` as text. @param {number} index */
  text(index) {
    const at = this.#row + 4 + 2 * index;
    return this.#slab.toString("utf8", this.#table[at], this.#table[at + 1]);
  }

  /** The items of the list in part 3, `count` of them. @param {number} count */
  list(count) {
    const start = this.#table[this.#row + 10];
    const table = this.#table[this.#row + 11];
    return Array.from({ length: count }, (_, index) =>
      this.#slab.subarray(
        start + this.#slab.readUInt32LE(table + index * 8),
        start + this.#slab.readUInt32LE(table + index * 8 + 4),
      ),
    );
  }
}

/** The inbox of one link. */
class Inbox {
  #link;
  /** @type {(record: InboxRecord) => void} */
  #onRecord;
  #slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
  #used = 0;
  #table = new Uint32Array(RECORDS * STRIDE + 1);
  #record = new InboxRecord(this.#table, this.#slab);

  /**
   * @param {number} link the number of the native link
   * @param {(record: InboxRecord) => void} onRecord must not throw
   */
  constructor(link, onRecord) {
    this.#link = link;
    this.#onRecord = onRecord;
  }

  /** Hands on all that is there; to be called when the link wakes JS. */
  drain = () => {
    for (;;) {
      const count = fetch(this.#link, this.#slab, this.#used, this.#table);
      if (count === 0) return;
      if (count < 0) {
        this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_SIZE, -count));
        this.#used = 0;
        continue;
      }
      this.#used += this.#table[RECORDS * STRIDE];
      for (let index = 0; index < count; index++) {
        this.#record.move(index, this.#slab);
        this.#onRecord(this.#record);
      }
      if (count === RECORDS) {
        setImmediate(this.drain);
        return;
      }
    }
  };
}

module.exports = { Inbox, InboxRecord, KIND };
