// @ts-check
"use strict";

/**
 * Users' clients of a cluster carry sharded messages while a replica takes over in agreement with its master: nothing is
 * lost without being counted, and all listen to the new master in the end.
 */

const assert = require("node:assert");
const { Emitter } = require("../emitter");
const { Pair, endClient, makeClusterClient } = require("./fixtures/pairs");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { slotOf, startCluster } = require("./support/cluster");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

const PACKAGES = ["redis-4", "redis-5", "redis", "ioredis-4", "ioredis-5", "ioredis"];

describe("clients of a cluster in failovers", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    // A master votes once in twice that time, and here it is to do so again and again.
    cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 2000 });
    pairs = PACKAGES.map(
      (name) => new Pair(name, "createShardedAdapter", () => makeClusterClient(name, cluster.nodes)),
    );
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
    for (const { title, channel } of pairs) await cluster.followed(channel, `the subscription of ${title}`);
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
        const { refused, lostInFlight, dropped, early } = pair.adapterOf(pair.from).stats();
        return refused + lostInFlight + dropped + early;
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
      // Or the receiver has told that it did not hear the others.
      const silent = missing.filter((number) => !pair.isInGap(number));
      const lost = after[index] - before[index];
      assert.ok(silent.length <= lost, `${pair.title}: ${silent} are missing, ${lost} are counted`);
    }
  });

  leavesNoRejection();
});

describe("clients of a cluster whose maps of the slots have gaps", function () {
  this.timeout(90_000);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  before(async () => void (cluster = await startCluster({ masters: 3, replicas: 0 })));
  after(() => cluster?.stop());

  sideBySide(
    PACKAGES.map((client) => ({ name: `${client}: find the masters`, client })),
    async ({ client: name }) => {
      const pair = new Pair(name, "createShardedAdapter", () => makeClusterClient(name, cluster.nodes));
      // As when they have asked a node that did not know of a master just then.
      const forget = (/** @type {string} */ channel) => {
        for (const client of [pair.clients[0], pair.clients[3]]) delete client.slots[slotOf(channel)];
      };
      try {
        await pair.ready();
        forget(pair.channel);
        await pair.flows();
        const room = "of a gap";
        forget(pair.channel.replace("#room#", `#${room}#`));
        pair.adapterOf(pair.to).addAll("s", new Set(["s", room, "fleeting"]));
        pair.adapterOf(pair.to).del("s", "fleeting");
        const from = pair.sent;
        const flows = () => {
          pair.from.to(room).emit("n", pair.next());
          return pair.got.some((number) => number >= from);
        };
        await waitFor(flows, { timeout: 20_000, what: "a message to the new room" });
        await pair.proves();
        const fleeting = await cluster.shardNumSub(pair.channel.replace("#room#", "#fleeting#"));
        assert.deepStrictEqual(fleeting, [0, 0, 0], "a room that came and went is subscribed to");
      } finally {
        await pair.close();
      }
    },
  );

  sideBySide(
    // 4 does not look for the slots when it knows of no node.
    ["redis-5", "redis"].map((client) => ({
      name: `${client}: find the masters, if there is nothing else`,
      client,
    })),
    async ({ client: name }) => {
      // Those above share the cluster, and have other channels.
      const pair = new Pair(`${name}-alone`, "createShardedAdapter", () =>
        makeClusterClient(name, cluster.nodes),
      );
      const stranger = await startRedis({ cluster: true });
      try {
        await pair.ready();
        // It knows of no node but itself, and has no slot.
        const options = { socket: { host: "127.0.0.1", port: stranger.port } };
        // One that publishes: one of 6 that listens lets a rejection of its own go unhandled.
        const [client] = pair.clients;
        await client._slots.rediscover({ options });
        assert.deepStrictEqual(client.masters, []);
        await pair.flows();
        await pair.proves();
      } finally {
        await pair.close();
        await stranger.stop();
      }
    },
  );

  leavesNoRejection();
});

describe("clients of a cluster that know of no other server in a failover", function () {
  this.timeout(90_000);

  sideBySide(
    PACKAGES.map((client) => ({ name: `${client}: an emitter waits for those who listen`, client })),
    async ({ client: name }) => {
      const cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
      const make = () => makeClusterClient(name, cluster.nodes);
      const pair = new Pair(name, "createShardedAdapter", make);
      const client = make().on("error", () => {});
      const emitter = new Emitter(client, {
        mode: "sharded",
        channelPrefix: `pair-${name}-createShardedAdapter`,
        transport: "client",
      });
      try {
        await pair.ready();
        await failOver(pair, cluster, (number) => emitter.to("room").emit("n", number));
      } finally {
        emitter.close();
        await pair.close();
        await endClient(client);
        await cluster.stop();
      }
    },
    { atOnce: 4 },
  );

  it("ioredis: an adapter that has counted nobody when it began waits for those who listen", async () => {
    const cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
    const pair = new Pair("ioredis", "createShardedAdapter", () =>
      makeClusterClient("ioredis", cluster.nodes),
    );
    try {
      await pair.ready();
      // As nodes answer whose slots are just on their way.
      let counts = 0;
      const restore = pair.clients[0].nodes("all").map((/** @type {any} */ node) => {
        const { call } = node;
        node.call = (/** @type {string} */ command, /** @type {string[]} */ ...args) => {
          if (command !== "pubsub") return call.call(node, command, ...args);
          counts++;
          return Promise.resolve(args.slice(1).flatMap((channel) => [channel, 0]));
        };
        return () => void (node.call = call);
      });
      const isCounted = () => {
        pair.one();
        return counts >= 2;
      };
      await waitFor(isCounted, { timeout: 20_000, what: "a count" });
      for (const put of restore) put();
      await failOver(pair, cluster, (number) => pair.from.to("room").emit("n", number));
    } finally {
      await pair.close();
      await cluster.stop();
    }
  });

  leavesNoRejection();
});

