// @ts-check
"use strict";

/**
 * Root hooks of the test run (loaded by .mocharc.js). Mocha fails a test by an uncaught exception, but lets
 * unhandled rejections pass: here they fail the run, unless a test says that it expects them.
 */

const watchdog = require("./watchdog");

/** @typedef {import("mocha").Context} Context */

/** @type {{ reason: unknown, during: string }[]} */
const unexpected = [];

/** @type {unknown[] | null} */
let awaited = null;

/** @type {(() => void)[]} */
const restore = [];

let during = "the start of the run";

watchdog.watch();

process.on("unhandledRejection", (reason) => {
  if (awaited) awaited.push(reason);
  else unexpected.push({ reason, during });
});

/**
 * Returns a list that fills with the reasons of unhandled rejections, which are allowed until the end of the
 * current test. For showing what the reference does; nothing of ours may need it.
 *
 * @returns {unknown[]}
 */
function expectRejections() {
  awaited ??= [];
  return awaited;
}

/**
 * The same for uncaught exceptions.
 *
 * @returns {unknown[]}
 */
function expectExceptions() {
  /** @type {unknown[]} */
  const seen = [];
  const others = process.listeners("uncaughtException");
  /** @param {unknown} error */
  const listener = (error) => void seen.push(error);
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", listener);
  restore.push(() => {
    process.removeListener("uncaughtException", listener);
    for (const other of others) process.on("uncaughtException", other);
  });
  return seen;
}

/**
 * Skips the current test, or from a `before` hook the suite, for a reason that `npm test` prints at its end.
 *
 * @param {Context} context `this` of the test or hook
 * @param {string} reason
 * @returns {never}
 */
function skip(context, reason) {
  /** @type {any} */
  const { test } = context;
  const target = test.type === "hook" ? (context.currentTest ?? test.parent) : test;
  target.skipReason = reason;
  context.skip();
}

/** @type {import("mocha").RootHookObject} */
const mochaHooks = {
  /** @this {Context} */
  beforeEach() {
    during = this.currentTest?.fullTitle() ?? during;
  },

  async afterEach() {
    awaited = null;
    for (const undo of restore.splice(0)) undo();
    await watchdog.hasReported();
  },

  async afterAll() {
    // A rejection counts as unhandled only after the microtasks of its turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (unexpected.length === 0) return;
    const list = unexpected.map(
      ({ reason, during: title }) =>
        `during or after "${title}": ${reason instanceof Error ? reason.stack : reason}`,
    );
    throw new Error(`${unexpected.length} unhandled rejection(s)\n${list.join("\n")}`);
  },
};

module.exports = { mochaHooks, expectRejections, expectExceptions, skip };
