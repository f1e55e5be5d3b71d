// @ts-check
"use strict";

/**
 * The user's clients carry the bytes while something befalls Redis: once all is well again, each message that is sent
 * arrives, once and in its order, with clients of all packages.
 */

const { Pair, makeClusterClient, survive } = require("./fixtures/pairs");
const { leavesNoRejection } = require("./fixtures/suite");
const { slotOf, startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { startSentinel } = require("./support/sentinel");
const { waitFor } = require("./support/wait");

const NODE_REDIS = ["redis-4", "redis-5", "redis"];
const IOREDIS = ["ioredis-4", "ioredis-5", "ioredis", "iovalkey"];

/** @type {("createAdapter" | "createShardedAdapter")[]} */
const KINDS = ["createAdapter", "createShardedAdapter"];

/** @param {any} client of the redis package */
function connect(client) {
  client.connect().catch(() => {});
  return client;
}

/**
 * @param {Record<string, () => any>} makers clients by their names
 * @param {(name: string, kind: string) => boolean} [can]
 */
function pairsOf(makers, can = () => true) {
  return Object.entries(makers).flatMap(([name, make]) =>
    KINDS.filter((kind) => can(name, kind)).map((kind) => new Pair(name, kind, make)),
  );
}

describe("clients of a cluster carry", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    cluster = await startCluster();
    /** @type {Record<string, () => any>} */
    const makers = {};
    for (const name of [...NODE_REDIS, ...IOREDIS])
      makers[name] = () => makeClusterClient(name, cluster.nodes);
    pairs = pairsOf(makers, (name, kind) => name !== "iovalkey" || kind === "createAdapter");
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all((pairs ?? []).map((pair) => pair.close()));
    await cluster?.stop();
  });

  /**
   * Has something happen to the cluster. It is over when the rooms of shards have their subscribers at the masters.
   *
   * @param {() => Promise<any>} happens
   */
  const overcome = (happens) =>
    survive(pairs, async () => {
      await happens();
      for (const { title, channel } of pairs)
        if (title.endsWith("createShardedAdapter"))
          await cluster.followed(channel, `the subscription of ${title}`);
    });

  it("and count each other", async () => {
    for (const pair of pairs) {
      await waitFor(async () => (await pair.adapterOf(pair.from).serverCount()) === 2, { what: pair.title });
    }
  });

  it("while the slots of busy channels move", () =>
    overcome(async () => {
      for (const { channel } of pairs) {
        const owner = await cluster.ownerOf(channel);
        const other = (await cluster.masters()).find((node) => node !== owner);
        await cluster.moveSlot(slotOf(channel), /** @type {any} */ (other));
      }
    }));

  it("when a replica takes over", () =>
    overcome(async () => {
      const [replica] = await cluster.replicas();
      await cluster.failover(replica);
    }));

  it("when a master is killed", () =>
    overcome(async () => {
      const [victim] = await cluster.masters();
      await cluster.kill(victim);
      await waitFor(async () => !(await cluster.masters()).includes(victim), {
        what: "the master to be given up",
      });
      await cluster.healed();
    }));

  it("when the connections that listen are killed", () => overcome(() => cluster.clientKill("pubsub")));

  it("when a Cluster of ioredis has forgotten what it listens to", () => {
    const classic = pairs.filter(({ title }) => title.startsWith("io") && title.endsWith("createAdapter"));
    return survive(classic, async () => {
      for (const { clients } of classic) {
        // So it does when two nodes are lost to it in a row.
        const { subscriber } = clients[3];
        subscriber.stop();
        subscriber.lastActiveSubscriber = null;
        subscriber.start();
      }
      for (const { clients, title } of classic) {
        const channels = () =>
          clients[3].subscriber.getInstance().condition.subscriber.channels("psubscribe");
        await waitFor(() => channels().length > 0, { timeout: 15_000, what: `${title} to listen again` });
      }
    });
  });

  leavesNoRejection();
});

describe("clients behind sentinels carry", function () {
  this.timeout(90_000);

  /** @type {import("./support/sentinel").RedisSentinel} */
  let sentinel;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    sentinel = await startSentinel();
    const { name: master } = sentinel;
    const nodes = sentinel.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    /** @type {Record<string, () => any>} */
    const makers = {};
    for (const name of NODE_REDIS.slice(1)) {
      makers[name] = () => connect(require(name).createSentinel({ name: master, sentinelRootNodes: nodes }));
    }
    for (const name of IOREDIS) {
      makers[name] = () => new (require(name).Redis ?? require(name))({ sentinels: nodes, name: master });
    }
    pairs = pairsOf(makers);
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all((pairs ?? []).map((pair) => pair.close()));
    await sentinel?.stop();
  });

  it("when the master is killed", () =>
    survive(pairs, async () => {
      await sentinel.replaced(await sentinel.killMaster());
    }));

  it("when the connections that listen are killed", () =>
    survive(pairs, () => sentinel.clientKill("pubsub")));

  leavesNoRejection();
});

describe("clients of a single Redis carry", function () {
  this.timeout(60_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    redis = await startRedis();
    const { port } = redis;
    const socket = { host: "127.0.0.1", port };
    /** @type {Record<string, () => any>} */
    const makers = {
      "redis-3": () => require("redis-3").createClient({ port }),
      "redis-3, return_buffers": () => require("redis-3").createClient({ port, return_buffers: true }),
      "redis-4, legacyMode": () => connect(require("redis-4").createClient({ socket, legacyMode: true })),
      "redis, keyPrefix": () => connect(require("redis").createClient({ socket, keyPrefix: "prefix:" })),
    };
    for (const name of NODE_REDIS) makers[name] = () => connect(require(name).createClient({ socket }));
    for (const name of IOREDIS) {
      const Redis = require(name).Redis ?? require(name);
      makers[name] = () => new Redis(port);
      makers[`${name}, keyPrefix`] = () => new Redis(port, { keyPrefix: "prefix:" });
      makers[`${name}, autoResubscribe: false`] = () => new Redis(port, { autoResubscribe: false });
      makers[`${name}, enableOfflineQueue: false`] = () => new Redis(port, { enableOfflineQueue: false });
    }
    pairs = pairsOf(makers, (name, kind) => !name.startsWith("redis-3") || kind === "createAdapter");
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all((pairs ?? []).map((pair) => pair.close()));
    await redis?.stop();
  });

  it("when the connections that listen are killed", () =>
    survive(pairs, async () => void (await redis.cli("CLIENT", "KILL", "TYPE", "pubsub"))));

  it("when Redis is started again", () => survive(pairs, () => redis.restart()));

  leavesNoRejection();
});
