// @ts-check
"use strict";

/**
 * The sharded adapter in rings of this package's nodes and the reference's: every operation, in every mode, sent by
 * every node. On one Redis, and on a cluster.
 */

const assert = require("node:assert");
const { broadcasts } = require("./fixtures/broadcasts");
const { essentials, oddities } = require("./fixtures/oddities");
const { acknowledgements, commands, questions, silences } = require("./fixtures/requests");
const { BINARY, OURS, PATIENCE, REFERENCE, UNICODE } = require("./fixtures/rings");
const { answering, describeRing, expected, fakeSocket, fromEach, settled } = require("./fixtures/rings");
const { startCluster } = require("./support/cluster");
const { countSubscribers } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring").Node} Node */
/** @typedef {import("./support/ring-node").Kind} Kind */
/** @typedef {import("./support/ring").RingOptions} RingOptions */

const MODES = /** @type {const} */ (["static", "dynamic", "dynamic-private"]);
const TRANSPORTS = /** @type {const} */ (["native", "client"]);

/** @type {Kind[]} */
const ALONE = [OURS, OURS, OURS];
/** @type {Kind[]} */
const MIXED = [OURS, REFERENCE, OURS];
/** @type {Kind[]} */
const AMONG_REFERENCES = [REFERENCE, OURS, REFERENCE];

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
  describe("a question", () => questions(ring, kinds, { adapter: "sharded" }));
  describe("a command", () => commands(ring, kinds, { adapter: "sharded" }));
  describe("an oddity", () => oddities(ring, kinds, "sharded"));
}

describe("sharded rings", () => {
  for (const mode of MODES) {
    /** @param {Omit<RingOptions, "redis">} options @param {(ring: () => Ring) => void} declare */
    const suite = (options, declare) => {
      const { nodes, clients, transport } = options;
      const title = `${mode}: ${nodes.join(", ")} over ${clients}, ${transport}`;
      describeRing(title, () => ({ redis, adapter: "sharded", mode, ...options }), declare);
    };

    suite({ nodes: MIXED, clients: "redis", transport: "native" }, (ring) => everything(ring, MIXED));
    suite({ nodes: AMONG_REFERENCES, clients: "ioredis", transport: "client" }, (ring) =>
      everything(ring, AMONG_REFERENCES),
    );
    // What is left makes no difference to the modes.
    const rest = mode === "dynamic" ? everything : essentials;
    suite({ nodes: AMONG_REFERENCES, clients: "redis", transport: "client" }, (ring) =>
      rest(ring, AMONG_REFERENCES),
    );
    suite({ nodes: MIXED, clients: "ioredis", transport: "native" }, (ring) => rest(ring, MIXED));
    suite({ nodes: ALONE, clients: "redis", transport: "native" }, (ring) => {
      rest(ring, ALONE);
      if (mode === "dynamic") describe("a silence", () => silences(ring, ALONE, { adapter: "sharded" }));
    });
    for (const clients of /** @type {const} */ (["redis-5", "ioredis-5"])) {
      for (const transport of TRANSPORTS) {
        suite({ nodes: [OURS, REFERENCE], clients, transport }, (ring) =>
          essentials(ring, [OURS, REFERENCE]),
        );
      }
    }

    describe(`${mode}: apart`, () => apart(mode));
  }
});

describe("sharded rings on a cluster", () => {
  /** @type {Awaited<ReturnType<typeof startCluster>>} */
  let cluster;

  before(async () => {
    cluster = await startCluster({ replicas: 0 });
  });

  after(() => cluster?.stop());

  for (const mode of MODES) {
    for (const clients of /** @type {const} */ (["redis", "ioredis", "redis-5", "ioredis-5"])) {
      for (const transport of TRANSPORTS) {
        const nodes = MIXED;
        describeRing(
          `${mode}: ${nodes.join(", ")} over ${clients}, ${transport}`,
          () => ({ redis: cluster, adapter: "sharded", mode, nodes, clients, transport }),
          (ring) => essentials(ring, nodes),
        );
      }
    }
  }
});

