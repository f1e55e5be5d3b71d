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
 * Runs the JavaScript tests: all of them, in processes that run side by side, since most tests wait most of the time; or
 * what the arguments for mocha select, in one process.
 *
 * @param {string[]} args
 * @returns {Promise<Counts>}
 */
async function mocha(args) {
  const counts = args.length > 0 ? [await runMocha([...args, "__test__/**/*.test.js"])] : await runAll();
  const skipped = counts.flatMap((one) => one.skipped);
  if (skipped.length > 0) console.log("Skipped:");
  for (const { title, reason } of skipped) console.log(`  ${title}: ${reason ?? "no reason given"}`);
  return add(counts.map((one) => ({ ...one, skipped: one.skipped.length })));
}

/** How many processes the files are dealt to: more than run at a time, so that all are busy to the end. */
const BATCHES = 8;

/** How many run at a time. */
const AT_ONCE = Math.min(2, os.cpus().length);

/** @returns {Promise<MochaCounts[]>} */
async function runAll() {
  const batches = dealOut(fs.readdirSync(path.join(ROOT, "__test__"), { encoding: "utf8", recursive: true }));
  /** @type {MochaCounts[]} */
  const counts = [];
  const work = async () => {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
      console.log(`\n${batch.length} files begin; ${batches.length} more batches`);
      counts.push(await runMocha(batch, AT_ONCE > 1));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return counts;
}

/**
 * The files of tests, for each process its own. Neighbours, which take about as long, go to different ones.
 *
 * @param {string[]} names what there is in the folder, and in those below it
 * @returns {string[][]}
 */
function dealOut(names) {
  const files = names.filter((name) => name.endsWith(".test.js")).sort();
  const batches = Array.from({ length: BATCHES }, (_, batch) =>
    files.filter((_, index) => index % BATCHES === batch).map((name) => path.join("__test__", name)),
  );
  return batches.filter((batch) => batch.length > 0);
}

/** @typedef {import("./mocha-reporter.js").Counts} MochaCounts */

/**
 * Runs mocha, and returns what it counts. A run that failed though no test of it did counts as a failure itself.
 *
 * @param {string[]} args
 * @param {boolean} [quietly] whether what it says is only printed at its end, in one piece
 * @returns {Promise<MochaCounts>}
 */
async function runMocha(args, quietly = false) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "mocha-counts-"));
  const file = path.join(dir, "counts.json");
  const bin = path.join(ROOT, "node_modules", "mocha", "bin", "mocha.js");
  const reporter = [
    "--reporter",
    path.join(__dirname, "mocha-reporter.js"),
    "--reporter-option",
    `counts=${file}`,
  ];
  const log = path.join(dir, "log");
  const output = quietly ? fs.openSync(log, "w") : "inherit";
  const child = spawn(process.execPath, [bin, ...reporter, ...args], {
    cwd: ROOT,
    stdio: ["inherit", output, output],
  });
  const exit = await exitOf(child);
  if (typeof output === "number") {
    fs.closeSync(output);
    process.stdout.write(fs.readFileSync(log));
  }
  /** @type {MochaCounts | null} */
  const counts = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
  fs.rmSync(dir, { recursive: true, force: true });
  const { failed } = judge("mocha", counts ? exit : exit || "no report", {
    passed: 0,
    failed: counts?.failed ?? 0,
    skipped: 0,
  });
  return { passed: counts?.passed ?? 0, failed, skipped: counts?.skipped ?? [] };
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

module.exports = { countCargo, dealOut, judge, summary };

if (require.main === module) {
  main(process.argv.slice(2)).catch((err) => {
    console.error(err);
    console.log("\n0 passed, 1 failed");
    process.exitCode = 1;
  });
}
