// @ts-check
"use strict";

/**
 * `npm run test:servers`: rings of all families with the reference, an emitter and processes that end by themselves, over
 * Redis 6.2, 7.0 and 8.2. Prints a table; exits with 1 if something fails. After `--`:
 *
 *   --only TEXT    servers whose version begins so; may be given several times
 *   --no-setup     everything is installed and built already
 */

const { parseArgs } = require("node:util");
const { bringServer } = require("./bring.js");

/** Which versions of Redis there are. */
const SERVERS = ["6.2", "7.0", "8.2"];

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) await require("./setup.js").setup();
  // Only now are the dependencies certain to be installed.
  const { startRedis } = require("../__test__/support/redis.js");
  const { Table } = require("../__test__/runtimes/table.js");
  const only = values.only ?? [];
  const table = new Table("server");
  for (const version of SERVERS) {
    if (only.length > 0 && !only.some((text) => version.startsWith(text))) continue;
    const server = await bringServer(version);
    const redis = await startRedis({ command: server.command });
    try {
      // Sharded pub/sub came with Redis 7.
      const shardless = Number(version) < 7;
      await table.add(`Redis ${server.version}`, { command: [process.execPath], redis, shardless });
    } finally {
      await redis.stop();
    }
  }
  process.exitCode = table.print() ? 0 : 1;
}

module.exports = { SERVERS };

if (require.main === module) {
  main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}
