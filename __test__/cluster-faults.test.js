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

/** @typedef {{ name: string, rate: number, adapter: "classic" | "sharded", mode?: "static" | "dynamic",
 *   clients: "redis" | "ioredis", transport: "native" | "client" }} LaneKind */

/** @type {LaneKind[]} */
const LANES = [
  {
    name: "sharded, dynamic, redis, native",
    rate: 1000,
    adapter: "sharded",
    mode: "dynamic",
    clients: "redis",
    transport: "native",
  },
  {
    name: "sharded, static, ioredis, native",
    rate: 250,
    adapter: "sharded",
    mode: "static",
    clients: "ioredis",
    transport: "native",
  },
  { name: "classic, redis, native", rate: 250, adapter: "classic", clients: "redis", transport: "native" },
  ...(process.env.CL
    ? /** @type {LaneKind[]} */ ([
        {
          name: "sharded, dynamic, redis, client",
          rate: 250,
          adapter: "sharded",
          mode: "dynamic",
          clients: "redis",
          transport: "client",
        },
        {
          name: "sharded, dynamic, ioredis, client",
          rate: 250,
          adapter: "sharded",
          mode: "dynamic",
          clients: "ioredis",
          transport: "client",
        },
        {
          name: "classic, redis, client",
          rate: 250,
          adapter: "classic",
          clients: "redis",
          transport: "client",
        },
        {
          name: "classic, ioredis, client",
          rate: 250,
          adapter: "classic",
          clients: "ioredis",
          transport: "client",
        },
      ])
    : []),
];

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
    const { name, rate, ...options } = kind;
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
    { what: `the subscriptions of ${lane.name}` },
  ).catch((error) => {
    error.message += `; there are ${counts}`;
    throw error;
  });
}

/**
 * Declares a fault: it befalls all lanes at once, and there is a test for each.
 *
 * @param {string} title
 * @param {() => Promise<any>} befall resolves when it is healed
 * @param {(kind: LaneKind) => boolean} gap whether some node of the lane cannot hear the others for a while
 */
function fault(title, befall, gap) {
  describe(title, function () {
    this.timeout(60_000);
    /** @type {Map<Lane, Run>} */
    let results;
    before(async () => {
      results = await underLoad([...lanes.values()], befall);
    });
    for (const kind of LANES) {
      it(kind.name, async function () {
        const lane = laneOf(kind);
        const run = results.get(lane);
        assert.ok(run);
        /** @type {any} */ (this.test).title += `: ${run.summary}`;
        run.check({ gap: gap(kind) });
        await lane.ready();
        await subscribed(lane);
      });
    }
    leavesNoRejection();
  });
}

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
    (kind) => kind.adapter === "sharded",
  );

  fault(
    "has a replica take over",
    async () => {
      const [replica] = await cluster.replicas(await cluster.ownerOf(first().channel));
      await cluster.failover(replica);
    },
    (kind) => kind.adapter === "sharded",
  );

  fault(
    "closes the connections of subscribers",
    async () => {
      await cluster.clientKill("pubsub");
      await Promise.all([...lanes.values()].map(subscribed));
    },
    () => true,
  );

  fault(
    "loses a master",
    async () => {
      const victim = await cluster.ownerOf(first().channel);
      await cluster.kill(victim);
      await cluster.healed();
    },
    (kind) => kind.adapter === "sharded",
  );
});
