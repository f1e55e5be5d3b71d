// @ts-check
"use strict";

/** What a link has asked Rust and waits for, by the token that the record of the answer has. */

const debug = require("debug")("socket.io-redis:link");

class Calls {
  #nextToken = 0;
  /** @type {Map<number, { resolve: (answer: number | null) => void, reject: (refusal: Error) => void }>} */
  #waiting = new Map();

  /**
   * @param {(token: number) => void} call
   * @returns {Promise<number | null>} null if the link cannot be asked, or ends before it answers
   */
  make(call) {
    return new Promise((resolve, reject) => {
      this.#nextToken = (this.#nextToken + 1) >>> 0;
      const token = this.#nextToken;
      this.#waiting.set(token, { resolve, reject });
      try {
        call(token);
      } catch (error) {
        debug("the link cannot be asked: %s", error);
        this.forget(token);
        resolve(null);
      }
    });
  }

  /** @param {number} token @param {number} answer */
  answer(token, answer) {
    this.#take(token)?.resolve(answer);
  }

  /** @param {number} token @param {string} reason */
  refuse(token, reason) {
    this.#take(token)?.reject(new Error(reason));
  }

  /** The answer is not waited for any more. @param {number} token */
  forget(token) {
    this.#waiting.delete(token);
  }

  /** Nothing is answered any more. */
  end() {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { resolve } of all) resolve(null);
  }

  /** @param {number} token */
  #take(token) {
    const call = this.#waiting.get(token);
    this.#waiting.delete(token);
    return call;
  }
}

module.exports = { Calls };
