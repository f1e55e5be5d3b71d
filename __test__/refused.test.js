// @ts-check
"use strict";

/** Redis refuses what thousands of namespaces publish: the operator hears of it once. */

const assert = require("node:assert");
const { Node } = require("./fixtures/nodes");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

describe("what Redis refuses", () => {
  for (const transport of ["native", "client"]) {
    for (const what of ["publish", "subscribe"]) {
      it(`is an error of one namespace, now and then: ${what}, ${transport}`, async () => {
        const redis = await startRedis({ users: { app: "on >app ~* &* +@all" } });
        const node = new Node({
          redis: { port: redis.port, username: "app", password: "app" },
          options: { transport },
        });
        /** @type {string[]} */
        const errors = [];
        try {
          const namespaces = Array.from({ length: 50 }, (_, i) => node.io.of(`/${i}`));
          await Promise.all(namespaces.map(({ adapter }) => /** @type {any} */ (adapter).ready));
          // The first one has no listener.
          for (const { adapter } of namespaces.slice(1))
            adapter.on("error", ({ message }) => errors.push(message));
          await redis.cli("ACL", "SETUSER", "app", `-${what}`, "-psubscribe");
          if (what === "publish") {
            const before = node.adapter.stats().refused;
            for (let i = 0; i < 100; i++) node.io.of(`/${i % 50}`).emit("event");
            await waitFor(() => node.adapter.stats().refused - before >= 100, { what: "100 refusals" });
          } else {
            // Each of these subscribes, and is refused.
            for (let i = 0; i < 50; i++) node.io.of(`/late-${i}`);
          }
          // At once, and a while later for those that came after it.
          await waitFor(() => errors.length >= 2, { what: "the errors" });
          assert.strictEqual(errors.length, 2);
          for (const message of errors) assert.match(message, new RegExp(`^${what}: .*NOPERM`));
        } finally {
          await node.close();
          await redis.stop();
        }
      });
    }
  }
});
