// @ts-check
"use strict";

/**
 * The streams adapter in rings of this package's nodes and the reference's: every operation, sent by every node. On
 * one Redis and on a cluster, with several streams, and with sharded pub/sub.
 */

const assert = require("node:assert");
const { broadcasts } = require("./fixtures/broadcasts");
const { essentials, oddities } = require("./fixtures/oddities");
const { acknowledgements, commands, questions, silences } = require("./fixtures/requests");
const { OURS, PATIENCE, REFERENCE } = require("./fixtures/rings");
const { answering, describeRing, expected, fakeSocket, settled } = require("./fixtures/rings");
const { startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring-node").Kind} Kind */
/** @typedef {import("./support/ring").RingOptions} RingOptions */

const TRANSPORTS = /** @type {const} */ (["native", "client"]);
const adapter = "streams";

/** @type {Kind[]} */
const ALONE = [OURS, OURS, OURS];
/** @type {Kind[]} */
const MIXED = [OURS, REFERENCE, OURS];
/** @type {Kind[]} */
const AMONG_REFERENCES = [REFERENCE, OURS, REFERENCE];
/** @type {Kind[]} */
const TWO = [OURS, REFERENCE];

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

/** @param {() => Ring} ring @param {readonly Kind[]} kinds */
function everything(ring, kinds) {
  describe("a broadcast", () => broadcasts(ring, kinds));
  describe("a broadcast with acknowledgements", () => acknowledgements(ring, kinds));
  describe("a question", () => questions(ring, kinds, { adapter }));
  describe("a command", () => commands(ring, kinds, { adapter }));
  describe("an oddity", () => oddities(ring, kinds, adapter));
}

/**
 * @param {Omit<RingOptions, "redis">} options
 * @param {(ring: () => Ring, kinds: readonly Kind[]) => void} declare
 * @param {() => import("./support/connect").Topology} [where]
 */
function suite(options, declare, where = () => redis) {
  const { nodes, clients, transport, streamCount, useShardedPubSub } = options;
  const how = [clients, transport];
  if (streamCount) how.push(`${streamCount} streams`);
  if (useShardedPubSub) how.push("sharded pub/sub");
  describeRing(
    `${nodes.join(", ")} over ${how.join(", ")}`,
    () => ({ redis: where(), adapter, ...options }),
    (ring) => declare(ring, nodes),
  );
}

describe("rings of streams", () => {
  suite({ nodes: MIXED, clients: "redis", transport: "native" }, everything);
  suite({ nodes: AMONG_REFERENCES, clients: "ioredis", transport: "client" }, everything);
  suite({ nodes: AMONG_REFERENCES, clients: "redis", transport: "client" }, everything);
  suite({ nodes: MIXED, clients: "ioredis", transport: "native" }, everything);
  suite({ nodes: MIXED, clients: "redis", transport: "client" }, essentials);
  suite({ nodes: AMONG_REFERENCES, clients: "ioredis", transport: "native" }, essentials);
  suite({ nodes: ALONE, clients: "redis", transport: "native" }, (ring, kinds) => {
    everything(ring, kinds);
    describe("a silence", () => silences(ring, kinds, { adapter }));
  });
  for (const transport of TRANSPORTS) {
    for (const clients of /** @type {const} */ (["redis-5", "ioredis-5"])) {
      suite({ nodes: TWO, clients, transport }, essentials);
    }
    suite({ nodes: ALONE, clients: "ioredis", transport }, essentials);
    suite({ nodes: MIXED, clients: "redis", transport, useShardedPubSub: true }, essentials);
    suite({ nodes: MIXED, clients: "redis", transport, streamCount: 4 }, essentials);
  }
  suite({ nodes: TWO, clients: "ioredis", transport: "client", useShardedPubSub: true }, essentials);
  suite(
    { nodes: TWO, clients: "ioredis", transport: "native", useShardedPubSub: true, streamCount: 4 },
    essentials,
  );
  describe("apart", apart);
});

describe("rings of streams on a cluster", () => {
  /** @type {Awaited<ReturnType<typeof startCluster>>} */
  let cluster;

  before(async () => {
    cluster = await startCluster({ replicas: 0 });
  });

  after(() => cluster?.stop());

  for (const transport of TRANSPORTS) {
    for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
      for (const useShardedPubSub of [false, true]) {
        suite({ nodes: MIXED, clients, transport, useShardedPubSub }, essentials, () => cluster);
      }
    }
    suite({ nodes: TWO, clients: "redis-5", transport }, essentials, () => cluster);
    suite({ nodes: TWO, clients: "ioredis-5", transport }, essentials, () => cluster);
    suite({ nodes: MIXED, clients: "redis", transport, streamCount: 4 }, essentials, () => cluster);
  }
});

