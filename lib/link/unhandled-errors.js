// @ts-check
"use strict";

/**
 * Prints errors that nobody listens to on stderr: an operator has to see why messages do not arrive. The same line is printed
 * once a minute at most, however many links and attempts there are.
 */

/** How long the same line is not printed again, in milliseconds. */
const EVERY = 60_000;

/** The most lines that are remembered. */
const MAX_LINES = 100;

/** When each line was last printed. @type {Map<string, number>} */
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
