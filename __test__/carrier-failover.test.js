// @ts-check
"use strict";

/**
 * Users' clients of a cluster carry sharded messages while a replica takes over in agreement with its master: nothing is
 * lost without being counted, and all listen to the new master in the end.
 */

const assert = require("node:assert");
const { Pair } = require("./fixtures/pairs");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

const PACKAGES = ["redis-4", "redis-5", "redis", "ioredis-4", "ioredis-5", "ioredis"];

describe("clients of a cluster in failovers", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
    const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
    pairs = PACKAGES.map((name) => {
      const make = () => {
        const { Cluster, createCluster } = require(name);
        if (Cluster !== undefined && createCluster === undefined)
          return new Cluster(nodes, { shardedSubscribers: true });
        const client = createCluster({ rootNodes: nodes.map((socket) => ({ socket })) });
        client.connect().catch(() => {});
        return client;
      };
      return new Pair(name, "createShardedAdapter", make);
    });
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all((pairs ?? []).map((pair) => pair.close()));
    await cluster?.stop();
  });

  async function takeOver() {
    const [replica] = await cluster.replicas();
    await cluster.failover(replica);
    return replica;
  }

  /** Resolves once each room has its subscriber at the master, and none elsewhere. */
  async function settled() {
    for (const { title, channel } of pairs) {
      /** @type {number[]} */
      let counts = [];
      const isSettled = async () => {
        const owner = cluster.nodes.indexOf(await cluster.ownerOf(channel));
        counts = await cluster.shardNumSub(channel);
        return counts.every((count, index) => count === (index === owner ? 1 : 0));
      };
      await waitFor(isSettled, { timeout: 15_000, what: `the subscription of ${title}` }).catch((error) => {
        error.message += `; there are ${counts}`;
        throw error;
      });
    }
  }

  it("listen to the new master, though what they know of the slots is old", async () => {
    const subscribers = pairs.map(({ clients }) => clients[3]).filter((client) => client.refreshSlotsCache);
    // As if all nodes that are asked had not heard of it.
    for (const client of subscribers)
      client.refreshSlotsCache = (/** @type {any} */ callback) => void callback?.();
    await takeOver();
    await Promise.all(
      subscribers.map(async (client) => {
        const isBack = () =>
          [...client.shardedSubscribers.shardedSubscribers.values()].some((/** @type {any} */ one) => {
            const channels = one.getInstance()?.condition?.subscriber?.channels?.("ssubscribe");
            return channels?.some((/** @type {string} */ name) => name.endsWith("#room#"));
          });
        await waitFor(isBack, { what: "a subscription at the old master" });
        delete client.refreshSlotsCache;
      }),
    );
    await settled();
  });

  it("lose nothing that is not counted, though nobody listens where it is published", async () => {
    const counted = () =>
      pairs.map((pair) => {
        const { refused, lostInFlight, dropped } = pair.adapterOf(pair.from).stats();
        return refused + lostInFlight + dropped;
      });
    const before = counted();
    const firsts = pairs.map((pair) => {
      pair.begin();
      return pair.sent;
    });
    try {
      for (let n = 0; n < 3; n++) {
        await takeOver();
        await settled();
      }
    } finally {
      for (const pair of pairs) pair.end();
    }
    const after = counted();
    for (const [index, pair] of pairs.entries()) {
      const isIn = () => pair.got.includes(pair.sent - 1);
      await pair.proves();
      await waitFor(isIn, { what: `the last of ${pair.title}` });
      const got = new Set(pair.got);
      const missing = Array.from({ length: pair.sent - firsts[index] }, (_, n) => firsts[index] + n).filter(
        (number) => !got.has(number),
      );
      const lost = after[index] - before[index];
      assert.ok(missing.length <= lost, `${pair.title}: ${missing} are missing, ${lost} are counted`);
    }
  });

  leavesNoRejection();
});
