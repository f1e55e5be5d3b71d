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

/** A cluster, and a pair of servers for each package. No node is given up in the time that the tests take. */
class World {
  static async start() {
    return new World(await startCluster({ masters: 3, replicas: 0, nodeTimeout: 120_000 }));
  }

  /** @param {import("./support/cluster").RedisCluster} cluster */
  constructor(cluster) {
    this.cluster = cluster;
    this.pairs = PACKAGES.map(
      (name) => new Pair(name, "createAdapter", () => makeClusterClient(name, cluster.nodes)),
    );
  }

  async stop() {
    await Promise.all(this.pairs.map((pair) => pair.close()));
    await this.cluster.stop();
  }

  /** Resolves with how often each node is listened to by the receiver of a pair. @param {Pair} pair */
  counts(pair) {
    const { uid } = pair.adapterOf(pair.to);
    return this.cluster.numSub(pair.channel.replace("#", "-response#") + `${uid}#`);
  }

  /** Resolves with the node that the receiver of a pair listens to, once all is well. @param {Pair} pair */
  async nodeOf(pair) {
    // What befell that node befell others, too.
    await Promise.all(this.pairs.map((one) => one.flows()));
    // A room is heard again before all is: the gap that ends then would be that of the test before.
    await waitFor(() => this.pairs.every(isReady), { timeout: PATIENCE, what: "all servers to be ready" });
    const node = this.cluster.nodes[(await this.counts(pair)).indexOf(1)];
    assert.ok(node, "no node is listened to");
    return node;
  }

  /** The node to which a client listens, or is about to. @param {any} client */
  subscriberOf(client) {
    const { pubSubNode, subscriber } = client;
    const port = pubSubNode
      ? Number(pubSubNode.address.split(":")[1])
      : subscriber.getInstance()?.options.port;
    return this.cluster.nodes.find((one) => one.port === port);
  }
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

/** The node stands still that it listens to. @param {World} world @param {Pair} pair */
async function listensElsewhere(world, pair) {
  const node = await world.nodeOf(pair);
  const gaps = gapsOf(pair);
  const frozenAt = performance.now();
  world.cluster.pause(node);
  let deafUntil = 0;
  try {
    const isBack = async () => {
      const askedAt = performance.now();
      const isHeard = (await world.counts(pair)).includes(1);
      if (!isHeard) deafUntil = askedAt;
      return isHeard;
    };
    await waitFor(isBack, { timeout: PATIENCE, what: `a node that ${pair.title} listens to` });
    await waitFor(() => gaps.length > 0, { timeout: PATIENCE, what: `the gap of ${pair.title}` });
  } finally {
    world.cluster.resume(node);
  }
  const [{ milliseconds, at }] = gaps;
  assert.ok(at - milliseconds <= frozenAt, `the gap begins ${at - milliseconds - frozenAt} ms late`);
  assert.ok(at >= deafUntil, `the gap ends ${deafUntil - at} ms early`);
  await pair.flows();
  await pair.proves();
}

/** So does the one to which it moves. @param {World} world @param {Pair} pair */
async function listensToThird(world, pair) {
  const [, , , listening] = pair.clients;
  const node = await world.nodeOf(pair);
  let second = node;
  try {
    // The second one may be any.
    for (const one of world.cluster.nodes) world.cluster.pause(one);
    await waitFor(() => (second = world.subscriberOf(listening)) !== node && second, {
      timeout: PATIENCE,
      what: `${pair.title} to move`,
    });
    const third = /** @type {any} */ (world.cluster.nodes.find((one) => one !== node && one !== second));
    world.cluster.resume(third);
    await waitFor(async () => (await world.counts(pair))[world.cluster.nodes.indexOf(third)] === 1, {
      timeout: PATIENCE,
      what: `${pair.title} to listen to the third node`,
    });
  } finally {
    for (const one of world.cluster.nodes) world.cluster.resume(one);
  }
  await waitFor(async () => (await world.counts(pair)).reduce((sum, count) => sum + count) === 1, {
    timeout: PATIENCE,
    what: `${pair.title} to keep one connection that listens`,
  });
  await pair.flows();
  await pair.proves();
}

/** The connection is replaced. @param {World} world @param {Pair} pair */
async function saysGap(world, pair) {
  const node = await world.nodeOf(pair);
  const gaps = gapsOf(pair);
  const lostAt = performance.now();
  await node.cli("CLIENT", "KILL", "TYPE", "pubsub");
  await waitFor(() => gaps.length > 0, { timeout: PATIENCE, what: `the gap of ${pair.title}` });
  const { milliseconds, at } = gaps.reduce((a, b) => (a.at - a.milliseconds < b.at - b.milliseconds ? a : b));
  assert.ok(at - milliseconds <= lostAt, `the gap begins ${at - milliseconds - lostAt} ms late`);
  await pair.flows();
  await pair.proves();
}

/** What befalls the connection, how the tests of that are called, and what they do. @type {[string, string, (world: World, pair: Pair) => Promise<void>][]} */
const FATES = [
  [
    "to a node that stands still",
    "listen to another one, and say for how long nothing can have come in",
    listensElsewhere,
  ],
  [
    "to a node that stands still, as the one does to which they move",
    "listen to a third one, and to it alone",
    listensToThird,
  ],
  ["that is replaced", "say for how long nothing can have come in", saysGap],
];

describe("clients of a cluster that listen by one connection", function () {
  this.timeout(180_000);

  /** One for each fate: what befalls a node befalls all packages, so that they take turns. @type {World[]} */
  let worlds = [];
  /** @type {Promise<void>[][]} */
  let runs;

  before(async () => {
    worlds = await Promise.all(FATES.map(() => World.start()));
    await Promise.all(worlds.flatMap(({ pairs }) => pairs.map((pair) => pair.ready())));
    runs = FATES.map(([, , meet], fate) => {
      const world = worlds[fate];
      /** @type {Promise<unknown>} */
      let turn = Promise.resolve();
      return world.pairs.map((pair) => {
        const run = turn.then(() => meet(world, pair));
        // It is the test that fails, when its turn comes.
        turn = run.catch(() => {});
        return run;
      });
    });
  });

  after(() => Promise.all(worlds.map((world) => world.stop())));

  for (const [fate, [what, does]] of FATES.entries()) {
    describe(what, () => {
      for (const [index, name] of PACKAGES.entries()) it(`${name}: ${does}`, () => runs[fate][index]);
    });
  }

  leavesNoRejection();
});
