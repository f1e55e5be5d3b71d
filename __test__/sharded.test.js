// @ts-check
"use strict";

/**
 * The sharded adapter in rings of this package's nodes and the reference's: every operation, in every mode, sent by
 * every node. On one Redis, and on a cluster.
 */

const assert = require("node:assert");
const { broadcasts } = require("./fixtures/broadcasts");
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

/** Twenty characters, as the id of a socket has; to a publisher in dynamic mode, it is one. */
const TWENTY = "exactly-twenty-chars";

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

/** What is special about rooms and values here. @param {() => Ring} ring @param {readonly Kind[]} kinds */
function oddities(ring, kinds) {
  fromEach(ring, kinds, "reaches a room whose name is as long as a socket's id", async (ring, sender) => {
    for (const { peers } of ring.nodes) peers[1].socket.join(TWENTY);
    const got = await ring.collect(sender, () => sender.io.to(TWENTY).emit("twenty"));
    assert.deepStrictEqual(
      got,
      expected(ring, [["twenty"]], (peer) => peer === peer.node.peers[1]),
    );
  });

  fromEach(ring, kinds, "reaches rooms that are named as channels are", async (ring, sender) => {
    for (const name of ["#", "##", "a#b#", `${ring.key}#/#`, UNICODE]) {
      for (const { peers } of ring.nodes) peers[0].socket.join(name);
      const got = await ring.collect(sender, () => {
        sender.io.to(name).emit("in", name);
        sender.io.to("a").emit("elsewhere");
      });
      assert.deepStrictEqual(
        got,
        expected(ring, [["in", name]], (peer) => peer === peer.node.peers[0]),
        JSON.stringify(name),
      );
    }
  });

  fromEach(ring, kinds, "keeps the order across rooms", async (ring, sender) => {
    for (const { peers } of ring.nodes) {
      peers[0].socket.join(["one", "two"]);
      peers[1].socket.join(TWENTY);
    }
    const got = await ring.collect(sender, () => {
      for (let n = 0; n < 20; n++) {
        sender.io.to("one").emit("n", n, "one");
        sender.io.emit("n", n, "all");
        sender.io.to(["two", TWENTY]).emit("n", n, "both");
        sender.io.to(TWENTY).emit("n", n, "twenty");
      }
    });
    const log = (/** @type {string[]} */ ways) =>
      Array.from({ length: 20 }, (_, n) => ways.map((way) => ["n", n, way])).flat();
    const wanted = [log(["one", "all", "both"]), log(["all", "both", "twenty"])];
    assert.deepStrictEqual(
      got,
      ring.nodes.map(() => wanted),
    );
  });

  fromEach(ring, kinds, "carries what JSON has no word for", async (ring, sender) => {
    const args = [
      new Date(5),
      undefined,
      NaN,
      -Infinity,
      -0,
      [undefined, NaN],
      { a: undefined, b: new Date(0) },
    ];
    const got = await ring.collect(sender, () => sender.io.emit("odd", ...args));
    const log = [
      ["odd", new Date(5).toJSON(), null, null, null, 0, [null, null], { b: new Date(0).toJSON() }],
    ];
    assert.deepStrictEqual(got, expected(ring, log));
    // Beside binary, it goes by msgpack.
    const beside = [new Date(5), undefined, NaN, { a: undefined, b: [new Date(0)] }];
    const both = await ring.collect(sender, () => sender.io.emit("odd", BINARY, ...beside));
    const wanted = [["odd", BINARY, new Date(5).toJSON(), null, null, { b: [new Date(0).toJSON()] }]];
    assert.deepStrictEqual(both, expected(ring, wanted));
  });

  fromEach(ring, kinds, "carries big numbers (FAULTS F12)", async (ring, sender) => {
    const numbers = [2 ** 53, 2 ** 63, -(2 ** 63), 2 ** 64, 1e21, -1e300, 5e-324];
    const got = await ring.collect(sender, () => sender.io.emit("big", ...numbers));
    assert.deepStrictEqual(got, expected(ring, [["big", ...numbers]]));
    // The reference's encoder wraps integers of 2^64 and more.
    const beside = sender.kind === OURS ? numbers : numbers.slice(0, 3);
    const both = await ring.collect(sender, () => sender.io.emit("big", BINARY, ...beside));
    assert.deepStrictEqual(both, expected(ring, [["big", BINARY, ...beside]]));
  });

  fromEach(ring, kinds, "has servers exchange binary", async (ring, sender) => {
    const others = ring.nodes.filter((node) => node !== sender);
    const heard = others.map(({ io }) => once(io, "note"));
    sender.io.serverSideEmit("note", BINARY, { deep: [BINARY] });
    for (const got of await Promise.all(heard)) assert.deepStrictEqual(got, [BINARY, { deep: [BINARY] }]);
    for (const { io } of others) io.once("question", (bytes, ack) => ack({ echo: bytes }));
    const answers = await sender.io.serverSideEmitWithAck("question", BINARY);
    assert.deepStrictEqual(
      answers,
      others.map(() => ({ echo: BINARY })),
    );
    await settled(ring);
  });

  fromEach(ring, kinds, "fetches sockets with binary in their data", async (ring, sender) => {
    for (const { socket } of ring.peers()) socket.data = { bytes: BINARY, name: UNICODE };
    const sockets = await sender.io.fetchSockets();
    assert.strictEqual(sockets.length, ring.peers().length);
    for (const { data } of sockets) assert.deepStrictEqual(data, { bytes: BINARY, name: UNICODE });
    for (const { socket } of ring.peers()) socket.data = {};
  });

  fromEach(ring, kinds, "tells the others apart from itself", async (ring, sender) => {
    sender.io.once("note", () => assert.fail("heard itself"));
    const heard = ring.nodes.filter((node) => node !== sender).map(({ io }) => once(io, "note"));
    sender.io.serverSideEmit("note");
    await Promise.all(heard);
    await ring.mark(sender);
    sender.io.removeAllListeners("note");
  });
}

