// @ts-check
"use strict";

/**
 * Recovery of connections over streams around an outage of Redis: what is recovered if Redis keeps its data, and that all
 * works on if it does not.
 */

const assert = require("node:assert");
const { OURS } = require("./fixtures/rings");
const { startRedis } = require("./support/redis");
const { Returning } = require("./support/returning");
const { startRing } = require("./support/ring");
const { added } = require("./support/streams");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */

describe("recovery and an outage of Redis", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Ring} */
  let ring;
  /** @type {Returning[]} */
  const clients = [];

  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await ring?.close();
    await redis?.stop();
  });

  /** @param {"native" | "client"} transport @param {boolean} isKept */
  async function begin(transport, isKept) {
    redis = await startRedis({ extra: isKept ? ["appendonly yes", "appendfsync always"] : [] });
    const serverOpts = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };
    ring = await startRing({
      redis,
      adapter: "streams",
      nodes: [OURS, OURS],
      sockets: 0,
      serverOpts,
      transport,
    });
  }

  /** @param {import("./support/ring").Node} node */
  async function connect(node) {
    const client = new Returning(ring, node);
    clients.push(client);
    return client.connected();
  }

  /** Resolves once what each node emits comes to the other. @param {Returning} client */
  async function flows(client) {
    const heard = (/** @type {string} */ event, /** @type {number} */ from) =>
      client.log.some(([name, index]) => name === event && index === from);
    for (const { io, index } of ring.nodes) {
      await waitFor(
        () => {
          io.emit("flows", index);
          return heard("flows", index);
        },
        { timeout: 10_000, what: "events to flow" },
      );
      io.emit("flowed", index);
      await waitFor(() => heard("flowed", index), { timeout: 10_000, what: "the last of them" });
    }
    client.log = [];
  }

  for (const transport of /** @type {const} */ (["native", "client"])) {
    it(`with persistence, nothing is lost, ${transport}`, async function () {
      this.timeout(30_000);
      await begin(transport, true);
      const client = await (await connect(ring.nodes[0])).greet();
      const { id } = client;
      await client.leave();
      for (let n = 0; n < 20; n++) ring.nodes[n % 2].io.to(id).emit("n", n % 2, n);
      await added(ring, 20, '["n",');
      await redis.restart();
      await Promise.all(ring.nodes.map((node) => node.adapter().ready));
      for (let n = 20; n < 25; n++) ring.nodes[0].io.to(id).emit("n", 0, n);
      await added(ring, 25, '["n",');
      assert.strictEqual(await client.come(ring.nodes[1]), true);
      const got = await client.took(25);
      const of = (/** @type {number} */ sender) =>
        got.filter(([, other]) => other === sender).map(([, , n]) => n);
      assert.deepStrictEqual(of(0), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24]);
      assert.deepStrictEqual(of(1), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
      await client.hears();
    });

    it(`one who goes while Redis is away is recovered when it is back, ${transport}`, async function () {
      this.timeout(30_000);
      await begin(transport, true);
      const client = await (await connect(ring.nodes[0])).greet();
      const { id, pid } = client;
      await redis.kill();
      await client.leave({ kept: false });
      for (let n = 0; n < 10; n++) ring.nodes[1].io.to(id).emit("n", 1, n);
      await redis.restart();
      await waitFor(() => ring.raw.exists(ring.sessionKey(pid)), { timeout: 10_000, what: "the session" });
      await added(ring, 10, '["n",');
      assert.strictEqual(await client.come(ring.nodes[1]), true);
      assert.deepStrictEqual(
        await client.took(10),
        Array.from({ length: 10 }, (_, n) => ["n", 1, n]),
      );
      await client.hears();
    });

    it(`without persistence, it is a new session, and all works on, ${transport}`, async function () {
      this.timeout(30_000);
      await begin(transport, false);
      const client = await (await connect(ring.nodes[0])).greet();
      const { id } = client;
      await client.leave();
      for (let n = 0; n < 20; n++) ring.nodes[n % 2].io.to(id).emit("n", n);
      await added(ring, 20, '["n",');
      await redis.restart();
      assert.strictEqual(await client.come(ring.nodes[1]), false);
      assert.notStrictEqual(client.id, id);
      await flows(client);
      await client.hears();
      // From now on, it is as ever.
      await client.leave();
      ring.nodes[0].io.emit("missed", 1);
      await added(ring, 1, '"missed",1');
      assert.strictEqual(await client.come(ring.nodes[0]), true);
      assert.deepStrictEqual(await client.took(1), [["missed", 1]]);
      await client.hears();
    });
  }
});
