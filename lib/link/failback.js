// @ts-check
"use strict";

/**
 * Decides when a link that has fallen back to the user's clients tries its own connections again: now and then, and less and
 * less often, since they may never work (the clients may sit behind a tunnel). `src/core/crossing/` does the switch.
 */

const { randomBytes } = require("node:crypto");
const debug = require("debug")("socket.io-redis:link");

/**
 * The pauses between two attempts, in milliseconds: doubled each time. After own connections have carried the bytes for
 * `forgotten`, the next pause is the first one again.
 */
const PAUSE = Object.freeze({ first: 2000, most: 300_000, forgotten: 600_000 });

class Failback {
  #attempt;
  /** @type {number} */
  #pause = PAUSE.first;
  /** Since when own connections carry the bytes. */
  #since = Infinity;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /** @param {(secret: string) => void} attempt begins one; ends with `failed` or `succeeded` */
  constructor(attempt) {
    this.#attempt = attempt;
  }

  /** The user's clients carry the bytes: there is to be an attempt, in a while. */
  begin() {
    if (performance.now() - this.#since > PAUSE.forgotten) this.#pause = PAUSE.first;
    this.#since = Infinity;
    this.#schedule();
  }

  /** @param {string} reason */
  failed(reason) {
    debug("the user's clients go on to carry the bytes: %s", reason);
    this.#schedule();
  }

  succeeded() {
    debug("own connections carry the bytes again");
    this.stop();
    this.#since = performance.now();
  }

  /** There is to be none. */
  stop() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule() {
    this.stop();
    const begin = () => {
      this.#timer = null;
      this.#attempt(randomBytes(16).toString("hex"));
    };
    this.#timer = setTimeout(begin, this.#pause).unref();
    this.#pause = Math.min(this.#pause * 2, PAUSE.most);
  }
}

module.exports = { Failback };
