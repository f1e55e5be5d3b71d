// @ts-check
"use strict";

/**
 * A Redis that is too old for what is asked of it: the error says so, and what to do.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { Emitter } = require("../emitter");
const { explainRefusal } = require("../lib/link/refusals");
const { connectClient, families } = require("./runtimes/parts");
const { startRedis } = require("./support/redis");

describe("a Redis without sharded pub/sub", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    redis = await startRedis({ extra: ['rename-command SSUBSCRIBE ""', 'rename-command SPUBLISH ""'] });
  });
  after(() => redis.stop());

  for (const transport of /** @type {const} */ (["native", "client"])) {
    it(`is told by the sharded adapter, ${transport}, without what was to be sent`, async () => {
      const clients = [await connectClient(redis.url), await connectClient(redis.url)];
      const adapter = families.sharded(clients[0], clients[1], { key: "old", transport });
      const io = new Server(http.createServer().listen(0, "127.0.0.1"), { adapter });
      const main = /** @type {any} */ (io.of("/").adapter);
      try {
        /** @param {RegExp} pattern */
        const told = (pattern) =>
          new Promise((resolve) => {
            const listener = (/** @type {Error} */ { message }) => {
              if (pattern.test(message)) resolve(message);
            };
            main.on("error", listener);
          });
        const subscribe = told(/^subscribe: ERR unknown command .ssubscribe.: .*needs Redis 7\.0/i);
        assert.doesNotMatch(await subscribe, /with args/);
        const publish = told(/^publish: ERR unknown command .spublish.: .*needs Redis 7\.0/i);
        io.emit("secret", "value");
        assert.doesNotMatch(await publish, /secret|value/);
      } finally {
        await io.close();
        for (const client of clients) client.disconnect();
      }
    });
  }

  it("is told by an emitter", async () => {
    const emitter = new Emitter(redis.url, { mode: "sharded" });
    emitter.emit("x");
    await assert.rejects(emitter.flush(), /needs Redis 7\.0/);
    await emitter.close().catch(() => {});
  });

  it("says no more of other commands that it does not know than their names", () => {
    assert.strictEqual(
      explainRefusal("ERR unknown command `FOO`, with args beginning with: `secret`, "),
      "ERR unknown command `FOO`",
    );
    assert.strictEqual(explainRefusal("NOPERM no"), "NOPERM no");
  });

  it("that is older still is told for streams", () => {
    assert.match(
      explainRefusal("ERR unknown command 'XADD'"),
      /^ERR unknown command 'XADD': streams need Redis 5\.0/,
    );
  });
});
