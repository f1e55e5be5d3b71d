// @ts-check
"use strict";

/**
 * A part of `npm run test:runtimes` that fits into `npm test`: the oldest Node and the newest. They are brought in from
 * npm, once.
 */

const { bringRuntime } = require("../scripts/bring");
const { RUNTIMES } = require("../scripts/runtimes");
const { FAMILIES, TRANSPORTS, runLastWords, runOddValues, runRing, runStorm } = require("./runtimes/run");
const { startRedis } = require("./support/redis");

/** How long npm may take for 100 MB, and a program, in milliseconds. */
const DOWNLOAD = 300_000;
const PROGRAM = 90_000;

const nodes = RUNTIMES.filter(({ name }) => name === "node");

describe("runtimes", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const { name, version = "" } of [nodes[0], nodes[nodes.length - 1]]) {
    describe(`${name} ${version}`, () => {
      /** @type {string[]} */
      let command;
      before(async function () {
        this.timeout(DOWNLOAD);
        ({ command } = await bringRuntime(name, version));
      });

      /** @param {import("./runtimes/run").Family} family @param {import("./runtimes/run").Transport} transport */
      const subject = (family, transport) => ({ command, redis, family, transport });

      it("is not ended by any value that the addon is given", () => runOddValues(command)).timeout(PROGRAM);

      for (const family of FAMILIES) {
        for (const transport of TRANSPORTS) {
          it(`has a ring with the reference, ${family}, ${transport}`, () =>
            runRing(subject(family, transport))).timeout(PROGRAM);
          it(`publishes emits of every shape, ${family}, ${transport}`, () =>
            runStorm(subject(family, transport), 200)).timeout(PROGRAM);
          it(`publishes what a process says at its end, ${family}, ${transport}`, () =>
            runLastWords(subject(family, transport))).timeout(PROGRAM);
        }
      }
    });
  }
});
