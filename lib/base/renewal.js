// @ts-check
"use strict";

/**
 * Says when the native side of a link is made anew after it has failed (by a fault of this package that was caught): at once,
 * and after growing pauses if it fails again. Keeps the counters.
 */

/** The pauses, in milliseconds; after so long without a fault the next one counts as the first. */
const PAUSE = Object.freeze({ first: 100, most: 10_000, forgotten: 60_000 });

/** The numbers that are states, not counters. */
const GAUGES = new Set(["backlog", "pendingRequests", "inboxBytes"]);

/** @typedef {NonNullable<ReturnType<import("../../binding").Link["stats"]>>} Stats */

class Renewal {
  #failures = 0;
  #last = -Infinity;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /** @param {() => void} renew */
  schedule(renew) {
    const now = performance.now();
    this.#failures = now - this.#last > PAUSE.forgotten ? 1 : this.#failures + 1;
    this.#last = now;
    const pause = this.#failures === 1 ? 0 : Math.min(PAUSE.first * 2 ** (this.#failures - 2), PAUSE.most);
    this.stop();
    this.#timer = setTimeout(renew, pause).unref();
  }

  /** It is no longer wanted. */
  stop() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/**
 * The counters of a native link together with those of the ones before it.
 *
 * @param {Stats} stats
 * @param {Partial<Stats> | null} before
 * @returns {Stats}
 */
function addStats(stats, before) {
  if (before === null) return stats;
  const sums = Object.entries(stats).map(([name, count]) => {
    const counted = GAUGES.has(name) ? 0 : (before[/** @type {keyof Stats} */ (name)] ?? 0);
    return [name, count + counted];
  });
  return Object.fromEntries(sums);
}

/**
 * Adds to counters, and returns them.
 *
 * @template {Partial<Stats>} T
 * @param {T} stats
 * @param {Record<string, number>} counts
 * @returns {T}
 */
function addToStats(stats, counts) {
  for (const [name, count] of Object.entries(counts)) {
    const key = /** @type {keyof T} */ (name);
    stats[key] = /** @type {any} */ (Number(stats[key] ?? 0) + count);
  }
  return stats;
}

module.exports = { Renewal, addStats, addToStats };
