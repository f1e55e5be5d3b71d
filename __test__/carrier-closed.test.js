// @ts-check
"use strict";

/**
 * A client of a cluster that its user closes while we have it look for the slots: it goes on looking, connects to the
 * nodes that it finds, and forgets them. Nobody else could end those connections, which keep the process.
 */

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
