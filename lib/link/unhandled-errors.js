// @ts-check
"use strict";

/**
 * Errors that nobody listens to, on stderr: an operator has to see why nothing gets through. One line each, and the same
 * line once a minute at most, however many links and attempts there are.
 */

/** How often the same is said, in milliseconds. */
const EVERY = 60_000;

/** So many lines are remembered. */
const MAX_LINES = 100;

/** When each was said. @type {Map<string, number>} */
const said = new Map();

/** @param {string} text what is wrong, where, and what to do @param {string} hint who else could have heard it */
function warnUnhandled(text, hint) {
  const now = performance.now();
  const before = said.get(text);
  if (before !== undefined && now - before < EVERY) return;
  if (said.size >= MAX_LINES) said.clear();
  said.set(text, now);
  console.warn(`socket.io-redis: ${text.replace(/\s*[\r\n]+\s*/g, " ")} (${hint})`);
}

module.exports = { warnUnhandled };
