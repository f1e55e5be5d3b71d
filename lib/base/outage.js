// @ts-check
"use strict";

/** Since when Redis is away, and why: what an error says about whatever was asked of the other servers meanwhile. */

class Outage {
  #since = "";
  #reason = "";

  /** The connection is lost, or an attempt to make it has failed. @param {string} reason */
  begin(reason) {
    if (this.#since === "") this.#since = new Date().toISOString();
    this.#reason = reason;
  }

  /** It stands. */
  end() {
    this.#since = "";
  }

  /** The end of a sentence, empty if Redis is there. */
  toString() {
    return this.#since === "" ? "" : `: Redis is away since ${this.#since}: ${this.#reason}`;
  }
}

module.exports = { Outage };
