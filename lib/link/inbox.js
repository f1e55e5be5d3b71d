// @ts-check
"use strict";

/**
 * Fetches what the link has for JS, in batches: the bytes go into a slab of our own, and a table of numbers says where each
 * record is. `src/core/effects.rs` has the other side.
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

/** The bit of `n` that says that a broadcast is for the same sockets as the one before it, as in Rust. */
const FOLLOWS = 0x80000000;

/**
 * How large the frames of a run may be, in bytes: what a slow client has not taken yet stays in small pieces. A message
 * that is larger is a run by itself.
 */
const RUN_BYTES = 64 * 1024;

/** @type {Buffer[]} */
const NONE = [];

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
  #first = 0;
  #row = 0;
  /** @type {Buffer} */
  #slab;
  /** How many records there are in its run: broadcasts for the same sockets, one behind the other. */
  length = 1;

  /** @param {Uint32Array} table @param {Buffer} slab */
  constructor(table, slab) {
    this.#table = table;
    this.#slab = slab;
  }

  /** @param {number} index @param {number} end of those that were fetched @param {Buffer} slab */
  move(index, end, slab) {
    this.#first = index;
    this.#row = index * STRIDE;
    this.#slab = slab;
    this.length = this.kind === KIND.FRAME ? this.#runLength(end - index) : 1;
  }

  /** @param {number} most */
  #runLength(most) {
    const table = this.#table;
    // The frame, and the arguments if there are attachments among them.
    const sizeAt = (/** @type {number} */ row) =>
      table[row + 5] - table[row + 4] + table[row + 11] - table[row + 10];
    let bytes = sizeAt(this.#row);
    let length = 1;
    for (let row = this.#row + STRIDE; length < most; length++, row += STRIDE) {
      if (table[row] !== KIND.FRAME || table[row + 2] < FOLLOWS) break;
      bytes += sizeAt(row);
      if (bytes > RUN_BYTES) break;
    }
    return length;
  }

  /** Becomes each record of the run, and then the first one again. @returns {Generator<InboxRecord>} */
  *each() {
    const end = this.#first + this.length;
    for (let index = this.#first; index < end; index++) {
      this.#row = index * STRIDE;
      yield this;
    }
    this.#row = this.#first * STRIDE;
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

  // Of a broadcast that is a frame:

  /** Whether the text says all that the values do. */
  get isExact() {
    return (this.n & 1) === 1;
  }

  /** How many attachments it has. */
  get count() {
    return (this.n & ~FOLLOWS) >>> 1;
  }

  /** The attachments, views as the parts. */
  attachments() {
    return this.count === 0 ? NONE : this.list(this.count);
  }

  /** What its clients know it by, or none. */
  get offset() {
    return this.token === 0 ? "" : this.lastArgument(1, this.token);
  }

  // Of any record:

  /** Part `index`, 0 to 3. @param {number} index */
  part(index) {
    const at = this.#row + 4 + 2 * index;
    return this.#slab.subarray(this.#table[at], this.#table[at + 1]);
  }

  /** How many bytes part `index` has. @param {number} index */
  size(index) {
    const at = this.#row + 4 + 2 * index;
    return this.#table[at + 1] - this.#table[at];
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
    // A listener may call this again, if a client hands over messages meanwhile.
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
      for (let index = 0; index < count; index += this.#record.length) this.#handOn(index, count);
      if (this.#slab.length > SLAB_SIZE) this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
    }
    return false;
  }

  /** @param {number} index @param {number} end */
  #handOn(index, end) {
    this.#record.move(index, end, this.#slab);
    try {
      this.#onRecord(this.#record);
    } catch (error) {
      // A listener of the user has thrown: that becomes an uncaught exception, and the next records are handed on.
      throwAlone(error);
    }
  }
}

module.exports = { Inbox, InboxRecord, KIND };
