// @ts-check
"use strict";

/**
 * The emitter on a Redis and on a cluster: what it puts on the wire, who counts it, and when it is through.
 */

const assert = require("node:assert");
const { setTimeout: sleep } = require("node:timers/promises");
const { Redis } = require("ioredis");
const notepack = require("notepack.io");
const { createClient } = require("redis");
const ours = require("../emitter");
const { CALLS, wanted } = require("./fixtures/emitter-calls");
const { endClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { connectClient, endClient: closeClient } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

describe("the emitter", () => {
  describe("on a Redis", () => {
    /** @type {import("./support/redis").RedisServer} */
    let redis;
    /** @type {Redis} */
    let subscriber;
    /** @type {Message[]} */
    let messages;
    /** What is to be closed after a test. @type {(() => any)[]} */
    const endings = [];

    before(async () => {
      redis = await startRedis();
      subscriber = new Redis(redis.port);
      subscriber.on("pmessageBuffer", (_, channel, payload) =>
        messages.push({ channel: String(channel), hex: payload.toString("hex") }),
      );
      await subscriber.psubscribe("*");
    });

    beforeEach(() => {
      messages = [];
    });

    afterEach(async () => {
      for (const end of endings.splice(0).reverse()) await end();
    });

    after(async () => {
      await subscriber.quit();
      await redis.stop();
    });

    /** @param {any} clientOrUrl @param {import("../emitter").EmitterOptions} [opts] */
    function open(clientOrUrl, opts) {
      const emitter = new ours.Emitter(clientOrUrl, opts);
      endings.push(() => emitter.close().catch(() => {}));
      return emitter;
    }

    /** @param {string} name of a package @param {any} [options] @returns {Promise<any>} */
    async function client(name, options) {
      if (name === "redis-3") {
        const made = require(name).createClient({ port: redis.port, ...options });
        endings.push(() => new Promise((resolve) => made.quit(resolve)));
        return made;
      }
      const made = name.startsWith("io")
        ? new (require(name))({ port: redis.port, host: "127.0.0.1" })
        : await connectClient(/** @type {any} */ (name), redis);
      // redis 4 has no close().
      endings.push(() => (made.close ?? made.quit).call(made));
      return made;
    }

    const all = Object.values(CALLS);
    const PACKAGES = [
      "redis-3",
      "redis-4",
      "redis-5",
      "redis",
      "ioredis-4",
      "ioredis-5",
      "ioredis",
      "iovalkey",
    ];
    /** @type {[string, "auto" | "native" | "client"][]} */
    const WAYS = PACKAGES.flatMap((name) =>
      (name === "redis-3"
        ? /** @type {const} */ (["auto"])
        : /** @type {const} */ (["auto", "native", "client"])
      ).map((transport) => /** @type {[string, "auto"]} */ ([name, transport])),
    );

    for (const [name, transport] of WAYS) {
      it(`puts on the wire what the reference does: ${name}, ${transport}`, async () => {
        const emitter = open(await client(name), { transport });
        for (const call of all) call(emitter);
        const { sent, receivers, ...rest } = await emitter.flush();
        assert.deepStrictEqual([sent, receivers], [all.length, all.length]);
        assert.deepStrictEqual(rest, { refused: 0, lost: 0, pending: 0 });
        await waitFor(
          () => messages.filter((one) => one.channel.startsWith("socket.io")).length >= all.length,
        );
        const got = messages.filter(({ channel }) => !channel.includes("emitter-"));
        assert.deepStrictEqual(
          got,
          all.flatMap((call) => wanted(call)),
        );
        const carrier = name === "redis-3" || transport === "client" ? "client" : "native";
        assert.strictEqual(emitter.transport.carrier, carrier);
        assert.strictEqual(emitter.transport.proven, true);
      });
    }

    it("puts on the wire what the reference does: a URL", async () => {
      const emitter = open(redis.url);
      for (const call of all) call(emitter);
      assert.strictEqual((await emitter.flush()).sent, all.length);
      await waitFor(() => messages.length >= all.length);
      assert.deepStrictEqual(
        messages,
        all.flatMap((call) => wanted(call)),
      );
    });

    it("is counted by nobody, and listens to nothing but the proof", async () => {
      const emitter = open(await client("redis"));
      emitter.emit("event");
      emitter.of("/other").emit("event");
      await emitter.flush();
      await waitFor(() => emitter.transport.proven);
      await waitFor(async () => (await redis.cli("PUBSUB", "CHANNELS", "*")).length === 0);
      assert.strictEqual(await redis.cli("PUBSUB", "NUMPAT"), 1, "that of the test");
    });

    it("needs no more of an ACL user than to publish", async () => {
      await redis.cli(
        "ACL",
        "SETUSER",
        "poster",
        "on",
        ">poster",
        "resetchannels",
        "&socket.io*",
        "-@all",
        "+publish",
        "+hello",
        "+client",
        "+info",
      );
      const made = createClient({ url: redis.url.replace("//", "//poster:poster@") });
      await made.on("error", () => {}).connect();
      endings.push(() => made.close());
      for (const emitter of [open(redis.url.replace("//", "//poster:poster@")), open(made)]) {
        emitter.emit("event");
        assert.strictEqual((await emitter.flush()).sent, 1);
      }
    });

    it("ends its own connections, and not the user's client", async () => {
      const made = await client("redis");
      const connections = async () =>
        String(await redis.cli("CLIENT", "LIST"))
          .trim()
          .split("\n").length;
      const before = await connections();
      const emitter = open(made);
      emitter.emit("event");
      await emitter.flush();
      assert.ok((await connections()) > before);
      await emitter.close();
      await waitFor(async () => (await connections()) === before);
      assert.strictEqual(await made.ping(), "PONG");
      const another = open(made);
      another.emit("event");
      assert.strictEqual((await another.flush()).sent, 1, "of the same client");
    });

    it("is closed for good", async () => {
      const emitter = open(redis.url);
      const other = emitter.of("other");
      const room = emitter.to("room");
      emitter.emit("event");
      const closing = emitter.close();
      const message = "the emitter is closed";
      for (const act of [
        () => emitter.emit("event"),
        () => room.emit("event"),
        () => other.to("a").socketsJoin("b"),
        () => room.socketsLeave("b"),
        () => emitter.disconnectSockets(),
        () => emitter.serverSideEmit("event"),
      ])
        assert.throws(act, { message });
      assert.strictEqual((await closing).sent, 1);
      assert.strictEqual(emitter.close(), other.close());
      assert.strictEqual(emitter.flush(), emitter.close());
      assert.strictEqual(emitter.stats(), null);
    });

    it("is shared by the emitters of a client, and ends with the last", async () => {
      const made = await client("ioredis");
      const [a, b] = [open(made), open(made, { key: "k" })];
      a.emit("event");
      b.emit("event");
      assert.strictEqual((await a.flush()).sent, 2);
      assert.strictEqual((await b.flush()).sent, 2, "the numbers are of the client");
      await a.close();
      b.emit("event");
      assert.strictEqual((await b.close()).sent, 1);
    });

    it("can be disposed of", async function () {
      if (Symbol.asyncDispose === undefined) return void this.skip();
      const emitter = open(redis.url);
      emitter.emit("event");
      assert.strictEqual(await emitter[Symbol.asyncDispose](), undefined);
      await waitFor(() => messages.length === 1);
      assert.throws(() => emitter.emit("event"), /closed/);
    });

    it("knows many namespaces at a time, and forgets none of their messages", async () => {
      const emitter = open(redis.url);
      const first = emitter.of("/0");
      for (let i = 0; i < 2500; i++) emitter.of(`/${i}`).emit("event", i);
      first.emit("last");
      assert.strictEqual((await emitter.flush()).sent, 2501);
      await waitFor(() => messages.length === 2501);
      assert.deepStrictEqual(
        messages.map(({ channel }) => channel),
        [...Array.from({ length: 2500 }, (_, i) => `socket.io#/${i}#`), "socket.io#/0#"],
      );
    });

    for (const name of ["redis", "ioredis"]) {
      for (const transport of /** @type {const} */ (["auto", "client"])) {
        it(`sends by a client that connects later: ${name}, ${transport}`, async () => {
          const made =
            name === "redis"
              ? createClient({ url: redis.url })
              : new Redis(redis.port, { lazyConnect: true, enableOfflineQueue: true });
          made.on("error", () => {});
          endings.push(() => endClient(made));
          const emitter = open(made, { transport });
          emitter.emit("event");
          await sleep(50);
          if (name === "redis") assert.strictEqual(messages.length, 0);
          await /** @type {any} */ (made).connect().catch(() => {});
          assert.strictEqual((await emitter.flush()).sent, 1);
        });
      }
    }

    it("sends by a client without a queue of its own", async () => {
      for (const transport of /** @type {const} */ (["auto", "client"])) {
        const made = new Redis(redis.port, { enableOfflineQueue: false });
        endings.push(() => made.quit());
        const emitter = open(made, { transport });
        emitter.emit("event");
        assert.strictEqual((await emitter.flush()).sent, 1);
      }
    });

    it("tells in time what is not answered", async () => {
      const emitter = open(redis.url);
      emitter.emit("event");
      await emitter.flush();
      redis.pause();
      try {
        emitter.emit("event");
        emitter.emit("event");
        await assert.rejects(emitter.flush({ timeout: 50 }), {
          message: "2 of 2 messages have not reached Redis: 2 not answered in time",
          pending: 2,
        });
      } finally {
        redis.resume();
      }
      assert.strictEqual((await emitter.flush()).sent, 2, "they have arrived since");
      await waitFor(() => messages.length === 3, { what: "all three" });
    });

    it("keeps what is emitted behind a flush for after it, and loses none", async () => {
      const emitter = open(redis.url);
      const flushes = [];
      for (let i = 0; i < 500; i++) {
        emitter.emit("event", i);
        if (i % 3 === 0) flushes.push(emitter.flush());
      }
      await Promise.all([...flushes, emitter.flush()]);
      await waitFor(() => messages.length === 500);
      const order = messages.map(({ hex }) => notepack.decode(Buffer.from(hex, "hex"))[1].data[1]);
      assert.deepStrictEqual(
        order,
        Array.from({ length: 500 }, (_, i) => i),
      );
    });

    leavesNoRejection();
  });

  describe("on a cluster", function () {
    this.timeout(60_000);
    /** @type {import("./support/cluster").RedisCluster} */
    let cluster;

    before(async () => {
      cluster = await startCluster();
    });

    after(() => cluster.stop());

    for (const name of /** @type {const} */ (["redis", "ioredis"])) {
      for (const transport of /** @type {const} */ (["auto", "client"])) {
        for (const mode of /** @type {const} */ (["classic", "sharded"])) {
          it(`sends to all nodes: ${name}, ${transport}, ${mode}`, async () => {
            const made = await connectClient(name, cluster);
            const emitter = new ours.Emitter(made, { transport, mode });
            try {
              for (let i = 0; i < 100; i++) emitter.to(`room ${i}`).emit("event", i);
              assert.strictEqual((await emitter.flush()).sent, 100);
            } finally {
              await emitter.close();
              await closeClient(made);
            }
          });
        }
      }
    }

    leavesNoRejection();
  });
});
