// @ts-check
"use strict";

/**
 * What a server asks before Redis has subscribed it to the answers. It waits until they can be heard, by whatever
 * transport.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const ours = /** @type {any} */ (require(".."));

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

/** How late Redis is told of a subscription, in milliseconds: long enough for an answer that nobody waits for. */
const LATE = 150;

/** A client whose subscriptions, and those of its duplicates, go to Redis late. @param {any} client @returns {any} */
function withLateSubscriptions(client) {
  for (const name of ["subscribe", "pSubscribe", "sSubscribe"]) {
    const subscribe = client[name].bind(client);
    client[name] = async (/** @type {any[]} */ ...args) => {
      await new Promise((resolve) => setTimeout(resolve, LATE));
      return subscribe(...args);
    };
  }
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (/** @type {any[]} */ ...args) => withLateSubscriptions(duplicate(...args));
  return client;
}

describe("what is asked at once", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;

  before(async () => void (redis = await startRedis()));
  after(() => redis.stop());

  for (const family of FAMILIES) {
    it(`is answered by all, though the subscriptions are late: ${family}, client`, async () => {
      const ring = await startRing({
        redis,
        nodes: ["ours", "reference"],
        adapter: family,
        transport: "client",
      });
      const [pub, sub] = [0, 1].map(() => withLateSubscriptions(ring.nodes[0].pub.duplicate()));
      /** @type {Server | null} */
      let io = null;
      try {
        await Promise.all([pub.connect(), sub.connect()]);
        for (const { io: other, index, peers } of ring.nodes) {
          other.once("question", (ack) => ack(index));
          peers.forEach(({ client }) => client.once("poll", (/** @type {Function} */ ack) => ack(index)));
        }
        io = new Server({ adapter: adapterOf(family, ring, pub, sub) });
        /** @type {string[]} */
        const order = [];
        const [peer] = ring.nodes[0].peers;
        peer.client.onAny((/** @type {string} */ event) => order.push(event));
        const [acks, sockets, answers] = await Promise.all([
          io.timeout(4000).emitWithAck("poll"),
          io.fetchSockets(),
          io.serverSideEmitWithAck("question"),
          io.emit("behind it"),
        ]);
        assert.deepStrictEqual(acks.sort(), [0, 0, 1, 1]);
        assert.strictEqual(sockets.length, 4);
        assert.deepStrictEqual(answers.sort(), [0, 1]);
        // To the stream it goes another way.
        if (family !== "streams") assert.deepStrictEqual(order, ["poll", "behind it"]);
      } finally {
        /** @type {any} */ (io)?.of("/").adapter.close();
        await Promise.all([pub.quit(), sub.quit()]);
        await ring.close();
      }
    });
  }
});

/** @param {typeof FAMILIES[number]} family @param {import("./support/ring").Ring} ring @param {any} pub @param {any} sub */
function adapterOf(family, { key, streamName }, pub, sub) {
  const transport = /** @type {const} */ ("client");
  if (family === "classic") return ours.createAdapter(pub, sub, { key, transport });
  if (family === "sharded") return ours.createShardedAdapter(pub, sub, { channelPrefix: key, transport });
  return require("../streams").createAdapter(pub, { streamName, channelPrefix: key, transport });
}
