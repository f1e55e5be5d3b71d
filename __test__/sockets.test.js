// @ts-check
"use strict";

const assert = require("node:assert");
const path = require("node:path");
const { Worker } = require("node:worker_threads");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

describe("sockets of other servers", () => {
  /** @type {any} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("are told of without what has no JSON (D8)", async () => {
    const ring = await startRing({ redis, nodes: ["ours", "reference"], sockets: 2 });
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
    } finally {
      await ring.close();
    }
  });

  it("are warned of if they have no JSON, once for each of their fields", async () => {
    // In a thread of its own: other tests were warned in this one.
    const warnings = new Promise((resolve, reject) => {
      const worker = new Worker(path.join(__dirname, "support/child-untold.js"), { workerData: redis.url });
      worker.once("message", resolve).once("error", reject);
    });
    const [first, second, ...others] = /** @type {string[]} */ (await warnings);
    assert.match(first, /^socket\.io-redis: socket\.handshake cannot be sent to other servers \(.*circular/);
    assert.match(second, /^socket\.io-redis: socket\.data cannot be sent to other servers \(.*circular/);
    assert.deepStrictEqual(others, []);
  });

  for (const adapter of /** @type {const} */ (["classic", "sharded", "streams"])) {
    it(`that have not got an acknowledged broadcast are not looked at for it: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "reference"], sockets: 2 });
      try {
        const [ours, reference] = ring.nodes;
        /** The sockets that an acknowledgement was forgotten of. @type {string[]} */
        const looked = [];
        for (const { socket } of ours.peers) {
          const acks = /** @type {any} */ (socket).acks;
          const forget = acks.delete.bind(acks);
          acks.delete = (/** @type {number} */ id) => {
            looked.push(socket.id);
            return forget(id);
          };
        }
        const [{ socket }] = ours.peers;
        await reference.io
          .to(socket.id)
          .timeout(1)
          .emitWithAck("unanswered")
          .catch(() => {});
        await waitFor(() => looked.length > 0, { what: "the acknowledgement to be given up" });
        assert.deepStrictEqual(looked, [socket.id]);
        assert.strictEqual(/** @type {any} */ (socket).acks.size, 0);
      } finally {
        await ring.close();
      }
    });
  }
});
