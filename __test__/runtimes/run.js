// @ts-check
"use strict";

/**
 * Runs the programs of this folder by a runtime, over a Redis: a cell of the tables of `npm run test:runtimes` and
 * `npm run test:servers`.
 */

const { spawn } = require("node:child_process");
const path = require("node:path");
const { captureCommands } = require("../support/monitor");
const { waitFor } = require("../support/wait");

/**
 * @typedef {"classic" | "sharded" | "streams"} Family
 * @typedef {"native" | "client"} Transport
 *
 * @typedef {object} Subject
 * @property {string[]} command what runs a program
 * @property {import("../support/redis").RedisServer} redis
 * @property {Family} family
 * @property {Transport} transport
 */

/** @type {Family[]} */
const FAMILIES = ["classic", "sharded", "streams"];
/** @type {Transport[]} */
const TRANSPORTS = ["native", "client"];

/** How long a program may take, in milliseconds: one that does not end by itself has failed. */
const DEADLINE = 60_000;

/** How many messages a program publishes that has nothing more to do. */
const LAST_WORDS = 200;

let runs = 0;

/**
 * Resolves with what a program has printed; rejects unless it ends by itself, with 0.
 *
 * @param {string[]} command
 * @param {string} program of this folder
 * @param {(string | number)[]} args
 * @param {number} [deadline]
 * @returns {Promise<string>}
 */
function runProgram([command, ...before], program, args, deadline = DEADLINE) {
  return new Promise((resolve, reject) => {
    const file = path.join(__dirname, program);
    const child = spawn(command, [...before, file, ...args.map(String)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, deadline);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve(output);
      const end = late ? `has not ended after ${deadline} ms` : `has ended with ${signal ?? code}`;
      reject(new Error(`${program} ${args.join(" ")} ${end}:\n${output.trim()}`));
    });
  });
}

/** Resolves if servers of ours are one ring with one of the reference. @param {Subject} subject */
async function runRing({ command, redis, family, transport }) {
  await runProgram(command, "ring.js", [redis.url, family, transport]);
}

/** Resolves if what a process publishes at its end goes out, and it ends. @param {Subject} subject */
async function runLastWords({ command, redis, family, transport }) {
  const key = `last-words-${++runs}`;
  const commands = { classic: "publish", sharded: "spublish", streams: "xadd" };
  const published = await captureCommands(redis, { [commands[family]]: key });
  try {
    await runProgram(command, "last-words.js", [redis.url, family, transport, LAST_WORDS, key]);
    const count = () => published.filter(({ bytes }) => bytes.includes("last words")).length;
    await waitFor(() => count() >= LAST_WORDS, { what: `${LAST_WORDS} messages` }).catch((error) => {
      throw new Error(`${count()} of ${LAST_WORDS} messages went out`, { cause: error });
    });
  } finally {
    await published.stop();
  }
}

/**
 * Resolves if emits of every shape go out.
 *
 * @param {Subject} subject
 * @param {number} count of each shape
 */
async function runStorm({ command, redis, family, transport }, count) {
  // Two milliseconds for one of each shape.
  await runProgram(command, "storm.js", [redis.url, family, transport, count], DEADLINE + 2 * count);
}

/** Resolves if no value makes the addon end the process. @param {string[]} command */
async function runOddValues(command) {
  await runProgram(command, "odd-values.js", []);
}

/**
 * Resolves if no call of a group of hostile-calls.js makes the addon end the process.
 *
 * @param {string[]} command
 * @param {string} group
 */
async function runHostileCalls(command, group) {
  const said = await runProgram(command, "hostile-calls.js", [group]);
  if (!said.endsWith("done\n")) throw new Error(`not all calls were made:\n${said}`);
}

/**
 * Resolves with what servers say that find no sharded pub/sub; rejects if they say nothing, or what helps nobody.
 *
 * @param {Subject} subject
 */
async function runRefused({ command, redis, family, transport }) {
  const said = (await runProgram(command, "refused.js", [redis.url, family, transport])).trim();
  if (!/needs Redis 7\.0/.test(said) || /with args/.test(said))
    throw new Error(`the error helps nobody: ${said}`);
  return said.replace(/ssubscribe/, "SSUBSCRIBE");
}

module.exports = {
  FAMILIES,
  TRANSPORTS,
  runHostileCalls,
  runLastWords,
  runOddValues,
  runProgram,
  runRefused,
  runRing,
  runStorm,
};
