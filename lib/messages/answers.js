// @ts-check
"use strict";

/**
 * What others answer with: lists, which Rust hands over in pieces (`src/wire/slices.rs`), so that other things are done in
 * between.
 */

const msgpack = require("../msgpack");
const { readHandshakesLater } = require("./handshakes");

/** How a piece of an answer is encoded; the numbers are those of `PieceKind` in Rust. */
const PIECE = Object.freeze({ JSON: 0, MSGPACK: 1, WHOLE: 2, ASCII: 3 });

/**
 * @typedef {import("../link/inbox").InboxRecord} InboxRecord
 * @typedef {import("./handshakes").UnreadHandshake} UnreadHandshake
 *
 * @typedef {object} Maker what is made of the sockets in an answer
 * @property {(id: string, handshake: UnreadHandshake, rooms: any[], data: any) => any} ofParts
 * @property {(list: any[]) => any[]} ofList of descriptions, or of sockets of this server
 */

/** Descriptions, as a `fetchSockets` of an adapter has them. @type {Maker} */
const DESCRIPTIONS = Object.freeze({
  ofParts: (id, handshake, rooms, data) => {
    /** @type {any} */
    const description = { id };
    handshake.addTo(description);
    description.rooms = rooms;
    description.data = data;
    return description;
  },
  ofList: (list) => list,
});

/** A request that waits for answers. */
class Request {
  /** The lists that others have answered with, or their answers as they came. @type {any[]} */
  answers = [];
  /** What there is of the list that is coming. @type {any[]} */
  #list = [];

  /** @param {(outcome: any) => void} finish @param {{ maker: Maker }} wanted its maker may change until the first answer is there */
  constructor(finish, wanted) {
    this.finish = finish;
    this.wanted = wanted;
  }

  /** Takes a piece of an answer. @param {InboxRecord} record */
  add(record) {
    const isLast = (record.n & 1) === 1;
    const isApart = (record.n & 2) !== 0;
    const kind = record.n >>> 2;
    if (kind === PIECE.WHOLE) return void this.answers.push(Buffer.from(record.part(1)));
    const values = readValues(kind, record);
    const { maker } = this.wanted;
    if (isApart) this.#addSockets(values, readHandshakes(kind, record), maker);
    else for (const element of maker.ofList(values)) this.#list.push(element);
    if (!isLast) return;
    this.answers.push(this.#list);
    this.#list = [];
  }

  /** @param {any[]} values id, rooms and data of each in turn @param {UnreadHandshake[]} handshakes @param {Maker} maker */
  #addSockets(values, handshakes, maker) {
    let at = 0;
    for (const handshake of handshakes) {
      this.#list.push(maker.ofParts(values[at], handshake, values[at + 1], values[at + 2]));
      at += 3;
    }
  }
}

/** @param {number} kind @param {InboxRecord} record @returns {any[]} */
function readValues(kind, record) {
  switch (kind) {
    case PIECE.ASCII:
      return JSON.parse(record.ascii(1));
    case PIECE.JSON:
      return JSON.parse(record.text(1));
    default:
      // Of its own memory: the next fetch writes the slab anew.
      return msgpack.decode(Buffer.from(record.part(1)));
  }
}

/** @param {number} kind @param {InboxRecord} record */
function readHandshakes(kind, record) {
  return readHandshakesLater(record.part(2), record.part(3), kind === PIECE.MSGPACK ? unpack : parse);
}

/** @type {import("./handshakes").Read} */
function parse(bytes, start, end) {
  return JSON.parse(bytes.toString("utf8", start, end));
}

/** @type {import("./handshakes").Read} */
function unpack(bytes, start, end) {
  return msgpack.decode(bytes.subarray(start, end));
}

module.exports = { DESCRIPTIONS, Request };
