// @ts-check
"use strict";

/** A script keeps Redis busy, which refuses everything meanwhile (BUSY): nothing that is asked of it then is lost. */

const assert = require("node:assert");
const http = require("node:http");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { createAdapter, createShardedAdapter } = require("..");
const streams = require("../streams");
const { Emitter } = require("../emitter");
const { endClient, makeClient } = require("./fixtures/nodes");
const { endClient: endAtOnce, makeClusterClient } = require("./fixtures/pairs");
const { startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** @type {Record<string, (...args: any[]) => any>} */
const FAMILIES = { classic: createAdapter, sharded: createShardedAdapter, streams: streams.createAdapter };

/** Whose connections carry the bytes. */
const CARRIERS = /** @type {const} */ (["own", "node-redis", "ioredis"]);

/** @typedef {import("./support/redis").RedisServer} RedisServer */

describe("while a script keeps Redis busy", function () {
  this.timeout(30_000);

  /** @type {(() => any)[]} */
  const ends = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** @param {(adapter: any[]) => any} make what makes an adapter @param {any[]} where */
  async function startServer(make, where) {
    const server = http.createServer();
    const io = new Server(server, { adapter: make(where), transports: ["websocket"] });
    ends.push(() => io.close());
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    return { io, adapter, port: /** @type {import("node:net").AddressInfo} */ (server.address()).port };
  }

  /** Two servers, and what a client of the second hears. @param {() => any} make */
  async function startRing(make) {
    const [a, b] = [await startServer(make, []), await startServer(make, [])];
    const socket = connect(`http://127.0.0.1:${b.port}`, { transports: ["websocket"], forceNew: true });
    ends.push(() => socket.disconnect());
    await once(socket, "connect");
    await waitFor(async () => (await a.adapter.serverCount()) === 2, {
      what: "the servers to see each other",
    });
    /** @type {any[]} */
    const heard = [];
    socket.onAny((_name, value) => heard.push(value));
    return { a, b, heard };
  }

  /** Runs a script that does not end. @param {RedisServer} redis @returns {Promise<() => Promise<unknown>>} what ends it */
  async function keepBusy(redis) {
    const client = new Redis({ host: "127.0.0.1", port: redis.port, retryStrategy: null });
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    const script = client.eval("while true do end", 0).catch(() => {});
    const isBusy = async () =>
      redis.cli("PING").then(
        () => false,
        (/** @type {Error} */ { message }) => message.includes("BUSY"),
      );
    await waitFor(isBusy, { what: "the script to run" });
    return async () => {
      await redis.cli("SCRIPT", "KILL");
      await script;
    };
  }

  /** What all of them do meanwhile, and afterwards. @param {Awaited<ReturnType<typeof startRing>>} ring @param {RedisServer[]} nodes */
  async function emitsThrough({ a, b, heard }, nodes) {
    const release = await Promise.all(nodes.map(keepBusy));
    for (let i = 0; i < 20; i++) a.io.emit("event", i);
    const fetched = a.io.timeout(10_000).fetchSockets();
    for (const socket of b.io.of("/").sockets.values()) socket.join("late");
    await waitFor(() => a.adapter.stats().backlog >= 20, { what: "all to be refused" });
    for (let i = 20; i < 25; i++) a.io.emit("event", i);
    await Promise.all(release.map((end) => end()));
    await waitFor(() => heard.length >= 25, { what: "all to arrive", timeout: 10_000 });
    assert.deepStrictEqual(
      heard,
      Array.from({ length: 25 }, (_, i) => i),
    );
    assert.strictEqual((await fetched).length, 1);
    await b.adapter.subscribed();
    a.io.to("late").emit("event", "room");
    await waitFor(() => heard.at(-1) === "room", { what: "the room" });
    const { refused, dropped, lostInFlight } = a.adapter.stats();
    assert.deepStrictEqual({ refused, dropped, lostInFlight }, { refused: 0, dropped: 0, lostInFlight: 0 });
  }

  for (const [family, make] of Object.entries(FAMILIES)) {
    for (const carrier of CARRIERS) {
      it(`what is emitted waits, in order: ${family}, ${carrier}`, async () => {
        const redis = await startRedis({ extra: ["lua-time-limit 50"] });
        ends.push(() => redis.stop());
        const makeOne = () => {
          if (carrier === "own") return make(redis.url);
          const clients = Array.from({ length: 2 }, () => makeClient(carrier, { port: redis.port }));
          ends.push(() => Promise.all(clients.map(endClient)));
          const options = { transport: "client" };
          return family === "streams" ? make(clients[0], options) : make(...clients, options);
        };
        await emitsThrough(await startRing(makeOne), [redis]);
      });
    }

    it(`requests that end meanwhile say why: ${family}`, async () => {
      const redis = await startRedis({ extra: ["lua-time-limit 50"] });
      ends.push(() => redis.stop());
      const { a } = await startRing(() => make(redis.url));
      const release = await keepBusy(redis);
      a.io.emit("event");
      await waitFor(() => a.adapter.stats().outages === 1, { what: "the refusal" });
      await assert.rejects(
        a.io.timeout(50).fetchSockets(),
        /timeout reached.*: Redis is away since .*: BUSY Redis is busy running a script/,
      );
      await release();
      await a.io.fetchSockets();
      assert.strictEqual(a.adapter.stats().outages, 1);
    });

    for (const carrier of CARRIERS) {
      it(`what an emitter sends waits: ${family}, ${carrier}`, async () => {
        const redis = await startRedis({ extra: ["lua-time-limit 50"] });
        ends.push(() => redis.stop());
        const { heard } = await startRing(() => make(redis.url));
        const client = carrier === "own" ? redis.url : makeClient(carrier, { port: redis.port });
        if (carrier !== "own") ends.push(() => endClient(client));
        const mode = /** @type {any} */ (family);
        const emitter = new Emitter(client, { mode, transport: carrier === "own" ? "native" : "client" });
        emitter.emit("event", 1);
        await waitFor(() => heard.length === 1, { what: "the first" });
        const release = await keepBusy(redis);
        for (let i = 2; i < 5; i++) emitter.emit("event", i);
        const flushed = emitter.flush();
        await waitFor(() => (emitter.stats()?.backlog ?? 0) > 0, { what: "the refusal" });
        await release();
        const { sent, refused, lost } = await flushed;
        assert.deepStrictEqual({ sent, refused, lost }, { sent: 4, refused: 0, lost: 0 });
        await waitFor(() => heard.length === 4, { what: "the others" });
        assert.deepStrictEqual(heard, [1, 2, 3, 4]);
        await emitter.close();
      });
    }
  }

  for (const family of ["classic", "sharded"]) {
    it(`what is emitted waits, in a cluster: ${family}`, async () => {
      const cluster = await startCluster({ masters: 3, replicas: 0 });
      ends.push(() => cluster.stop());
      for (const node of cluster.nodes) await node.cli("CONFIG", "SET", "lua-time-limit", 50);
      const places = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
      await emitsThrough(await startRing(() => FAMILIES[family]({ cluster: places })), cluster.nodes);
    });
  }

  describe("and another node hangs", () => {
    /** @type {import("./support/cluster").RedisCluster} */
    let cluster;
    before(async () => {
      // It is not given up in the time that the tests take.
      cluster = await startCluster({ masters: 3, replicas: 1, nodeTimeout: 120_000 });
      for (const node of cluster.nodes) await node.cli("CONFIG", "SET", "lua-time-limit", 50);
    });
    after(() => cluster?.stop());

    /** A replica that neither of two servers listens at. */
    async function idleReplica() {
      const replicas = await cluster.replicas();
      const channels = await Promise.all(replicas.map((node) => node.cli("PUBSUB", "CHANNELS")));
      return replicas[channels.findIndex(({ length }) => length === 0)];
    }

    for (const family of ["classic", "sharded"]) {
      for (const name of ["redis", "ioredis"]) {
        it(`what is emitted goes out when the masters take it: ${family}, ${name}`, async () => {
          const { a, heard } = await startRing(() => {
            const clients = [1, 2].map(() =>
              makeClusterClient(name, cluster.nodes, { useReplicas: true }).on("error", () => {}),
            );
            ends.push(() => Promise.allSettled(clients.map(endAtOnce)));
            return FAMILIES[family](...clients, { transport: "client" });
          });
          const replica = await idleReplica();
          const release = await Promise.all((await cluster.masters()).map(keepBusy));
          a.io.emit("event", 1);
          await waitFor(() => a.adapter.stats().backlog > 0, { what: "the refusal" });
          cluster.pause(replica);
          try {
            await Promise.all(release.map((end) => end()));
            await waitFor(() => heard.length > 0, { what: "the event", timeout: 10_000 });
          } finally {
            cluster.resume(replica);
          }
          await cluster.healed();
        });
      }
    }
  });
});
