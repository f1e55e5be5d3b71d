// @ts-check
"use strict";

/**
 * `npm run test:failovers`: what becomes of messages while the masters of a Redis Cluster change: of how many that were sent
 * how many arrived, came twice, and are reported as lost. Half of them go to rooms in which the publisher has no socket.
 * Prints a table; exits with 1 if our own connections lose more than they may, or a server misses something without a gap or
 * a count ("silent" are those without a gap). "failover" is the longest time that it took
 * until all nodes agreed that the cluster was well: a replica begins no election within some four seconds of its last one,
 * and as long a master that is to hand over keeps publishes waiting. After `--`:
 *
 *   --fault LIST      graceful, force, takeover, kill, freeze, migrate; all unless given
 *   --family LIST     classic, "sharded static", "sharded dynamic", "sharded dynamic-private", streams, "emitter classic",
 *                     "emitter sharded", "emitter streams"; all unless given
 *   --transport LIST  native, client; native unless given
 *   --clients LIST    redis, ioredis; redis unless given
 *   --rounds N        how often each fault comes, instead of 3
 *   --rate N          messages a second, instead of 1000
 *   --no-setup        everything is installed and built already
 */

const { parseArgs } = require("node:util");

async function main() {
  const { values } = parseArgs({
    options: {
      fault: { type: "string" },
      family: { type: "string" },
      transport: { type: "string", default: "native" },
      clients: { type: "string", default: "redis" },
      rounds: { type: "string", default: "3" },
      rate: { type: "string", default: "1000" },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) await require("./setup.js").setup();
  // Only now are the dependencies certain to be installed.
  const { FAMILIES, FAULTS, faultOf, runFailovers } = require("../__test__/fixtures/failovers.js");
  const { startCluster } = require("../__test__/support/cluster.js");
  const rounds = count("--rounds", values.rounds);
  const rate = count("--rate", values.rate);
  /** @type {import("../__test__/fixtures/failovers.js").Plan[]} */
  const plans = [];
  for (const fault of list("--fault", values.fault, Object.keys(FAULTS)))
    for (const family of list("--family", values.family, Object.keys(FAMILIES)))
      for (const transport of list("--transport", values.transport, ["native", "client"]))
        for (const clients of list("--clients", values.clients, ["redis", "ioredis"]))
          plans.push(/** @type {any} */ ({ fault, family, transport, clients, rounds, rate }));

  const cluster = await startCluster();
  let wrong = 0;
  try {
    row(
      "fault",
      "family",
      "by",
      "rounds",
      "sent",
      "arrived",
      "lost",
      "doubled",
      "reported",
      "gaps",
      "silent",
      "slowest",
      "failover",
    );
    for (const plan of plans) {
      const { fault, family, transport, clients } = plan;
      const result = await runFailovers(cluster, plan);
      const { sent, arrived, doubled, misordered, reported, refused, gaps, silent, slowest, lost, failover } =
        result;
      const by = transport === "native" ? "native" : clients;
      row(
        fault,
        family,
        by,
        rounds,
        sent,
        arrived,
        sent - arrived,
        doubled,
        reported,
        gaps,
        silent,
        `${Math.round(slowest.took)} ms`,
        `${Math.round(failover)} ms`,
      );
      const { number, room, round, receiver } = slowest;
      console.log(`  the slowest: ${number} to ${room} in round ${round}, at server ${receiver}`);
      if (sent > arrived) console.log(`  lost in each round: ${lost.join(", ")}`);
      if (misordered > 0) console.log(`  ${misordered} out of order`);
      if (refused > 0) console.log(`  ${refused} refused by Redis`);
      const why = faultOf(plan, result);
      if (why) console.log(`  WRONG: ${why}`);
      wrong += Number(why !== null);
    }
  } finally {
    await cluster.stop();
  }
  console.log(`\n${plans.length - wrong} of ${plans.length} as they should be`);
  process.exit(wrong > 0 ? 1 : 0);
}

const WIDTHS = [9, 24, 8, 7, 8, 8, 6, 8, 9, 5, 7, 9, 9];

/** @param {(string | number)[]} cells */
function row(...cells) {
  console.log(
    cells.map((cell, i) => (i < 3 ? `${cell}`.padEnd(WIDTHS[i]) : `${cell}`.padStart(WIDTHS[i]))).join(" "),
  );
}

/** @param {string} name @param {string | undefined} text @param {string[]} all */
function list(name, text, all) {
  const chosen = text?.split(",").map((one) => one.trim()) ?? all;
  const unknown = chosen.find((one) => !all.includes(one));
  if (unknown !== undefined) throw new Error(`${name}: ${unknown} is none of ${all.join(", ")}`);
  return chosen;
}

/** @param {string} name @param {string | undefined} text */
function count(name, text) {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${name} takes a number above 0, not ${text}`);
  return number;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
