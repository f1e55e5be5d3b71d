// @ts-check
"use strict";

/**
 * Users' clients of a cluster that say that they are subscribed to a channel, and are not: that is found, mended and
 * reported, though nothing else is amiss.
 */

const assert = require("node:assert");
const { Pair } = require("./fixtures/pairs");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

const PACKAGES = ["redis-4", "redis-5", "redis", "ioredis-5", "ioredis"];

/** How long it may take until all is well again, in milliseconds. */
const PATIENCE = 40_000;

/** Has a client unsubscribe from a channel and go on as if it had not. @param {any} client @param {string} channel */
async function deafen(client, channel) {
  if (client.shardedSubscribers) {
    /** @type {any[]} */
    const connections = [...client.shardedSubscribers.shardedSubscribers.values()];
    for (const redis of connections.map((one) => one.getInstance())) {
      if (!redis.condition?.subscriber?.channels("ssubscribe").includes(channel)) continue;
      await redis.sunsubscribe(channel);
      redis.condition.subscriber.add("ssubscribe", channel);
    }
    return;
  }
  for (const { pubSub, pubSubClient } of client.masters) {
    const redis = pubSub?.client ?? pubSubClient;
    const channels = redis?.getPubSubListeners("SHARDED");
    const listeners = channels?.get(channel);
    if (listeners === undefined) continue;
    await redis.sUnsubscribe(channel);
    channels.set(channel, listeners);
  }
}

describe("clients of a cluster that believe that they are subscribed", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    cluster = await startCluster({ masters: 1, replicas: 1 });
    const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
    pairs = PACKAGES.map((name) => {
      const make = () => {
        const { Cluster, createCluster } = require(name);
        if (createCluster === undefined) return new Cluster(nodes, { shardedSubscribers: true });
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

  /** Resolves once one server listens to a channel. @param {string} channel */
  async function listened(channel) {
    await waitFor(async () => (await listeners(channel)) === 1, {
      timeout: PATIENCE,
      what: `one at ${channel}`,
    });
  }

  /** How many listen to a channel. @param {string} channel */
  async function listeners(channel) {
    const counts = await cluster.shardNumSub(channel);
    return counts.reduce((a, b) => a + b);
  }

  describe("to what they are not", () => {
    /** @type {{ milliseconds: number, passed: number }[][]} */
    let gaps;

    before(async () => {
      gaps = await Promise.all(
        pairs.map(async (pair) => {
          /** @type {{ milliseconds: number, passed: number }[]} */
          const list = [];
          await deafen(pair.clients[3], pair.channel);
          const deafAt = performance.now();
          pair
            .adapterOf(pair.to)
            .on("gap", (/** @type {any} */ { milliseconds }) =>
              list.push({ milliseconds, passed: performance.now() - deafAt }),
            );
          assert.strictEqual(await listeners(pair.channel), 0, `${pair.title} is subscribed all the same`);
          return list;
        }),
      );
    });

    for (const [index, name] of PACKAGES.entries()) {
      it(`${name}: subscribe again, and say for how long nothing can have come in`, async () => {
        const pair = pairs[index];
        await listened(pair.channel);
        await waitFor(() => gaps[index].length > 0, { what: `the gap of ${pair.title}` });
        const [{ milliseconds, passed }] = gaps[index];
        assert.ok(milliseconds >= passed, `a gap of ${milliseconds} ms, and ${passed} ms have passed`);
        await pair.proves();
      });
    }
  });

  describe("soon, by a connection that they give up", () => {
    for (const [index, name] of PACKAGES.filter((name) => name.startsWith("redis")).entries()) {
      it(`${name}: subscribe by another one`, async () => {
        const pair = pairs[index];
        const client = pair.clients[3];
        const { sSubscribe } = client;
        let isSettled = false;
        let isAsked = false;
        client.sSubscribe = (/** @type {any[]} */ ...args) => {
          client.sSubscribe = sSubscribe;
          isAsked = true;
          const subscribed = sSubscribe.apply(client, args);
          // It has the connection at hand already.
          for (const master of client.masters) {
            const connection = master.pubSub?.client ?? master.pubSubClient;
            master.pubSub = master.pubSubClient = undefined;
            void (connection?.destroy ? connection.destroy() : connection?.disconnect());
          }
          const settle = () => void (isSettled = true);
          subscribed.then(settle, settle);
          return subscribed;
        };
        pair.adapterOf(pair.to).addAll("s", new Set(["another"]));
        await listened(pair.channel.replace("room", "another"));
        assert.ok(isAsked);
        assert.strictEqual(
          isSettled,
          false,
          "the client says that it has failed: that is nothing to be found",
        );
        await pair.flows();
        await pair.proves();
      });
    }
  });

  leavesNoRejection();
});
