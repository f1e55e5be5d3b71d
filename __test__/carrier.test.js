// @ts-check
"use strict";

/**
 * What the user's clients do when they carry the bytes: whatever that is, nothing of it ends the process or keeps the
 * local sockets from their messages; and in a cluster subscriptions follow their slots.
 */

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const { Server } = require("socket.io");
const ours = /** @type {any} */ (require(".."));
const { leavesNoRejection } = require("./fixtures/suite");
const { expectExceptions } = require("./support/hooks");
const { slotOf, startCluster } = require("./support/cluster");
const { waitFor } = require("./support/wait");

/** What a method of a client that is out of order does. @type {Record<string, () => any>} */
const MISDEEDS = {
  throws: () => {
    throw new Error("thrown");
  },
  "throws nothing": () => {
    throw undefined;
  },
  rejects: () => Promise.reject(new Error("rejected")),
  "rejects with nothing": () => Promise.reject(),
  "returns nothing": () => undefined,
  "returns nonsense": () => Promise.resolve({ toString: null }),
  hangs: () => new Promise(() => {}),
};

/** The methods of each package's clients that an adapter calls. */
const STYLES = {
  redis: ["subscribe", "unsubscribe", "pSubscribe", "pUnsubscribe", "sPublish", "sSubscribe", "sUnsubscribe"],
  ioredis: [
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "spublish",
    "ssubscribe",
    "sunsubscribe",
  ],
};

