// @ts-check
"use strict";

/**
 * The number of servers, as Redis has last said it.
 */

const debug = require("debug")("socket.io-redis");

/** What a promise has not come to in time. */
const LATE = Symbol("late");

class ServerCount {
  #ask;
  #closed = false;
  /** How many Redis has last counted. */
  #last = 1;
  /** Whether Socket.IO is about to ask, for an acknowledged broadcast. */
  #asksForAcks = false;
  /** A count that has not come in time, and may come yet. @type {Promise<number | Error | null> | null} */
  #overdue = null;

  /** @param {() => Promise<number | null>} ask has Redis count; it rejects if Redis refuses, and throws where it cannot be asked */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Socket.IO asks next, in the same tick, and handles no rejection. */
  expectAcks() {
    this.#asksForAcks = true;
    queueMicrotask(() => (this.#asksForAcks = false));
  }

  /**
   * Where Redis does not say so in time, it is what it has last said. Rejects if Redis refuses to say so; but not what
   * Socket.IO asks for an acknowledged broadcast.
   *
   * @param {number} timeout in milliseconds
   * @returns {Promise<number>}
   */
  async get(timeout) {
    const wasClosed = this.#closed;
    // While Redis is away, all wait for the same count rather than for one each.
    const counted = this.#overdue ?? this.#count();
    const forAcks = this.#asksForAcks;
    const count = await inTime(counted, timeout);
    if (count instanceof Error) {
      if (forAcks) return this.#last;
      throw count;
    }
    if (count === LATE) this.#overdue = counted;
    // One that was closed meanwhile has not waited for the answer.
    if (typeof count !== "number" || this.#closed !== wasClosed) return this.#last;
    return (this.#last = count);
  }

  /** @returns {Promise<number | Error | null>} null if the link cannot be made, or ends before it knows */
  async #count() {
    try {
      return await this.#ask().catch((/** @type {Error} */ refusal) => refusal);
    } catch (error) {
      debug("the servers cannot be counted: %s", error);
      return null;
    } finally {
      this.#overdue = null;
    }
  }

  /** This server is none of them any more. */
  close() {
    this.#closed = true;
    this.#last = Math.max(this.#last - 1, 0);
    this.#overdue = null;
  }
}

/**
 * Settles as a promise does, or resolves to `LATE` after so many milliseconds. It keeps the process.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} timeout
 * @returns {Promise<T | typeof LATE>}
 */
function inTime(promise, timeout) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, timeout, LATE);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}

module.exports = { ServerCount };
