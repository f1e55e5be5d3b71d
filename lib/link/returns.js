// @ts-check
"use strict";

/**
 * What the user's clients have published, nobody could hear, and Rust is to publish again: in the order in which it went
 * out, and with nothing overtaking it.
 */

const { UnheardError } = require("../clients/shard-publisher");

class Returns {
  #onHold;
  /** How many were given back, as Rust counts them: it wraps after 2^32. */
  count = 0;
  #last = 0;
  /** The numbers of those whose end is not known. @type {Set<number>} */
  #open = new Set();
  /** All below have ended. */
  #oldest = 1;
  /** What is to be given back once all before it have ended, by number. @type {Map<number, () => void>} */
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
