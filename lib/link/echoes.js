// @ts-check
"use strict";

/**
 * Knows which of its own messages this link has received since a connection broke. If Redis counts one receiver, and that was
 * this link, no other server has received the message.
 */

const { createHash } = require("node:crypto");
const { afterReading } = require("../clients/client");

/** The most messages that are remembered. */
const MAX_SEEN = 10_000;

/** How long a message may come after the answer of Redis, in milliseconds: it comes by another connection. */
const PATIENCE = 500;

class Echoes {
  #isOn = false;
  /** How often each was received, by its digest. @type {Map<string, number>} */
  #seen = new Map();
  /** Who waits for it, by its digest. @type {Map<string, ((isHeard: boolean) => void)[]>} */
  #waiting = new Map();

  /** A connection broke: what was received before says nothing about publishes that are sent again. */
  begin() {
    this.end();
    this.#isOn = true;
  }

  /** All publishes from before are answered. */
  end() {
    this.#isOn = false;
    this.#seen.clear();
    const waiting = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const tell of waiting) tell(false);
  }

  /** A message was received. @param {Buffer | string} payload */
  heard(payload) {
    if (!this.#isOn) return;
    const digest = digestOf(payload);
    const tell = this.#waiting.get(digest)?.shift();
    if (tell !== undefined) tell(true);
    else if (this.#seen.size < MAX_SEEN) this.#seen.set(digest, (this.#seen.get(digest) ?? 0) + 1);
  }

  /**
   * Resolves to whether this link has received a message, as often as it is asked; to false if that is not known.
   *
   * @param {Buffer | string} payload
   * @returns {Promise<boolean>}
   */
  async has(payload) {
    if (!this.#isOn) return false;
    const digest = digestOf(payload);
    const times = this.#seen.get(digest) ?? 0;
    if (times > 1) this.#seen.set(digest, times - 1);
    else this.#seen.delete(digest);
    return times > 0 || this.#wait(digest);
  }

  /** @param {string} digest @returns {Promise<boolean>} */
  #wait(digest) {
    const waiting = this.#waiting.get(digest) ?? [];
    this.#waiting.set(digest, waiting);
    return new Promise((resolve) => {
      const tell = (/** @type {boolean} */ isHeard) => {
        clearTimeout(timer);
        resolve(isHeard);
      };
      waiting.push(tell);
      const timer = afterReading(() => {
        const place = waiting.indexOf(tell);
        if (place >= 0) waiting.splice(place, 1);
        resolve(false);
      }, PATIENCE);
    });
  }
}

/** @param {Buffer | string} payload */
function digestOf(payload) {
  return createHash("sha256").update(payload).digest("base64");
}

module.exports = { Echoes };
