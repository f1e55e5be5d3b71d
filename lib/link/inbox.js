// @ts-check
"use strict";

/**
 * What the link has for JS, fetched in batches: the bytes into a slab of our own, and a table of numbers that says
 * what stands where. `src/core/effects.rs` has the other side.
 */

const { fetch } = require("../base/native");
const { throwAlone } = require("../base/throw-alone");

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
  CREDENTIALS: 13,
  COMMAND: 14,
  CLOSE_READER: 15,
  ADDED: 16,
  RESTORED: 17,
  COUNT_REFUSED: 18,
  ANSWER: 19,
});

/**
 * What a record of the kind EVENT tells.
 *
 * @typedef {{ type: string, reason?: string, channel?: string, what?: string, error?: string, flowing?: boolean,
 *   seen?: number, stands?: boolean, silence?: number, age?: number, messages?: number, text?: string, secret?: string, stream?: string, after?: string, before?: string }} LinkEvent as `Event` in src/core/event.rs
 */

/** Numbers per record, as `STRIDE` in Rust. */
const STRIDE = 12;

/** Records per fetch. */
const RECORDS = 64;

/**
 * What is handed on in one turn of the event loop, in records and in bytes; then timers and sockets have theirs. With
 * 512 records binary broadcasts to 10 sockets were half as dear again for the process as with 64.
 */
const TURN = Object.freeze({ records: 64, bytes: 256 * 1024 });

/** Grows for a record that is larger. */
const SLAB_SIZE = 256 * 1024;

/**
 * One record. Valid until the next one is read; its parts are views of the slab, which the next fetch writes anew:
 * what is to last has to be copied.
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

  /** The same of a part that is ASCII. @param {number} index */
  ascii(index) {
    const at = this.#row + 4 + 2 * index;
    return this.#slab.toString("latin1", this.#table[at], this.#table[at + 1]);
  }

  /** The last `length` characters of part `index` but for the two at its end, in ASCII. @param {number} index @param {number} length */
  lastArgument(index, length) {
    const end = this.#table[this.#row + 5 + 2 * index] - 2;
    return this.#slab.toString("latin1", end - length, end);
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
  #table = new Uint32Array(RECORDS * STRIDE + 1);
  #draining = false;
  #record = new InboxRecord(this.#table, this.#slab);

  /**
   * @param {number} link the number of the native link
   * @param {(record: InboxRecord) => void} onRecord
   */
  constructor(link, onRecord) {
    this.#link = link;
    this.#onRecord = onRecord;
  }

  /** Whether some of what was fetched may not be handed on yet. */
  get isDraining() {
    return this.#draining;
  }

  /** Hands on what is there; to be called when the link wakes JS. */
  drain = () => {
    // A listener may end up here again, by way of a client that hands over messages.
    if (this.#draining) return;
    this.#draining = true;
    try {
      if (!this.#turn()) setImmediate(this.drain);
    } finally {
      this.#draining = false;
    }
  };

  /** Whether all is handed on, after as much as is good for one turn. */
  #turn() {
    let records = 0;
    let bytes = 0;
    while (records < TURN.records && bytes < TURN.bytes) {
      const count = fetch(this.#link, this.#slab, 0, this.#table);
      if (count === 0) return true;
      if (count < 0) {
        this.#slab = Buffer.allocUnsafeSlow(-count);
        continue;
      }
      records += count;
      bytes += this.#table[RECORDS * STRIDE];
      for (let index = 0; index < count; index++) this.#handOn(index);
      if (this.#slab.length > SLAB_SIZE) this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
    }
    return false;
  }

  /** @param {number} index */
  #handOn(index) {
    this.#record.move(index, this.#slab);
    try {
      this.#onRecord(this.#record);
    } catch (error) {
      // Of the user's, who is to hear of it; but the records behind go on.
      throwAlone(error);
    }
  }
}

module.exports = { Inbox, InboxRecord, KIND };
