// @ts-check
"use strict";

/**
 * What an emitter and those of other namespaces that it has made have in common: where they send, and what they know
 * of what they have sent.
 */

const { keep, letGo } = require("../lifetime");
const { checkNumber } = require("../options");
const { Outlet } = require("./outlet");

/**
 * @typedef {object} FlushResult as in emitter.d.ts
 * @property {number} sent
 * @property {number | null} receivers
 * @property {number} refused
 * @property {number} lost
 * @property {number} pending
 */

class Session {
  #options;
  #outlet;
  /** What there was to count when the last flush ended. */
  #start;
  #flushing = 0;
  /** @type {Promise<FlushResult> | null} */
  #closed = null;

  /** @param {any} clientOrUrl @param {import("./options").EmitterOptions} options */
  constructor(clientOrUrl, options) {
    this.#options = options;
    this.#outlet = Outlet.of(clientOrUrl, options);
    this.#outlet.enter(this);
    this.#start = this.#outlet.count();
  }

  get transport() {
    return this.#outlet.link.transport;
  }

  stats() {
    return this.#closed === null ? this.#outlet.link.stats() : null;
  }

  /** What sends for a namespace. @param {string} nsp */
  sender(nsp) {
    return this.#outlet.sender(this.#options, nsp);
  }

  /** Throws if nothing can be sent any more. */
  check() {
    if (this.#closed !== null) throw new Error("the emitter is closed");
  }

  /**
   * Resolves when Redis has answered for everything that was sent before. A rejection that nobody looks at is none.
   *
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<FlushResult>}
   */
  flush({ timeout } = {}) {
    checkNumber("timeout", timeout, "a number of milliseconds");
    if (this.#closed !== null) return this.#closed;
    return handled(this.#flush(timeout));
  }

  /**
   * The same, and ends everything.
   *
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<FlushResult>}
   */
  close(options) {
    return (this.#closed ??= handled(this.flush(options).finally(() => this.#outlet.leave(this))));
  }

  /** @param {number} [timeout] */
  async #flush(timeout) {
    const outlet = this.#outlet;
    // Messages that are lost while two wait are told to both.
    const start = this.#start;
    const holder = { holdsProcess: () => true, flush() {} };
    this.#flushing++;
    keep(holder);
    let inTime;
    try {
      inTime = await isInTime(outlet.link.answered(), timeout);
    } finally {
      letGo(holder);
      this.#flushing--;
    }
    const now = outlet.count();
    if (this.#flushing === 0) this.#start = now;
    /** @type {FlushResult} */
    const result = {
      sent: now.sent - start.sent,
      receivers: this.#options.mode === "streams" ? null : now.receivers - start.receivers,
      refused: now.refused - start.refused,
      lost: now.lost - start.lost,
      pending: inTime ? 0 : now.pending,
    };
    const { sent, refused, lost, pending } = result;
    const missing = refused + lost + pending;
    if (missing === 0) return result;
    const message = `${missing} of ${sent + missing} messages have not reached Redis: ${outlet.explain(result)}`;
    throw Object.assign(new Error(message), result);
  }
}

/**
 * Resolves to true when a promise resolves, or to false after so many milliseconds.
 *
 * @param {Promise<void>} promise
 * @param {number} [timeout]
 * @returns {Promise<boolean>}
 */
function isInTime(promise, timeout) {
  return new Promise((resolve, reject) => {
    const timer = timeout === undefined ? undefined : setTimeout(resolve, timeout, false);
    promise.then(() => resolve(true), reject).finally(() => clearTimeout(timer));
  });
}

/** @template T @param {Promise<T>} promise */
function handled(promise) {
  promise.catch(() => {});
  return promise;
}

module.exports = { Session };
