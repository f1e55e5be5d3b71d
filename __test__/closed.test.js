// @ts-check
"use strict";

/**
 * A server whose adapter is closed still has its sockets, and is asked for them by what runs until its end.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { Link } = require("../binding");
const { expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

describe("an adapter that is closed", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of /** @type {const} */ (["classic", "sharded", "streams"])) {
    for (const transport of /** @type {const} */ (["native", "client"])) {
      it(`answers as the reference does: ${adapter}, transport ${transport}`, async () => {
        const ring = await startRing({ redis, adapter, transport, nodes: ["ours", "reference"], sockets: 2 });
        try {
          const [ours, reference] = ring.nodes.map((node) => ({
            node,
            expected: node.peers.map(({ socket }) => socket.id).sort(),
          }));
          reference.node.io.on("question", (/** @type {any} */ answer) => answer("reference"));
          ours.node.io.on("question", (/** @type {any} */ answer) => answer("ours"));
          assert.deepStrictEqual(await answersOf(ours.node, () => ring.subscribed("/", 1)), {
            fetched: ours.expected,
            ids: ours.expected,
            asked: [null, []],
            servers: 1,
          });
          assert.deepStrictEqual(await answersOf(reference.node, () => ring.subscribed("/", 0)), {
            fetched: reference.expected,
            ids: reference.expected,
            asked: [null, []],
            servers: 0,
          });
          assert.strictEqual(await ours.node.adapter().serverCount(), 0);
        } finally {
          await ring.close();
        }
      });
    }
  }

  /** @param {any} node @param {() => Promise<void>} gone resolves when Redis no longer counts it */
  async function answersOf(node, gone) {
    const { io } = node;
    node.adapter().close();
    const asked = await new Promise((resolve) =>
      io.serverSideEmit("question", (/** @type {Error | null} */ error, /** @type {any[]} */ answers) =>
        resolve([error, answers]),
      ),
    );
    const sorted = (/** @type {Iterable<string>} */ ids) => [...ids].sort();
    const fetched = sorted((await io.fetchSockets()).map((/** @type {any} */ { id }) => id));
    await gone();
    return {
      fetched,
      asked,
      servers: await node.adapter().serverCount(),
      ids: sorted(await node.adapter().sockets(new Set())),
    };
  }

  it("settles what waits for it", async () => {
    const ring = await startRing({ redis, nodes: ["ours", "ours"], sockets: 1 });
    try {
      const [ours] = ring.nodes;
      const adapter = ours.adapter();
      await adapter.ready;
      const asked = assert.rejects(ours.io.serverSideEmitWithAck("question"), /the adapter was closed/);
      const barrier = assert.rejects(adapter.barrier(), /the adapter was closed/);
      const counted = adapter.serverCount();
      adapter.close();
      await Promise.all([asked, barrier]);
      assert.ok([0, 1].includes(await counted));
      await assert.rejects(adapter.barrier(), /the adapter was closed/);
      await adapter.ready;
    } finally {
      await ring.close();
    }
  });

  it("is answered with what it last knew if no link can be made to count the others", async () => {
    const rejections = expectRejections();
    const io = new Server({ adapter: createAdapter(redis.url) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    assert.strictEqual(await adapter.serverCount(), 1);
    adapter.close();
    const { serverCountWithout } = Link.prototype;
    Link.prototype.serverCountWithout = () => {
      throw new Error("of the test");
    };
    try {
      // Those of the reference settle, too, and Socket.IO handles no rejection.
      assert.strictEqual(await adapter.serverCount(), 0);
    } finally {
      Link.prototype.serverCountWithout = serverCountWithout;
    }
    await waitFor(async () => (await adapter.serverCount()) === 0, { what: "Redis to count again" });
    assert.deepStrictEqual(rejections, []);
  });

  it("is waited for no longer", async () => {
    const io = new Server({ adapter: createAdapter(redis.url) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    const waiting = adapter.ready;
    adapter.close();
    await waiting;
    await adapter.ready;
    const other = /** @type {any} */ (new Server({ adapter: createAdapter(redis.url) }).of("/").adapter);
    other.close();
    await other.ready;
  });
});

describe("an adapter whose requests have no timeout", () => {
  it("waits for its subscriptions for as long as Redis does not confirm them", async () => {
    const redis = await startRedis();
    const io = new Server({ adapter: createShardedAdapter(redis.url, { requestsTimeout: Infinity }) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    try {
      await adapter.ready;
      redis.pause();
      adapter.addAll("s", new Set(["s", "room"]));
      const waiting = Promise.all([adapter.subscribed(), adapter.barrier()]);
      waiting.catch(() => {});
      // What a timer of Node makes of an infinite delay has ended before this one, which began later.
      await new Promise((resolve) => setTimeout(resolve, 1));
      redis.resume();
      await waiting;
    } finally {
      redis.resume();
      adapter.close();
      await redis.stop();
    }
  });
});
