// @ts-check
"use strict";

/**
 * The emitter when Redis refuses or is away: what `flush()` and `close()` tell of what has not reached Redis.
 */

const assert = require("node:assert");
const { Redis } = require("ioredis");
const { createClient } = require("redis");
const ours = require("../emitter");
const { Node } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

describe("the emitter", () => {
  describe("when Redis refuses or is away", function () {
    this.timeout(30_000);

    const WAYS = /** @type {const} */ (["url", "native", "client"]);

    /** @param {typeof WAYS[number]} way @param {import("./support/redis").RedisServer} redis @param {(emitter: any) => Promise<void>} use @param {any} [opts] */
    async function withEmitter(way, redis, use, opts = {}) {
      const user = "emitter";
      const made =
        way === "url"
          ? null
          : createClient({ socket: { host: "127.0.0.1", port: redis.port }, username: user, password: user });
      await made?.on("error", () => {}).connect();
      const emitter = made
        ? new ours.Emitter(made, { ...opts, transport: way })
        : new ours.Emitter(redis.url.replace("//", `//${user}:${user}@`), opts);
      try {
        await use(emitter);
      } finally {
        await emitter.close({ timeout: 100 }).catch(() => {});
        if (made?.isReady) await made.close();
        else made?.destroy();
      }
    }

    const users = { emitter: "on >emitter ~* &allowed* +@all" };

    for (const way of WAYS) {
      it(`flush() tells of what is refused: ${way}`, async () => {
        const redis = await startRedis({ users });
        try {
          await withEmitter(way, redis, async (emitter) => {
            for (let i = 0; i < 3; i++) assert.strictEqual(emitter.emit("event", i), true);
            await assert.rejects(emitter.flush(), (/** @type {any} */ error) => {
              assert.match(
                error.message,
                /^3 of 3 messages have not reached Redis: 3 refused \(NOPERM .*\)$/,
              );
              assert.deepStrictEqual(
                { ...error },
                { sent: 0, receivers: 0, refused: 3, lost: 0, pending: 0 },
              );
              return true;
            });
            assert.strictEqual((await emitter.flush()).refused, 0, "it was told");
            emitter.emit("event", "again");
            // Nobody looks at these.
            emitter.flush();
            emitter.emit("event", "and again");
            emitter.close();
          });
        } finally {
          await redis.stop();
        }
      });
    }

    it("tells all those who wait of a loss", async () => {
      const redis = await startRedis({ users });
      try {
        await withEmitter("url", redis, async (emitter) => {
          emitter.emit("event");
          const results = await Promise.allSettled([
            emitter.flush(),
            emitter.flush(),
            emitter.of("/a").flush(),
          ]);
          assert.deepStrictEqual(
            results.map(({ status }) => status),
            ["rejected", "rejected", "rejected"],
          );
        });
      } finally {
        await redis.stop();
      }
    });

    for (const way of WAYS) {
      it(`what is emitted in an outage arrives when the servers are back: ${way}`, async () => {
        const redis = await startRedis({
          users: { ...users, emitter: "on >emitter ~* &* +@all", default: "on nopass ~* &* +@all" },
        });
        const node = new Node({ redis: { port: redis.port } });
        try {
          await node.ready();
          const socket = await node.connect();
          /** @type {number[]} */
          const got = [];
          socket.on("n", (/** @type {number} */ n) => got.push(n));
          await redis.cli("CONFIG", "RESETSTAT");
          await withEmitter(way, redis, async (emitter) => {
            await waitFor(() => emitter.transport.proven);
            await waitFor(() => countsIn(redis), { what: "the emitter to count the servers" });
            // The answer to that comes before the one to this.
            emitter.emit("n", 0);
            assert.strictEqual((await emitter.flush()).receivers, 1);
            await redis.kill();
            await waitFor(() => emitter.stats().outages > 0, { what: "the outage" });
            for (let n = 1; n <= 1000; n++) emitter.emit("n", n);
            await assert.rejects(emitter.flush({ timeout: 50 }), { pending: 1000 });
            await redis.restart();
            const result = await emitter.flush();
            assert.deepStrictEqual(
              [result.sent, result.receivers],
              [1000, 1000],
              JSON.stringify(emitter.stats()),
            );
            await waitFor(() => got.includes(1000), { what: "the last event" });
            assert.deepStrictEqual(
              got,
              Array.from({ length: 1001 }, (_, n) => n),
            );
          });
        } finally {
          await node.close();
          await redis.stop();
        }
      });
    }

    for (const way of WAYS) {
      it(`what is added to a stream in an outage is there once, in order: ${way}`, async () => {
        const redis = await startRedis({
          users: { emitter: "on >emitter ~* &* +@all", default: "on nopass ~* &* +@all" },
          extra: { appendonly: "yes" },
        });
        try {
          await withEmitter(
            way,
            redis,
            async (emitter) => {
              emitter.emit("n", 0);
              assert.deepStrictEqual(await emitter.flush(), {
                sent: 1,
                receivers: null,
                refused: 0,
                lost: 0,
                pending: 0,
              });
              await waitFor(() => emitter.transport.proven);
              await redis.kill();
              await waitFor(() => emitter.stats().outages > 0, { what: "the outage" });
              for (let n = 1; n <= 1000; n++) emitter.emit("n", n);
              await assert.rejects(emitter.flush({ timeout: 50 }), { pending: 1000 });
              await redis.restart();
              assert.strictEqual((await emitter.flush()).sent, 1000);
              const entries = await redis.cli("XRANGE", "socket.io", "-", "+");
              assert.deepStrictEqual(
                entries.map((/** @type {any} */ [, fields]) => JSON.parse(String(fields[7])).packet.data[1]),
                Array.from({ length: 1001 }, (_, n) => n),
              );
            },
            { mode: "streams", maxLen: 100_000 },
          );
        } finally {
          await redis.stop();
        }
      });
    }

    it("drops the oldest beyond the bound, and says how many", async () => {
      const port = await freePort();
      const emitter = new ours.Emitter(`redis://127.0.0.1:${port}`, { maxBacklogBytes: 10_000 });
      for (let i = 0; i < 100; i++) emitter.emit("event", "x".repeat(900));
      await assert.rejects(emitter.flush({ timeout: 300 }), (/** @type {any} */ error) => {
        assert.ok(error.lost >= 88 && error.lost + error.pending === 100, error.message);
        return true;
      });
      const redis = await startRedis({ port });
      try {
        const result = await emitter.close();
        assert.ok(result.sent >= 5 && result.sent <= 12, JSON.stringify(result));
      } finally {
        await redis.stop();
      }
    });

    it("says what is lost when the client has ended", async () => {
      const redis = await startRedis();
      const made = new Redis(redis.port);
      const emitter = new ours.Emitter(made);
      emitter.emit("event");
      await emitter.flush();
      await waitFor(() => emitter.transport.proven);
      made.disconnect();
      await once(made, "end").catch(() => {});
      await waitFor(async () => (await countConnections(redis)) === 1, { what: "the connections to end" });
      assert.strictEqual(emitter.emit("event"), true);
      await assert.rejects(emitter.close(), { lost: 1, message: /: 1 lost \(.+\)$/ });
      await redis.stop();
    });

    it("takes its own connections for granted only if they reach the same Redis", async () => {
      const redis = await startRedis();
      const made = createClient({ url: redis.url });
      await made.connect();
      // As through a tunnel: the options lead elsewhere.
      const elsewhere = await freePort();
      const shown = new Proxy(made, {
        get(target, name) {
          if (name === "options")
            return { ...target.options, socket: { host: "127.0.0.1", port: elsewhere } };
          const value = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const emitter = new ours.Emitter(shown);
      emitter.emit("event");
      assert.strictEqual((await emitter.flush()).sent, 1);
      assert.strictEqual(emitter.transport.carrier, "client");
      await emitter.close();
      await made.close();
      await redis.stop();
    });

    leavesNoRejection();
  });
});

/** Whether somebody has counted subscribers. @param {import("./support/redis").RedisServer} redis */
async function countsIn(redis) {
  return String(await redis.cli("INFO", "commandstats")).includes("cmdstat_pubsub|numsub");
}

/** @param {import("./support/redis").RedisServer} redis */
async function countConnections(redis) {
  return String(await redis.cli("CLIENT", "LIST"))
    .trim()
    .split("\n").length;
}