/** @param {() => Ring} ring @param {readonly Kind[]} kinds */
function everything(ring, kinds) {
  describe("a broadcast", () => broadcasts(ring, kinds));
  describe("a broadcast with acknowledgements", () => acknowledgements(ring, kinds));
  describe("a question", () => questions(ring, kinds, { sharded: true }));
  describe("a command", () => commands(ring, kinds, { sharded: true }));
  describe("an oddity", () => oddities(ring, kinds));
}

/** One of each kind, where the rest has been seen. @param {() => Ring} ring @param {readonly Kind[]} kinds */
function essentials(ring, kinds) {
  fromEach(ring, kinds, "reaches all, rooms and sockets", async (ring, sender) => {
    const members = ring.nodes.map(({ peers }) => peers[0]);
    for (const { socket } of members) socket.join(["room", TWENTY, /** @type {any} */ (123), "not"]);
    const last = ring.nodes[ring.nodes.length - 1].peers[1];
    const got = await ring.collect(sender, () => {
      sender.io.emit("all", 1, "é", { a: [null] });
      sender.io.emit("binary", BINARY, new Date(5));
      sender.io.except("not").emit("except");
    });
    const rest = await ring.collect(sender, () => sender.io.to("room").emit("room"));
    const odd = await ring.collect(sender, () => sender.io.to(/** @type {any} */ (123)).emit("number"));
    const twenty = await ring.collect(sender, () => sender.io.to(TWENTY).emit("twenty", BINARY));
    const several = await ring.collect(sender, () => sender.io.to("room").to(last.id).emit("several"));
    const one = await ring.collect(sender, () => sender.io.to(last.id).emit("one"));
    const local = await ring.collect(sender, () => sender.io.local.volatile.emit("local"));
    const isMember = (/** @type {any} */ peer) => members.includes(peer);
    const all = [
      ["all", 1, "é", { a: [null] }],
      ["binary", BINARY, new Date(5).toJSON()],
    ];
    assert.deepStrictEqual(
      got,
      ring.nodes.map(() => [all, [...all, ["except"]]]),
    );
    assert.deepStrictEqual(rest, expected(ring, [["room"]], isMember));
    assert.deepStrictEqual(odd, expected(ring, [["number"]], isMember));
    assert.deepStrictEqual(twenty, expected(ring, [["twenty", BINARY]], isMember));
    assert.deepStrictEqual(
      several,
      expected(ring, [["several"]], (peer) => isMember(peer) || peer === last),
    );
    assert.deepStrictEqual(
      one,
      expected(ring, [["one"]], (peer) => peer === last),
    );
    assert.deepStrictEqual(
      local,
      expected(ring, [["local"]], (peer) => peer.node === sender),
    );
  });

  fromEach(ring, kinds, "asks sockets and servers", async (ring, sender) => {
    answering(ring, "ask", (peer, [bytes]) => ({ id: peer.id, bytes }));
    const answers = await sender.io.timeout(PATIENCE).emitWithAck("ask", BINARY);
    assert.deepStrictEqual(
      answers.map((/** @type {any} */ { id }) => id).sort(),
      ring
        .peers()
        .map(({ id }) => id)
        .sort(),
    );
    assert.ok(answers.every((/** @type {any} */ { bytes }) => bytes.equals(BINARY)));
    assert.strictEqual((await sender.io.fetchSockets()).length, ring.peers().length);
    assert.strictEqual(await sender.adapter().serverCount(), ring.nodes.length);
    const others = ring.nodes.filter((node) => node !== sender);
    for (const { io } of others) io.once("question", (bytes, ack) => ack(bytes));
    assert.deepStrictEqual(
      await sender.io.serverSideEmitWithAck("question", BINARY),
      others.map(() => BINARY),
    );
    if (sender.kind === OURS) {
      assert.strictEqual((await sender.adapter().sockets(new Set())).size, ring.peers().length);
      const rooms = await sender.adapter().allRooms();
      assert.ok(ring.peers().every(({ id }) => rooms.has(id)));
    }
    await settled(ring);
  });

  fromEach(ring, kinds, "has sockets join, leave and go", async (ring, sender) => {
    sender.io.socketsJoin(["a", "b"]);
    await waitFor(() => ring.peers().every(({ rooms }) => rooms.join() === "a,b"), { what: "all to join" });
    const got = await ring.collect(sender, () => sender.io.to("b").emit("joined"));
    assert.deepStrictEqual(got, expected(ring, [["joined"]]));
    sender.io.in("a").socketsLeave("b");
    await waitFor(() => ring.peers().every(({ rooms }) => rooms.join() === "a"), { what: "all to leave" });
    const extra = await Promise.all(ring.nodes.map((node) => node.connect()));
    const gone = extra.map(({ client }) => once(client, "disconnect"));
    sender.io.in(extra.map(({ id }) => id)).disconnectSockets();
    await Promise.all(gone);
    assert.strictEqual(ring.peers().length, 2 * ring.nodes.length);
  });
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
      if (mode === "dynamic") describe("a silence", () => silences(ring, ALONE, { sharded: true }));
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

  it("a socket of an older client is reached by its id in a namespace (FAULTS D5)", async () => {
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

    it(`nothing is added to an event, with recovery of connections (FAULTS D4), ${transport}`, async () => {
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

  it("two servers that share their Redis clients are a member each (FAULTS F5)", async () => {
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
