// @ts-check
"use strict";

/**
 * Where Redis is, is said in the same ways to all that connect: the factories of the three adapters, the class of the
 * classic one, and the emitter.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter, RedisAdapter } = /** @type {any} */ (require(".."));
const { Emitter } = /** @type {any} */ (require("../emitter"));
const streams = /** @type {any} */ (require("../streams"));
const { leavesNoRejection } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { startSentinel } = require("./support/sentinel");
const { once } = require("./support/wait");

const HOST = "127.0.0.1";

/** What connects, by its name: makes the adapter of a server. @type {Record<string, (...args: any[]) => any>} */
const FACTORIES = {
  createAdapter,
  createShardedAdapter,
  "createAdapter of streams": streams.createAdapter,
  RedisAdapter: (...args) =>
    function (/** @type {any} */ nsp) {
      return new RedisAdapter(nsp, ...args);
    },
};

describe("where Redis is", function () {
  this.timeout(30_000);

  /** Whatever a test has opened. @type {(() => any)[]} */
  const cleanup = [];

  afterEach(async () => {
    for (const end of cleanup.splice(0).reverse()) await end();
  });

  /** A server with this adapter, once it hears the others. @param {any} adapter */
  async function serve(adapter) {
    const io = new Server({ adapter });
    const main = /** @type {any} */ (io.of("/").adapter);
    cleanup.push(() => main.close());
    await main.ready;
    return io;
  }

  /** Resolves once a server that was made so is heard by one that was made as we know. @param {any} adapter @param {any} known */
  async function meets(adapter, known) {
    const [one, other] = [await serve(adapter), await serve(known)];
    const heard = once(/** @type {any} */ (other), "hello");
    one.serverSideEmit("hello", 1);
    assert.deepStrictEqual(await heard, [1]);
  }

  /** The same of an emitter. @param {any} emitter @param {any} known */
  async function reaches(emitter, known) {
    cleanup.push(() => emitter.close());
    const io = await serve(known);
    const heard = once(/** @type {any} */ (io), "hello");
    emitter.serverSideEmit("hello", 1);
    assert.deepStrictEqual(await heard, [1]);
  }

  describe("one Redis", () => {
    /** @type {import("./support/redis").RedisServer} */
    let redis;

    before(async () => {
      redis = await startRedis({ unixSocket: true });
    });

    after(() => redis.stop());

    /** What stands in the place of the clients, and perhaps behind it. @type {Record<string, () => any[]>} */
    const forms = {
      "a URL": () => [redis.url],
      "a URL object": () => [new URL(redis.url)],
      "host:port": () => [`localhost:${redis.port}`],
      "a port": () => [redis.port],
      "a path": () => [redis.unixSocket],
      "{ host, port }": () => [{ host: HOST, port: redis.port }],
      "{ port }, as text": () => [{ port: String(redis.port) }],
      "{ path }": () => [{ path: redis.unixSocket }],
      "{ url }": () => [{ url: redis.url }],
      "{ url }, an object": () => [{ url: new URL(redis.url) }],
      "{ socket: { host, port } }": () => [{ socket: { host: HOST, port: redis.port } }],
      "{ socket: { path } }": () => [{ socket: { path: redis.unixSocket } }],
      "a URL and options": () => [redis.url, { requestsTimeout: 2000 }],
      "{ host, port } and options": () => [{ host: HOST, port: redis.port }, { requestsTimeout: 2000 }],
    };
    for (const [form, args] of Object.entries(forms)) {
      for (const [name, make] of Object.entries(FACTORIES)) {
        it(`${name}: ${form}`, () => meets(make(...args()), make(redis.url)));
      }
      it(`Emitter: ${form}`, () => {
        const [place, ...opts] = args();
        const { requestsTimeout: _, ...rest } = opts[0] ?? {};
        return reaches(new Emitter(place, ...(opts.length > 0 ? [rest] : [])), createAdapter(redis.url));
      });
    }

    it("options stand beside the address", async () => {
      const place = { host: HOST, port: redis.port };
      await meets(createAdapter({ ...place, key: "k" }), createAdapter(redis.url, { key: "k" }));
      await meets(
        createShardedAdapter({ ...place, channelPrefix: "k" }),
        createShardedAdapter(redis.url, { channelPrefix: "k" }),
      );
      await meets(
        streams.createAdapter({ ...place, channelPrefix: "k" }),
        streams.createAdapter(redis.url, { channelPrefix: "k" }),
      );
      await reaches(new Emitter({ ...place, key: "k" }), createAdapter(redis.url, { key: "k" }));
      assert.deepStrictEqual(Object.keys(new Emitter(place).opts).sort(), ["key", "parser"]);
    });

    it("clients among the options", async () => {
      const { createClient } = require("redis");
      const [pubClient, subClient] = [1, 2].map(() => createClient({ url: redis.url }));
      await Promise.all([pubClient, subClient].map((client) => client.connect()));
      cleanup.push(() => Promise.all([pubClient, subClient].map((client) => client.close())));
      const io = await serve(createShardedAdapter({ pubClient, subClient }));
      const adapter = /** @type {any} */ (io.of("/").adapter);
      assert.strictEqual(adapter.pubClient, pubClient);
      assert.strictEqual(adapter.subClient, subClient);
    });
  });

  describe("a cluster and sentinels", () => {
    /** @type {import("./support/cluster").RedisCluster} */
    let cluster;
    /** @type {any} */
    let sentinel;

    before(async () => {
      [cluster, sentinel] = await Promise.all([
        startCluster({ replicas: 0 }),
        startSentinel({ replicas: 1, sentinels: 1, password: "p@ss" }),
      ]);
    });

    after(() => Promise.all([cluster.stop(), sentinel.stop()]));

    const forms = {
      "{ cluster }": () => ({ cluster: cluster.nodes.map(({ port }) => ({ host: HOST, port })) }),
      "{ sentinels, name }": () => ({
        sentinels: sentinel.sentinels.map((/** @type {any} */ { port }) => ({ host: HOST, port })),
        name: sentinel.name,
        password: "p@ss",
      }),
    };
    for (const [form, place] of Object.entries(forms)) {
      for (const [name, make] of Object.entries(FACTORIES)) {
        it(`${name}: ${form}`, () => meets(make(place()), make(place())));
      }
      it(`Emitter: ${form}`, () => reaches(new Emitter(place()), createAdapter(place())));
    }
  });

  describe("is not made up", () => {
    /** A variable of the environment that is not set. @type {any} */
    const nothing = process.env.SURELY_NOT_SET_ANYWHERE;

    for (const [name, make] of Object.entries(FACTORIES)) {
      /** @type {Record<string, () => any>} */
      const wrong = {
        "a URL that is not set": () => make(nothing),
        "a URL that is not set, with options": () => make(nothing, { requestsTimeout: 100 }),
        "a URL that is empty": () => make(""),
        "an address without its URL": () => make({ url: nothing }),
        null: () => make(null),
        "no list of nodes": () => make({ cluster: "localhost:7000" }),
        "an empty list of nodes": () => make({ cluster: [] }),
        "a node that is none": () => make({ cluster: [null] }),
        "a sentinel that is none": () => make({ sentinels: [null], name: "m" }),
        "the options of createCluster": () => make({ host: "h", rootNodes: [] }),
        "a socket that is none": () => make({ socket: "localhost" }),
        "a strategy": () => make({ socket: { host: "h", reconnectStrategy: () => 1 } }),
      };
      for (const [what, call] of Object.entries(wrong)) {
        it(`${name}: ${what} is a TypeError that says so`, () => {
          const run = () => {
            const made = call();
            // The class is made with its namespace.
            if (name === "RedisAdapter") new Server({ adapter: made });
          };
          assert.throws(run, {
            name: "TypeError",
            message: /^((pub|sub|redis)Client|opts\.[\w[\]: .]+|the URL) (must|cannot) be/,
          });
        });
      }
    }

    it("a host without a value is localhost, as for clients, but not without a word: once for each place", () => {
      const { warn } = console;
      /** @type {string[]} */
      const said = [];
      console.warn = (/** @type {any[]} */ ...args) => void said.push(args.join(" "));
      const makers = [createAdapter, createShardedAdapter, streams.createAdapter, Emitter];
      const emitters = [];
      try {
        for (const make of /** @type {any[]} */ (makers)) {
          for (const host of [nothing, null, ""]) {
            const places = [
              { host },
              { host, port: nothing },
              { host, port: 1 },
              { socket: { host, port: 1 } },
              { cluster: [{ host, port: 1 }] },
              { sentinels: [{ host, port: 1 }], name: "master" },
            ];
            for (const place of places) {
              if (make === Emitter) emitters.push(new make(place));
              else assert.strictEqual(typeof make(place), "function");
            }
          }
          // Whoever leaves it out, means the default.
          if (make !== Emitter) make({ port: 1 });
        }
      } finally {
        for (const emitter of emitters) emitter.close({ timeout: 1 });
        console.warn = warn;
      }
      assert.deepStrictEqual(
        said.filter((line) => /opts\./.test(line)),
        ["host", "cluster[].host", "sentinels[].host"].map(
          (name) => `socket.io-redis: opts.${name} is undefined, so that Redis is looked for on 127.0.0.1`,
        ),
      );
    });

    it("an address without a value asks for the environment", () => {
      const makers = [createAdapter, createShardedAdapter, streams.createAdapter];
      for (const make of /** @type {any[]} */ (makers))
        for (const place of [
          nothing,
          "",
          { url: nothing },
          { url: "" },
          { path: nothing },
          { cluster: nothing },
        ])
          assert.throws(() => make(place), {
            name: "TypeError",
            message: /, got (undefined|"")\. Is an environment variable not set\?$/,
          });
      for (const place of ["", { url: nothing }, { url: "" }])
        assert.throws(() => new Emitter(/** @type {any} */ (place)), /Is an environment variable not set\?$/);
      // As with the reference, it can be made.
      assert.throws(() => new Emitter(nothing).emit("event"), /Is an environment variable not set\?$/);
    });

    it("a URL that is none is told once, with what it is", () => {
      const expected = "the URL must be redis://[user:password@]host[:port][/database] or redis+unix:///path";
      for (const [url, rest] of [
        ["foo bar", 'got "foo bar"'],
        ["redis://", 'got "redis://": Missing hostname'],
      ])
        assert.throws(() => createAdapter(url), { name: "TypeError", message: `${expected}, ${rest}` });
    });

    it("createAdapter() is localhost, as with socket.io-redis, where nothing is given; createShardedAdapter() throws", () => {
      assert.strictEqual(typeof createAdapter(), "function");
      assert.throws(() => createShardedAdapter(), { name: "TypeError", message: /^pubClient must be/ });
      assert.throws(() => createShardedAdapter({}), { name: "TypeError", message: /^subClient must be/ });
      assert.throws(() => streams.createAdapter(), { name: "TypeError", message: /^redisClient must be/ });
    });

    leavesNoRejection();
  });
});
