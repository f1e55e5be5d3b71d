// @ts-check
"use strict";

/**
 * A part of `npm run test:matrix` that fits into `npm test`: every kind of Redis client somewhere, every topology with
 * the packages as they are.
 */

const { Places } = require("./matrix/places");
const { planAll, runCell, titleOf } = require("./matrix/plan");
const { leavesNoRejection } = require("./fixtures/suite");

/** @typedef {import("./matrix/plan").Plan} Plan */

/** How many cells run at a time: they mostly wait. */
const JOBS = 4;

/** @param {Plan} plan */
function isIn({ variant, topology, kind, transport }) {
  const isPlain = !variant.name.includes(",");
  const isCluster = topology === "cluster";
  if (topology === "standalone") {
    return isPlain
      ? transport !== "native"
      : `${kind} ${transport}` === "sharded client" || transport === "auto";
  }
  if (isPlain && isCluster) return transport !== "native";
  if (isCluster) return `${kind} ${transport}` === "sharded auto";
  return (
    isPlain && `${kind} ${transport}` === (variant.name.includes("io") ? "classic auto" : "sharded auto")
  );
}

describe("the matrix of clients", function () {
  this.timeout(60_000);

  const places = new Places();
  /** @type {Map<Plan, ReturnType<typeof runCell>>} */
  const runs = new Map();
  const plans = planAll().filter(isIn);

  before(() => {
    const queue = [...plans];
    /** @type {Map<Plan, (result: any) => void>} */
    const settle = new Map();
    for (const plan of plans) runs.set(plan, new Promise((resolve) => settle.set(plan, resolve)));
    const work = async () => {
      for (let plan = queue.shift(); plan; plan = queue.shift())
        settle.get(plan)?.(await runCell(plan, places));
    };
    for (let job = 0; job < JOBS; job++) void work();
  });

  after(() => places.stop());

  for (const plan of plans) {
    const refused = plan.expected.carrier === null;
    it(`${titleOf(plan)}${refused ? " is refused" : ""}`, async () => {
      const result = await runs.get(plan);
      if (result?.outcome === "failed") throw result.error;
    });
  }

  leavesNoRejection();
});
