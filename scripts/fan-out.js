// @ts-check
"use strict";

/**
 * `npm run test:fan-out`: numbered messages under chaos, with `fanOut` and without, until so many were received. Prints a line for
 * each run, and a table at the end.
 *
 * `-- --messages N` (1,000,000) received by the clients, for each of both; `-- --seed N` of the first run.
 */

const { parseArgs } = require("node:util");
const { chaos } = require("../__test__/support/fan-out-chaos.js");
const { startRedis } = require("../__test__/support/redis.js");
const { setup } = require("./setup.js");

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
  },
});

const ADAPTERS = /** @type {const} */ (["classic", "sharded", "streams"]);

/** @param {boolean} fanOut @param {number} wanted @param {number} seed */
async function run(fanOut, wanted, seed) {
  const redis = await startRedis();
  const sum = { received: 0, connections: 0, faults: /** @type {string[]} */ ([]) };
  try {
    for (let n = 0; sum.received < wanted; n++) {
      const adapter = ADAPTERS[n % ADAPTERS.length];
      const result = await chaos({
        redis,
        adapter,
        fanOut,
        seed: seed + n,
        clients: 60 + 40 * (n % 5),
        rounds: 1000,
      });
      sum.received += result.received;
      sum.connections += result.connections;
      sum.faults.push(...result.faults);
      const written =
        result.stats === undefined
          ? ""
          : `, ${result.stats.written} writes by the thread, ${result.stats.spilled} spilled`;
      console.log(
        `${adapter}, seed ${seed + n}: ${result.received} messages, ${result.connections} connections${written}`,
      );
      for (const fault of result.faults) console.log(`  ${fault}`);
    }
  } finally {
    await redis.stop();
  }
  return sum;
}

async function main() {
  await setup();
  let isClean = true;
  for (const fanOut of [true, false]) {
    const { received, connections, faults } = await run(fanOut, Number(values.messages), Number(values.seed));
    console.log(
      `fanOut ${fanOut}: ${received} messages by ${connections} connections, ${faults.length} faults`,
    );
    isClean &&= faults.length === 0;
  }
  process.exitCode = isClean ? 0 : 1;
}

void main();
