// @ts-check
"use strict";

/**
 * With `fanOut` a thread writes to the sockets. Each client gets everything once, whole and in its order, whatever the clients and
 * the server do: numbered messages say so.
 */

const assert = require("node:assert");
const { LentConnection } = require("../lib/fan-out/connection");
const { chaos } = require("./support/fan-out-chaos");
const { startRedis } = require("./support/redis");

const LOAD = Object.freeze({ clients: 60, rounds: 250 });

describe("with fanOut", function () {
  this.timeout(60_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of /** @type {const} */ (["classic", "sharded", "streams"]))
    it(`every client gets all messages in their order: ${adapter}`, async () => {
      const { faults, stats } = await chaos({
        ...LOAD,
        redis,
        adapter,
        fanOut: true,
        seed: Date.now() % 100_000,
      });
      assert.deepStrictEqual(faults, []);
      assert.ok(stats.written > 1000 && stats.spilled > 0, JSON.stringify(stats));
    });

  it("they would not, if the thread did not give back what it holds before Node writes", async () => {
    const { settle } = LentConnection.prototype;
    LentConnection.prototype.settle = (_own, goOn) => goOn();
    try {
      const { faults } = await chaos({ ...LOAD, redis, adapter: "classic", fanOut: true, seed: 1 });
      assert.notStrictEqual(faults.length, 0);
    } finally {
      LentConnection.prototype.settle = settle;
    }
  });
});
