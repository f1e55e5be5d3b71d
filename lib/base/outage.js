// @ts-check
"use strict";

/** Since when Redis is away, and why. Errors of requests say so. */

class Outage {
  #since = "";
  #reason = "";

  /** The connection is lost, or could not be made. @param {string} reason */
  begin(reason) {
    if (this.#since === "") this.#since = new Date().toISOString();
    this.#reason = reason;
  }

  /** The connection stands. */
  end() {
    this.#since = "";
  }

  /** The end of a sentence, empty if Redis is there. */
  toString() {
    return this.#since === "" ? "" : `: Redis is away since ${this.#since}: ${this.#reason}`;
  }
}

module.exports = { Outage };
