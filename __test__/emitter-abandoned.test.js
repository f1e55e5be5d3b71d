// @ts-check
"use strict";

/**
 * Emitters that nobody closes: the reference has no `close()`, and programs make an emitter for each message.
 */

const assert = require("node:assert");
const { Emitter } = require("../emitter");
const { collectGarbage } = require("./support/garbage");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

/** Emitters of a round. */
const MANY = 10_000;

describe("an emitter that nobody closes", function () {
  this.timeout(20_000);

  it("leaves nothing behind at its client", async () => {
    const client = { publish: async () => 1 };
    const round = async () => {
      for (let i = 0; i < MANY; i++) new Emitter(client).to("room").emit("event");
      // Garbage is only told of in a later turn.
      for (let turn = 0; turn < 5; turn++) {
        await new Promise(setImmediate);
        collectGarbage();
      }
      return process.memoryUsage().heapUsed;
    };
    await round();
    const before = await round();
    const after = await round();
    // A hundred bytes of each would be 1,000,000.
    assert.ok(after - before < MANY * 100, `${after - before} bytes more`);
  });

  it("lets its own connections go, once what it has sent is answered", async () => {
    const redis = await startRedis();
    try {
      const connections = async () => Number((await redis.info("clients")).connected_clients);
      const idle = await connections();
      (() => {
        for (let i = 0; i < 5; i++) new Emitter(redis.url).emit("event");
      })();
      await waitFor(async () => (await connections()) > idle, { what: "connections" });
      await waitFor(
        async () => {
          collectGarbage();
          return (await connections()) === idle;
        },
        { what: "the connections to end" },
      );
      const { cmdstat_publish } = await redis.info("commandstats");
      assert.match(cmdstat_publish, /^calls=5,/);
    } finally {
      await redis.stop();
    }
  });

  it("keeps them for an operator, and for an emitter of another namespace", async () => {
    const redis = await startRedis();
    try {
      const operator = new Emitter(redis.url).to("room");
      const other = new Emitter(redis.url).of("/other");
      await Promise.all([other.flush()]);
      for (let turn = 0; turn < 5; turn++) {
        await new Promise(setImmediate);
        collectGarbage();
      }
      operator.emit("event");
      other.emit("event");
      assert.strictEqual((await other.close()).sent, 1);
      await waitFor(async () => /^calls=2,/.test((await redis.info("commandstats")).cmdstat_publish ?? ""), {
        what: "both messages",
      });
    } finally {
      await redis.stop();
    }
  });
});
