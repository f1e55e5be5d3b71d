// @ts-check
"use strict";

/**
 * What befalls a Redis cluster, under load: messages are lost while it is broken at the worst, never after.
 */

const assert = require("node:assert");
const { Setup, fault, isNative, kindOf } = require("./fixtures/faults");
const { slotOf, startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/redis").RedisServer} RedisServer */
/** @typedef {import("./fixtures/faults").Kind} Kind */

const KINDS = [
  kindOf("sharded", "redis", "native", { mode: "dynamic", rate: 1000 }),
  kindOf("sharded", "ioredis", "native", { mode: "static" }),
  kindOf("classic", "redis", "native"),
  kindOf("sharded", "redis", "client", { mode: "dynamic" }),
  kindOf("sharded", "ioredis", "client", { mode: "dynamic" }),
  kindOf("classic", "redis", "client"),
  kindOf("classic", "ioredis", "client"),
];

/** @type {Awaited<ReturnType<typeof startCluster>>} */
let cluster;
/** @type {Map<Kind, Setup>} */
const setups = new Map();

before(async function () {
  this.timeout(30_000);
  cluster = await startCluster();
  const [victim] = await cluster.masters();
  for (const kind of KINDS) {
    const key = await named("faults-", (key) => `${key}#/#`, kind.mode === "static" ? victim : null);
    const room = await named("room-", (room) => `${key}#/#${room}#`, victim);
    setups.set(kind, await Setup.start(kind, { redis: cluster, key }, room));
  }
});

after(async function () {
  this.timeout(30_000);
  await Promise.all([...setups.values()].map((setup) => setup.close()));
  await cluster?.stop();
});

let names = 0;

/**
 * Resolves with a name whose channel belongs to a master.
 *
 * @param {string} start
 * @param {(name: string) => string} channel
 * @param {RedisServer | null} owner any, if null
 */
async function named(start, channel, owner) {
  const slots = await cluster.slots();
  for (;;) {
    const name = `${start}${++names}`;
    const slot = slotOf(channel(name));
    const range = slots.find(({ start, end }) => start <= slot && slot <= end);
    if (owner === null || range?.node === owner) return name;
  }
}

/** The setup that is under the full load. */
function first() {
  const setup = setups.get(KINDS[0]);
  assert.ok(setup, "the setup did not start");
  return setup;
}

/**
 * Resolves once the channel of a setup has a subscriber per node, at its owner and nowhere else.
 *
 * @param {Setup} setup
 */
async function subscribed(setup) {
  const { ring, channel } = setup;
  /** @type {number[]} */
  let counts = [];
  await waitFor(
    async () => {
      const owner = cluster.nodes.indexOf(await cluster.ownerOf(channel));
      counts = ring.sharded ? await cluster.shardNumSub(channel) : await cluster.numSub(channel);
      if (!ring.sharded) return counts.reduce((a, b) => a + b) === ring.nodes.length;
      return counts.every((count, i) => count === (i === owner ? ring.nodes.length : 0));
    },
    { timeout: 15_000, what: `the subscriptions of ${setup.kind.name}` },
  ).catch((error) => {
    error.message += `; there are ${counts}`;
    throw error;
  });
}

/** @param {Kind} kind */
const isNativeAndSharded = (kind) => kind.adapter === "sharded" && isNative(kind);

/**
 * Whether what a setup publishes is handed out by one node. What all hand out may come from the one before the
 * connection is lost, and from the other after it.
 *
 * @param {Kind} kind
 */
const isOfOneNode = ({ adapter }) => adapter === "sharded";

describe("a cluster", () => {
  fault("moves the slots of busy channels", setups, KINDS, {
    befall: async () => {
      const from = await cluster.ownerOf(first().channel);
      const to = (await cluster.masters()).find((node) => node !== from);
      assert.ok(to);
      for (const { ring, channel } of setups.values())
        if (ring.sharded) await cluster.moveSlot(slotOf(channel), to);
    },
    subscribed,
    gap: isNativeAndSharded,
  });

  fault("has a replica take over", setups, KINDS, {
    befall: async () => {
      const [replica] = await cluster.replicas(await cluster.ownerOf(first().channel));
      await cluster.failover(replica);
    },
    subscribed,
    gap: isNativeAndSharded,
  });

  fault("closes the connections of subscribers", setups, KINDS, {
    befall: async () => {
      await cluster.clientKill("pubsub");
      await Promise.all([...setups.values()].map(subscribed));
    },
    subscribed,
    gap: isNative,
    ordered: isOfOneNode,
  });

  fault("loses a master", setups, KINDS, {
    befall: async () => {
      const victim = await cluster.ownerOf(first().channel);
      await cluster.kill(victim);
      await cluster.healed();
    },
    subscribed,
    gap: isNativeAndSharded,
    ordered: isOfOneNode,
  });

  fault("has a master freeze, and thaw when it is none any more", setups, KINDS, {
    befall: async () => {
      const down = cluster.nodes.filter((node) => !node.isUp);
      await Promise.all(down.map((node) => cluster.restart(node)));
      await cluster.healed();
      const victim = await cluster.ownerOf(first().channel);
      cluster.pause(victim);
      try {
        await cluster.healed();
      } finally {
        cluster.resume(victim);
      }
      await cluster.healed();
    },
    subscribed,
    gap: isNativeAndSharded,
    told: isNativeAndSharded,
  });
});
