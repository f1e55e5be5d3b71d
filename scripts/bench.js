// @ts-check
"use strict";

/**
 * `npm run bench`: what a message costs, ours against the reference, side by side. After `--`:
 *
 *   --json FILE          writes all raw values too
 *   --quick              the most telling cases with fewer messages, in under a minute
 *   --only LIST          publish, receive, latency: of the classic adapter; sharded, streams, emitter: all of theirs
 *   --subjects LIST      ours+redis, ours+ioredis, reference+redis, reference+ioredis, memory
 *   --rounds N           instead of 5 (3 with --quick)
 *   --messages N         at most so many a round
 *   --no-setup           everything is installed and built already
 *
 * `BENCH_OURS` names another module to measure as "ours". The exit code is 0 unless messages were lost.
 */

const { writeFileSync } = require("node:fs");
const { parseArgs } = require("node:util");

const PARTS = ["publish", "receive", "latency", "sharded", "streams", "emitter"];

async function main() {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      subjects: { type: "string" },
      rounds: { type: "string" },
      messages: { type: "string" },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) {
    const { setup } = require("./setup.js");
    await setup({ build: !process.env.BENCH_OURS, redis: true });
  }
  // Only now are the dependencies certain to be installed.
  const { SUBJECTS, chooseCases } = require("../bench/cases.js");
  const { run } = require("../bench/run.js");
  const { describe } = require("../bench/table.js");

  const only = list("--only", values.only, PARTS);
  const subjects = list("--subjects", values.subjects, Object.keys(SUBJECTS));
  const chosen = chooseCases({ quick: values.quick === true, only });
  const most = count("--messages", values.messages) ?? Infinity;
  const cases = chosen.cases.filter((one) =>
    one.subjects.some((name) => !subjects || subjects.includes(name)),
  );
  if (cases.length === 0) throw new Error("none of these subjects has a case in these sections");
  const results = await run({
    cases: cases.map((one) => ({ ...one, messages: Math.min(one.messages, most) })),
    rounds: count("--rounds", values.rounds) ?? chosen.rounds,
    subjects,
    onProgress: (text) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`),
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");

  console.log(describe(results));
  if (values.json) writeFileSync(values.json, `${JSON.stringify(results, null, 1)}\n`);
  const failed = results.rows.some((row) => Object.values(row.subjects).some((outcome) => outcome.failed));
  process.exitCode = failed ? 1 : 0;
}

/**
 * @param {string} option
 * @param {string | undefined} value
 * @param {string[]} known
 */
function list(option, value, known) {
  if (value === undefined) return null;
  const items = value.split(",");
  for (const item of items)
    if (!known.includes(item)) throw new Error(`${option} knows ${known.join(", ")}, not "${item}"`);
  return items;
}

/**
 * @param {string} option
 * @param {string | undefined} value
 */
function count(option, value) {
  if (value === undefined) return null;
  if (!/^[1-9]\d*$/.test(value)) throw new Error(`${option} is a whole number from 1 up, not "${value}"`);
  return Number(value);
}

main().catch((err) => {
  console.error(`The bench cannot run: ${err.message}`);
  process.exit(1);
});
