// @ts-check
"use strict";

/**
 * A user's client of a cluster subscribes to many rooms: what that costs grows as they do, and not as their square. Steps
 * are counted, not time.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createShardedAdapter } = /** @type {any} */ (require(".."));
const { endClient, makeClusterClient } = require("./fixtures/pairs");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");

const ROOMS = 3000;

/** How long it may take, in milliseconds, as everywhere: 1.4 s were measured, and 6.5 s beside two busy loops. */
const PATIENCE = 20_000;

/** How often the client's subscriptions are looked at in passing, in milliseconds: all of them, each time. */
const LOOK_EVERY = 250;

/** What hands out all names of a map. */
const PASSING = new Set(["entries", "forEach", "keys", "values", Symbol.iterator]);

/**
 * Has a client tell how many of its subscriptions are passed one by one.
 *
 * @param {any} client
 * @param {(count: number) => void} onPass
 */
function watch(client, onPass) {
  if (client.shardedSubscribers) {
    for (const one of client.shardedSubscribers.shardedSubscribers.values()) {
      const { subscriber } = one.getInstance().condition;
      const { channels } = subscriber;
      subscriber.channels = (/** @type {string} */ type) => {
        /** @type {string[]} */
        const names = channels.call(subscriber, type);
        onPass(names.length);
        return names;
      };
    }
    return;
  }
  for (const { pubSub } of client.masters) {
    const { getPubSubListeners } = pubSub.client;
    pubSub.client.getPubSubListeners = (/** @type {string} */ type) =>
      new Proxy(getPubSubListeners.call(pubSub.client, type), {
        get(map, key) {
          const value = Reflect.get(map, key, map);
          if (typeof value !== "function") return value;
          if (PASSING.has(key)) onPass(map.size);
          return value.bind(map);
        },
      });
  }
}

/** @param {string} name @param {number} count */
function roomsOf(name, count) {
  return new Set(Array.from({ length: count }, (_, n) => `${name}-${n}`));
}

describe("clients of a cluster and many rooms", function () {
  this.timeout(PATIENCE);

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  before(async () => void (cluster = await startCluster({ masters: 2, replicas: 0 })));
  after(() => cluster?.stop());

  /** How often the nodes have run SSUBSCRIBE. */
  async function subscribes() {
    const texts = await Promise.all(cluster.nodes.map((node) => node.cli("INFO", "commandstats")));
    const counts = texts.map((text) => /cmdstat_ssubscribe:calls=(\d+)/.exec(String(text))?.[1] ?? 0);
    return counts.reduce((sum, count) => sum + Number(count), 0);
  }

  /** How many channels of shards are listened to that begin so. @param {string} prefix */
  async function listened(prefix) {
    const lists = await Promise.all(
      cluster.nodes.map((node) => node.cli("PUBSUB", "SHARDCHANNELS", `${prefix}*`)),
    );
    return lists.flatMap((list) => [...list]).length;
  }

  for (const name of ["redis", "ioredis"]) {
    it(`${name}: a room costs one command, and no look at the others`, async () => {
      const clients = [1, 2].map(() => makeClusterClient(name, cluster.nodes).on("error", () => {}));
      const channelPrefix = `many-${name}`;
      const options = { channelPrefix, transport: "client", requestsTimeout: PATIENCE };
      const io = new Server({ adapter: createShardedAdapter(clients[0], clients[1], options) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      try {
        await adapter.ready;
        // By now the client has a connection to each node.
        adapter.addAll("s", roomsOf("early", 50));
        await adapter.subscribed();
        let passed = 0;
        watch(clients[1], (count) => void (passed += count));
        const before = await subscribes();
        adapter.addAll("s", roomsOf("room", ROOMS));
        await adapter.subscribed();
        assert.strictEqual(await listened(`${channelPrefix}#/#room-`), ROOMS);
        const asked = (await subscribes()) - before;
        assert.ok(asked <= 2 * ROOMS, `${asked} commands for ${ROOMS} rooms`);
        // There is no more time than for so many looks in passing. If each room looks at all others, it is millions.
        const most = ROOMS * (PATIENCE / LOOK_EVERY);
        assert.ok(passed <= most, `${passed} subscriptions were passed for ${ROOMS} rooms`);
      } finally {
        adapter.close();
        await new Promise((resolve) => setTimeout(resolve, 50));
        for (const client of clients) await endClient(client);
      }
    });
  }

  leavesNoRejection();
});