/**
 * Has a replica take over while numbers are sent, all of which have to come.
 *
 * @param {Pair} pair
 * @param {import("./support/cluster").RedisCluster} cluster
 * @param {(number: number) => void} send
 */
async function failOver(pair, cluster, send) {
  pair.one = () => send(pair.next());
  await pair.flows();
  const first = pair.sent;
  pair.begin();
  try {
    const [replica] = await cluster.replicas();
    await cluster.failover(replica);
    await cluster.followed(pair.channel, `the subscription of ${pair.title}`);
  } finally {
    pair.end();
  }
  await pair.proves();
  const got = new Set(pair.got);
  const sent = Array.from({ length: pair.sent - first }, (_, n) => first + n);
  assert.deepStrictEqual(
    sent.filter((number) => !got.has(number)),
    [],
    "these are missing",
  );
}

describe("clients of a cluster that find a master to which they cannot connect", function () {
  this.timeout(90_000);

  sideBySide(
    ["redis-5", "redis"].map((client) => ({ name: `${client}: look for another one`, client })),
    async ({ client: name }) => {
      const cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
      const nowhere = { host: "127.0.0.1", port: await freePort() };
      const addressOf = (/** @type {{ port: number }} */ { port }) => `127.0.0.1:${port}`;
      /** @type {string | null} */
      let unreachable = null;
      const nodeAddressMap = (/** @type {string} */ address) =>
        address === unreachable ? nowhere : undefined;
      const make = () => makeClusterClient(name, cluster.nodes, { nodeAddressMap });
      const pair = new Pair(name, "createShardedAdapter", make);
      try {
        await pair.ready();
        const [master] = await cluster.masters();
        const [replica] = await cluster.replicas();
        unreachable = addressOf(replica);
        await cluster.failover(replica);
        const waitsFor = (/** @type {any} */ client) =>
          client.masters.some(
            (/** @type {any} */ node) => node.address === unreachable && node.client?.isReady === false,
          );
        const sees = () => {
          pair.one();
          return [0, 3].every((index) => waitsFor(pair.clients[index]));
        };
        await waitFor(sees, { timeout: 20_000, what: "the clients to wait for the connection" });
        await cluster.failover(master);
        await cluster.followed(pair.channel, "the subscription");
        await pair.flows();
        await pair.proves();
      } finally {
        await pair.close();
        await cluster.stop();
      }
    },
  );

  leavesNoRejection();
});

describe("clients of a cluster that are told that nobody has any slot", function () {
  this.timeout(90_000);

  // A master that has just been replaced may say so: it takes what its successor sent before that for news.
  sideBySide(
    // 4 does not look for the slots when it knows of no node.
    ["redis-5", "redis"].map((client) => ({ name: `${client}: subscribe at the new master`, client })),
    async ({ client: name }) => {
      const cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
      const stranger = await startRedis({ cluster: true });
      const pair = new Pair(name, "createShardedAdapter", () => makeClusterClient(name, cluster.nodes));
      try {
        await pair.ready();
        const listening = pair.clients[3];
        const { rediscover } = listening._slots;
        let isTold = false;
        listening._slots.rediscover = function (/** @type {any} */ ...args) {
          if (isTold) return rediscover.apply(this, args);
          isTold = true;
          return rediscover.call(this, { options: { socket: { host: "127.0.0.1", port: stranger.port } } });
        };
        const [replica] = await cluster.replicas();
        await cluster.failover(replica);
        await waitFor(() => isTold, { timeout: 30_000, what: "the client to look for the slots" });
        await cluster.followed(pair.channel, "the subscription");
        await pair.flows();
        await pair.proves();
      } finally {
        await pair.close();
        await cluster.stop();
        await stranger.stop();
      }
    },
  );

  leavesNoRejection();
});

describe("clients of a cluster that read from replicas", function () {
  this.timeout(90_000);

  sideBySide(
    [
      ...["redis-4", "redis-5", "redis"].map((client) => ({
        ...{ name: `${client}: keep no connection to what was a master when they are closed`, client },
        looks: false,
      })),
      // 4 does not show how it looks.
      ...["redis-5", "redis"].map((client) => ({
        ...{ name: `${client}: keep none when they are closed while they look for the slots`, client },
        looks: true,
      })),
    ],
    async ({ client: name, looks }) => {
      const cluster = await startCluster({ masters: 1, replicas: 1, nodeTimeout: 5000 });
      const options = { useReplicas: true, defaults: { name: "reader" } };
      const make = () => makeClusterClient(name, cluster.nodes, options);
      const pair = new Pair(name, "createShardedAdapter", make);
      try {
        await pair.ready();
        const [replica] = await cluster.replicas();
        await cluster.failover(replica);
        await cluster.followed(pair.channel, "the subscription");
        await pair.flows();
        /** @type {Promise<void>[]} */
        const searches = [];
        await pair.close((client) => {
          // As after a command to a node that has the slot no more.
          if (looks) searches.push(client._slots.rediscover(client.masters[0].client));
        });
        await Promise.allSettled(searches);
        const readers = async () => {
          const lists = await Promise.all(cluster.nodes.map((node) => node.cli("CLIENT", "LIST")));
          return lists.join("").match(/ name=reader /g)?.length ?? 0;
        };
        await waitFor(async () => (await readers()) === 0, { what: "the connections to end" });
        // They can be used again.
        const [client] = pair.clients;
        await client.connect();
        assert.strictEqual(await client.get(pair.channel), null);
        await endClient(client);
      } finally {
        await pair.close();
        await cluster.stop();
      }
    },
  );

  leavesNoRejection();
});