describe("a client that is out of order", () => {
  for (const [style, methods] of Object.entries(STYLES)) {
    for (const [name, misdeed] of Object.entries(MISDEEDS)) {
      for (const kind of ["createAdapter", "createShardedAdapter"]) {
        it(`${style}: ${name}, ${kind}`, async () => {
          const exceptions = expectExceptions();
          const client = Object.assign(
            new EventEmitter(),
            Object.fromEntries(
              [...methods, "publish", "sendCommand", "call"].map((method) => [method, misdeed]),
            ),
          );
          const io = new Server({ adapter: ours[kind](client, client, { requestsTimeout: 50 }) });
          const adapter = /** @type {any} */ (io.of("/").adapter);
          /** @type {any[]} */
          const local = [];
          const socket = {
            ...{ id: "s", rooms: new Set(), handshake: {}, data: {} },
            ...{ join() {}, leave() {}, notifyOutgoingListeners() {} },
            client: { writeToEngine: () => local.push(1) },
          };
          adapter.nsp.sockets.set("s", socket);
          adapter.addAll("s", new Set(["s", "room"]));
          for (let n = 0; n < 3; n++) {
            io.emit("all", n);
            io.to("room").emit("room", Buffer.from([n]));
            io.serverSideEmit("hello");
            io.socketsJoin("other");
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
          // An answer, or an error that says why there is none: within its time.
          await Promise.race([
            io.fetchSockets().catch(() => {}),
            new Promise((resolve) => setTimeout(resolve, 500)),
          ]);
          assert.ok(local.length >= 6, `${local.length} local deliveries`);
          adapter.close();
          await new Promise((resolve) => setTimeout(resolve, 100));
          assert.deepStrictEqual(exceptions, []);
        });
      }
    }
  }
  leavesNoRejection();
});

describe("clients of a cluster carry", function () {
  this.timeout(60_000);

  /** Messages before, while and after something befalls the cluster. */
  const AFTER = 200;
  /** A message every so many milliseconds. */
  const EVERY = 5;

  /** @type {Record<string, (nodes: { port: number }[]) => any>} */
  const clusters = {
    ...Object.fromEntries(["redis-4", "redis-5", "redis"].map((name) => [name, nodeRedis(require(name))])),
    ...Object.fromEntries(
      ["ioredis-4", "ioredis-5", "ioredis"].map((name) => [name, ioRedis(require(name))]),
    ),
  };

  /** @param {any} redis */
  function nodeRedis({ createCluster }) {
    return (/** @type {{ port: number }[]} */ nodes) => {
      const rootNodes = nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }));
      const client = createCluster({ rootNodes });
      client.connect();
      return client;
    };
  }

  /** @param {any} ioredis */
  function ioRedis({ Cluster }) {
    return (/** @type {{ port: number }[]} */ nodes) =>
      new Cluster(
        nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
        { shardedSubscribers: true },
      );
  }

  /** Two servers, of which one sends numbers to a room, and the other has a socket in it. */
  class Pair {
    /** @type {number[]} */
    got = [];
    sent = 0;
    /** @type {NodeJS.Timeout | undefined} */
    #timer;

    /** @param {string} name @param {"createAdapter" | "createShardedAdapter"} kind */
    constructor(name, kind) {
      this.title = `${name}, ${kind}`;
      this.prefix = `carrier-${name}-${kind}`;
      const options = { key: this.prefix, channelPrefix: this.prefix, transport: "client" };
      this.clients = [1, 2, 3, 4].map(() => clusters[name](cluster.nodes).on("error", () => {}));
      const [a, b, c, d] = this.clients;
      [this.from, this.to] = [
        [a, b],
        [c, d],
      ].map(([pub, sub]) => new Server({ adapter: ours[kind](pub, sub, options) }));
      const socket = {
        ...{ id: "s", rooms: new Set(), handshake: {}, data: {} },
        ...{ join() {}, leave() {}, notifyOutgoingListeners() {} },
        client: { writeToEngine: (/** @type {any[]} */ [packet]) => this.got.push(numberIn(packet)) },
      };
      const adapter = this.adapterOf(this.to);
      adapter.nsp.sockets.set("s", socket);
      adapter.addAll("s", new Set(["s", "room"]));
      this.channel = kind === "createAdapter" ? `${this.prefix}#/#` : `${this.prefix}#/#room#`;
    }

    /** @param {Server} io @returns {any} */
    adapterOf(io) {
      return io.of("/").adapter;
    }

    async ready() {
      await Promise.all([this.from, this.to].map((io) => this.adapterOf(io).ready));
      await this.flows();
    }

    /** Resolves once messages come through. */
    async flows() {
      const first = this.sent;
      await waitFor(
        () => {
          this.one();
          return this.got.some((n) => n >= first);
        },
        { timeout: 30_000, what: `a message of ${this.title}` },
      );
    }

    one() {
      this.from.to("room").emit("n", this.sent++);
    }

    begin() {
      this.#timer = setInterval(() => this.one(), EVERY);
    }

    end() {
      clearInterval(this.#timer);
    }

    /** Sends some more, all of which have to come, in their order and once. */
    async proves() {
      const first = this.sent;
      for (let n = 0; n < AFTER; n++) {
        this.one();
        if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, EVERY));
      }
      await waitFor(() => this.got.includes(this.sent - 1), {
        timeout: 15_000,
        what: `the last of ${this.title}`,
      });
      assert.deepStrictEqual(
        this.got.filter((n) => n >= first),
        Array.from({ length: AFTER }, (_, n) => first + n),
        this.title,
      );
    }

    async close() {
      for (const io of [this.from, this.to]) this.adapterOf(io).close();
      await new Promise((resolve) => setTimeout(resolve, 50));
      await Promise.allSettled(
        this.clients.map(async (client) => {
          if (client.status !== undefined) client.disconnect();
          else if (client.destroy) client.destroy();
          else await client.disconnect();
        }),
      );
    }
  }

  /** @param {any} packet a frame, or the text of one */
  function numberIn(packet) {
    return Number(/"n",(\d+)\]/.exec(packet.toString("latin1"))?.[1]);
  }

  /** @type {import("./support/cluster").RedisCluster} */
  let cluster;
  /** @type {Pair[]} */
  let pairs;

  before(async () => {
    cluster = await startCluster();
    pairs = Object.keys(clusters).flatMap((name) => [
      new Pair(name, "createAdapter"),
      new Pair(name, "createShardedAdapter"),
    ]);
    await Promise.all(pairs.map((pair) => pair.ready()));
  });

  after(async () => {
    await Promise.all(pairs.map((pair) => pair.close()));
    await cluster.stop();
  });

  /** Has something happen under load, and then all that is sent arrive. @param {() => Promise<void>} happens */
  async function survive(happens) {
    for (const pair of pairs) pair.begin();
    await happens();
    for (const pair of pairs) pair.end();
    await Promise.all(pairs.map((pair) => pair.flows()));
    await Promise.all(pairs.map((pair) => pair.proves()));
  }

  it("and count each other", async () => {
    for (const pair of pairs) {
      await waitFor(async () => (await pair.adapterOf(pair.from).serverCount()) === 2, { what: pair.title });
    }
  });

  it("while the slots of busy channels move", () =>
    survive(async () => {
      for (const { channel } of pairs) {
        const owner = await cluster.ownerOf(channel);
        const other = (await cluster.masters()).find((node) => node !== owner);
        await cluster.moveSlot(slotOf(channel), /** @type {any} */ (other));
      }
    }));

  it("when a replica takes over", () =>
    survive(async () => {
      const [replica] = await cluster.replicas();
      await cluster.failover(replica);
    }));

  it("when a master is killed", () =>
    survive(async () => {
      const [victim] = await cluster.masters();
      await cluster.kill(victim);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await cluster.healed();
    }));

  it("when the connections that listen are killed", () => survive(() => cluster.clientKill("pubsub")));

  leavesNoRejection();
});