/** What takes a ring of its own. */
function apart() {
  /** @type {Ring} */
  let ring;
  /** @param {Omit<RingOptions, "redis" | "adapter">} options */
  const start = async (options) => (ring = await startRing({ redis, adapter, ...options }));
  afterEach(() => ring?.close());

  it("namespaces are kept apart, whatever they are named", async () => {
    const namespaces = ["/", "/chat", "/chat#a", "/tenant[1]", "/a*b", "/é漢🦀", "/a,b"];
    await start({ nodes: MIXED, namespaces, sockets: 0 });
    const heard = ring.nodes.map((node) => namespaces.map((nsp) => fakeSocket(node, nsp)));
    for (const sender of ring.nodes) {
      for (const [index, nsp] of namespaces.entries()) {
        sender.io.of(nsp).to("room").emit("in", nsp);
        sender.io.of(nsp).emit("all", nsp);
        await waitFor(() => heard.every((lists) => lists[index].length === 2), { what: "both events" });
        assert.strictEqual(await sender.adapter(nsp).serverCount(), 3);
      }
      for (const lists of heard)
        assert.deepStrictEqual(
          lists.map((list) => list.splice(0)),
          namespaces.map((nsp) => [
            ["in", nsp],
            ["all", nsp],
          ]),
        );
    }
  });

  for (const leaving of [0, 1]) {
    it(`a node that closes leaves the others a ring: node ${leaving} of ${MIXED.join(", ")}`, async () => {
      await start({ nodes: MIXED });
      const node = ring.nodes[leaving];
      await node.close();
      await ring.subscribed("/", 2);
      const rest = ring.nodes.filter((other) => other !== node);
      for (const sender of rest) {
        assert.strictEqual(await sender.adapter().serverCount(), 2);
        const got = await ring.collect(sender, () => sender.io.emit("still", sender.index));
        assert.deepStrictEqual(got, expected(ring, [["still", sender.index]]));
        assert.strictEqual((await sender.io.fetchSockets()).length, 4);
      }
    });
  }

  for (const transport of TRANSPORTS) {
    it(`a single node answers itself, ${transport}`, async () => {
      await start({ nodes: [OURS], transport });
      const [node] = ring.nodes;
      assert.strictEqual(await node.adapter().serverCount(), 1);
      assert.strictEqual((await node.io.fetchSockets()).length, 2);
      assert.strictEqual((await node.adapter().allRooms()).size, 2);
      assert.strictEqual((await node.adapter().sockets(new Set())).size, 2);
      assert.deepStrictEqual(await node.io.serverSideEmitWithAck("question"), []);
      answering(ring, "ask", (peer) => peer.id);
      assert.strictEqual((await node.io.timeout(PATIENCE).emitWithAck("ask")).length, 2);
      await settled(ring);
    });
  }

  for (const transport of TRANSPORTS) {
    it(`two servers that share their Redis client are a member each, ${transport}`, async () => {
      await start({ nodes: [OURS, OURS], shared: true, transport });
      // One duplicate of the client hears for both.
      if (transport === "native") await ring.subscribed("/", 2);
      for (const sender of ring.nodes) {
        for (const { peers } of ring.nodes) peers[0].socket.join("room");
        const got = await ring.collect(sender, () => sender.io.to("room").emit("shared"));
        assert.deepStrictEqual(
          got,
          expected(ring, [["shared"]], (peer) => peer === peer.node.peers[0]),
        );
        assert.strictEqual(await sender.adapter().serverCount(), 2);
        assert.strictEqual((await sender.io.fetchSockets()).length, 4);
      }
      await ring.nodes[0].close();
      await ring.subscribed("/", 1);
      const [, rest] = ring.nodes;
      const got = await ring.collect(rest, () => rest.io.to("room").emit("alone"));
      assert.deepStrictEqual(got[1], [[["alone"]], []]);
    });
  }
}
