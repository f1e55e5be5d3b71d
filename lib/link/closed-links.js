// @ts-check
"use strict";

/**
 * Native links that were closed while messages waited. Rust goes on until all are written, or for a while; the process is kept
 * for that.
 */

const { forget, giveUp, track } = require("../base/lifetime");

/** @typedef {import("../../binding").Link} NativeLink */

class ClosedLinks {
  /** @type {Map<NativeLink, import("../base/lifetime").Link>} */
  #links = new Map();

  /** @param {NativeLink} native @param {boolean} byClient whether the user's clients carry its bytes */
  add(native, byClient) {
    const { dropped } = native.stats();
    /** @type {import("../base/lifetime").Link} */
    const rest = {
      holdsProcess: () => native.watchFlushed(),
      written: () => native.stats().acknowledged,
      // Messages that were given up, but not reported yet, do not wait any more.
      unwritten: () => unwrittenOf(native) + native.stats().dropped - dropped,
      // Nobody hands the clients messages any more.
      flush: (timeout) => void (byClient || native.waitFlushed(timeout)),
    };
    this.#links.set(native, rest);
    track(rest);
  }

  /**
   * @param {NativeLink} native
   * @param {import("./inbox").LinkEvent} event
   * @param {boolean} emits whether it was an emitter's
   */
  onEvent(native, event, emits) {
    const rest = this.#links.get(native);
    if (rest === undefined) return;
    const closed = `the ${emits ? "emitter" : "adapter"} was closed`;
    if (event.type === "givenUp") giveUp(rest, event.messages ?? 0, closed);
    else if (event.type === "failed")
      giveUp(rest, rest.unwritten(), `${closed}, its link to Redis has failed`);
    else if (event.type !== "flushed") return;
    this.#links.delete(native);
    forget(rest);
  }
}

/** How many messages of a link are not with the kernel: one at least, if it says that there are some. @param {NativeLink | null} native */
function unwrittenOf(native) {
  if (native === null || native.isFlushed()) return 0;
  return Math.max(native.stats().backlog, 1);
}

module.exports = { ClosedLinks, unwrittenOf };
