// @ts-check
"use strict";

/**
 * Limits how often refusals are reported: a user who lacks a permission is refused with every message, and there may be
 * thousands of namespaces.
 */

/** How often the same is told, in milliseconds. */
const EVERY = 1000;

/**
 * @typedef {import("./inbox").LinkEvent} LinkEvent
 * @typedef {{ timer: NodeJS.Timeout, last: LinkEvent | null }} Rest
 */

class Throttle {
  #tell;
  /** What was told not long ago, by what Redis refuses, each with what has come since. @type {Map<unknown, Rest>} */
  #rests = new Map();
  /** That of the last time that something was refused to be published. @type {LinkEvent | null} */
  lastOfPublish = null;

  /** @param {(event: LinkEvent) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Tells of a refusal: at once, or with those that follow it. @param {LinkEvent} event */
  add(event) {
    const { what } = event;
    if (what === "publish") this.lastOfPublish = event;
    const rest = this.#rests.get(what);
    if (rest !== undefined) {
      rest.last = event;
      return;
    }
    const timer = setTimeout(() => {
      const { last } = /** @type {Rest} */ (this.#rests.get(what));
      this.#rests.delete(what);
      if (last !== null) this.add(last);
    }, EVERY);
    timer.unref();
    this.#rests.set(what, { timer, last: null });
    this.#tell(event);
  }

  /** Tells nothing more. */
  stop() {
    for (const { timer } of this.#rests.values()) clearTimeout(timer);
    this.#rests.clear();
  }
}

module.exports = { Throttle };
