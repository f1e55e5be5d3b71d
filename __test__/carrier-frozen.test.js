// @ts-check
"use strict";

/**
 * Users' clients of a cluster listen to all global channels by one connection. The node at its end stands still, or the
 * connection is replaced: what other nodes took meanwhile did not come, and the servers say so.
 */

const assert = require("node:assert");
const { Pair, makeClusterClient } = require("./fixtures/pairs");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

const PACKAGES = ["redis-4", "redis-5", "redis", "ioredis-4", "ioredis-5", "ioredis"];

/** How long it may take until a server listens again, in milliseconds. */
const PATIENCE = 30_000;

describe("clients of a cluster that listen by one connection", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    // No node is given up in the time that the tests take.
    cluster = await startCluster({ masters: 3, replicas: 0, nodeTimeout: 120_000 });
    pairs = PACKAGES.map(
      (name) => new Pair(name, "createAdapter", () => makeClusterClient(name, cluster.nodes)),
    );
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all((pairs ?? []).map((pair) => pair.close()));
    await cluster?.stop();
  });

  /** Resolves with how often each node is listened to by the receiver of a pair. @param {Pair} pair */
  function counts(pair) {
    const { uid } = pair.adapterOf(pair.to);
    return cluster.numSub(pair.channel.replace("#", "-response#") + `${uid}#`);
  }

  /** Resolves with the node that the receiver of a pair listens to, once all is well. @param {Pair} pair */
  async function nodeOf(pair) {
    // What befell that node befell others, too.
    await Promise.all(pairs.map((one) => one.flows()));
    // A room is heard again before all is: the gap that ends then would be that of the test before.
    await waitFor(() => pairs.every(isReady), { timeout: PATIENCE, what: "all servers to be ready" });
    const node = cluster.nodes[(await counts(pair)).indexOf(1)];
    assert.ok(node, "no node is listened to");
    return node;
  }

  /** @param {Pair} pair */
  function isReady(pair) {
    return [pair.from, pair.to].every((io) => pair.adapterOf(io)._isReady);
  }

  /** Follows the gaps of the receiver of a pair. @param {Pair} pair */
  function gapsOf(pair) {
    /** @type {{ milliseconds: number, at: number }[]} */
    const gaps = [];
    pair
      .adapterOf(pair.to)
      .on("gap", (/** @type {any} */ { milliseconds }) => gaps.push({ milliseconds, at: performance.now() }));
    return gaps;
  }

  describe("to a node that stands still", () => {
    for (const [index, name] of PACKAGES.entries()) {
      it(`${name}: listen to another one, and say for how long nothing can have come in`, async () => {
        const pair = pairs[index];
        const node = await nodeOf(pair);
        const gaps = gapsOf(pair);
        const frozenAt = performance.now();
        cluster.pause(node);
        let deafUntil = 0;
        try {
          const isBack = async () => {
            const askedAt = performance.now();
            const isHeard = (await counts(pair)).includes(1);
            if (!isHeard) deafUntil = askedAt;
            return isHeard;
          };
          await waitFor(isBack, { timeout: PATIENCE, what: `a node that ${pair.title} listens to` });
          await waitFor(() => gaps.length > 0, { timeout: PATIENCE, what: `the gap of ${pair.title}` });
        } finally {
          cluster.resume(node);
        }
        const [{ milliseconds, at }] = gaps;
        assert.ok(at - milliseconds <= frozenAt, `the gap begins ${at - milliseconds - frozenAt} ms late`);
        assert.ok(at >= deafUntil, `the gap ends ${deafUntil - at} ms early`);
        await pair.flows();
        await pair.proves();
      });
    }
  });

  describe("to a node that stands still, as the one does to which they move", () => {
    for (const [index, name] of PACKAGES.entries()) {
      it(`${name}: listen to a third one, and to it alone`, async () => {
        const pair = pairs[index];
        const [, , , listening] = pair.clients;
        const node = await nodeOf(pair);
        let second = node;
        try {
          // The second one may be any.
          for (const one of cluster.nodes) cluster.pause(one);
          await waitFor(() => (second = subscriberOf(listening)) !== node && second, {
            timeout: PATIENCE,
            what: `${pair.title} to move`,
          });
          const third = /** @type {any} */ (cluster.nodes.find((one) => one !== node && one !== second));
          cluster.resume(third);
          await waitFor(async () => (await counts(pair))[cluster.nodes.indexOf(third)] === 1, {
            timeout: PATIENCE,
            what: `${pair.title} to listen to the third node`,
          });
        } finally {
          for (const one of cluster.nodes) cluster.resume(one);
        }
        await waitFor(async () => (await counts(pair)).reduce((sum, count) => sum + count) === 1, {
          timeout: PATIENCE,
          what: `${pair.title} to keep one connection that listens`,
        });
        await pair.flows();
        await pair.proves();
      });
    }

    /** The node to which a client listens, or is about to. @param {any} client */
    function subscriberOf(client) {
      const { pubSubNode, subscriber } = client;
      const port = pubSubNode
        ? Number(pubSubNode.address.split(":")[1])
        : subscriber.getInstance()?.options.port;
      return cluster.nodes.find((one) => one.port === port);
    }
  });

  describe("that is replaced", () => {
    for (const [index, name] of PACKAGES.entries()) {
      it(`${name}: say for how long nothing can have come in`, async () => {
        const pair = pairs[index];
        const node = await nodeOf(pair);
        const gaps = gapsOf(pair);
        const lostAt = performance.now();
        await node.cli("CLIENT", "KILL", "TYPE", "pubsub");
        await waitFor(() => gaps.length > 0, { timeout: PATIENCE, what: `the gap of ${pair.title}` });
        const { milliseconds, at } = gaps.reduce((a, b) =>
          a.at - a.milliseconds < b.at - b.milliseconds ? a : b,
        );
        assert.ok(at - milliseconds <= lostAt, `the gap begins ${at - milliseconds - lostAt} ms late`);
        await pair.flows();
        await pair.proves();
      });
    }
  });

  leavesNoRejection();
});
