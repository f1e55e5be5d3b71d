// @ts-check
"use strict";

/**
 * Redis dies with publishes of a user's client on the way, which sends them again as soon as it is back, before all
 * servers listen again: those who have missed something get it, or it is counted, and nobody gets it twice.
 */

const assert = require("node:assert");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const ours = /** @type {any} */ (require(".."));
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

/** So many are on the way when Redis dies. */
const COUNT = 30;

/** So long a client does not connect again by itself, in milliseconds: the tests say when. */
const NEVER = 60_000;

/** @typedef {"createAdapter" | "createShardedAdapter"} Kind */

/** A server whose clients connect again when they are told to, and a socket that notes the numbers it gets. */
class Peer {
  /** @type {number[]} */
  got = [];

  /** @param {Kind} kind @param {number} port */
  constructor(kind, port) {
    [this.pub, this.sub] = [1, 2].map(() =>
      new Redis(port, { retryStrategy: () => NEVER }).on("error", () => {}),
    );
    this.io = new Server({ adapter: ours[kind](this.pub, this.sub, { transport: "client" }) });
    const socket = {
      ...{ id: "s", rooms: new Set(), handshake: {}, data: {} },
      ...{ join() {}, leave() {}, notifyOutgoingListeners() {} },
      client: {
        writeToEngine: (/** @type {any[]} */ [packet]) =>
          this.got.push(Number(/"n",(-?\d+)\]/.exec(packet.toString("latin1"))?.[1])),
      },
    };
    this.adapter.nsp.sockets.set("s", /** @type {any} */ (socket));
    this.adapter.addAll("s", new Set(["s"]));
  }

  /** @returns {any} */
  get adapter() {
    return this.io.of("/").adapter;
  }

  close() {
    this.adapter.close();
    for (const client of [this.pub, this.sub]) client.disconnect();
  }
}

for (const kind of /** @type {Kind[]} */ (["createAdapter", "createShardedAdapter"])) {
  describe(`${kind}: what a client publishes again by itself`, function () {
    this.timeout(30_000);

    /** @type {import("./support/redis").RedisServer} */
    let redis;
    /** @type {Peer[]} */
    let peers;

    beforeEach(async () => void (redis = await startRedis()));
    afterEach(async () => {
      for (const peer of peers) peer.close();
      await redis.stop();
    });

    async function listeners() {
      if (kind === "createAdapter")
        return String(await redis.cli("CLIENT", "LIST")).split(" psub=1 ").length - 1;
      return Number((await redis.cli("PUBSUB", "SHARDNUMSUB", "socket.io#/#"))[1]);
    }

    /** @param {Peer} peer @param {number} count */
    async function listens(peer, count) {
      await peer.sub.connect();
      await waitFor(async () => (await listeners()) === count, { what: `${count} to listen` });
    }

    /** Starts so many servers, and has Redis die when the first has sent what it has not answered. @param {number} count */
    async function die(count) {
      peers = Array.from({ length: count }, () => new Peer(kind, redis.port));
      await Promise.all(peers.map(({ adapter }) => adapter.ready));
      const [{ io, adapter, pub }] = peers;
      let probes = 0;
      await waitFor(
        () => {
          io.emit("n", (probes -= 1));
          return peers.every(({ got }) => got.length > 0);
        },
        { what: "all to hear" },
      );
      await waitFor(() => peers.every(({ got }) => got.at(-1) === probes), {
        what: "all to have heard it all",
      });
      // So it knows for whom to wait.
      await waitFor(async () => (await adapter.serverCount()) === count, { what: "all to be counted" });
      const open = () => adapter.stats().published - adapter.stats().acknowledged;
      await waitFor(() => open() === 0, { what: "all to be answered" });
      for (const peer of peers) peer.got.length = 0;
      redis.pause();
      for (let n = 1; n <= COUNT; n++) io.emit("n", n);
      assert.strictEqual(open(), COUNT);
      await redis.kill();
      const clients = peers.flatMap((peer) => [peer.pub, peer.sub]);
      await waitFor(() => clients.every(({ status }) => status === "reconnecting"), {
        what: "the clients to notice",
      });
      await redis.restart();
      return pub;
    }

    /** The first server publishes again. */
    async function publishAgain() {
      await peers[0].pub.connect();
      const isDone = async () =>
        Number(/cmdstat_s?publish:calls=(\d+)/.exec(String(await redis.cli("INFO", "commandstats")))?.[1]) >=
        COUNT;
      await waitFor(isDone, { what: "all to be published again" });
    }

    /** All the rest are back, and what is sent then arrives everywhere. @param {Peer[]} rest */
    async function heal(rest) {
      await Promise.all(
        rest.flatMap(({ pub, sub }) =>
          [pub, sub].map((client) => client.status === "reconnecting" && client.connect()),
        ),
      );
      peers[0].io.emit("n", COUNT + 1);
      for (const { got } of peers)
        await waitFor(() => got.includes(COUNT + 1), { what: `the last, after ${got}` });
      // What waits to hear itself is answered for in the end.
      const isSettled = () => {
        const { published, acknowledged, backlog } = peers[0].adapter.stats();
        return backlog === 0 && published === acknowledged;
      };
      await waitFor(isSettled, { what: "all to be answered for" });
    }

    const all = Array.from({ length: COUNT + 1 }, (_, n) => n + 1);

    it("goes again if only the server itself has heard it", async () => {
      await die(2);
      const [self, other] = peers;
      await listens(self, 1);
      await publishAgain();
      await heal([other]);
      assert.deepStrictEqual(other.got, all);
      assert.strictEqual(self.adapter.stats().early, 0);
    });

    it("is counted if some have heard it and others not", async () => {
      await die(3);
      const [self, early, late] = peers;
      await listens(self, 1);
      await listens(early, 2);
      await publishAgain();
      await heal([early, late]);
      assert.deepStrictEqual(early.got, all);
      assert.deepStrictEqual(late.got, [COUNT + 1]);
      assert.strictEqual(self.adapter.stats().early, COUNT);
    });

    it("does not go again if it may be another that has heard it", async () => {
      await die(2);
      const [self, other] = peers;
      await listens(other, 1);
      await publishAgain();
      await listens(self, 2);
      await heal([other]);
      assert.deepStrictEqual(other.got, all);
      assert.strictEqual(self.adapter.stats().early, COUNT);
    });

    leavesNoRejection();
  });
}
