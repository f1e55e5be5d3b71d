// @ts-check
"use strict";

/**
 * `npm test`: sets up what is missing, runs the tests of the crate and those of the package, and adds them up in
 * its last line. What follows `--` is passed on to mocha.
 */

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { ROOT } = require("./addon.js");
const { setup } = require("./setup.js");

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/** @param {string[]} mochaArgs */
async function main(mochaArgs) {
  await setup();
  console.log("\ncargo test");
  const core = await cargoTest();
  console.log("\nmocha");
  const js = await mocha(mochaArgs);
  const total = add([core, js]);
  console.log(`\n${summary(total)}`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

/** @returns {Promise<Counts>} */
async function cargoTest() {
  const child = spawn("cargo", ["test", "--no-fail-fast"], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
    process.stdout.write(text);
  });
  return judge("cargo test", await exitOf(child), countCargo(output));
}

/**
 * @param {string[]} args
 * @returns {Promise<Counts>}
 */
async function mocha(args) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mocha-counts-"));
  const file = path.join(dir, "counts.json");
  const bin = path.join(ROOT, "node_modules", "mocha", "bin", "mocha.js");
  const reporter = [
    "--reporter",
    path.join(__dirname, "mocha-reporter.js"),
    "--reporter-option",
    `counts=${file}`,
  ];
  const child = spawn(process.execPath, [bin, ...reporter, ...args, "__test__/**/*.test.js"], {
    cwd: ROOT,
    stdio: "inherit",
  });
  const exit = await exitOf(child);
  /** @type {import("./mocha-reporter.js").Counts | null} */
  const counts = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
  fs.rmSync(dir, { recursive: true, force: true });
  if (!counts) return judge("mocha", exit || "no report", { passed: 0, failed: 0, skipped: 0 });
  if (counts.skipped.length > 0) console.log("Skipped:");
  for (const { title, reason } of counts.skipped) console.log(`  ${title}: ${reason ?? "no reason given"}`);
  return judge("mocha", exit, { ...counts, skipped: counts.skipped.length });
}

/**
 * Returns the counts of a step. One that failed though no test of it did counts as a failure itself.
 *
 * @param {string} name
 * @param {number | string} exit what the step ended with: 0, another code, a signal or another reason
 * @param {Counts} counts
 * @returns {Counts}
 */
function judge(name, exit, counts) {
  if (exit === 0 || counts.failed > 0) return counts;
  console.error(`${name} did not get to its end (${exit})`);
  return { ...counts, failed: 1 };
}

/**
 * Returns the sums of cargo's "test result" lines, of which it prints one for each test program.
 *
 * @param {string} output
 * @returns {Counts}
 */
function countCargo(output) {
  const lines = output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm);
  return add(Array.from(lines, ([, ...n]) => ({ passed: +n[0], failed: +n[1], skipped: +n[2] })));
}

/**
 * @param {Counts[]} all
 * @returns {Counts}
 */
function add(all) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of all) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return total;
}

/** @param {Counts} counts */
function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
}

/**
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<number | string>}
 */
function exitOf(child) {
  return new Promise((resolve) => {
    child.once("error", (err) => resolve(err.message));
    child.once("close", (code, signal) => resolve(signal ?? code ?? "unknown"));
  });
}

module.exports = { countCargo, judge, summary };

if (require.main === module) {
  main(process.argv.slice(2)).catch((err) => {
    console.error(err);
    console.log("\n0 passed, 1 failed");
    process.exitCode = 1;
  });
}
