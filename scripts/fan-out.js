// @ts-check
"use strict";

/**
 * `npm run test:fan-out`: numbered messages under chaos, with `fanOut` and without, until so many were received. Prints a line for
 * each run, and a sum; exits with 1 if a message was lost, doubled, torn or out of order. After `--`:
 *
 *   --messages N  how many the clients receive, with `fanOut` and without it; 1,000,000 unless given
 *   --seed N      of the first run
 *   --no-setup    everything is installed and built already
 */

const { parseArgs } = require("node:util");

const ADAPTERS = /** @type {const} */ (["classic", "sharded", "streams"]);

/** @param {boolean} fanOut @param {number} wanted @param {number} seed */
async function run(fanOut, wanted, seed) {
  // Only now are the dependencies certain to be installed.
  const { chaos } = require("../__test__/support/fan-out-chaos.js");
  const { startRedis } = require("../__test__/support/redis.js");
  const redis = await startRedis();
  let received = 0;
  let connections = 0;
  let faults = 0;
  try {
    for (let n = 0; received < wanted; n++) {
      const adapter = ADAPTERS[n % ADAPTERS.length];
      const clients = 60 + 40 * (n % 5);
      const result = await chaos({ redis, adapter, fanOut, seed: seed + n, clients, rounds: 1000 });
      received += result.received;
      connections += result.connections;
      faults += result.faults.length;
      const ofThread = fanOut
        ? `, ${result.stats.written} written by the thread, ${result.stats.spilled} spilled`
        : "";
      console.log(
        `${adapter}, seed ${seed + n}: ${result.received} messages, ${result.connections} connections${ofThread}`,
      );
      for (const fault of result.faults) console.log(`  ${fault}`);
    }
  } finally {
    await redis.stop();
  }
  console.log(`fanOut ${fanOut}: ${received} messages by ${connections} connections, ${faults} faults`);
  return faults === 0;
}

async function main() {
  const { values } = parseArgs({
    options: {
      messages: { type: "string", default: "1000000" },
      seed: { type: "string", default: String(Date.now() % 100_000) },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) await require("./setup.js").setup();
  const outcomes = [];
  for (const fanOut of [true, false])
    outcomes.push(await run(fanOut, Number(values.messages), Number(values.seed)));
  process.exitCode = outcomes.every(Boolean) ? 0 : 1;
}

void main();
