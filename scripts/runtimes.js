// @ts-check
"use strict";

/**
 * `npm run test:runtimes`: the core of the suite on the oldest and the newest Node, those between, Bun and Deno: rings of
 * all families with the reference, emits of every shape, an emitter, and processes that end by themselves. Prints a
 * table; exits with 1 if something fails. After `--`:
 *
 *   --only TEXT    runtimes that are called so ("node 18", "bun"); may be given several times
 *   --storm N      so many emits of each shape, instead of 2,000
 *   --no-setup     everything is installed and built already
 */

const { parseArgs } = require("node:util");
const { bringRuntime } = require("./bring.js");

/** @typedef {import("./bring.js").RuntimeName} RuntimeName */

/** Which runtimes there are. @type {{ name: RuntimeName, version?: string }[]} */
const RUNTIMES = [
  { name: "node", version: "18.0.0" },
  { name: "node", version: "18.20" },
  { name: "node", version: "20.0.0" },
  { name: "node", version: "20.11" },
  { name: "node", version: "20" },
  { name: "node", version: "22" },
  { name: "node", version: "24" },
  { name: "node", version: "26" },
  { name: "bun" },
  { name: "deno" },
];

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      storm: { type: "string", default: "2000" },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) await require("./setup.js").setup();
  // Only now are the dependencies certain to be installed.
  const { startRedis } = require("../__test__/support/redis.js");
  const { Table } = require("../__test__/runtimes/table.js");
  const only = values.only ?? [];
  const chosen = RUNTIMES.filter(
    ({ name, version }) =>
      only.length === 0 || only.some((text) => `${name} ${version ?? ""}`.startsWith(text)),
  );
  const table = new Table("runtime");
  const redis = await startRedis();
  try {
    for (const { name, version } of chosen) {
      const runtime = await bringRuntime(name, version);
      const { command } = runtime;
      const row = { command, redis, storm: Number(values.storm), values: true };
      await table.add(`${name} ${runtime.version}`, row);
    }
  } finally {
    await redis.stop();
  }
  process.exitCode = table.print() ? 0 : 1;
}

module.exports = { RUNTIMES };

if (require.main === module) {
  main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}
