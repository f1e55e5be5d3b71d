// @ts-check
"use strict";

/**
 * The emitter: what it puts on the wire is what that of the reference does, byte for byte; and what it promises beyond
 * that: it can be awaited, counts what has become of its messages, and never throws for Redis' sake.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { Redis } = require("ioredis");
const notepack = require("notepack.io");
const { createClient } = require("redis");
const reference = require("@socket.io/redis-emitter");
const ours = require("../emitter");
const { ARGUMENTS, TARGETS, bytes } = require("./fixtures/events");
const { Node, endClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { connectClient, endClient: closeClient } = require("./support/connect");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** @typedef {{ channel: string, hex: string }} Message */

/** Calls that publish something, by what is special about them. @type {Record<string, (emitter: any) => unknown>} */
const CALLS = {};
for (const [what, args] of Object.entries(ARGUMENTS))
  CALLS[`an event with ${what}`] = (emitter) => emitter.emit("event", ...args);
for (const [what, target] of Object.entries(TARGETS)) {
  // Emitters have no timeout.
  if (what.includes("timeout")) continue;
  CALLS[`an event to ${what}`] = (emitter) => target(emitter).emit("event", 1, "a", bytes(3), new Date(5));
  CALLS[`a join of ${what}`] = (emitter) => target(emitter).socketsJoin(["x", 5]);
  CALLS[`a leave of ${what}`] = (emitter) => target(emitter).socketsLeave("x");
  CALLS[`a disconnect of ${what}`] = (emitter) => target(emitter).disconnectSockets(true);
}
Object.assign(CALLS, {
  "an event of another namespace": (/** @type {any} */ emitter) =>
    emitter.of("chat").to("r").emit("event", 1),
  "an event of a namespace with a slash": (/** @type {any} */ emitter) =>
    emitter.of("/chat").emit("event", 1),
  "an event of a namespace of a namespace": (/** @type {any} */ emitter) =>
    emitter.of("/a").of("b").emit("event"),
  "an event with a number for a name": (/** @type {any} */ emitter) => emitter.emit(5, 1),
  "an event without a name": (/** @type {any} */ emitter) => emitter.emit(),
  "rooms that are named twice": (/** @type {any} */ emitter) =>
    emitter.to("a").in(["a", "b"]).except("c").except(["c", "d"]).emit("event"),
  "volatile, compress and volatile": (/** @type {any} */ emitter) =>
    emitter.volatile.compress(true).to("a").volatile.emit("event"),
  "a disconnect that leaves the connections": (/** @type {any} */ emitter) => emitter.disconnectSockets(),
  "an event to the servers": (/** @type {any} */ emitter) =>
    emitter.serverSideEmit("event", 1, { a: [null, "é"] }, new Date(5)),
  "an event to the servers with bytes": (/** @type {any} */ emitter) =>
    emitter.serverSideEmit("event", bytes(3)),
  "a flush of the rooms, as it were": (/** @type {any} */ emitter) => emitter.in([]).emit("event"),
});

/** A client that keeps what it is given. */
class Recorder {
  /** @type {[string, any][]} */
  calls = [];

  /** @param {string} channel @param {any} payload */
  publish(channel, payload) {
    this.calls.push([channel, payload]);
  }

  /** @returns {Message[]} */
  get messages() {
    return this.calls.map(([channel, payload]) => ({ channel, hex: Buffer.from(payload).toString("hex") }));
  }
}

/** What the reference publishes for a call. @param {(emitter: any) => unknown} call @param {any} [opts] */
function wanted(call, opts) {
  const client = new Recorder();
  call(new reference.Emitter(client, opts));
  return client.messages;
}

