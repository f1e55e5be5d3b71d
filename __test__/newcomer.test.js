// @ts-check
"use strict";

/**
 * A server that has just joined, and an outage right after: what others emit in it is for the newcomer, too.
 */

const assert = require("node:assert");
const ours = require("..");
const { KINDS, Node } = require("./fixtures/nodes");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** How long the first server has been alone: long enough to have been counted as such, in milliseconds. */
const ALONE = 500;

const FAMILIES = {
  classic: ours.createAdapter,
  sharded: (/** @type {any[]} */ ...args) => ours.createShardedAdapter(args[0], args[1], args[2]),
};

describe("a server that has just joined", () => {
  for (const [family, createAdapter] of Object.entries(FAMILIES)) {
    for (const kind of KINDS) {
      it(`gets what is emitted in an outage: ${family}, ${kind}`, async () => {
        const redis = await startRedis();
        /** @type {Node[]} */
        const nodes = [];
        const start = () => {
          const node = new Node({ kind, redis, createAdapter, options: { transport: "native" } });
          nodes.push(node);
          return node;
        };
        try {
          const a = start();
          await a.ready();
          a.io.emit("to nobody");
          await new Promise((resolve) => setTimeout(resolve, ALONE));
          const before = a.adapter.stats().received;
          const b = start();
          const client = await b.connect();
          /** @type {number[]} */
          const got = [];
          client.on("n", (/** @type {number} */ n) => got.push(n));
          await b.ready();
          await waitFor(() => a.adapter.stats().received > before, { what: "the hello" });
          const degraded = once(a.adapter, "degraded");
          await redis.kill();
          await degraded;
          a.io.emit("n", 1);
          a.io.emit("n", 2);
          await redis.restart();
          await waitFor(() => got.length === 2, {
            what: `what was emitted meanwhile: ${JSON.stringify(a.adapter.stats())}`,
            timeout: 10_000,
          });
          assert.deepStrictEqual(got, [1, 2]);
          assert.strictEqual(a.adapter.stats().early, 0);
        } finally {
          await Promise.all(nodes.map((node) => node.close()));
          await redis.stop();
        }
      });
    }
  }
});
