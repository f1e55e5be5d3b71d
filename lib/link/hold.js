// @ts-check
"use strict";

/**
 * Redis has refused a publish for now (BUSY, LOADING and the like): nothing more is given to the user's clients until it
 * takes commands again. A count asks whether it does.
 */

const { isRefusal } = require("../clients/resp");
const { isTakenLater } = require("../base/native");

/** How long to wait before Redis is asked, in milliseconds: doubled each time. */
const PAUSE = Object.freeze({ first: 25, most: 1000 });

class Hold {
  #count;
  #onEnd;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** @type {number} */
  #pause = PAUSE.first;

  /**
   * @param {(channels: string[]) => Promise<unknown>} count
   * @param {() => void} onEnd Redis takes commands again
   */
  constructor(count, onEnd) {
    this.#count = count;
    this.#onEnd = onEnd;
  }

  get isOn() {
    return this.#timer !== null;
  }

  /** Begins it. @param {string} channel what is counted to ask Redis */
  begin(channel) {
    this.#timer = setTimeout(async () => {
      const timer = this.#timer;
      const isRefused = await this.#count([channel]).then(() => false, isPassing);
      if (this.#timer !== timer) return;
      if (isRefused) return this.begin(channel);
      this.#timer = null;
      this.#onEnd();
    }, this.#pause);
    this.#timer.unref();
    this.#pause = Math.min(this.#pause * 2, PAUSE.most);
  }

  /** Redis has taken something: the next hold begins with the shortest pause. */
  taken() {
    if (!this.isOn) this.#pause = PAUSE.first;
  }

  /** Ends it without asking. */
  end() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Whether an error is Redis' own, and says that it takes later what it has refused. @param {any} error */
function isPassing(error) {
  return isRefusal(error) && isTakenLater(messageOf(error));
}

/** @param {any} error */
function messageOf(error) {
  return String(error?.message ?? error);
}

module.exports = { Hold, isPassing, messageOf };
