// @ts-check
"use strict";

/**
 * Offsets: with connection state recovery, the last argument of a packet is the id of its entry in the stream. A client shows it
 * to say how far it has got. The id of an own packet is known when Redis has answered. Until then the packet waits here, and so
 * does everything that would overtake it.
 */

const { throwAlone } = require("../base/throw-alone");

/** The type of an event packet in the Socket.IO protocol. */
const EVENT = 2;

/** What the id of an entry looks like. */
const OFFSET = /^\d+-\d+$/;

/**
 * What is to be done to the local sockets, with the id of the entry, or without one if that is not known.
 *
 * @typedef {(id: string) => void} Act
 */

/** In the order in which they were called for. */
class WaitingDeliveries {
  /** @type {{ token: number | null, act: Act }[]} */
  #queue = [];
  /** How many at the front of it are done. */
  #done = 0;

  get isEmpty() {
    return this.#queue.length === 0;
  }

  /** @param {number | null} token of the entry whose id it needs, if it needs one @param {Act} act */
  push(token, act) {
    this.#queue.push({ token, act });
  }

  /** Entries are known, or never will be, up to this one; or all, if it is null. @param {number | null} token @param {string} id */
  added(token, id) {
    while (this.#done < this.#queue.length) {
      const { token: wanted, act } = this.#queue[this.#done];
      if (wanted !== null && token !== null && isBehind(wanted, token)) break;
      this.#take();
      try {
        act(wanted !== null && wanted === token ? id : "");
      } catch (error) {
        // A listener of the user's: his to hear of, but what is behind goes on.
        throwAlone(error);
      }
    }
  }

  /** Nothing more will be known. */
  flush() {
    this.added(null, "");
  }

  #take() {
    this.#done++;
    // Seldom, since it moves all that is left.
    if (this.#done < this.#queue.length && this.#done < 1024) return;
    this.#queue.splice(0, this.#done);
    this.#done = 0;
  }
}

/** Whether one token comes after another: they have 32 bits, and begin anew. @param {number} one @param {number} other */
function isBehind(one, other) {
  return ((one - other) | 0) > 0;
}

/**
 * Whether a packet of this kind is replayed to clients that come back, and has an offset.
 *
 * @param {any} packet
 * @param {any} opts
 */
function isRecoverable({ type, id }, opts) {
  return type === EVENT && id === undefined && opts.flags?.volatile === undefined;
}

/**
 * A copy of a packet with its offset.
 *
 * @param {any} packet
 * @param {string} id
 */
function withOffset(packet, id) {
  return { ...packet, data: [...packet.data, id] };
}

/**
 * The text of an event, with its offset as the last argument.
 *
 * @param {string} text as socket.io-parser prints it
 * @param {string} id
 */
function addOffset(text, id) {
  return `${text.slice(0, -1)},"${id}"]`;
}

/**
 * Less than 0 if one id comes before the other, 0 if they are the same. The two numbers in them may have more digits
 * than a double.
 *
 * @param {string} one
 * @param {string} other
 */
function compareOffsets(one, other) {
  const [ms, seq] = one.split("-");
  const [otherMs, otherSeq] = other.split("-");
  return compareDigits(ms, otherMs) || compareDigits(seq, otherSeq);
}

/** @param {string} one @param {string} other */
function compareDigits(one, other) {
  return one.length - other.length || (one < other ? -1 : one > other ? 1 : 0);
}

module.exports = {
  EVENT,
  OFFSET,
  WaitingDeliveries,
  addOffset,
  compareOffsets,
  isRecoverable,
  withOffset,
};
