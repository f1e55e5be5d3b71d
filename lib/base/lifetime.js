// @ts-check
"use strict";

/**
 * Keeps the process while messages are not written, or calls are not answered. Idle links do not keep it.
 */

/** How long `process.exit()` is held up at most, in milliseconds, by a Redis that does not take what is written. */
const EXIT_TIMEOUT = 1000;

/**
 * How long a process that has nothing else to do waits for Redis to take what was published, in milliseconds. It
 * begins anew whenever Redis takes some of it. A Redis that is restarted is back by then.
 */
const WRITE_PATIENCE = 30_000;

const ENDS = "the process ends";

/** Where the registry is. The number changes with what `Link` and `Registry` have. */
const KEY = Symbol.for("socket.io-redis-native/lifetime/3");

/**
 * @typedef {object} Link
 * @property {() => boolean} holdsProcess whether it still has something to write; it says `letGo` when it has not
 * @property {() => number} written how much it has written by now
 * @property {() => number} unwritten how many messages it has not written
 * @property {(timeout: number) => void} flush blocks until all is written, for so many milliseconds at most
 *
 * @typedef {object} Registry
 * @property {(link: Link) => void} track looks after a link until it is forgotten
 * @property {(link: Link) => void} forget the link is gone
 * @property {(link: Link, count: number, why: string) => void} giveUp so many messages of a link will never be written;
 *   nothing is said of a link that was waited for in vain, since that was said then
 * @property {(holder: object, what: string) => void} keep keeps the process until the holder lets it go; `what` it
 *   waits for is for whoever looks for the reason
 * @property {(holder: object) => void} letGo
 * @property {() => string[]} reasons what keeps the process at this moment, in words
 */

/** @returns {Registry} */
function makeRegistry() {
  /** @type {Set<Link>} */
  const links = new Set();
  /** Those that a process which is at its end waits for. @type {Map<Link, NodeJS.Timeout>} */
  const awaited = new Map();
  /** Those that it has waited for in vain. @type {Set<Link>} */
  const givenUp = new Set();
  /** What each waits for. @type {Map<object, string>} */
  const holders = new Map();
  /** What keeps the process for all holders. @type {NodeJS.Timeout | undefined} */
  let timer;

  /** @param {Link} link */
  function wait(link) {
    if (awaited.has(link)) return;
    const written = link.written();
    const onTimeout = () => {
      awaited.delete(link);
      if (link.written() > written) return wait(link);
      givenUp.add(link);
      warnOfLoss(link.unwritten(), ENDS, `within ${WRITE_PATIENCE / 1000} s`);
    };
    awaited.set(link, setTimeout(onTimeout, WRITE_PATIENCE));
  }

  /** @param {object} holder */
  function letGo(holder) {
    const link = /** @type {Link} */ (holder);
    clearTimeout(awaited.get(link));
    awaited.delete(link);
    givenUp.delete(link);
    if (holders.delete(holder) && holders.size === 0) clearInterval(timer);
  }

  process.on("beforeExit", () => {
    for (const link of links) if (!givenUp.has(link) && link.holdsProcess()) wait(link);
  });
  process.on("exit", () => {
    const end = performance.now() + EXIT_TIMEOUT;
    let lost = 0;
    for (const link of links) {
      if (givenUp.has(link)) continue;
      link.flush(Math.max(0, end - performance.now()));
      lost += link.unwritten();
    }
    warnOfLoss(lost, ENDS, "in time");
  });

  return {
    track: (link) => void links.add(link),
    forget(link) {
      letGo(link);
      links.delete(link);
    },
    giveUp(link, count, why) {
      if (!givenUp.has(link)) warnOfLoss(count, why, "in time");
    },
    keep(holder, what) {
      if (holders.size === 0) timer = setInterval(() => {}, 2 ** 30);
      holders.set(holder, what);
    },
    letGo,
    reasons: () => [
      ...holders.values(),
      ...[...awaited.keys()].map((link) => `a link that has not written ${link.unwritten()} messages`),
    ],
  };
}

/** @param {number} count @param {string} why @param {string} when */
function warnOfLoss(count, why, when) {
  if (count > 0)
    console.warn(`socket.io-redis: ${why}, and Redis has not taken ${countOf(count, "message")} ${when}`);
}

/** So many of something, in words. @param {number} count @param {string} what one of them is called */
function countOf(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/**
 * The registry of this process. Copies of this module share it: each would listen to the end of the process otherwise,
 * and a module that is loaded anew (by a test runner, or on a hot reload) would add to its listeners each time.
 *
 * @type {Registry}
 */
const registry = (() => {
  /** @type {any} */
  const holder = process;
  return (holder[KEY] ??= makeRegistry());
})();

/**
 * Keeps the process until a promise settles, and returns the promise.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what the promise stands for
 * @returns {Promise<T>}
 */
function keepFor(promise, what) {
  const holder = {};
  registry.keep(holder, what);
  const end = () => registry.letGo(holder);
  promise.then(end, end);
  return promise;
}

module.exports = { ...registry, WRITE_PATIENCE, countOf, keepFor };
