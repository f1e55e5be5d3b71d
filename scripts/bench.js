// @ts-check
"use strict";

/**
 * `npm run bench`: what a message costs, ours against the reference, side by side. After `--`:
 *
 *   --json FILE          writes all raw values too
 *   --quick              the most telling cases with fewer messages, in under a minute
 *   --only LIST          publish, receive, latency: of the classic adapter; sharded, streams, emitter: all of theirs;
 *                        only if they are named: scale, what grows with rooms, namespaces, …;
 *                        fetch, what it costs to ask five servers for their sockets; and
 *                        delivery, what it costs to hand broadcasts over to real WebSocket clients
 *   --subjects LIST      ours+redis, ours+ioredis, reference+redis, reference+ioredis, memory
 *   --rounds N           instead of 5 (3 with --quick)
 *   --messages N         at most so many a round
 *   --sizes LIST         scale: beside how many; 10,100,1000,10000,100000 (10,100,1000 with --quick)
 *                        fetch: how many sockets a server has; 10,1000,10000 (10,1000 with --quick)
 *                        delivery: the same; 1,10,100,1000,10000 (10,100 with --quick)
 *   --families LIST      fetch, delivery: of classic, sharded, streams (delivery: classic, unless they are named)
 *   --no-setup           everything is installed and built already
 *
 * `BENCH_OURS` names another module to measure as "ours". The exit code is 0 unless messages were lost.
 */

const { writeFileSync } = require("node:fs");
const { parseArgs } = require("node:util");

const PARTS = [
  "publish",
  "receive",
  "latency",
  "sharded",
  "streams",
  "emitter",
  "scale",
  "fetch",
  "delivery",
];

/** The parts that are only measured if they are named. */
const NAMED = ["scale", "fetch", "delivery"];

/** The rounds of what is measured at each scale. */
const SCALE_ROUNDS = 3;

/** The rounds of each question, and with --quick. */
const FETCH_ROUNDS = 5;
const QUICK_FETCH_ROUNDS = 3;

async function main() {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      subjects: { type: "string" },
      rounds: { type: "string" },
      messages: { type: "string" },
      sizes: { type: "string" },
      families: { type: "string" },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) {
    const { setup } = require("./setup.js");
    await setup({ build: !process.env.BENCH_OURS, redis: true });
  }
  const only = list("--only", values.only, PARTS);
  const options = {
    sizes: values.sizes?.split(",").map((size) => /** @type {number} */ (count("--sizes", size))),
    quick: values.quick === true,
    rounds: count("--rounds", values.rounds),
    most: count("--messages", values.messages) ?? Infinity,
    onProgress: (/** @type {string} */ text) =>
      process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`),
  };
  const parts = only?.filter((part) => !NAMED.includes(part)) ?? null;
  const results =
    parts?.length === 0 ? null : await compare({ ...options, only: parts, subjects: values.subjects });
  const scale = only?.includes("scale") ? await measureScale(options) : null;
  const fetch = only?.includes("fetch")
    ? await measureFetch({ ...options, subjects: values.subjects, families: values.families })
    : null;
  const delivery = only?.includes("delivery")
    ? await measureDelivery({ ...options, subjects: values.subjects, families: values.families })
    : null;
  if (values.json)
    writeFileSync(values.json, `${JSON.stringify({ ...results, scale, fetch, delivery }, null, 1)}\n`);
}

/**
 * @typedef {{ quick: boolean, rounds: number | null, most: number, sizes?: number[], onProgress: (text: string) => unknown }} Choice
 */

/**
 * Measures ours beside the reference, and prints the tables. Resolves with the results.
 *
 * @param {Choice & { only: string[] | null, subjects: string | undefined }} choice
 */
async function compare({ quick, only, rounds, most, onProgress, ...choice }) {
  // Only now are the dependencies certain to be installed.
  const { SUBJECTS, chooseCases } = require("../bench/cases.js");
  const { run } = require("../bench/run.js");
  const { describe } = require("../bench/table.js");

  const subjects = list("--subjects", choice.subjects, Object.keys(SUBJECTS));
  const chosen = chooseCases({ quick, only });
  const cases = chosen.cases.filter((one) =>
    one.subjects.some((name) => !subjects || subjects.includes(name)),
  );
  if (cases.length === 0) throw new Error("none of these subjects has a case in these sections");
  const results = await run({
    cases: cases.map((one) => ({ ...one, messages: Math.min(one.messages, most) })),
    rounds: rounds ?? chosen.rounds,
    subjects,
    onProgress,
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(describe(results));
  const failed = results.rows.some((row) => Object.values(row.subjects).some((outcome) => outcome.failed));
  process.exitCode = failed ? 1 : 0;
  return results;
}

/** Measures what grows with what stands still, and prints it. @param {Choice} choice */
async function measureScale({ rounds, ...choice }) {
  const { describeScale, runScale } = require("../bench/scale.js");
  const scale = await runScale({ ...choice, rounds: rounds ?? SCALE_ROUNDS });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(describeScale(scale));
  return scale;
}

/**
 * Measures what it costs to ask all servers, and prints it.
 *
 * @param {Choice & { subjects: string | undefined, families: string | undefined }} choice
 */
async function measureFetch({ rounds: given, subjects, families, ...choice }) {
  const { SUBJECTS } = require("../bench/cases.js");
  const { FAMILIES, aboutFetch, describeFetch, runFetch, sizesOf } = require("../bench/fetch.js");
  const rounds = given ?? (choice.quick ? QUICK_FETCH_ROUNDS : FETCH_ROUNDS);
  const named = {
    subjects: list("--subjects", subjects, Object.keys(SUBJECTS)),
    families: list("--families", families, FAMILIES),
  };
  console.log(aboutFetch(sizesOf(choice.quick, choice.sizes), rounds));
  const results = await runFetch({ ...choice, ...named, rounds });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(describeFetch(results));
  const failed = results.rows.some((row) => Object.values(row.subjects).some((outcome) => outcome.failed));
  if (failed) process.exitCode = 1;
  return results;
}

/**
 * Measures what it costs to deliver to real clients, and prints it.
 *
 * @param {Choice & { subjects: string | undefined, families: string | undefined }} choice
 */
async function measureDelivery({ rounds: given, subjects, families, ...choice }) {
  const { FAMILIES } = require("../bench/fetch.js");
  const {
    SUBJECT_NAMES,
    aboutDelivery,
    describeDelivery,
    deliverySizes,
    runDelivery,
  } = require("../bench/delivery.js");
  const rounds = given ?? (choice.quick ? QUICK_FETCH_ROUNDS : FETCH_ROUNDS);
  const named = {
    subjects: list("--subjects", subjects, SUBJECT_NAMES),
    families: list("--families", families, FAMILIES),
  };
  console.log(aboutDelivery(deliverySizes(choice.quick, choice.sizes), rounds));
  const results = await runDelivery({ ...choice, ...named, rounds });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(describeDelivery(results));
  const failed = results.rows.some((row) => Object.values(row.subjects).some((outcome) => outcome.failed));
  if (failed) process.exitCode = 1;
  return results;
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
