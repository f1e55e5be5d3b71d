// @ts-check
"use strict";

/**
 * The readable report of mocha, and beside it the counts, as JSON in the file that the option `counts` names.
 */

const fs = require("node:fs");
const Mocha = require("mocha");

const { Spec } = Mocha.reporters;

/** How long a finished run may take to let go of its last handle, in milliseconds. */
const GRACE = 10_000;

/** @typedef {{ passed: number, failed: number, skipped: { title: string, reason: string | null }[] }} Counts */

class CountingReporter extends Spec {
  /**
   * @param {import("mocha").Runner} runner
   * @param {any} options
   */
  constructor(runner, options) {
    super(runner, options);
    /** @type {Counts} */
    const counts = { passed: 0, failed: 0, skipped: [] };
    runner.on("pass", () => void counts.passed++);
    runner.on("fail", (test, error) => {
      counts.failed++;
      // Of the same mocha process: it has loaded the hooks of the tests.
      require("../__test__/support/watchdog.js").report(test.fullTitle(), error);
    });
    // Said, so that it is seen that it was not the first time.
    runner.on("retry", (test, error) =>
      console.log(`      again: ${test.fullTitle()} (${error?.message ?? error})`),
    );
    runner.on("pending", (test) => {
      counts.skipped.push({ title: test.fullTitle(), reason: reasonOf(test) });
    });
    const file = options.reporterOptions?.counts;
    const save = () => file && fs.writeFileSync(file, JSON.stringify(counts));
    runner.once("end", () => {
      save();
      setTimeout(() => {
        /** @type {string[]} */
        const active = /** @type {any} */ (process).getActiveResourcesInfo();
        const held = active.filter((name) => !/TTY|Pipe|File/.test(name));
        const kept = require("../__test__/support/watchdog.js").describeKept();
        console.error(`All tests are over, yet something keeps the process alive: ${held.join(", ")}`);
        console.error(kept.map((line) => `  ${line}`).join("\n"));
        // Mocha sets the exit code to its own count of failures, so this one goes into ours.
        counts.failed++;
        save();
        process.exit(1);
      }, GRACE).unref();
    });
  }
}

/**
 * Returns the reason that `skip()` of the test hooks noted at the test or at a suite around it.
 *
 * @param {any} test
 * @returns {string | null}
 */
function reasonOf(test) {
  for (let node = test; node; node = node.parent) if (node.skipReason) return node.skipReason;
  return null;
}

module.exports = CountingReporter;
