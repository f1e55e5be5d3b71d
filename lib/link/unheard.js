// @ts-check
"use strict";

/**
 * Whether it can be believed that nobody has heard what the user's client has published on a channel that this link
 * listens to.
 *
 * It is the truth where the two clients are connected to different servers, to a primary and its replica for example:
 * what was published again there would arrive again. So it is doubted only once an answer has counted this link's own
 * subscription, and of a message only a few times.
 */

const { createHash } = require("node:crypto");

/** How often the same message is published again. */
const MAX_TIMES = 5;

/** So many messages are remembered. */
const MAX_MESSAGES = 10_000;

/** For how long they are, after the last of them, in milliseconds. */
const MEMORY = 10_000;

class Unheard {
  /** Whether the clients are known to reach the same server. */
  isProven = false;
  /** How often each message was doubted. @type {Map<string, number>} */
  #times = new Map();
  #last = -Infinity;

  /**
   * Says whether the message is to be published again, and remembers that it is.
   *
   * @param {string} channel
   * @param {Buffer | string} bytes
   */
  isDoubtful(channel, bytes) {
    if (!this.isProven) return false;
    const now = performance.now();
    if (this.#times.size >= MAX_MESSAGES || now - this.#last > MEMORY) this.#times.clear();
    this.#last = now;
    const message = createHash("sha1").update(channel).update("\0").update(bytes).digest("base64");
    const times = (this.#times.get(message) ?? 0) + 1;
    if (times > MAX_TIMES) return false;
    this.#times.set(message, times);
    return true;
  }
}

module.exports = { Unheard };
