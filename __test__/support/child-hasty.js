// @ts-check
"use strict";

/** Loaded before a script whose long timers would take a test's time: what takes 10 s or more takes a twentieth. */

/** @type {any} */
const globals = globalThis;
const inTime = globals.setTimeout;

globals.setTimeout = (
  /** @type {() => void} */ callback,
  /** @type {number} */ delay,
  /** @type {any[]} */ ...args
) => inTime(callback, delay >= 10_000 ? delay / 20 : delay, ...args);
