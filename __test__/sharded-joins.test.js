// @ts-check
"use strict";

/**
 * The sharded adapter in time: rooms that have just been joined, elsewhere, and a Redis that does not answer.
 */

const assert = require("node:assert");
const { OURS, REFERENCE } = require("./fixtures/rings");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { Receiver, Sender } = require("./fixtures/traffic");
const { startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring-node").Kind} Kind */

const MODES = /** @type {const} */ (["static", "dynamic", "dynamic-private"]);
const TRANSPORTS = /** @type {const} */ (["native", "client"]);

/** The sockets of the other server. */
const SOCKETS = 100;

describe("sockets of another server that join a room", () => {
  /** @type {Record<string, any>} */
  const topologies = {};

  before(async function () {
    this.timeout(30_000);
    topologies["one Redis"] = await startRedis();
    topologies["a cluster"] = await startCluster({ replicas: 0 });
  });

  after(() => Promise.all(Object.values(topologies).map((topology) => topology.stop())));

  for (const place of ["one Redis", "a cluster"]) {
    for (const mode of MODES) {
      for (const transport of TRANSPORTS) {
        for (const other of /** @type {Kind[]} */ ([OURS, REFERENCE])) {
          describe(`${place}, ${mode}, ${transport}, the other is ${other}`, () =>
            declare(place, mode, transport, other));
        }
      }
    }
  }

  /**
   * @param {string} place
   * @param {typeof MODES[number]} mode
   * @param {typeof TRANSPORTS[number]} transport
   * @param {Kind} other
   */
  function declare(place, mode, transport, other) {
    /** @type {Ring} */
    let ring;
    let rooms = 0;
    /** @type {Map<string, number>} */
    let arrived;

    before(async () => {
      const redis = topologies[place];
      ring = await startRing({
        redis,
        adapter: "sharded",
        mode,
        transport,
        nodes: [OURS, other],
        sockets: 0,
      });
      await Promise.all(Array.from({ length: SOCKETS }, () => ring.nodes[1].connect()));
      arrived = new Map();
      for (const { client } of ring.peers()) {
        client.on("in", (/** @type {string} */ room) => arrived.set(room, (arrived.get(room) ?? 0) + 1));
      }
      await ring.joined();
    });

    after(() => ring?.close());

    /** Resolves to how many sockets were reached. @param {string} room */
    async function reached(room) {
      ring.nodes[0].io.to(room).emit("in", room);
      await waitFor(() => arrived.get(room) === SOCKETS).catch(() => {});
      return arrived.get(room) ?? 0;
    }

    it(`are reached, ${SOCKETS} of ${SOCKETS}, behind the barrier`, async () => {
      const { io } = ring.nodes[0];
      const adapter = ring.nodes[0].adapter();
      for (let round = 0; round < 5; round++) {
        const room = `room-${++rooms}`;
        io.socketsJoin(room);
        await adapter.barrier();
        assert.strictEqual(await reached(room), SOCKETS);
      }
    });

    it(`are reached, ${SOCKETS} of ${SOCKETS}, in the same tick`, async () => {
      const { io } = ring.nodes[0];
      for (let round = 0; round < 5; round++) {
        const room = `room-${++rooms}`;
        io.socketsJoin(room);
        assert.strictEqual(await reached(room), SOCKETS);
      }
    });

    it("are not reached once they have left", async () => {
      const { io } = ring.nodes[0];
      const adapter = ring.nodes[0].adapter();
      const room = `room-${++rooms}`;
      io.socketsJoin([room, "all"]);
      await adapter.barrier();
      io.socketsLeave(room);
      await adapter.barrier();
      io.to(room).emit("in", room);
      assert.strictEqual(await reached("all"), SOCKETS);
      assert.strictEqual(arrived.get(room) ?? 0, 0);
    });
  }

  it("are not reached in the same tick by the reference, in dynamic mode", async () => {
    const redis = topologies["one Redis"];
    const ring = await startRing({ redis, adapter: "sharded", nodes: [REFERENCE, REFERENCE], sockets: 1 });
    try {
      const [a, b] = ring.nodes;
      a.io.socketsJoin("room");
      a.io.to("room").emit("in");
      await waitFor(() => b.peers[0].rooms.includes("room"), { what: "the socket to join" });
      await ring.mark(a);
      assert.deepStrictEqual(b.peers[0].log, []);
    } finally {
      await ring.close();
    }
  });
});

describe("a socket of this server that joins a room", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  const variants = MODES.flatMap((mode) =>
    TRANSPORTS.map((transport) => ({ name: `${mode}, ${transport}`, mode, transport })),
  );
  for (const { name, mode, transport } of variants) {
    it(`gets what its client sends meanwhile: ${name}`, async () => {
      const ring = await startRing({
        ...{ redis, adapter: "sharded", mode, transport, nodes: [OURS], sockets: 0 },
      });
      try {
        /** @type {string[]} */
        const heard = [];
        ring.nodes[0].io.on("connection", async (/** @type {any} */ socket) => {
          await socket.join(`room of ${socket.id}`);
          socket.on("hello", () => heard.push(socket.id));
        });
        /** @type {string[]} */
        const said = [];
        for (let n = 0; n < 10; n++) {
          const { client } = await ring.nodes[0].connect();
          client.emit("hello");
          said.push(/** @type {string} */ (client.id));
        }
        await waitFor(() => heard.length === said.length, { what: "all to be heard" });
        assert.deepStrictEqual(heard.sort(), said.sort());
      } finally {
        await ring.close();
      }
    });

    it(`gets what others send to it, once that has been asked for by name: ${name}`, async () => {
      const ring = await startRing({
        ...{ redis, adapter: "sharded", mode, transport, nodes: [OURS, OURS], sockets: 1 },
      });
      try {
        const [here, there] = ring.nodes;
        const { socket, client } = here.peers[0];
        let count = 0;
        client.on("in", () => count++);
        for (let round = 1; round <= 10; round++) {
          socket.join(`room ${round}`);
          await here.adapter().subscribed();
          there.io.to(`room ${round}`).emit("in");
          await waitFor(() => count === round, { what: "it to come" });
        }
      } finally {
        await ring.close();
      }
    });
  }

  it("can be asked for by name in vain: Redis is away, or the adapter is closed", async () => {
    const mine = await startRedis();
    const ring = await startRing({ redis: mine, adapter: "sharded", nodes: [OURS], sockets: 1 });
    try {
      const adapter = ring.nodes[0].adapter();
      adapter.requestsTimeout = 200;
      mine.pause();
      ring.nodes[0].peers[0].socket.join("room");
      await assert.rejects(adapter.subscribed(), /^Error: timeout reached: Redis has not confirmed/);
      adapter.requestsTimeout = 5000;
      const waiting = adapter.subscribed();
      adapter.close();
      await assert.rejects(waiting, /^Error: the adapter was closed/);
      await assert.rejects(adapter.subscribed(), /^Error: the adapter was closed/);
      mine.resume();
    } finally {
      await ring.close();
      await mine.stop();
    }
  });
});

