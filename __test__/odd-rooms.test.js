// @ts-check
"use strict";

/**
 * Rooms whose names are no text: half a surrogate pair has no UTF-8, in which channels are named, but it can be written
 * in JSON. Where the reference reaches them, so do we.
 */

const assert = require("node:assert");
const { Emitter } = /** @type {any} */ (require("../emitter"));
const { MIXED_PAIRS, OURS, REFERENCE } = require("./fixtures/rings");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");

const ROOMS = ["\ud800", "a\udc00b", "\ud800\ud800"];

/** @type {[string, any][]} */
const FAMILIES = [
  ["sharded, static", { adapter: "sharded", mode: "static" }],
  ["sharded, dynamic", { adapter: "sharded", mode: "dynamic" }],
  ["sharded, dynamic-private", { adapter: "sharded", mode: "dynamic-private" }],
  ["streams", { adapter: "streams" }],
];

describe("rooms that are half a surrogate pair", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  for (const [family, options] of FAMILIES) {
    for (const nodes of MIXED_PAIRS) {
      it(`${family}: ${nodes.join(" to ")}`, async () => {
        const ring = await startRing({ redis, nodes, sockets: 2, ...options });
        try {
          const [here, there] = ring.nodes;
          /** @type {string[]} */
          const log = [];
          for (const [index, { client }] of there.peers.entries())
            for (const event of ["to", "except", "several"])
              client.on(event, (/** @type {string} */ room) => log.push(`${event} ${escape(room)} ${index}`));
          const wanted = [];
          for (const room of ROOMS) {
            there.peers[0].socket.join(room);
            await ring.joined();
            here.io.to(room).emit("to", room);
            here.io.except(room).emit("except", room);
            here.io.to([room, "nobody"]).emit("several", room);
            wanted.push(`to ${escape(room)} 0`, `except ${escape(room)} 1`, `several ${escape(room)} 0`);
            await ring.mark(here);
          }
          assert.deepStrictEqual(log.sort(), wanted.sort());
        } finally {
          await ring.close();
        }
      });
    }
  }

  for (const mode of ["static", "dynamic", "dynamic-private"]) {
    it(`an emitter, to sharded servers, ${mode}`, async () => {
      const ring = await startRing({
        ...{
          redis,
          nodes: [OURS, REFERENCE],
          sockets: 1,
          adapter: "sharded",
          mode: /** @type {any} */ (mode),
        },
      });
      const channelPrefix = ring.nodes[0].adapter().opts.channelPrefix;
      const emitter = new Emitter(redis.url, { mode: "sharded", subscriptionMode: mode, channelPrefix });
      try {
        const got = ring.nodes.map(
          ({ peers }) =>
            new Promise((resolve) => {
              peers[0].socket.join("\ud800");
              peers[0].client.once("to", resolve);
            }),
        );
        await ring.joined();
        emitter.to("\ud800").emit("to", 1);
        assert.deepStrictEqual(await Promise.all(got), [1, 1]);
      } finally {
        await emitter.close();
        await ring.close();
      }
    });
  }
});

/** @param {string} room */
function escape(room) {
  return JSON.stringify(room);
}
