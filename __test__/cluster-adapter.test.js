// @ts-check
"use strict";

/**
 * The sharded adapter and that of streams are a `ClusterAdapter` of socket.io-adapter: what subclasses and other
 * packages call on one works on these, in one cluster with the reference.
 */

const assert = require("node:assert");
const { ClusterAdapter, ClusterAdapterWithHeartbeat, MessageType } = /** @type {any} */ (
  require("socket.io-adapter")
);
const { MIXED_PAIRS } = require("./fixtures/rings");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @type {[string, any][]} */
const FAMILIES = [
  ["sharded, static", { adapter: "sharded", mode: "static" }],
  ["sharded, dynamic", { adapter: "sharded", mode: "dynamic" }],
  ["streams", { adapter: "streams" }],
  ["streams, channels of shards", { adapter: "streams", useShardedPubSub: true }],
];

describe("a ClusterAdapter", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  for (const [family, options] of FAMILIES) {
    for (const nodes of MIXED_PAIRS) {
      describe(`${family}: ${nodes.join(" to ")}`, () => {
        /** @type {import("./support/ring").Ring} */
        let ring;
        /** @type {any} */
        let adapter;
        /** @type {any[][]} */
        let log;

        before(async () => {
          ring = await startRing({ redis, nodes, sockets: 1, ...options });
          adapter = ring.nodes[0].adapter();
          log = ring.nodes.map(({ peers }) => {
            /** @type {any[]} */
            const heard = [];
            peers[0].client.on("event", (/** @type {any[]} */ ...args) => heard.push(args));
            peers[0].socket.join("room");
            return heard;
          });
          await ring.joined();
        });

        after(() => ring.close());

        beforeEach(() => log.forEach((heard) => heard.splice(0)));

        const opts = (/** @type {string[]} */ rooms = []) => ({ rooms, except: [], flags: {} });
        const packet = (/** @type {any[]} */ ...args) => ({ type: 2, data: ["event", ...args], nsp: "/" });

        it("is one, and none that counts heartbeats", () => {
          assert.ok(adapter instanceof ClusterAdapter);
          assert.ok(!(adapter instanceof ClusterAdapterWithHeartbeat));
        });

        it("publishes what it is given: an event for all, for a room, with bytes", async () => {
          const send = (/** @type {any} */ data) => adapter.publish({ type: MessageType.BROADCAST, data });
          send({ packet: packet(1), opts: opts() });
          send({ packet: packet(2), opts: opts(["room"]) });
          send({ packet: packet(Buffer.from("3")), opts: opts(["room", "other"]) });
          send({ packet: packet(4), opts: opts(["nobody"]) });
          await ring.mark(ring.nodes[0]);
          assert.deepStrictEqual(log, [[], [[1], [2], [Buffer.from("3")]]]);
        });

        it("publishes what else there is, and returns a promise where that is asked for", async () => {
          const { server: io } = /** @type {any} */ (ring.nodes[1].adapter()).nsp;
          const heard = new Promise((resolve) => io.once("hello", resolve));
          const data = { packet: ["hello", 5] };
          const returned = adapter.publishAndReturnOffset({ type: MessageType.SERVER_SIDE_EMIT, data });
          assert.strictEqual(typeof (await returned), "string");
          assert.strictEqual(await heard, 5);
          adapter.publish({ type: MessageType.SOCKETS_JOIN, data: { opts: opts(), rooms: ["joined"] } });
          await waitFor(() => ring.nodes[1].peers[0].rooms.includes("joined"), {
            what: "the socket to join",
          });
          assert.ok(!ring.nodes[0].peers[0].rooms.includes("joined"));
        });

        it("does what a message says that it is handed", async () => {
          const other = { uid: "other", nsp: "/" };
          const { BROADCAST, SOCKETS_JOIN, SERVER_SIDE_EMIT } = MessageType;
          adapter.onMessage({ ...other, type: BROADCAST, data: { packet: packet(6), opts: opts(["room"]) } });
          adapter.onMessage({ ...other, type: SOCKETS_JOIN, data: { opts: opts(), rooms: ["handed"] } });
          // Its own, and one of another namespace.
          adapter.onMessage({
            ...other,
            uid: adapter.uid,
            type: BROADCAST,
            data: { packet: packet(7), opts: opts() },
          });
          adapter.onMessage({
            ...other,
            nsp: "/other",
            type: BROADCAST,
            data: { packet: packet(8), opts: opts() },
          });
          const heard = new Promise((resolve) => adapter.nsp.server.once("hello", resolve));
          adapter.onMessage({ ...other, type: SERVER_SIDE_EMIT, data: { packet: ["hello", 9] } });
          assert.strictEqual(await heard, 9);
          assert.ok(ring.nodes[0].peers[0].rooms.includes("handed"));
          await waitFor(() => log[0].length > 0);
          await ring.mark(ring.nodes[0]);
          assert.deepStrictEqual(log, [[[6]], []]);
        });

        it("takes an answer that it is handed for one to a broadcast, and never throws", async () => {
          /** @type {any[]} */
          const seen = [];
          const target = { rooms: new Set(["nobody"]), except: new Set(), flags: { timeout: 1000 } };
          adapter.broadcastWithAck(
            packet(),
            target,
            (/** @type {number} */ count) => seen.push(["count", count]),
            (/** @type {any} */ answer) => seen.push(["answer", answer]),
          );
          const [requestId] = [...adapter.ackRequests.keys()].slice(-1);
          const answer = { uid: "other", nsp: "/" };
          adapter.onResponse({
            ...answer,
            type: MessageType.BROADCAST_CLIENT_COUNT,
            data: { requestId, clientCount: 7 },
          });
          adapter.onResponse({
            ...answer,
            type: MessageType.BROADCAST_ACK,
            data: { requestId, packet: "yes" },
          });
          assert.ok(seen.some((one) => String(one) === "count,7"));
          assert.ok(seen.some((one) => String(one) === "answer,yes"));
          const fetched = adapter.fetchSockets({
            rooms: new Set(),
            except: new Set(),
            flags: { timeout: 5000 },
          });
          const types = [MessageType.FETCH_SOCKETS_RESPONSE, MessageType.SERVER_SIDE_EMIT_RESPONSE];
          for (const type of types)
            adapter.onResponse({ ...answer, type, data: { requestId: "unknown", sockets: [], packet: 1 } });
          assert.strictEqual((await fetched).length, 2);
        });
      });
    }
  }
});
