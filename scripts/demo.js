// @ts-check
"use strict";

/**
 * `npm run demo`: three Socket.IO servers on ports 4001, 4002 and 4003, a conversation between their clients, and
 * a page on each to type on, until Ctrl-C. `npm run demo -- --check` plays the conversation only, checks it and
 * exits: 0, or 1 with the reason. `REDIS_URL` names a Redis to use; without it a private one is started.
 */

const { setup } = require("./setup.js");

const check = process.argv.includes("--check");

async function main() {
  await setup({ build: !process.env.DEMO_ADAPTER, redis: !process.env.REDIS_URL });
  // Only now are the dependencies certain to be installed.
  const { startCluster } = require("../demo/cluster.js");
  const { converse } = require("../demo/conversation.js");

  const redis = process.env.REDIS_URL ? null : await startPrivateRedis();
  /** @type {Awaited<ReturnType<typeof startCluster>> | null} */
  let cluster = null;

  let stopping = false;
  /** @param {number} code */
  const stop = async (code) => {
    if (stopping) return;
    stopping = true;
    await cluster?.stop();
    await redis?.stop();
    process.exit(code);
  };
  for (const signal of /** @type {NodeJS.Signals[]} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    // startRedis() exits at once on these; here the servers go first, then Redis.
    process.removeAllListeners(signal);
    process.on(signal, () => {
      console.log("\nStopping.");
      stop(check ? 1 : 0);
    });
  }

  try {
    cluster = await startCluster(process.env.REDIS_URL ?? /** @type {{ url: string }} */ (redis).url);
    cluster.onLost = (reason) => {
      if (stopping) return;
      console.error(reason);
      stop(1);
    };
    const problems = await converse(cluster.ports, console.log);
    if (stopping) return;

    console.log("");
    for (const problem of problems) console.error(`WRONG: ${problem}`);
    if (problems.length === 0)
      console.log("Every message reached each of its recipients exactly once, and nobody else.");
    if (check) return await stop(problems.length ? 1 : 0);

    console.log("\nThe servers keep running: open these side by side and type.");
    for (const port of cluster.ports) console.log(`  http://localhost:${port}`);
    console.log("Ctrl-C ends the demo.");
  } catch (err) {
    if (stopping) return;
    console.error(`The demo cannot run: ${/** @type {Error} */ (err).message}`);
    await stop(1);
  }
}

async function startPrivateRedis() {
  const { startRedis } = require("../__test__/support/redis.js");
  return startRedis();
}

main().catch((err) => {
  console.error(`The demo cannot run: ${err.message}`);
  process.exit(1);
});
