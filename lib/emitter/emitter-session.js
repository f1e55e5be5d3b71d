// @ts-check
"use strict";

/**
 * What an emitter shares with those of other namespaces that it has made: their link, and the counts of their messages.
 */

const { isOwn } = require("../place/forms");
const { WRITE_PATIENCE, countOf, keepFor } = require("../base/lifetime");
const { checkEmitterClient } = require("../link/links");
const { MAX_DELAY, readNumber } = require("../options/options");
const { Routing } = require("../link/routing");
const { EmitterLink } = require("./emitter-link");

/**
 * @typedef {object} FlushResult as in emitter.d.ts
 * @property {number} sent
 * @property {number | null} receivers
 * @property {number} refused
 * @property {number} lost
 * @property {number} pending
 */

class EmitterSession {
  #emitterLink;
  /** The counts at the end of the last flush. */
  #start;
  #flushing = 0;
  /** @type {Promise<FlushResult> | null} */
  #closed = null;

  /** @param {import("../place/forms").Form} form @param {import("./options").EmitterOptions} options */
  constructor(form, options) {
    this.options = options;
    this.#emitterLink = EmitterLink.of(form, options);
    this.#emitterLink.enter(this);
    this.#start = this.#emitterLink.count();
  }

  get transport() {
    return this.#emitterLink.link.transport;
  }

  stats() {
    return this.#closed === null ? this.#emitterLink.link.stats() : null;
  }

  /** What sends for a namespace. @param {string} nsp */
  sender(nsp) {
    return this.#emitterLink.sender(this.options, nsp);
  }

  /** Throws if nothing can be sent any more. */
  check() {
    if (this.#closed !== null) throw new Error("the emitter is closed");
  }

  /**
   * Resolves when Redis has answered for everything that was sent before. A rejection that nobody looks at is none. Without
   * a timeout it waits for as long as Redis goes on answering for that, and a while longer.
   *
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<FlushResult>}
   */
  flush(options = {}) {
    const timeout = readNumber(options, "timeout", "a number of milliseconds");
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
    return (this.#closed ??= handled(this.flush(options).finally(() => this.#emitterLink.leave(this))));
  }

  /** @param {number} [timeout] */
  async #flush(timeout) {
    const emitterLink = this.#emitterLink;
    // Losses during two flushes at a time are reported by both.
    const start = this.#start;
    this.#flushing++;
    let inTime;
    try {
      inTime = await keepFor(
        isInTime(emitterLink.link, timeout),
        "what an emitter has sent is to be answered",
      );
    } finally {
      this.#flushing--;
    }
    const now = emitterLink.count();
    if (this.#flushing === 0) this.#start = now;
    /** @type {FlushResult} */
    const result = {
      sent: now.sent - start.sent,
      receivers: this.options.mode === "streams" ? null : now.receivers - start.receivers,
      refused: now.refused - start.refused,
      lost: now.lost - start.lost,
      pending: inTime ? 0 : now.pending,
    };
    const { sent, refused, lost, pending } = result;
    const missing = refused + lost + pending;
    if (missing === 0) return result;
    const which = `${missing} of ${countOf(sent + missing, "message")} ${missing === 1 ? "has" : "have"}`;
    const message = `${which} not reached Redis: ${emitterLink.explain(result, timeout)}`;
    throw Object.assign(new Error(message), result);
  }
}

/** The session of an emitter without a client. As with the reference, the first message throws. */
class NoSession {
  #problem;

  /** @param {unknown} problem @param {import("./options").EmitterOptions} options */
  constructor(problem, options) {
    this.#problem = problem;
    this.options = options;
  }

  get transport() {
    return { carrier: "client", proven: false, reason: String(this.#problem) };
  }

  stats() {
    return null;
  }

  /** @param {string} nsp @returns {any} */
  sender(nsp) {
    return { open() {}, channels: new Routing({ ...this.options.identity, nsp }).names };
  }

  check() {
    throw this.#problem;
  }

  /** Nothing was sent. @returns {Promise<FlushResult>} */
  async flush() {
    return { sent: 0, receivers: 0, refused: 0, lost: 0, pending: 0 };
  }

  close() {
    return this.flush();
  }
}

/**
 * The session of what an emitter was given.
 *
 * @param {import("../place/forms").Form} form
 * @param {import("./options").EmitterOptions} options
 */
function sessionOf(form, options) {
  // The reference has the classic mode only.
  if (isOwn(form) || options.mode !== "classic") return new EmitterSession(form, options);
  try {
    checkEmitterClient(form.pub, options.link);
  } catch (error) {
    return new NoSession(error, options);
  }
  return new EmitterSession(form, options);
}

/**
 * Resolves to true when Redis has answered everything that was published by now. Resolves to false after the given time, or
 * without one after a while in which Redis has answered nothing of it.
 *
 * @param {import("../link/link").Link} link
 * @param {number} [timeout] in milliseconds
 * @returns {Promise<boolean>}
 */
function isInTime({ progress }, timeout) {
  return new Promise((resolve, reject) => {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const published = progress.published;
    const wait = () => {
      const answered = progress.answered;
      const onTimeout = () => {
        const now = progress.answered;
        // If there are as many answers as messages, some answers are for later messages.
        if (now > answered && now < published) wait();
        else resolve(false);
      };
      timer = setTimeout(onTimeout, WRITE_PATIENCE);
    };
    if (timeout === undefined) wait();
    // A longer time than timers can have means to wait for as long as it takes.
    else if (timeout <= MAX_DELAY) timer = setTimeout(resolve, timeout, false);
    progress
      .whenAnswered()
      .then(() => resolve(true), reject)
      .finally(() => clearTimeout(timer));
  });
}

/** @template T @param {Promise<T>} promise */
function handled(promise) {
  promise.catch(() => {});
  return promise;
}

module.exports = { NoSession, EmitterSession, sessionOf };
