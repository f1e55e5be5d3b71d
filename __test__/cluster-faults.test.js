// @ts-check
"use strict";

/**
 * What befalls a Redis cluster, under load: messages are lost while it is broken at the worst, never after.
 */

const assert = require("node:assert");
const { Lane, underLoad } = require("./fixtures/faults");
const { leavesNoRejection } = require("./fixtures/suite");
const { slotOf, startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/redis").RedisServer} RedisServer */
/** @typedef {import("./fixtures/faults").Run} Run */

/**
 * @typedef {object} LaneKind
 * @property {string} name
 * @property {number} [rate] messages per second; 250 unless given
 * @property {"classic" | "sharded"} adapter
 * @property {"static" | "dynamic"} [mode]
 * @property {"redis" | "ioredis"} clients
 * @property {"native" | "client"} transport
 */

/** @type {LaneKind[]} */
const LANES = [
  { rate: 1000, adapter: "sharded", mode: "dynamic", clients: "redis", transport: "native" },
  { adapter: "sharded", mode: "static", clients: "ioredis", transport: "native" },
  { adapter: "classic", clients: "redis", transport: "native" },
  { adapter: "sharded", mode: "dynamic", clients: "redis", transport: "client" },
  { adapter: "sharded", mode: "dynamic", clients: "ioredis", transport: "client" },
  { adapter: "classic", clients: "redis", transport: "client" },
  { adapter: "classic", clients: "ioredis", transport: "client" },
].map((/** @type {any} */ { adapter, mode, clients, transport, rate }) => ({
  ...{ adapter, mode, clients, transport, rate },
  name: `${adapter}${mode ? ` ${mode}` : ""}, ${clients}, ${transport}`,
}));

/** @type {Awaited<ReturnType<typeof startCluster>>} */
let cluster;
/** @type {Map<LaneKind, Lane>} */
const lanes = new Map();

before(async function () {
  this.timeout(30_000);
  cluster = await startCluster();
  const [victim] = await cluster.masters();
  for (const kind of LANES) {
    const key = await named("faults-", (key) => `${key}#/#`, kind.mode === "static" ? victim : null);
    const room = await named("room-", (room) => `${key}#/#${room}#`, victim);
    const { name, rate = 250, ...options } = kind;
    const lane = await Lane.start(
      { redis: cluster, nodes: ["ours", "ours", "ours"], key, ...options },
      { name, rate, room },
    );
    lanes.set(kind, lane);
  }
});

after(async function () {
  this.timeout(30_000);
  await Promise.all([...lanes.values()].map((lane) => lane.close()));
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

/** @param {LaneKind} kind @returns {Lane} */
function laneOf(kind) {
  const lane = lanes.get(kind);
  assert.ok(lane, "the lane did not start");
  return lane;
}

/** The lane that is under the full load. */
const first = () => laneOf(LANES[0]);

/** Resolves once the channel of a lane has a subscriber per node, at its owner and nowhere else. @param {Lane} lane */
async function subscribed(lane) {
  const { ring, channel } = lane;
  /** @type {number[]} */
  let counts = [];
  await waitFor(
    async () => {
      const owner = cluster.nodes.indexOf(await cluster.ownerOf(channel));
      counts = ring.sharded ? await cluster.shardNumSub(channel) : await cluster.numSub(channel);
      if (!ring.sharded) return counts.reduce((a, b) => a + b) === ring.nodes.length;
      return counts.every((count, i) => count === (i === owner ? ring.nodes.length : 0));
    },
    { timeout: 15_000, what: `the subscriptions of ${lane.name}` },
  ).catch((error) => {
    error.message += `; there are ${counts}`;
    throw error;
  });
}

/**
 * Whether what is healed in Redis is healed for a lane: our own connections see to it that nothing is published that
 * nobody hears. A user's client subscribes again when it pleases.
 *
 * @param {Lane} lane
 */
function healed(lane) {
  // What does not come about fails the test of the lane, not those of all.
  return lane.transport === "client" ? subscribed(lane).catch(() => {}) : null;
}

/**
 * Declares a fault: it befalls all lanes at once, and there is a test for each.
 *
 * @param {string} title
 * @param {() => Promise<any>} befall resolves when Redis is well again
 * @param {(kind: LaneKind) => boolean} gap whether some node of a lane cannot hear the others for a while
 * @param {(lane: Lane) => Promise<any> | null} [isHealed] what a lane needs beyond that
 */
function fault(title, befall, gap, isHealed = healed) {
  describe(title, function () {
    this.timeout(60_000);
    /** @type {Map<Lane, Run>} */
    let results;
    before(async () => {
      results = await underLoad([...lanes.values()], befall, isHealed);
    });
    for (const kind of LANES) {
      it(kind.name, async function () {
        const lane = laneOf(kind);
        const run = results.get(lane);
        assert.ok(run);
        /** @type {any} */ (this.test).title += `: ${run.summary}`;
        run.check({ gap: gap(kind), ordered: kind.transport === "native" });
        await lane.ready();
        await subscribed(lane);
      });
    }
    leavesNoRejection();
  });
}

/** Whether a lane is told that a master of its channels is gone. Clients of ioredis say nothing of it. @param {LaneKind} kind */
const isTold = ({ adapter, clients, transport }) =>
  adapter === "sharded" && (transport === "native" || clients === "redis");

/** @param {LaneKind} kind */
const isNativeAndSharded = ({ adapter, transport }) => adapter === "sharded" && transport === "native";

describe("a cluster", () => {
  fault(
    "moves the slots of busy channels",
    async () => {
      const from = await cluster.ownerOf(first().channel);
      const to = (await cluster.masters()).find((node) => node !== from);
      assert.ok(to);
      for (const { ring, channel } of lanes.values())
        if (ring.sharded) await cluster.moveSlot(slotOf(channel), to);
    },
    isNativeAndSharded,
  );

  fault(
    "has a replica take over",
    async () => {
      const [replica] = await cluster.replicas(await cluster.ownerOf(first().channel));
      await cluster.failover(replica);
    },
    isNativeAndSharded,
  );

  fault(
    "closes the connections of subscribers",
    async () => {
      await cluster.clientKill("pubsub");
      await Promise.all([...lanes.values()].map(subscribed));
    },
    ({ transport }) => transport === "native",
  );

  fault(
    "loses a master",
    async () => {
      const victim = await cluster.ownerOf(first().channel);
      await cluster.kill(victim);
      await cluster.healed();
    },
    isTold,
  );

  fault(
    "has a master freeze, and thaw when it is none any more",
    async () => {
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
    isNativeAndSharded,
    // A thawed master goes on as a replica with the subscriptions that it has, until they are moved to the new one.
    (lane) => subscribed(lane).catch(() => {}),
  );
});
