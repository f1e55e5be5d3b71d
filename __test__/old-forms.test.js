// @ts-check
"use strict";

/**
 * The forms of socket.io-redis 5 and 6: what `createAdapter` takes, what it makes of it and what it refuses.
 */

const assert = require("node:assert");
const { Redis } = require("ioredis");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const redisAdapter = /** @type {any} */ (require(".."));
const forms = require("../lib/place/forms");
const { endClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { certificatesFor } = require("./support/certificates");
const { startRedis } = require("./support/redis");
const { startSentinel } = require("./support/sentinel");
const { once, waitFor } = require("./support/wait");

/** As `createAdapter` reads its arguments. @param {any[]} args */
function readForm(args) {
  return forms.readForm(args, { clients: 2, old: true });
}

describe("old forms", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {import("./support/redis").RedisServer} */
  let guarded;
  /** Whatever a test has opened. @type {(() => any)[]} */
  const cleanup = [];

  before(async () => {
    redis = await startRedis({ unixSocket: true });
    guarded = await startRedis({
      unixSocket: true,
      password: "p@ss",
      users: { alice: "on >s%cret ~* &* +@all", default: "on >p@ss ~* &* +@all" },
    });
  });

  afterEach(async () => {
    for (const end of cleanup.splice(0).reverse()) await end();
  });

  after(() => Promise.all([redis.stop(), guarded.stop()]));

  /** A server with this adapter, and its adapter once it hears the others. @param {any} adapter */
  async function serve(adapter) {
    const io = new Server({ adapter });
    const main = /** @type {any} */ (io.of("/").adapter);
    cleanup.push(() => main.close());
    await main.ready;
    return { io, main };
  }

  /** Resolves once a server with this adapter and one of today's form have heard each other. */
  async function meets(/** @type {any} */ adapter, server = redis, options = {}) {
    const { io, main } = await serve(adapter);
    const other = await serve(redisAdapter(server === redis ? redis.url : guarded.url, options));
    for (const [from, to] of [
      [io, other.io],
      [other.io, io],
    ]) {
      const heard = once(/** @type {any} */ (to), "hello");
      from.serverSideEmit("hello", 1);
      assert.deepStrictEqual(await heard, [1]);
    }
    return { io, main };
  }

  /** A client of `redis` that is connected. */
  async function client() {
    const made = createClient({ socket: { host: "127.0.0.1", port: redis.port } });
    made.on("error", () => {});
    await made.connect();
    cleanup.push(() => endClient(made));
    return made;
  }

  describe("connect", () => {
    const host = "127.0.0.1";

    /** @type {Record<string, () => any>} */
    const open = {
      "({ host, port })": () => redisAdapter({ host, port: redis.port }),
      "({ port }), as text": () => redisAdapter({ port: String(redis.port) }),
      "({ host, port }, undefined)": () => redisAdapter({ host, port: redis.port }, undefined),
      "({ host, port }, null)": () => redisAdapter({ host, port: redis.port }, null),
      "(undefined, { host, port })": () => redisAdapter(undefined, { host, port: redis.port }),
      "({ url })": () => redisAdapter({ url: redis.url }),
      "({ path })": () => redisAdapter({ path: redis.unixSocket }),
      "({ host, port, db })": () => redisAdapter({ host, port: redis.port, db: "2" }),
      "({ host, port, and what is of no consequence })": () =>
        redisAdapter({
          host,
          port: redis.port,
          no_ready_check: true,
          return_buffers: true,
          family: 4,
          ttl: 60,
        }),
      "(url)": () => redisAdapter(redis.url),
      "(a URL object)": () => redisAdapter(new URL(redis.url)),
      "(url, { … })": () => redisAdapter(redis.url, { requestsTimeout: 100 }),
      "(host:port)": () => redisAdapter(`localhost:${redis.port}`),
      "(//host:port/db)": () => redisAdapter(`//localhost:${redis.port}/1`),
      "(port)": () => redisAdapter(redis.port, { requestsTimeout: 100 }),
      "(path)": () => redisAdapter(redis.unixSocket),
    };
    for (const [form, make] of Object.entries(open)) it(form, () => meets(make()));

    /** @type {Record<string, () => any>} */
    const closed = {
      "({ host, port, auth_pass })": () => redisAdapter({ host, port: guarded.port, auth_pass: "p@ss" }),
      "({ host, port, password })": () => redisAdapter({ host, port: guarded.port, password: "p@ss" }),
      "({ host, port, user, password })": () =>
        redisAdapter({ host, port: guarded.port, user: "alice", password: "s%cret" }),
      "({ path, password })": () => redisAdapter({ path: guarded.unixSocket, password: "p@ss" }),
      "(url, { auth_pass })": () => redisAdapter(`redis://${host}:${guarded.port}`, { auth_pass: "p@ss" }),
      "(url with a password in its query)": () =>
        redisAdapter(`redis://${host}:${guarded.port}?password=p%40ss`),
      "(unix URL, { password })": () => redisAdapter(`unix://${guarded.unixSocket}`, { password: "p@ss" }),
      "({ url with a user })": () =>
        redisAdapter({ url: `redis://alice:${encodeURIComponent("s%cret")}@${host}:${guarded.port}` }),
    };
    for (const [form, make] of Object.entries(closed)) it(form, () => meets(make(), guarded));

    it("({ host, port, tls })", async () => {
      const secret = await startRedis({ tls: {} });
      cleanup.push(() => secret.stop());
      const { ca } = certificatesFor();
      const options = { host: "localhost", port: secret.port };
      const { io } = await serve(redisAdapter({ ...options, tls: { ca } }));
      const other = await serve(redisAdapter(`rediss://localhost:${secret.port}`, { tls: { ca } }));
      const heard = once(/** @type {any} */ (other.io), "hello");
      io.serverSideEmit("hello", 1);
      assert.deepStrictEqual(await heard, [1]);
      // Without the CA it is nobody's.
      const stranger = new Server({ adapter: redisAdapter({ ...options, tls: {} }) });
      const adapter = /** @type {any} */ (stranger.of("/").adapter);
      cleanup.push(() => adapter.close());
      const [error] = await once(adapter, "error");
      assert.match(error.message, /certificate/i);
    });

    it("({ sentinels, name })", async () => {
      const sentinel = await startSentinel({ replicas: 1, sentinels: 1, password: "p@ss" });
      cleanup.push(() => sentinel.stop());
      const sentinels = sentinel.sentinels.map(({ port }) => ({ host, port }));
      const options = { sentinels, name: sentinel.name, password: "p@ss" };
      const [one, other] = [await serve(redisAdapter(options)), await serve(redisAdapter(options))];
      const heard = once(/** @type {any} */ (other.io), "hello");
      one.io.serverSideEmit("hello", 1);
      assert.deepStrictEqual(await heard, [1]);
    });

    it("({ host, port, password: () => … })", () => {
      let asked = 0;
      const password = async () => {
        asked++;
        return "p@ss";
      };
      return meets(redisAdapter({ host, port: guarded.port, password }), guarded).then(() => {
        assert.ok(asked >= 1);
      });
    });

    it("() means localhost", () => {
      const settings = { host: "127.0.0.1", port: 6379 };
      for (const args of [[], [{}], [{}, undefined]]) {
        assert.deepStrictEqual(readForm(args).settings, settings);
      }
      assert.strictEqual(typeof redisAdapter(), "function");
    });

    it("with a key, apart from those without", async () => {
      await meets(redisAdapter({ host, port: redis.port, key: "k" }), redis, { key: "k" });
      const { main } = await serve(redisAdapter({ host, port: redis.port }));
      assert.strictEqual(await main.serverCount(), 1);
    });
  });

  describe("take clients", () => {
    it("({ pubClient, subClient, key })", async () => {
      const [pubClient, subClient] = [await client(), await client()];
      const adapter = redisAdapter({ pubClient, subClient, key: "c", requestsTimeout: 700 });
      const { main } = await meets(adapter, redis, { key: "c" });
      assert.strictEqual(main.pubClient, pubClient);
      assert.strictEqual(main.subClient, subClient);
      assert.strictEqual(main.requestsTimeout, 700);
    });

    it("({ pubClient, subClient, host, port }): the clients count", async () => {
      const [pubClient, subClient] = [await client(), await client()];
      await meets(redisAdapter({ pubClient, subClient, host: "example.invalid", port: 1 }));
    });

    it("(url, { pubClient, subClient }): the clients count", async () => {
      const [pubClient, subClient] = [await client(), await client()];
      await meets(redisAdapter("redis://example.invalid:1", { pubClient, subClient }));
    });

    for (const transport of ["native", "client"]) {
      for (const name of ["pubClient", "subClient"]) {
        it(`({ ${name} }) alone makes the other one, which ends with it (${transport})`, async () => {
          const given = await client();
          const { main } = await meets(redisAdapter({ [name]: given, transport }));
          assert.strictEqual(main[name], given);
          const twin = name === "pubClient" ? main.subClient : main.pubClient;
          assert.notStrictEqual(twin, given);
          assert.ok(twin.isOpen);
          main.close();
          await given.close();
          await waitFor(() => !twin.isOpen, { what: "the other one to end" });
        });
      }
    }

    it("({ pubClient }) of ioredis", async () => {
      const pubClient = new Redis(redis.port, "127.0.0.1");
      cleanup.push(() => pubClient.disconnect());
      const { main } = await meets(redisAdapter({ pubClient, transport: "client" }));
      pubClient.disconnect();
      await waitFor(() => main.subClient.status === "end", { what: "the other one to end" });
    });

    it("({ pubClient, host, port }) connects to the address", async () => {
      const pubClient = createClient({ socket: { host: "127.0.0.1", port: 1 } });
      const { main } = await meets(redisAdapter({ pubClient, host: "127.0.0.1", port: redis.port }));
      assert.strictEqual(main.pubClient, pubClient);
      assert.strictEqual(main.transport.carrier, "native");
    });
  });

  describe("say where to connect", () => {
    /** @type {[string, any[], object][]} */
    const forms = [
      ["a host alone", [{ host: "h" }], { host: "h", port: 6379 }],
      ["an empty port", [{ host: "h", port: "" }], { host: "h", port: 6379 }],
      ["a path before a host", [{ host: "h", path: "/s" }], { path: "/s" }],
      [
        "auth_pass before password",
        [{ auth_pass: "a", password: "b" }],
        { host: "127.0.0.1", port: 6379, password: "a" },
      ],
      ["an empty password", [{ password: "" }], { host: "127.0.0.1", port: 6379 }],
      [
        "username",
        [{ username: "u", password: "p" }],
        { host: "127.0.0.1", port: 6379, username: "u", password: "p" },
      ],
      ["db", [{ db: 3 }], { host: "127.0.0.1", port: 6379, database: 3 }],
      [
        "a URL over options",
        ["redis://u:p%40@h:1/2", { host: "x", password: "y", db: 9 }],
        { host: "h", port: 1, username: "u", password: "p@", database: 2 },
      ],
      ["a query", ["redis://h?db=2&password=p"], { host: "h", port: 6379, password: "p", database: 2 }],
      ["IPv6", ["[::1]:7", {}], { host: "::1", port: 7 }],
      [
        "sentinels",
        [{ sentinels: [{ host: "a", port: 1 }, { host: "b" }], name: "m", password: "p" }],
        {
          sentinel: {
            name: "m",
            nodes: [
              { host: "a", port: 1 },
              { host: "b", port: 26379 },
            ],
          },
          password: "p",
        },
      ],
      [
        "sentinels with a password of their own",
        [{ sentinels: [{ host: "a" }], name: "m", sentinelUsername: "u", sentinelPassword: "p" }],
        { sentinel: { name: "m", nodes: [{ host: "a", port: 26379 }], username: "u", password: "p" } },
      ],
    ];
    for (const [name, args, settings] of forms) {
      it(name, () => assert.deepStrictEqual(readForm(args).settings, settings));
    }

    it("TLS", () => {
      const { ca } = certificatesFor();
      const tls = { ca, servername: "s", rejectUnauthorized: false, host: "t", port: 2 };
      assert.deepStrictEqual(readForm([{ host: "h", tls }]).settings, {
        host: "t",
        port: 2,
        tls: { ca: [ca], serverName: "s", verify: false },
      });
      for (const args of [["rediss://h"], ["rediss://h", { db: 0 }], [{ host: "h", tls: true }]]) {
        const { settings } = readForm(args);
        assert.strictEqual(settings?.tls?.verify, true);
        // Whom Node.js trusts.
        assert.ok((settings?.tls?.ca.length ?? 0) > 10);
      }
    });

    it("a password that is a function is asked for", async () => {
      const { settings } = readForm([{ user: "u", password: async () => "p" }]);
      assert.deepStrictEqual(await settings?.credentials?.(), { username: "u", password: "p" });
    });
  });

  describe("refuse what they cannot do", () => {
    /** @type {[any[], RegExp][]} */
    const refused = [
      [[{ retry_strategy: () => 1 }], /opts\.retry_strategy cannot be honoured/],
      [["redis://localhost", { retry_strategy: () => 1 }], /opts\.retry_strategy cannot be honoured/],
      [[{ rename_commands: {} }], /opts\.rename_commands cannot/],
      [[{ enable_offline_queue: false }], /enable_offline_queue: false cannot.*maxBacklogBytes/],
      [[{ family: 6, host: "localhost" }], /family: 6 cannot/],
      [[{ tls: { pfx: "x" } }], /opts\.tls: .*pfx/],
      [["rediss://h", { tls: { ciphers: "x" } }], /opts\.tls: .*ciphers/],
      [[{ path: "/s", tls: {} }], /opts\.tls cannot.*unix socket/],
      [
        [{ sentinels: [{ host: "a" }], name: "m", sentinelPassword: 12345 }],
        /opts\.sentinelPassword must be/,
      ],
      [[{ tls: "yes" }], /opts\.tls must be an object/],
      [[{ port: "x" }], /opts\.port must be a number, got "x"/],
      [[{ port: 65536 }], /opts\.port must be/],
      [[{ host: 7 }], /opts\.host must be a string/],
      [[{ db: "main" }], /opts\.db must be a number/],
      [[{ password: 12345 }], /opts\.password must be a string, got "number"/],
      [[{ sentinels: [{ host: "a" }] }], /opts\.name must be the name/],
      [[{ sentinels: "a", name: "m" }], /opts\.sentinels must be a list/],
      [[{ pubClient: {} }], /two clients, or one that has duplicate/],
      [[{ host: "h", key: {} }], /opts\.key must be a string/],
      [[{ url: "http://h" }], /redis:\/\//],
      [[undefined, undefined], /pubClient must be a client/],
    ];
    for (const [args, message] of refused) {
      it(String(message), () => {
        assert.throws(
          () => redisAdapter(...args),
          (error) => {
            assert.ok(error instanceof TypeError, String(error));
            assert.match(error.message, message);
            assert.ok(!error.message.includes("12345"));
            return true;
          },
        );
      });
    }
  });

  describe("show and tell", () => {
    it("the fields of old, on the adapter and on what makes it", async () => {
      const factory = redisAdapter({ host: "127.0.0.1", port: redis.port, key: "k", requestsTimeout: 9 });
      const { main } = await serve(factory);
      for (const it of [main, factory]) {
        assert.strictEqual(it.prefix, "k");
        assert.strictEqual(it.requestsTimeout, 9);
        assert.strictEqual(typeof it.pubClient.on, "function");
        assert.strictEqual(typeof it.subClient.on, "function");
      }
      assert.match(main.uid, /^[\w-]{6}$/);
    });

    it("connect, disconnect and error, once for an outage, on the adapter and on its clients", async () => {
      const mine = await startRedis();
      cleanup.push(() => mine.stop());
      const factory = redisAdapter({ host: "127.0.0.1", port: mine.port });
      const io = new Server({ adapter: factory });
      const adapters = ["/", "/other"].map((name) => /** @type {any} */ (io.of(name).adapter));
      cleanup.push(() => adapters.forEach((adapter) => adapter.close()));
      /** @type {string[]} */
      const seen = [];
      for (const event of ["connect", "disconnect", "error"]) {
        adapters[0].on(event, (/** @type {Error} */ error) => {
          seen.push(event);
          if (event !== "connect") assert.ok(error instanceof Error);
        });
      }
      for (const event of ["connect", "end", "error"]) {
        factory.pubClient.on(event, () => seen.push(`pubClient ${event}`));
      }
      await Promise.all(adapters.map(({ ready }) => ready));
      assert.deepStrictEqual([...seen].sort(), ["connect", "pubClient connect"]);
      seen.length = 0;
      await mine.kill();
      await waitFor(() => seen.length >= 4, { what: "the outage to be told" });
      const back = adapters.map((adapter) => once(adapter, "connect", 10_000));
      await mine.restart();
      await Promise.all(back);
      assert.deepStrictEqual(seen.sort(), [
        "connect",
        "disconnect",
        "error",
        "pubClient connect",
        "pubClient end",
        "pubClient error",
      ]);
    });

    it("an outage that nobody listens to ends nobody", async () => {
      const mine = await startRedis();
      cleanup.push(() => mine.stop());
      const { main } = await serve(redisAdapter({ port: mine.port }));
      const told = once(main, "degraded");
      await mine.kill();
      await told;
    });

    leavesNoRejection();
  });
});
