// @ts-check
"use strict";

/**
 * A client of a cluster that its user closes while we have it look for the slots: it goes on looking, connects to the
 * nodes that it finds, and forgets them. Nobody else could end those connections, which keep the process.
 */

const assert = require("node:assert");
const { setTimeout: sleep } = require("node:timers/promises");
const { Server } = require("socket.io");
const { createShardedAdapter } = require("..");
const { NodeRedisCluster } = require("../lib/clients/node-redis-cluster");
const { endClient, makeClusterClient } = require("./fixtures/pairs");
const { startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

describe("a client of a cluster that is closed while it looks for the slots", function () {
  this.timeout(60_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;

  before(async () => {
    cluster = await startCluster({ masters: 2, replicas: 1 });
  });

  after(() => cluster?.stop());

  /** How many connections of a name there are, at all nodes. @param {string} name */
  async function connections(name) {
    const lists = await Promise.all(cluster.nodes.map((node) => node.cli("CLIENT", "LIST")));
    return lists.join("").split(` name=${name} `).length - 1;
  }

  for (const name of ["redis-4", "redis-5", "redis"]) {
    for (const useReplicas of [false, true]) {
      it(`${name}${useReplicas ? ", with replicas" : ""}: leaves no connection`, async () => {
        const title = `closed-${name}-${useReplicas}`;
        const client = makeClusterClient(name, cluster.nodes, { useReplicas, defaults: { name: title } });
        client.on("error", () => {});
        // Closed earlier, it would leave connections by itself.
        const nodes = () => [...client.masters, ...(client.replicas ?? [])];
        const isUp = () => nodes().length > 0 && nodes().every((node) => node.client?.isReady);
        await waitFor(isUp, { what: "the client to be connected" });
        const ours = new NodeRedisCluster(client, "shard");
        ours.rediscover();
        // By then the client has asked a node.
        await new Promise((resolve) => setImmediate(resolve));
        await endClient(client);
        ours.stop();
        await waitFor(async () => (await connections(title)) === 0, { what: "the connections to end" });
      });
    }
  }
});

describe("clients of a server that is closed", function () {
  this.timeout(60_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;

  before(async () => {
    cluster = await startCluster({ masters: 1, replicas: 0 });
  });

  after(() => cluster?.stop());

  /** @param {any} client @param {{ transport?: "client" }} options */
  async function closed(client, options) {
    const clients = [client, client.duplicate().on("error", () => {})];
    await waitFor(() => client.masters.length > 0, { what: "the client to be connected" });
    await clients[1].connect();
    const io = new Server({ adapter: createShardedAdapter(clients[0], clients[1], options) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    adapter.close();
    await waitFor(() => adapter.stats() === null, { what: "the link to be closed" });
    return { io, adapter, end: () => Promise.all(clients.map(endClient)) };
  }

  it("are not looked at any more, though they have only published the proof", async () => {
    const client = makeClusterClient("redis", cluster.nodes, {}).on("error", () => {});
    const { end } = await closed(client, {});
    let looks = 0;
    Object.defineProperty(client, "isReady", { configurable: true, get: () => (looks++, true) });
    // Three looks, if there were any.
    await sleep(800);
    Reflect.deleteProperty(client, "isReady");
    await end();
    assert.strictEqual(looks, 0);
  });

  it("carry what is emitted after that, and then nothing is left of it", async () => {
    const client = makeClusterClient("redis", cluster.nodes, {}).on("error", () => {});
    const { io, adapter, end } = await closed(client, { transport: "client" });
    try {
      io.emit("something");
      assert.strictEqual(adapter.stats().published, 1);
      await waitFor(() => adapter.stats() === null, { what: "the link to be closed again" });
    } finally {
      await end();
    }
  });
});
