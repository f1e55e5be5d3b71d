// @ts-check
"use strict";

/**
 * For how long the event loop of this process serves nobody else: the longest of its turns.
 *
 * A chain of `setImmediate` ends each turn. It is unref'd, so that the loop still sleeps when it has nothing to do: the
 * chain costs a few microseconds a turn, and keeps no CPU busy. What the loop has slept (libuv counts it) is taken off.
 */

const { threadClock } = require("./cpu.js");

/** The longest turn by the clock on the wall, and the longest by the CPU time of the JS thread; in milliseconds. */
const longest = { wall: 0, ran: 0 };
let at = performance.now();
let idle = performance.eventLoopUtilization().idle;
let ran = threadRun();
let watching = false;

/** Starts anew. */
function watchTurns() {
  longest.wall = longest.ran = 0;
  at = performance.now();
  idle = performance.eventLoopUtilization().idle;
  ran = threadRun();
  if (watching) return;
  watching = true;
  setImmediate(endTurn).unref();
}

/**
 * Returns the longest turns since `watchTurns`, in milliseconds: `wallMs` as others see it, with what the machine did
 * meanwhile for other processes; `ranMs` without that, null where there is no clock for one thread.
 */
function longestTurns() {
  return { wallMs: longest.wall, ranMs: threadClock.name ? longest.ran : null };
}

function endTurn() {
  const now = performance.now();
  const idleNow = performance.eventLoopUtilization().idle;
  const ranNow = threadRun();
  longest.wall = Math.max(longest.wall, now - at - (idleNow - idle));
  longest.ran = Math.max(longest.ran, ranNow - ran);
  at = now;
  idle = idleNow;
  ran = ranNow;
  setImmediate(endTurn).unref();
}

/** The CPU time of the JS thread, in milliseconds. */
function threadRun() {
  // The kernel has the time of a thread up to date when it is asked for that of the process.
  process.cpuUsage();
  return (threadClock.read() ?? 0) / 1e6;
}

module.exports = { longestTurns, watchTurns };
