// @ts-check
"use strict";

/** The CPU time this process has used: by its JS thread, and by all its threads. */

const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");

// The main thread's id is the process id.
const SCHEDSTAT = `/proc/self/task/${process.pid}/schedstat`;

/** Where the JS thread's time comes from, or null where nobody tells; then `reason` says so. */
const threadClock = chooseThreadClock();

/** @returns {{ name: string | null, reason: string | null, read: () => number | null }} */
function chooseThreadClock() {
  const { threadCpuUsage } = /** @type {any} */ (process);
  if (typeof threadCpuUsage === "function") {
    const read = () => {
      const { user, system } = threadCpuUsage.call(process);
      return (user + system) * 1000;
    };
    return { name: "process.threadCpuUsage()", reason: null, read };
  }
  try {
    // Kept open: it is read often.
    const file = fs.openSync(SCHEDSTAT, "r");
    const text = Buffer.alloc(64);
    const read = () => parseInt(text.latin1Slice(0, fs.readSync(file, text, 0, text.length, 0)), 10);
    if (read() > 0) return { name: "/proc/self/task/<tid>/schedstat", reason: null, read };
  } catch {
    // not Linux
  }
  const reason = `no clock for one thread in Node ${process.versions.node} on ${process.platform} (Node 23.9 has one)`;
  return { name: null, reason, read: () => null };
}

/**
 * Resolves with the times used so far, in nanoseconds; `thread` is null without a clock for it.
 *
 * The kernel brings schedstat up to date when a thread stops running (otherwise only at each tick, up to 4 ms
 * late): hence the pause.
 */
async function cpuTimes() {
  await sleep(5);
  const { user, system } = process.cpuUsage();
  return { thread: threadClock.read(), process: (user + system) * 1000, at: performance.now() };
}

module.exports = { cpuTimes, threadClock };
