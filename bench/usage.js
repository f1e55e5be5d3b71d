// @ts-check
"use strict";

/** What a process of the bench uses between two orders of its parent. */

const { cpuTimes } = require("./cpu.js");
const { longestTurns, watchTurns } = require("./turns.js");

/** Orders for `answerOrders`. */
function usageOrders() {
  /** @type {Awaited<ReturnType<typeof cpuTimes>>} */
  let start;
  return {
    /** Starts the clocks. */
    async begin() {
      start = await cpuTimes();
      watchTurns();
    },

    /** What was used since: CPU times in nanoseconds, the longest turns of the event loop in milliseconds. */
    async end() {
      const turns = longestTurns();
      const now = await cpuTimes();
      return {
        thread: now.thread === null || start.thread === null ? null : now.thread - start.thread,
        process: now.process - start.process,
        ...turns,
      };
    },
  };
}

module.exports = { usageOrders };
