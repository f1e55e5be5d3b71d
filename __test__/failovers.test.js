// @ts-check
"use strict";

/**
 * The masters of a cluster change under load: what goes through our own connections arrives, once and in order, and what a
 * master takes along that is killed is reported. `npm run test:failovers` has more of it.
 */

const assert = require("node:assert");
const { faultOf, runFailovers } = require("./fixtures/failovers");
const { startCluster } = require("./support/cluster");

/** @typedef {import("./fixtures/failovers").Plan} Plan */

/** @type {[Plan["fault"], Plan["family"]][]} */
const CASES = [
  ["graceful", "sharded static"],
  ["graceful", "sharded dynamic"],
  ["graceful", "emitter sharded"],
  ["graceful", "classic"],
  ["takeover", "sharded dynamic-private"],
  ["takeover", "emitter classic"],
  ["migrate", "emitter streams"],
  ["kill", "sharded dynamic"],
  ["kill", "emitter sharded"],
];

describe("masters of a cluster change under load", function () {
  this.timeout(60_000);

  /** @type {Awaited<ReturnType<typeof startCluster>>} */
  let cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster?.stop());

  for (const [fault, family] of CASES) {
    it(`${fault}: ${family}`, async function () {
      /** @type {Plan} */
      const plan = { fault, family, transport: "native", clients: "redis", rounds: 1, rate: 1000 };
      const result = await runFailovers(cluster, plan);
      const { sent, arrived, reported } = result;
      /** @type {any} */ (this.test).title +=
        `: ${sent} sent, ${arrived} arrived, ${reported} reported as lost`;
      assert.strictEqual(faultOf(plan, result), null, JSON.stringify(result));
    });
  }
});
