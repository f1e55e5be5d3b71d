// @ts-check
"use strict";

/**
 * The user's clients carry the bytes, one of them by a primary, the other one by its replica: no answer counts the
 * subscriptions of the replica, and each message arrives once all the same. What asks the other servers is answered by
 * this one alone, as with the reference.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = /** @type {any} */ (require(".."));
const { leavesNoRejection } = require("./fixtures/suite");
const { connectClient, endClient } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

const COUNT = 5;

const WAITS = { requestsTimeout: 60_000 };

describe("clients at a primary and at its replica", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let primary;
  /** @type {import("./support/redis").RedisServer} */
  let replica;

  before(async () => {
    primary = await startRedis({ extra: ["repl-diskless-sync-delay 0"] });
    replica = await startRedis({ extra: [`replicaof 127.0.0.1 ${primary.port}`] });
    await waitFor(async () => (await replica.info("replication")).master_link_status === "up", {
      timeout: 10_000,
      what: "the replica to follow",
    });
  });
  after(async () => {
    await replica.stop();
    await primary.stop();
  });

  let keys = 0;

  for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
    for (const family of ["classic", "sharded"]) {
      it(`each message arrives once: ${family}, ${clients}`, async () => {
        const key = `replica-${++keys}`;
        /** @type {any[]} */
        const made = [];
        const start = async () => {
          const pub = await connectClient(clients, primary);
          const sub = await connectClient(clients, replica);
          made.push(pub, sub);
          return new Server({
            adapter:
              family === "classic"
                ? createAdapter(pub, sub, { key, transport: "client", ...WAITS })
                : createShardedAdapter(pub, sub, { channelPrefix: key, transport: "client", ...WAITS }),
          });
        };
        const [a, b] = [await start(), await start()];
        // It would be waited for longer than a test lasts.
        assert.deepStrictEqual(await a.fetchSockets(), []);
        /** @type {number[]} */
        const heard = [];
        b.on("n", (n) => heard.push(n));
        const counts = family === "classic" ? ["NUMSUB", `${key}-request#/#`] : ["SHARDNUMSUB", `${key}#/#`];
        await waitFor(async () => Number((await replica.cli("PUBSUB", ...counts))[1]) === 2, {
          what: "both servers to listen",
        });
        for (let n = 0; n < COUNT; n++) a.serverSideEmit("n", n);
        await waitFor(() => heard.includes(COUNT - 1), { what: "the messages" });
        // What is published again has a quarter of a second to come: another message goes the same way behind it.
        const before = heard.length;
        for (let n = COUNT; n < 20 * COUNT; n++) {
          a.serverSideEmit("n", n);
          await waitFor(() => heard.includes(n), { what: `message ${n}` });
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        assert.strictEqual(before, COUNT);
        assert.deepStrictEqual(
          heard,
          Array.from({ length: 20 * COUNT }, (_, n) => n),
        );
        for (const io of [a, b]) await io.of("/").adapter.close();
        for (const client of made) await endClient(client);
      });
    }
  }

  leavesNoRejection();
});
