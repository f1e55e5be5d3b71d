// @ts-check
"use strict";

/**
 * The user's clients carry the bytes: what they are given when, in which order, and what they leave behind.
 */

const assert = require("node:assert");
const net = require("node:net");
const { Server } = require("socket.io");
const ours = /** @type {any} */ (require(".."));
const streams = /** @type {any} */ (require("../streams"));
const { duplicateOf, lifeOf } = require("../lib/clients/duplicate");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const IOREDIS = ["ioredis-4", "ioredis-5", "ioredis", "iovalkey"];

/** @param {string} name @param {number} port @returns {any} */
function ioredis(name, port) {
  return new (require(name).Redis ?? require(name))(port).on("error", () => {});
}

/** @param {string} name @param {number} port @returns {Promise<any>} */
async function nodeRedis(name, port) {
  const client = require(name)
    .createClient({ socket: { port } })
    .on("error", () => {});
  await client.connect();
  return client;
}

/** @param {any} client */
function end(client) {
  if (client.status !== undefined) client.disconnect();
  else if (client.isOpen) void (client.destroy ?? client.disconnect).call(client);
}

/** A namespace with a socket that notes the names of the events that it gets. @param {any} io @param {string[]} got */
function listen(io, got) {
  const { adapter, sockets } = io.of("/");
  sockets.set("s", {
    ...{ id: "s", rooms: new Set(), handshake: {}, data: {} },
    ...{ acks: new Map(), join() {}, leave() {}, notifyOutgoingListeners() {} },
    client: {
      writeToEngine: (/** @type {any[]} */ [packet]) =>
        got.push(String(/\["([^"]*)"/.exec(packet.toString("latin1"))?.[1])),
    },
  });
  return adapter;
}

describe("clients that carry", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {any[]} */
  let clients;

  before(async () => void (redis = await startRedis()));
  after(() => redis?.stop());
  beforeEach(() => void (clients = []));
  afterEach(() => clients.forEach(end));

  /** @param {any} client @returns {any} */
  function keep(client) {
    clients.push(client);
    return client;
  }

  for (const name of IOREDIS) {
    it(`${name} is given nothing while it greets Redis`, async () => {
      for (let n = 0; n < 5; n++) {
        const [pub, sub] = [keep(ioredis(name, redis.port)), keep(ioredis(name, redis.port))];
        /** @type {string[]} */
        const errors = [];
        sub.on("error", (/** @type {Error} */ error) => errors.push(error.message));
        // Its status is "connect" then.
        await new Promise((resolve) => sub.prependOnceListener("connect", resolve));
        const channelPrefix = `greets-${name}-${n}`;
        const io = new Server({
          adapter: ours.createShardedAdapter(pub, sub, { channelPrefix, transport: "client" }),
        });
        await /** @type {any} */ (io.of("/").adapter).ready;
        if (sub.status !== "ready") await once(sub, "ready");
        const [, count] = await redis.cli("PUBSUB", "SHARDNUMSUB", `${channelPrefix}#/#`);
        assert.deepStrictEqual([Number(count), errors], [1, []]);
        /** @type {any} */ (io.of("/").adapter).close();
      }
    });
  }

  it("carry since Redis takes no more connections, and the adapter says so", async () => {
    const full = await startRedis({ extra: ["maxclients 2"] });
    const [pub, sub] = [keep(await nodeRedis("redis", full.port)), keep(await nodeRedis("redis", full.port))];
    const io = new Server({ adapter: ours.createAdapter(pub, sub) });
    try {
      const { adapter } = /** @type {any} */ (io.of("/"));
      await adapter.ready;
      assert.strictEqual(adapter.transport.carrier, "client");
      assert.match(adapter.transport.reason, /takes no more connections \(maxclients\)/);
    } finally {
      /** @type {any} */ (io.of("/").adapter).close();
      await full.stop();
    }
  });

  for (const name of ["redis", "ioredis"]) {
    const make = async () =>
      keep(name === "redis" ? await nodeRedis(name, redis.port) : ioredis(name, redis.port));

    for (const ask of ["serverSideEmit", "emitWithAck"]) {
      it(`${name}: an event behind ${ask}(), in the tick in which the clients are told to quit`, async () => {
        const key = `quit-${name}-${ask}`;
        const [pub, sub, otherPub, otherSub] = [await make(), await make(), await make(), await make()];
        const io = new Server({ adapter: ours.createAdapter(pub, sub, { key, transport: "client" }) });
        const other = new Server({
          adapter: ours.createAdapter(otherPub, otherSub, { key, transport: "client" }),
        });
        /** @type {string[]} */
        const got = [];
        listen(other, got).addAll("s", new Set(["s"]));
        await Promise.all([io, other].map((one) => /** @type {any} */ (one.of("/").adapter).ready));
        io.emit("first");
        await waitFor(() => got.includes("first"), { what: "the first event" });
        if (ask === "serverSideEmit") io.serverSideEmit("q", () => {});
        else
          io.timeout(500)
            .emitWithAck("q")
            .catch(() => {});
        io.emit("bye");
        await Promise.allSettled([pub.quit(), sub.quit()]);
        await waitFor(() => got.includes("bye"), { what: "the last event" });
        if (ask === "emitWithAck") assert.deepStrictEqual(got, ["first", "q", "bye"]);
        for (const one of [io, other]) /** @type {any} */ (one.of("/").adapter).close();
      });
    }

    it(`${name}: a room that is joined and sent to in one tick is subscribed to first`, async () => {
      const channelPrefix = `tick-${name}`;
      const [pub, sub] = [await make(), await make()];
      const io = new Server({
        adapter: ours.createShardedAdapter(pub, sub, { channelPrefix, transport: "client" }),
      });
      /** @type {string[]} */
      const got = [];
      const adapter = listen(io, got);
      await adapter.ready;
      io.emit("first");
      await waitFor(() => adapter.stats().acknowledged > 0, { what: "a publish to be answered" });
      await waitFor(async () => (await adapter.serverCount()) === 1, { what: "nothing to wait" });
      /** @type {string[]} */
      const order = [];
      for (const [client, method] of [
        [sub, name === "redis" ? "sSubscribe" : "ssubscribe"],
        [pub, name === "redis" ? "sPublish" : "spublish"],
      ]) {
        const call = client[method];
        client[method] = (/** @type {any[]} */ ...args) => {
          order.push(`${method.toLowerCase()} ${args[0]}`);
          return call.apply(client, args);
        };
      }
      adapter.addAll("s", new Set(["room"]));
      io.to("room").emit("event");
      const channel = `${channelPrefix}#/#room#`;
      assert.deepStrictEqual(
        order.filter((one) => one.endsWith(channel)),
        [`ssubscribe ${channel}`, `spublish ${channel}`],
      );
      // What is left in the tick in which it was joined leaves nothing behind.
      adapter.delAll("s");
      adapter.addAll("s", new Set(["brief"]));
      adapter.delAll("s");
      const isLeft = async () => {
        const left = await redis.cli("PUBSUB", "SHARDCHANNELS", `${channelPrefix}#/#*`);
        return ![...left].some((one) => /room|brief/.test(String(one)));
      };
      await waitFor(isLeft, { what: "the rooms to be left" });
      adapter.close();
    });
  }

  for (const name of ["redis-4", "redis-5", "redis"]) {
    it(`${name}: a server that is closed at once leaves no duplicate of the client`, async () => {
      const client = keep(await nodeRedis(name, redis.port));
      const count = async () =>
        String(await redis.cli("CLIENT", "LIST"))
          .trim()
          .split("\n").length;
      const before = await count();
      for (let n = 0; n < 10; n++) {
        const io = new Server({ adapter: streams.createAdapter(client, { transport: "client" }) });
        const closing = io.of("/").adapter;
        if (n % 2 === 1) await new Promise((resolve) => setTimeout(resolve, n % 3));
        closing.close();
        await client.ping();
      }
      await waitFor(async () => (await count()) <= before, { what: "the duplicates to end" });
    });
  }

  for (const name of ["redis-4", "redis-5", "redis"]) {
    it(`${name}: a duplicate that is let go of while it connects stays for the next server`, async () => {
      const client = keep(await nodeRedis(name, redis.port));
      /** Opens the way to Redis. @type {() => void} */
      let open = () => {};
      const gate = net.createServer((socket) => {
        socket.on("error", () => {});
        open = () =>
          socket
            .pipe(net.connect(redis.port))
            .on("error", () => {})
            .pipe(socket);
      });
      await new Promise((resolve) => gate.listen(0, () => resolve(null)));
      const { port } = /** @type {net.AddressInfo} */ (gate.address());
      const { duplicate } = client;
      client.duplicate = () => duplicate.call(client, { socket: { port } });
      const twin = keep(duplicateOf(client));
      const life = lifeOf(twin);
      const connected = once(gate, "connection");
      life?.follow();
      await connected;
      life?.end();
      life?.follow();
      const ready = once(twin, "ready");
      open();
      await ready;
      assert.strictEqual(await twin.ping(), "PONG");
      life?.end();
      assert.strictEqual(twin.isOpen, false);
      gate.close();
    });
  }

  for (const name of IOREDIS) {
    it(`${name}: a duplicate that is refused is not connected again without a pause`, async () => {
      const nobody = await freePort();
      const client = keep(ioredis(name, redis.port));
      await once(client, "ready");
      /** The times of the attempts of each. @type {number[][]} */
      const attempts = [];
      const { duplicate } = client;
      client.duplicate = (/** @type {any} */ options) => {
        const twin = duplicate.call(client, { ...options, port: nobody, retryStrategy: null });
        /** @type {number[]} */
        const times = [];
        attempts.push(times);
        twin.on("connecting", () => times.push(performance.now()));
        return twin;
      };
      const io = new Server({ adapter: streams.createAdapter(client, { transport: "client" }) });
      await waitFor(() => attempts.some(({ length }) => length >= 8), { what: "eight attempts of one" });
      io.of("/").adapter.close();
      // One that is asked for something tries at once, besides.
      for (const times of attempts)
        if (times.length >= 8) assert.ok(times[7] - times[0] > 200, String(times));
    });
  }

  it("do not take over from own connections that come back later than they do", async () => {
    const server = await startRedis();
    const socket = { port: server.port, reconnectStrategy: () => 100 };
    const pair = [1, 2].map(() =>
      require("redis")
        .createClient({ socket })
        .on("error", () => {}),
    );
    try {
      await Promise.all(pair.map((client) => client.connect()));
      const io = new Server({ adapter: ours.createAdapter(pair[0], pair[1]) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      await adapter.ready;
      for (let n = 0; n < 3; n++) {
        await server.kill();
        await new Promise((resolve) => setTimeout(resolve, 1600 + 50 * n));
        const ready = once(adapter, "ready");
        await server.restart();
        await ready;
        assert.strictEqual(adapter.transport.carrier, "native", adapter.transport.reason);
      }
      adapter.close();
    } finally {
      pair.forEach(end);
      await server.stop();
    }
  });

  leavesNoRejection();
});

describe("clients of a cluster that carry streams", function () {
  this.timeout(60_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  before(async () => void (cluster = await startCluster({ replicas: 0 })));
  after(() => cluster?.stop());

  /** How often a node has said that a key is elsewhere. */
  async function moved() {
    const texts = await Promise.all(cluster.nodes.map((node) => node.cli("INFO", "errorstats")));
    return texts.reduce(
      (sum, text) => sum + Number(/errorstat_MOVED:count=(\d+)/.exec(String(text))?.[1] ?? 0),
      0,
    );
  }

  for (const name of IOREDIS) {
    it(`${name} sends each command to the node that has the key`, async () => {
      const { Cluster } = require(name);
      const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
      const clients = [1, 2, 3].map(() => new Cluster(nodes).on("error", () => {}));
      await Promise.all(clients.map((client) => (client.status === "ready" ? null : once(client, "ready"))));
      const options = { streamName: `s-${name}`, channelPrefix: `p-${name}`, transport: "client" };
      const [from, to] = clients
        .slice(0, 2)
        .map((client) => new Server({ adapter: streams.createAdapter(client, options) }));
      /** @type {string[]} */
      const got = [];
      const adapters = [/** @type {any} */ (from.of("/").adapter), listen(to, got)];
      try {
        adapters[1].addAll("s", new Set(["s"]));
        await Promise.all(adapters.map((adapter) => adapter.ready));
        const before = await moved();
        const { Emitter } = /** @type {any} */ (require("../emitter"));
        const emitter = new Emitter(clients[2], { ...options, mode: "streams" });
        for (let n = 0; n < 30; n++) from.emit(`event-${n}`);
        await waitFor(() => got.length === 30, { what: "the events of a server" });
        for (let n = 30; n < 60; n++) emitter.emit(`event-${n}`);
        await waitFor(() => got.length === 60, { what: "the events of an emitter" });
        assert.deepStrictEqual(
          got,
          Array.from({ length: 60 }, (_, n) => `event-${n}`),
        );
        assert.strictEqual((await moved()) - before, 0);
        await emitter.close();
      } finally {
        for (const adapter of adapters) adapter.close();
        await new Promise((resolve) => setTimeout(resolve, 50));
        clients.forEach(end);
      }
    });
  }

  leavesNoRejection();
});
