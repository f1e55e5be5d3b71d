// @ts-check
"use strict";

/**
 * Decides whether to believe that nobody has received a publish of the user's client on a channel that this link is
 * subscribed to.
 *
 * It is true where the two clients are connected to different servers, such as a primary and its replica: publishing again
 * there would deliver the message twice. So a count of zero is doubted only after an answer has counted this link's own
 * subscription, and only a few times for the same message.
 */

const { createHash } = require("node:crypto");

/** How often the same message is published again. */
const MAX_TIMES = 5;

/** So many messages are remembered. */
const MAX_MESSAGES = 10_000;

/** For how long they are, after the last of them, in milliseconds. */
const MEMORY = 10_000;

class ZeroReceivers {
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

module.exports = { ZeroReceivers };
