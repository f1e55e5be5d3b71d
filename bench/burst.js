// @ts-check
"use strict";

/** What is measured of a process: bursts of messages, and what they use. */

const { cpuTimes } = require("./cpu.js");
const { payloads } = require("./payloads.js");

/**
 * Returns the orders that start and stop the clocks.
 *
 * @param {() => any} sender what has `to()` and `emit()`
 */
function burstOrders(sender) {
  /** @type {Promise<void>} */
  let burst = Promise.resolve();
  /** @type {Awaited<ReturnType<typeof cpuTimes>>} */
  let start;
  return {
    /** Starts the clocks. */
    async begin() {
      start = await cpuTimes();
    },

    /** Starts the clocks and a burst, and does not wait for it. @param {any} order */
    async emit({ payload, room, perTick, messages }) {
      const target = room ? sender().to(room) : sender();
      const bodies = payloads(payload);
      start = await cpuTimes();
      burst = (async () => {
        for (let sent = 0; sent < messages;) {
          for (const end = Math.min(sent + perTick, messages); sent < end; sent++) {
            target.emit("message", bodies[sent % bodies.length]);
          }
          await new Promise(setImmediate);
        }
      })();
    },

    /** What was used since the clocks were started, in nanoseconds; and the time gone by, in milliseconds. */
    async end() {
      await burst;
      const now = await cpuTimes();
      return {
        thread: now.thread === null || start.thread === null ? null : now.thread - start.thread,
        process: now.process - start.process,
        elapsedMs: now.at - start.at,
      };
    },
  };
}

module.exports = { burstOrders };
