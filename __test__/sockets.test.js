// @ts-check
"use strict";

const assert = require("node:assert");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");

describe("sockets of other servers", () => {
  /** @type {any} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("are told of without what has no JSON (D8)", async () => {
    const ring = await startRing({ redis, nodes: ["ours", "reference"], sockets: 2 });
    const warn = console.warn;
    /** @type {string[]} */
    const warnings = [];
    console.warn = (/** @type {string} */ text) => warnings.push(text);
    try {
      const [ours, reference] = ring.nodes;
      const [bad, good] = ours.peers.map((/** @type {any} */ { socket }) => socket);
      bad.data.self = bad.data;
      good.data = { name: "good" };
      const sockets = await reference.io.fetchSockets();
      const find = (/** @type {any} */ { id }) =>
        sockets.find((/** @type {any} */ socket) => socket.id === id);
      assert.strictEqual(sockets.length, 4);
      assert.strictEqual(find(bad).data, undefined);
      assert.strictEqual(find(bad).handshake.url, bad.handshake.url);
      assert.deepStrictEqual([...find(bad).rooms], [bad.id]);
      assert.deepStrictEqual(find(good).data, { name: "good" });
      await reference.io.fetchSockets();
      assert.strictEqual(warnings.filter((text) => text.includes("socket.data")).length, 1);
    } finally {
      console.warn = warn;
      await ring.close();
    }
  });
});
