// @ts-check
"use strict";

/**
 * Connections that stand and are of no use: to a node that hangs, or that is not the primary any more.
 */

const assert = require("node:assert");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const streams = require("../streams");
const { sideBySide } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { connectClient } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** A node that hangs is found out in two periods of ten seconds, and left within the time of an attempt more. */
const BOUND = 30_000;

/** @type {any[]} */
const adapters = [];

/** @param {any} factory @returns {any} */
function adapterOf(factory) {
  const adapter = /** @type {any} */ (new Server({ adapter: factory }).of("/").adapter);
  adapters.push(adapter);
  return adapter;
}

describe("a node that hangs", function () {
  this.timeout(3 * BOUND);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** One that does not hang. @type {import("./support/redis").RedisServer} */
  let other;
  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;

  before(async () => {
    [redis, other] = await Promise.all([startRedis(), startRedis()]);
    cluster = await startCluster({ masters: 3, replicas: 0 });
  });

  after(async () => {
    for (const adapter of adapters.splice(0)) adapter.close();
    await Promise.all([redis.stop(), other.stop(), cluster.stop()]);
  });

  const noticed = async () => {
    const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
    const all = [
      createAdapter(redis.url),
      createShardedAdapter(redis.url),
      streams.createAdapter(redis.url, { blockTimeInMs: 0 }),
      createAdapter(/** @type {any} */ ({ cluster: nodes })),
      createShardedAdapter(/** @type {any} */ ({ cluster: nodes })),
    ].map(adapterOf);
    await Promise.all(all.map((adapter) => adapter.ready));
    const degraded = all.map((adapter) => once(adapter, "degraded", BOUND));
    redis.pause();
    for (const node of cluster.nodes) node.pause();
    await Promise.all(degraded);
    const ready = all.map((adapter) => once(adapter, "ready", BOUND));
    redis.resume();
    for (const node of cluster.nodes) node.resume();
    await Promise.all(ready);
  };

  const priced = async () => {
    const adapter = adapterOf(createAdapter(other.url, { key: "priced" }));
    await adapter.ready;
    const id = await waitFor(async () => {
      const clients = String(await other.cli("CLIENT", "LIST", "TYPE", "pubsub"));
      return /^id=(\d+) addr=(\S+) .*psub=1/m.exec(clients.split("\n").reverse().join("\n"));
    });
    const monitor = createClient({ url: other.url });
    await monitor.connect();
    /** @type {string[]} */
    const seen = [];
    await monitor.monitor((/** @type {any} */ line) => seen.push(String(line)));
    const pings = () => seen.filter((line) => line.includes(`${id[2]}]`)).map((line) => line.split("] ")[1]);
    await waitFor(() => pings().length === 2, { timeout: BOUND, what: "two signs of life" });
    monitor.destroy();
    assert.deepStrictEqual(pings(), ['"PING"', '"PING"']);
    const times = seen.filter((line) => line.includes(`${id[2]}]`)).map((line) => parseFloat(line));
    assert.ok(times[1] - times[0] > 9, `${times}`);
  };

  sideBySide(
    [
      { name: "is noticed by all adapters, on a single Redis and in a cluster", run: noticed },
      { name: "costs a small command per connection and period to know", run: priced },
    ],
    ({ run }) => run(),
  );
});

describe("a primary that becomes a replica", function () {
  this.timeout(2 * BOUND);

  /** @type {import("./support/redis").RedisServer[]} */
  let servers;
  /** @type {any[]} */
  let clients = [];

  beforeEach(async () => {
    servers = await Promise.all([startRedis(), startRedis()]);
  });

  afterEach(async () => {
    for (const adapter of adapters.splice(0)) adapter.close();
    for (const client of clients.splice(0)) client.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  });

  /** @param {import("./support/redis").RedisServer} server */
  async function pairTo(server) {
    const pair = [await connectClient("ioredis", server), await connectClient("ioredis", server)];
    clients.push(...pair);
    return createAdapter(pair[0], pair[1]);
  }

  it("is left, and said to be one, until the address leads to a primary", async () => {
    const [one, other] = servers;
    const byUrl = adapterOf(createAdapter(one.url));
    const byClients = adapterOf(await pairTo(one));
    await Promise.all([byUrl.ready, byClients.ready]);
    await waitFor(() => byClients.transport.proven);
    const degraded = [byUrl, byClients].map((adapter) => once(adapter, "degraded", BOUND));
    await one.cli("REPLICAOF", "127.0.0.1", other.port);
    for (const [error] of await Promise.all(degraded)) assert.match(error.message, /is a replica/);
    // It goes on asking the address, and does not hand over to clients that are where it has just left.
    const { total_connections_received: before } = await one.info("stats");
    await waitFor(
      async () => Number((await one.info("stats")).total_connections_received) > Number(before) + 100,
      { timeout: BOUND, what: "more attempts" },
    );
    assert.strictEqual(byClients.transport.carrier, "native");
    const ready = [byUrl, byClients].map((adapter) => once(adapter, "ready", BOUND));
    await one.cli("REPLICAOF", "NO", "ONE");
    await Promise.all(ready);
  });

  it("from the start is refused by URL, and left to clients that were given on purpose", async () => {
    const [one, other] = servers;
    await one.cli("REPLICAOF", "127.0.0.1", other.port);
    const byUrl = adapterOf(createAdapter(one.url));
    const [error] = await once(byUrl, "degraded", BOUND);
    assert.match(error.message, /is a replica/);
    const byClients = adapterOf(await pairTo(one));
    await byClients.ready;
    assert.strictEqual(byClients.transport.carrier, "client");
    assert.match(byClients.transport.reason, /is a replica/);
  });

  it("is noticed by a sentinel's address as well: that is none of a Redis", async () => {
    const sentinel = await startRedis({ sentinel: true });
    servers.push(sentinel);
    const adapter = adapterOf(createAdapter(sentinel.url));
    const [error] = await once(adapter, "degraded", BOUND);
    assert.match(error.message, /is a sentinel/);
  });
});
