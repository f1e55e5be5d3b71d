// @ts-check
"use strict";

/**
 * A server whose event loop is blocked while Redis is lost and found again: it hears of both only afterwards, and says
 * since when it may have missed something all the same.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = /** @type {any} */ (require(".."));
const { startRedis } = require("./support/redis");
const { once } = require("./support/wait");

/** How long the event loop is blocked after the loss, in milliseconds. */
const BLOCKED = 1000;

/** Ends all connections of subscribers, by another process. */
const KILL = `
  const socket = require("node:net").connect(+process.argv[1], "127.0.0.1");
  socket.end("CLIENT KILL TYPE pubsub\\r\\n").resume();
`;

describe("a server whose event loop is blocked", function () {
  this.timeout(20_000);

  for (const [family, create] of Object.entries({ classic: createAdapter, sharded: createShardedAdapter })) {
    it(`says since when it may have missed something: ${family}`, async () => {
      const redis = await startRedis();
      const io = new Server({ adapter: create(redis.url) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      try {
        await adapter.ready;
        const gap = once(adapter, "gap");
        const { status } = spawnSync(process.execPath, ["-e", KILL, String(redis.port)]);
        assert.strictEqual(status, 0);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED);
        const [{ milliseconds }] = await gap;
        assert.ok(milliseconds >= BLOCKED, `a gap of ${milliseconds} ms`);
      } finally {
        adapter.close();
        await redis.stop();
      }
    });
  }
});