describe("the emitter", () => {
  it("has the names that the reference exports", async () => {
    assert.deepStrictEqual(Object.keys(ours).sort(), Object.keys(reference).sort());
    assert.deepStrictEqual([...ours.RESERVED_EVENTS], [...reference.RESERVED_EVENTS]);
    const imported = await import("../emitter.mjs");
    assert.strictEqual(imported.Emitter, ours.Emitter);
    for (const [name, type] of Object.entries({
      Emitter: ours.Emitter,
      BroadcastOperator: ours.BroadcastOperator,
    })) {
      const theirs = Object.getOwnPropertyNames(reference[/** @type {"Emitter"} */ (name)].prototype);
      for (const method of theirs) assert.ok(method in type.prototype, `${name}.${method}`);
    }
  });

  it("needs nothing of Socket.IO, which is not there where there is no server", () => {
    const script = `
      const Module = require("node:module");
      const resolve = Module._resolveFilename;
      Module._resolveFilename = function (name, ...rest) {
        if (/^socket\\.io/.test(name)) throw new Error(name + " is not there");
        return resolve.call(this, name, ...rest);
      };
      const { Emitter } = require("./emitter");
      console.log(new Emitter({ publish: () => process.stdout.write("published ") }).emit("event"));
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], {
      cwd: path.join(__dirname, ".."),
    });
    assert.deepStrictEqual([String(stdout), String(stderr)], ["published true\n", ""]);
  });

  it("has the fields of the reference's", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client, { key: "k" }, "/nsp");
    assert.strictEqual(emitter.redisClient, client);
    assert.strictEqual(emitter.nsp, "/nsp");
    assert.strictEqual(/** @type {any} */ (emitter.opts).key, "k");
    assert.strictEqual(/** @type {any} */ (new ours.Emitter(client).opts).key, "socket.io");
    assert.strictEqual(emitter.of("a").nsp, "/a");
    assert.strictEqual(emitter.of("/a").redisClient, client);
    assert.deepStrictEqual(emitter.of("a").opts, emitter.opts);
  });

  it("makes another operator with each call", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client);
    const room = emitter.to("a");
    assert.ok(room instanceof ours.BroadcastOperator);
    room.to("b").except("c").volatile.compress(true).emit("others");
    room.emit("event");
    assert.deepStrictEqual(
      client.messages.slice(1),
      wanted((theirs) => theirs.to("a").emit("event")),
    );
  });

  it("goes its own way though an operator of another client has its options", () => {
    const make = () => {
      /** @type {string[]} */
      const calls = [];
      const note = (/** @type {string} */ name) => (/** @type {string} */ channel) =>
        void calls.push(`${name} ${channel}`);
      return { calls, publish: note("publish"), spublish: note("spublish") };
    };
    const [mine, theirs] = [make(), make()];
    const emitter = new ours.Emitter(mine, { mode: "sharded", channelPrefix: "p" });
    const other = new ours.BroadcastOperator(theirs, /** @type {any} */ (emitter).broadcastOptions);
    emitter.to("room").emit("event");
    other.to("room").emit("event");
    emitter.to("room").emit("event");
    assert.deepStrictEqual(mine.calls, ["spublish p#/#room#", "spublish p#/#room#"]);
    assert.deepStrictEqual(theirs.calls, ["spublish p#/#room#"]);
  });

  it("rejects reserved names and callbacks", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client);
    for (const name of reference.RESERVED_EVENTS) {
      const message = `"${String(name)}" is a reserved event name`;
      assert.throws(() => emitter.emit(String(name)), { message });
      assert.throws(() => emitter.to("a").emit(String(name)), { message });
    }
    const message = "Acknowledgements are not supported";
    assert.throws(() => emitter.serverSideEmit("event", () => {}), { message });
    assert.throws(() => emitter.emit("event", 1, () => {}), { message });
    assert.deepStrictEqual(client.calls, []);
  });

  it("throws for what cannot be sent, at once", () => {
    for (const opts of [{}, { mode: /** @type {const} */ ("sharded") }]) {
      const client = { publish() {}, spublish() {} };
      const emitter = new ours.Emitter(client, opts);
      assert.throws(() => emitter.emit("event", 1n));
      /** @type {any} */
      const circular = {};
      circular.circular = circular;
      assert.throws(() => emitter.emit("event", circular));
    }
  });

  it("says what is wrong with its arguments", () => {
    /** @type {any} */
    const Any = ours.Emitter;
    for (const mode of ["sharded", "streams"])
      for (const client of [undefined, null, {}])
        assert.throws(() => new Any(client, { mode }), {
          name: "TypeError",
          message: /^redisClient must be a client/,
        });
    assert.throws(() => new Any("http://localhost"), {
      name: "TypeError",
      message: /the URL must be redis:/,
    });
    const client = new Recorder();
    for (const [opts, message] of /** @type {[any, RegExp][]} */ ([
      [5, /opts must be an object/],
      [{ mode: "all" }, /opts.mode must be/],
      [{ key: {} }, /opts.key must be a string/],
      [{ parser: {} }, /opts.parser must be an object with encode/],
      [{ transport: "rust" }, /opts.transport must be/],
      [{ transport: "native" }, /opts.transport cannot be "native"/],
      [{ mode: "sharded" }, /has no sPublish/],
      [{ mode: "streams" }, /cannot/],
      [{ mode: "streams", streamCount: 0 }, /opts.streamCount must be/],
    ]))
      assert.throws(() => new Any(client, opts), { name: "TypeError", message });
  });

  it("without a client can be made, as the reference's, and throws where something is to be sent", async () => {
    /** @type {any} */
    const Any = ours.Emitter;
    for (const args of [[], [undefined], [null], [{}], [() => {}], [null, { key: "k" }, "/nsp"]]) {
      const emitter = new Any(...args);
      assert.strictEqual(emitter.redisClient, args[0]);
      const targets = [emitter, emitter.of("chat"), emitter.to("r").except("s").volatile.compress(true)];
      for (const target of targets) {
        for (const send of [
          () => target.emit("event"),
          () => target.socketsJoin("r"),
          () => target.socketsLeave("r"),
          () => target.disconnectSockets(),
        ])
          assert.throws(send, { name: "TypeError", message: /^redisClient must be a client/ });
      }
      assert.throws(() => emitter.serverSideEmit("event"), /^TypeError: redisClient must be a client/);
      assert.strictEqual(emitter.stats(), null);
      assert.match(emitter.transport.reason, /redisClient must be a client/);
      assert.strictEqual((await emitter.flush()).sent, 0);
      assert.strictEqual((await emitter.close()).sent, 0);
    }
  });

  describe("gives a client that only publishes, in the same tick,", () => {
    for (const [what, call] of Object.entries(CALLS)) {
      it(what, () => {
        const client = new Recorder();
        const returned = call(new ours.Emitter(client));
        assert.deepStrictEqual(client.messages, wanted(call));
        assert.strictEqual(returned, call(new reference.Emitter(new Recorder())));
      });
    }

    it("strings where the reference does", () => {
      const client = new Recorder();
      const emitter = new ours.Emitter(client);
      emitter.socketsJoin("a");
      emitter.serverSideEmit("event");
      emitter.emit("event");
      assert.deepStrictEqual(
        client.calls.map(([, payload]) => typeof payload),
        ["string", "string", "object"],
      );
    });

    it("what a parser makes of it", () => {
      const parsers = [
        { encode: (/** @type {any} */ value) => JSON.stringify(value) },
        { encode: (/** @type {any} */ value) => Buffer.from(JSON.stringify(value)) },
        { encode: (/** @type {any} */ value) => new Uint8Array(notepack.encode(value)) },
      ];
      for (const parser of parsers) {
        for (const call of Object.values(CALLS)) {
          const client = new Recorder();
          call(new ours.Emitter(client, { parser, key: "k" }));
          assert.deepStrictEqual(client.messages, wanted(call, { parser, key: "k" }));
        }
      }
    });

    it("what becomes of it is known", async () => {
      let n = 0;
      const client = {
        publish() {
          if (++n === 2) throw new Error("the second one");
          return n === 3 ? Promise.reject(new Error("the third one")) : 7;
        },
      };
      const emitter = new ours.Emitter(client);
      emitter.emit("event");
      assert.deepStrictEqual(await emitter.flush(), {
        sent: 1,
        receivers: 7,
        refused: 0,
        lost: 0,
        pending: 0,
      });
      emitter.emit("event");
      emitter.emit("event");
      emitter.emit("event");
      await assert.rejects(emitter.flush(), {
        message: "2 of 3 messages have not reached Redis: 2 refused (the third one)",
        refused: 2,
        sent: 1,
        receivers: 7,
      });
      assert.deepStrictEqual(await emitter.close(), {
        sent: 0,
        receivers: 0,
        refused: 0,
        lost: 0,
        pending: 0,
      });
    });

    leavesNoRejection();
  });

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

  describe("when Redis refuses or is away", function () {
    this.timeout(30_000);

    const WAYS = /** @type {const} */ (["url", "native", "client"]);

    /** @param {typeof WAYS[number]} way @param {import("./support/redis").RedisServer} redis @param {(emitter: any) => Promise<void>} use @param {any} [opts] */
    async function withEmitter(way, redis, use, opts = {}) {
      const user = "emitter";
      const made =
        way === "url"
          ? null
          : createClient({ socket: { host: "127.0.0.1", port: redis.port }, username: user, password: user });
      await made?.on("error", () => {}).connect();
      const emitter = made
        ? new ours.Emitter(made, { ...opts, transport: way })
        : new ours.Emitter(redis.url.replace("//", `//${user}:${user}@`), opts);
      try {
        await use(emitter);
      } finally {
        await emitter.close({ timeout: 100 }).catch(() => {});
        if (made?.isReady) await made.close();
        else made?.destroy();
      }
    }

    const users = { emitter: "on >emitter ~* &allowed* +@all" };

    for (const way of WAYS) {
      it(`flush() tells of what is refused: ${way}`, async () => {
        const redis = await startRedis({ users });
        try {
          await withEmitter(way, redis, async (emitter) => {
            for (let i = 0; i < 3; i++) assert.strictEqual(emitter.emit("event", i), true);
            await assert.rejects(emitter.flush(), (/** @type {any} */ error) => {
              assert.match(
                error.message,
                /^3 of 3 messages have not reached Redis: 3 refused \(NOPERM .*\)$/,
              );
              assert.deepStrictEqual(
                { ...error },
                { sent: 0, receivers: 0, refused: 3, lost: 0, pending: 0 },
              );
              return true;
            });
            assert.strictEqual((await emitter.flush()).refused, 0, "it was told");
            emitter.emit("event", "again");
            // Nobody looks at these.
            emitter.flush();
            emitter.emit("event", "and again");
            emitter.close();
          });
        } finally {
          await redis.stop();
        }
      });
    }

    it("tells all those who wait of a loss", async () => {
      const redis = await startRedis({ users });
      try {
        await withEmitter("url", redis, async (emitter) => {
          emitter.emit("event");
          const results = await Promise.allSettled([
            emitter.flush(),
            emitter.flush(),
            emitter.of("/a").flush(),
          ]);
          assert.deepStrictEqual(
            results.map(({ status }) => status),
            ["rejected", "rejected", "rejected"],
          );
        });
      } finally {
        await redis.stop();
      }
    });

    for (const way of WAYS) {
      it(`what is emitted in an outage arrives when the servers are back: ${way}`, async () => {
        const redis = await startRedis({
          users: { ...users, emitter: "on >emitter ~* &* +@all", default: "on nopass ~* &* +@all" },
        });
        const node = new Node({ redis: { port: redis.port } });
        try {
          await node.ready();
          const socket = await node.connect();
          /** @type {number[]} */
          const got = [];
          socket.on("n", (/** @type {number} */ n) => got.push(n));
          await redis.cli("CONFIG", "RESETSTAT");
          await withEmitter(way, redis, async (emitter) => {
            await waitFor(() => emitter.transport.proven);
            await waitFor(() => countsIn(redis), { what: "the emitter to count the servers" });
            // The answer to that comes before the one to this.
            emitter.emit("n", 0);
            assert.strictEqual((await emitter.flush()).receivers, 1);
            await redis.kill();
            await waitFor(() => emitter.stats().outages > 0, { what: "the outage" });
            for (let n = 1; n <= 1000; n++) emitter.emit("n", n);
            await assert.rejects(emitter.flush({ timeout: 50 }), { pending: 1000 });
            await redis.restart();
            const result = await emitter.flush();
            assert.deepStrictEqual(
              [result.sent, result.receivers],
              [1000, 1000],
              JSON.stringify(emitter.stats()),
            );
            await waitFor(() => got.includes(1000), { what: "the last event" });
            assert.deepStrictEqual(
              got,
              Array.from({ length: 1001 }, (_, n) => n),
            );
          });
        } finally {
          await node.close();
          await redis.stop();
        }
      });
    }

    for (const way of WAYS) {
      it(`what is added to a stream in an outage is there once, in order: ${way}`, async () => {
        const redis = await startRedis({
          users: { emitter: "on >emitter ~* &* +@all", default: "on nopass ~* &* +@all" },
          extra: { appendonly: "yes" },
        });
        try {
          await withEmitter(
            way,
            redis,
            async (emitter) => {
              emitter.emit("n", 0);
              assert.deepStrictEqual(await emitter.flush(), {
                sent: 1,
                receivers: null,
                refused: 0,
                lost: 0,
                pending: 0,
              });
              await waitFor(() => emitter.transport.proven);
              await redis.kill();
              await waitFor(() => emitter.stats().outages > 0, { what: "the outage" });
              for (let n = 1; n <= 1000; n++) emitter.emit("n", n);
              await assert.rejects(emitter.flush({ timeout: 50 }), { pending: 1000 });
              await redis.restart();
              assert.strictEqual((await emitter.flush()).sent, 1000);
              const entries = await redis.cli("XRANGE", "socket.io", "-", "+");
              assert.deepStrictEqual(
                entries.map((/** @type {any} */ [, fields]) => JSON.parse(String(fields[7])).packet.data[1]),
                Array.from({ length: 1001 }, (_, n) => n),
              );
            },
            { mode: "streams", maxLen: 100_000 },
          );
        } finally {
          await redis.stop();
        }
      });
    }

    it("drops the oldest beyond the bound, and says how many", async () => {
      const port = await freePort();
      const emitter = new ours.Emitter(`redis://127.0.0.1:${port}`, { maxBacklogBytes: 10_000 });
      for (let i = 0; i < 100; i++) emitter.emit("event", "x".repeat(900));
      await assert.rejects(emitter.flush({ timeout: 300 }), (/** @type {any} */ error) => {
        assert.ok(error.lost >= 88 && error.lost + error.pending === 100, error.message);
        return true;
      });
      const redis = await startRedis({ port });
      try {
        const result = await emitter.close();
        assert.ok(result.sent >= 5 && result.sent <= 12, JSON.stringify(result));
      } finally {
        await redis.stop();
      }
    });

    it("says what is lost when the client has ended", async () => {
      const redis = await startRedis();
      const made = new Redis(redis.port);
      const emitter = new ours.Emitter(made);
      emitter.emit("event");
      await emitter.flush();
      await waitFor(() => emitter.transport.proven);
      made.disconnect();
      await once(made, "end").catch(() => {});
      await waitFor(async () => (await countConnections(redis)) === 1, { what: "the connections to end" });
      assert.strictEqual(emitter.emit("event"), true);
      await assert.rejects(emitter.close(), { lost: 1, message: /: 1 lost \(.+\)$/ });
      await redis.stop();
    });

    it("takes its own connections for granted only if they reach the same Redis", async () => {
      const redis = await startRedis();
      const made = createClient({ url: redis.url });
      await made.connect();
      // As through a tunnel: the options lead elsewhere.
      const elsewhere = await freePort();
      const shown = new Proxy(made, {
        get(target, name) {
          if (name === "options")
            return { ...target.options, socket: { host: "127.0.0.1", port: elsewhere } };
          const value = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const emitter = new ours.Emitter(shown);
      emitter.emit("event");
      assert.strictEqual((await emitter.flush()).sent, 1);
      assert.strictEqual(emitter.transport.carrier, "client");
      await emitter.close();
      await made.close();
      await redis.stop();
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

/** Whether somebody has counted subscribers. @param {import("./support/redis").RedisServer} redis */
async function countsIn(redis) {
  return String(await redis.cli("INFO", "commandstats")).includes("cmdstat_pubsub|numsub");
}

/** @param {import("./support/redis").RedisServer} redis */
async function countConnections(redis) {
  return String(await redis.cli("CLIENT", "LIST"))
    .trim()
    .split("\n").length;
}
