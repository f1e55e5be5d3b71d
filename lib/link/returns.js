// @ts-check
"use strict";

/**
 * Gives publishes of the user's clients back to Rust, which publishes them again: those that have reached nobody, in their
 * order, and all behind them, so that none is overtaken.
 */

const { UnheardError } = require("../clients/shard-publisher");

class Returns {
  #onHold;
  /** How many were given back, as Rust counts them: it wraps after 2^32. */
  count = 0;
  #last = 0;
  /** The numbers of those that are not answered. @type {Set<number>} */
  #open = new Set();
  /** All with lower numbers are answered. */
  #oldest = 1;
  /** What is given back once all before it are answered, by number. @type {Map<number, () => void>} */
  #held = new Map();

  /** @param {() => void} onHold something will be given back: what comes is to wait */
  constructor(onHold) {
    this.#onHold = onHold;
  }

  /**
   * Resolves to how many have received a publish, or to null if it is given back.
   *
   * @param {(() => Promise<number>) | null} send null if it would overtake something
   * @param {() => void} giveBack
   * @returns {Promise<number | null>}
   */
  async publish(send, giveBack) {
    const number = ++this.#last;
    this.#open.add(number);
    try {
      if (send === null || this.#held.size > 0) throw new UnheardError("it would overtake", false);
      return await send();
    } catch (error) {
      if (!(error instanceof UnheardError)) throw error;
      this.#onHold();
      return this.#hold(number, giveBack);
    } finally {
      this.#open.delete(number);
      this.#release();
    }
  }

  /** @param {number} number @param {() => void} giveBack @returns {Promise<null>} */
  #hold(number, giveBack) {
    return new Promise((resolve) =>
      this.#held.set(number, () => {
        this.count = (this.count + 1) >>> 0;
        giveBack();
        resolve(null);
      }),
    );
  }

  #release() {
    for (; this.#oldest <= this.#last && !this.#open.has(this.#oldest); this.#oldest++) {
      const giveBack = this.#held.get(this.#oldest);
      this.#held.delete(this.#oldest);
      giveBack?.();
    }
  }
}

module.exports = { Returns };