describe("a sharded emit reaches local sockets while Redis is paused for two seconds", () => {
  const variants = MODES.flatMap((mode) =>
    TRANSPORTS.map((transport) => ({ name: `${mode}, ${transport}`, mode, transport })),
  );
  sideBySide(variants, async ({ mode, transport }) => {
    const redis = await startRedis();
    /** @type {Ring | null} */
    let ring = null;
    /** @type {Sender | null} */
    let sender = null;
    try {
      ring = await startRing({ redis, adapter: "sharded", mode, transport, nodes: [OURS, OURS], sockets: 1 });
      const [here, there] = ring.nodes;
      for (const { peers } of ring.nodes) peers[0].socket.join("room");
      await ring.joined();
      const [near, far] = [here, there].map(({ peers }) => new Receiver(peers[0].client));
      /** @param {string} event @param {number} n */
      const emit = (event, n) => (n % 2 ? here.io : here.io.to("room")).emit(event, n);
      sender = new Sender({ emit }, "n", 50);
      redis.pause();
      sender.start();
      await sender.more(100);
      sender.stop();
      const { sent } = sender;
      // Redis is paused yet.
      await near.got(sent - 1);
      assert.deepStrictEqual([near.missing(sent), far.numbers.length], [[], 0]);
      redis.resume();
      await far.got(sent - 1);
      assert.deepStrictEqual(far.missing(sent), []);
    } finally {
      sender?.stop();
      await ring?.close();
      await redis.stop();
    }
  });
  leavesNoRejection();
});
