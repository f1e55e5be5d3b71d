// @ts-check
"use strict";

/**
 * Users' clients of a cluster that say that they are subscribed to a channel, and are not: that is found, mended and
 * reported, though nothing else is amiss.
 */

const assert = require("node:assert");
const { Pair, makeClusterClient } = require("./fixtures/pairs");
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
    pairs = PACKAGES.map(
      (name) => new Pair(name, "createShardedAdapter", () => makeClusterClient(name, cluster.nodes)),
    );
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
    /** @typedef {{ gaps: number[], deaf: number, healed: Promise<void> }} Seen both in milliseconds */
    /** @type {Seen[]} */
    let seen;

    before(async () => {
      seen = await Promise.all(
        pairs.map(async (pair) => {
          /** @type {Seen} */
          const one = { gaps: [], deaf: 0, healed: Promise.resolve() };
          pair.adapterOf(pair.to).on("gap", (/** @type {any} */ gap) => one.gaps.push(gap.milliseconds));
          await deafen(pair.clients[3], pair.channel);
          const deafAt = performance.now();
          assert.strictEqual(await listeners(pair.channel), 0, `${pair.title} is subscribed all the same`);
          const isHealed = async () => {
            const askedAt = performance.now();
            const count = await listeners(pair.channel);
            if (count === 0) one.deaf = askedAt - deafAt;
            return count === 1;
          };
          one.healed = waitFor(isHealed, { timeout: PATIENCE, what: `one at ${pair.channel}` }).then(
            () => {},
          );
          // It is waited for by a test of its own.
          one.healed.catch(() => {});
          return one;
        }),
      );
    });

    for (const [index, name] of PACKAGES.entries()) {
      it(`${name}: subscribe again, and say for how long nothing can have come in`, async () => {
        const pair = pairs[index];
        const { gaps, healed } = seen[index];
        await healed;
        await waitFor(() => gaps.length > 0, { what: `the gap of ${pair.title}` });
        const { deaf } = seen[index];
        assert.ok(gaps[0] >= deaf, `a gap of ${gaps[0]} ms, and nobody listened for ${deaf} ms`);
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
