// @ts-check
"use strict";

/**
 * What the link thread has not written yet keeps the process: nothing that was published is lost by exiting. Idle
 * links keep nothing.
 */

/** How long `process.exit()` is held up at most, in milliseconds, by a Redis that does not take what is written. */
const EXIT_TIMEOUT = 1000;

/**
 * @typedef {object} Link
 * @property {() => boolean} holdsProcess whether it still has something to write; it says `letGo` when it has not
 * @property {(timeout: number) => void} flush blocks until all is written, for so many milliseconds at most
 */

/** @type {Set<Link>} */
const links = new Set();
/** @type {Map<Link, NodeJS.Timeout>} */
const held = new Map();
let listening = false;

/** Looks after a link until it is forgotten. @param {Link} link */
function track(link) {
  links.add(link);
  if (listening) return;
  listening = true;
  process.on("beforeExit", () => {
    for (const link of links) {
      if (link.holdsProcess()) keep(link);
    }
  });
  process.on("exit", () => {
    const end = performance.now() + EXIT_TIMEOUT;
    for (const link of links) link.flush(Math.max(0, end - performance.now()));
  });
}

/** Keeps the process until the link lets it go. @param {Link} link */
function keep(link) {
  if (held.has(link)) return;
  const timer = setInterval(() => {}, 2 ** 30);
  held.set(link, timer);
}

/** The link has written everything: it no longer keeps the process. @param {Link} link */
function letGo(link) {
  clearInterval(held.get(link));
  held.delete(link);
}

/** The link is gone. @param {Link} link */
function forget(link) {
  letGo(link);
  links.delete(link);
}

module.exports = { forget, keep, letGo, track };