/** What takes a ring of its own. @param {typeof MODES[number]} mode */
function apart(mode) {
  /** @type {Ring} */
  let ring;
  /** @param {Omit<RingOptions, "redis" | "adapter" | "mode">} options */
  const start = async (options) => (ring = await startRing({ redis, adapter: "sharded", mode, ...options }));
  afterEach(() => ring?.close());

  for (const nsp of ["/tenant[1]", "/a*b", "/what?", "/back\\slash", "/é漢🦀", "/a,b", "/#hash#"]) {
    it(`namespaces may be named ${nsp}`, async () => {
      await start({ nodes: MIXED, sockets: 0, namespaces: [nsp] });
      const heard = ring.nodes.map((node) => fakeSocket(node, nsp));
      await ring.joined();
      for (const sender of ring.nodes) {
        sender.io.of(nsp).emit("in", nsp);
        sender.io.of(nsp).to("room").emit("room");
        await waitFor(() => heard.every((list) => list.length === 2), { what: "both events everywhere" });
        for (const list of heard) assert.deepStrictEqual(list.splice(0), [["in", nsp], ["room"]]);
        assert.strictEqual(await sender.adapter(nsp).serverCount(), 3);
      }
    });
  }

  it("namespaces are kept apart", async () => {
    await start({ nodes: MIXED, namespaces: ["/", "/chat", "/chat#a"], sockets: 0 });
    const heard = ring.nodes.map((node) => ring.namespaces.map((nsp) => fakeSocket(node, nsp)));
    await ring.joined();
    for (const sender of ring.nodes) {
      for (const [index, nsp] of ring.namespaces.entries()) {
        sender.io.of(nsp).to("room").emit("in", nsp);
        sender.io.of(nsp).emit("all", nsp);
        await waitFor(() => heard.every((lists) => lists[index].length === 2), { what: "both events" });
      }
      for (const lists of heard)
        assert.deepStrictEqual(
          lists.map((list) => list.splice(0)),
          ring.namespaces.map((nsp) => [
            ["in", nsp],
            ["all", nsp],
          ]),
        );
    }
  });

  it("a socket of an older client is reached by its id in a namespace", async () => {
    const nsp = "/older";
    await start({ nodes: MIXED, namespaces: [nsp], sockets: 0 });
    const [a, reference, b] = ring.nodes;
    // As Socket.IO names the sockets of clients that speak Engine.IO 3.
    const ids = [a, b].map(({ index }) => `${nsp}#client-of-twenty-ch-${index}`);
    const heard = [a, b].map((node, i) => fakeSocket(node, nsp, ids[i]));
    await ring.joined();
    for (const sender of [a, reference, b]) {
      for (const id of ids) sender.io.of(nsp).to(id).emit("you", id);
      await waitFor(() => heard.every((list) => list.length === 1), { what: `events of ${sender.name}` });
      assert.deepStrictEqual(
        heard.map((list) => list.splice(0)),
        ids.map((id) => [["you", id]]),
      );
    }
  });

  it("a room is subscribed to as long as it has sockets, and once", async () => {
    await start({ nodes: [OURS] });
    const [{ peers }] = ring.nodes;
    const channel = ring.channel("/", "room");
    const count = async () => (await countSubscribers(redis, [channel], { sharded: true }))[0];
    const wanted = mode === "static" ? 0 : 1;
    for (let round = 0; round < 2; round++) {
      peers[0].socket.join("room");
      peers[1].socket.join("room");
      await waitFor(async () => (await count()) === wanted, { what: "the subscription" });
      peers[0].socket.leave("room");
      const got = await ring.collect(ring.nodes[0], () => ring.nodes[0].io.to("room").emit("left"));
      assert.deepStrictEqual(got, [[[], [["left"]]]]);
      assert.strictEqual(await count(), wanted);
      peers[1].socket.leave("room");
      await waitFor(async () => (await count()) === 0, { what: "the subscription to end" });
    }
    // Within a tick: what counts is how it ends.
    for (const room of ["x", "y"]) {
      peers[0].socket.join(room);
      peers[0].socket.leave(room);
    }
    peers[0].socket.join("x");
    await ring.joined();
    const counts = await countSubscribers(redis, [ring.channel("/", "x"), ring.channel("/", "y")], {
      sharded: true,
    });
    assert.deepStrictEqual(counts, [wanted, 0]);
  });

  for (const transport of TRANSPORTS) {
    for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
      it(`a room that is left and joined again and again is heard at the end, ${transport}, ${clients}`, async () => {
        await start({ nodes: [OURS, OURS], transport, clients, sockets: 1 });
        const [a, b] = ring.nodes;
        const { socket } = b.peers[0];
        for (let round = 0; round < 20; round++) {
          socket.join("room");
          if (round % 3) await new Promise((resolve) => setTimeout(resolve, round % 3));
          socket.leave("room");
          if (round % 2) await new Promise((resolve) => setImmediate(resolve));
        }
        socket.join("room");
        // A count of subscribers would not do: it may be one of the subscriptions that are yet to end.
        await b.adapter("/").barrier();
        const got = await ring.collect(a, () => a.io.to("room").emit("heard"));
        assert.deepStrictEqual(got, [[[]], [[["heard"]]]]);
      });
    }
  }

  for (const leaving of [0, 1]) {
    it(`a node that closes leaves the others a ring, and no subscription: node ${leaving} of ${MIXED.join(", ")}`, async () => {
      await start({ nodes: MIXED });
      for (const { peers } of ring.nodes) peers[0].socket.join("room");
      await ring.joined();
      const node = ring.nodes[leaving];
      const rooms = [...node.adapter().rooms.keys()].filter((room) => room !== "room");
      const own = [node.adapter().uid, ...rooms].map((name) => ring.channel("/", String(name)));
      await node.close();
      await ring.subscribed("/", 2);
      await waitFor(
        async () => (await countSubscribers(redis, own, { sharded: true })).every((count) => count === 0),
        { what: "its subscriptions to end" },
      );
      for (const sender of ring.nodes.filter((other) => other !== node)) {
        assert.strictEqual(await sender.adapter().serverCount(), 2);
        sender.io.to("room").emit("still", sender.index);
        const rest = ring.nodes.filter((other) => other !== node);
        await waitFor(() => rest.every(({ peers }) => peers[0].log.at(-1)?.[1] === sender.index), {
          what: "the event",
        });
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

    it(`nothing is added to an event, with recovery of connections, ${transport}`, async () => {
      await start({ nodes: MIXED, transport, serverOpts: { connectionStateRecovery: {} } });
      for (const sender of ring.nodes) {
        ring.peers().forEach((peer) => (peer.log = []));
        sender.io.emit("plain", 1);
        const ours = ring.ours.filter((node) => node !== sender).flatMap(({ peers }) => peers);
        await waitFor(() => ours.every(({ log }) => log.length > 0), { what: "the event" });
        for (const { log } of ours) assert.deepStrictEqual(log, [["plain", 1]]);
        if (sender.kind === OURS)
          for (const { log } of sender.peers) assert.deepStrictEqual(log, [["plain", 1]]);
      }
    });
  }

  it("two servers that share their Redis clients are a member each", async () => {
    await start({ nodes: [OURS, OURS], shared: true });
    await ring.subscribed("/", 2);
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
