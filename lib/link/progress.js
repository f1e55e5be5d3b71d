// @ts-check
"use strict";

/**
 * How many of the published messages Redis has answered: an emitter reports that, and unwritten messages keep the process.
 */

const { forget, giveUp, letGo, track } = require("../base/lifetime");
const { unwrittenOf } = require("./closed-links");

class Progress {
  #transport;
  #calls;
  /** @type {import("../../binding").Link | null} */
  #native = null;
  /** Whether it is that of an emitter's link. */
  emits = false;

  /** @param {import("./transport").Transport} transport @param {import("./calls").Calls} calls */
  constructor(transport, calls) {
    this.#transport = transport;
    this.#calls = calls;
  }

  /** @param {import("../../binding").Link} native */
  begin(native) {
    this.#native = native;
    track(this);
  }

  end() {
    this.#native = null;
    forget(this);
  }

  /** How many messages of an emitter there were. */
  get published() {
    return this.#transport.published;
  }

  /** How many of them Redis has answered, or certainly will not answer. */
  get answered() {
    const { acknowledged = 0, refused = 0, lostInFlight = 0, dropped = 0 } = this.#transport.stats() ?? {};
    return acknowledged + refused + lostInFlight + dropped;
  }

  /** How many of them may still be answered. */
  get unanswered() {
    return this.published - this.answered;
  }

  /**
   * Whether it is an emitter's, and has unanswered messages. There may be many. A connection that ends before its replies are
   * read is reset, and messages that the kernel has then may never reach Redis.
   */
  get #isUnanswered() {
    return this.emits && !this.#transport.byClient && this.unanswered > 0;
  }

  /**
   * Resolves when Redis has answered all that was published by now, or certainly will not.
   */
  async whenAnswered() {
    const [native, carrier] = [this.#native, this.#transport.carrier];
    if (native === null) return;
    const rust = () => this.#calls.make((token) => native.whenAnswered(token));
    // Later publishes are not waited for.
    const carried = carrier?.answered();
    if (this.#transport.handedOver > 0) await rust();
    if (await carried) await rust();
  }

  /** All is written. */
  flushed() {
    if (!this.#isUnanswered) letGo(this);
  }

  /** So many messages will not be written any more. @param {number} messages @param {string} why */
  givenUp(messages, why) {
    giveUp(this, messages, why);
  }

  // --- what lifetime.js asks ----------------------------------------------------------------------------

  /** Whether messages wait to be written, and can be. */
  holdsProcess() {
    if (this.#native === null || (this.#native.isFlushed() && !this.#isUnanswered)) return false;
    if (this.#transport.isHopeless) return false;
    if (!this.#isUnanswered) return this.#native.watchFlushed();
    this.whenAnswered().then(() => letGo(this));
    return true;
  }

  /** How many messages were written, to see whether there is progress. */
  written() {
    const { published = 0, acknowledged = 0 } = this.#transport.stats() ?? {};
    return published + acknowledged;
  }

  /** How many messages were not. */
  unwritten() {
    return Math.max(unwrittenOf(this.#native), this.#isUnanswered ? this.unanswered : 0);
  }

  /** Blocks until all are written. @param {number} timeout in milliseconds */
  flush(timeout) {
    // The user's clients need the event loop, which has ended.
    if (this.#native === null || this.#transport.byClient) return;
    // The proof cannot come any more: what waits for it goes out without.
    if (!this.#transport.isSettled) this.#native.close();
    this.#native.waitFlushed(timeout);
  }
}

module.exports = { Progress };
