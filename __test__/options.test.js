// @ts-check
"use strict";

/**
 * What createAdapter takes, what it refuses and in which words, and what an adapter shows.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const createAdapterItself = require("..");
const { KINDS, Node, countSubscribers, endClient, makeClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const { createAdapter, RedisAdapter } = /** @type {any} */ (createAdapterItself);

/** Makes what only looks like a client. @param {string[]} methods */
function mock(methods) {
  return Object.fromEntries(methods.map((name) => [name, () => {}]));
}

const IOREDIS = ["publish", "on", "subscribe", "unsubscribe", "psubscribe"];

describe("options", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {any[]} */
  let clients;

  before(async () => {
    redis = await startRedis();
    clients = [1, 2].map(() => makeClient("node-redis", { port: redis.port }));
    await waitFor(() => clients.every(({ isReady }) => isReady));
  });

  after(async () => {
    await Promise.all(clients.map(endClient));
    await redis.stop();
  });

  /** Makes a server with an adapter, and closes it. @param {any} adapter @param {(adapter: any) => void} [look] */
  async function withAdapter(adapter, look = () => {}) {
    const io = new Server({ adapter });
    const main = /** @type {any} */ (io.of("/").adapter);
    try {
      await main.ready;
      await look(main);
    } finally {
      main.close();
    }
  }

  describe("wrong arguments are TypeErrors that say what was expected", () => {
    /** @type {[string, () => any, RegExp][]} */
    const wrong = [
      [
        "nothing",
        () => createAdapter(undefined, undefined),
        /pubClient must be a client of the redis or ioredis package.*undefined/,
      ],
      ["no subClient", () => createAdapter(clients[0]), /subClient must be .*undefined/],
      ["null", () => createAdapter(null, null), /pubClient must be .*null/],
      ["a number", () => createAdapter(6379, 6379), /pubClient must be .*number 6379/],
      ["a port as subClient", () => createAdapter(clients[0], 6379), /subClient must be .*6379/],
      ["a function", () => createAdapter(() => {}, clients[1]), /pubClient must be .*function/],
      ["empty objects", () => createAdapter({}, {}), /pubClient must be .*no publish\(\)/],
      [
        "a subClient without methods",
        () => createAdapter(clients[0], {}),
        /subClient must be .*no subscribe\(\)/,
      ],
      ...IOREDIS.map(
        (name) =>
          /** @type {[string, () => any, RegExp]} */ ([
            `clients without ${name}()`,
            () => {
              const client = mock(IOREDIS.filter((other) => other !== name));
              return createAdapter(client, client);
            },
            new RegExp(`Client must be .*no ${name}\\(\\)`),
          ]),
      ),
      [
        "options that are a string",
        () => createAdapter(...clients, "key"),
        /opts must be an object, got "key"/,
      ],
      [
        "NaN as key",
        () => createAdapter(...clients, { key: NaN }),
        /opts.key must be a string, got number NaN/,
      ],
      ["an object as key", () => createAdapter(...clients, { key: {} }), /opts.key must be a string/],
      [
        "text as timeout",
        () => createAdapter(...clients, { requestsTimeout: "5s" }),
        /opts.requestsTimeout must be a number of milliseconds, got "5s"/,
      ],
      [
        "NaN as timeout",
        () => createAdapter(...clients, { requestsTimeout: NaN }),
        /opts.requestsTimeout must be .*NaN/,
      ],
      [
        "a negative timeout",
        () => createAdapter(...clients, { requestsTimeout: -1 }),
        /opts.requestsTimeout must be .*-1/,
      ],
      [
        "a parser without decode()",
        () => createAdapter(...clients, { parser: { encode() {} } }),
        /opts.parser must be an object with encode\(\) and decode\(\)/,
      ],
      [
        "text as parser",
        () => createAdapter(...clients, { parser: "msgpack" }),
        /opts.parser must be .*"msgpack"/,
      ],
      [
        "another transport",
        () => createAdapter(...clients, { transport: "rust" }),
        /opts.transport must be "auto", "native" or "client", got "rust"/,
      ],
      [
        "true as transport",
        () => createAdapter(...clients, { transport: true }),
        /opts.transport must be .*true/,
      ],
      ...["maxBacklogBytes", "maxInboxBytes"].flatMap((name) =>
        ["1MB", -1, NaN, {}].map(
          (value) =>
            /** @type {[string, () => any, RegExp]} */ ([
              `${JSON.stringify(value) ?? value} (${value}) as ${name}`,
              () => createAdapter(...clients, { [name]: value }),
              new RegExp(`opts.${name} must be a number of bytes`),
            ]),
        ),
      ),
      ["an empty URL", () => createAdapter(""), /URL|redis:\/\//],
      ["no URL", () => createAdapter("not a url"), /redis:\/\//],
      ["a URL of something else", () => createAdapter("http://localhost:6379"), /redis:\/\//],
      ["a URL without host and port", () => createAdapter("redis://:abc@:x"), /redis:\/\//],
      ["a port out of range", () => createAdapter("redis://localhost:99999"), /redis:\/\/|port/],
      [
        "a database that is no number",
        () => createAdapter("redis://localhost:6379/main"),
        /redis:\/\/|database/,
      ],
      [
        "wrong options with a URL",
        () => createAdapter("redis://localhost:6379", { key: true }),
        /opts.key must be a string/,
      ],
    ];
    for (const [name, make, message] of wrong) {
      it(name, () => {
        assert.throws(make, (error) => {
          assert.ok(error instanceof TypeError, `not a TypeError: ${error}`);
          assert.match(error.message, message);
          return true;
        });
      });
    }

    it("no password of a URL is repeated", () => {
      assert.throws(
        () => createAdapter("redis://user:secret@localhost:port"),
        (error) => error instanceof TypeError && !error.message.includes("secret"),
      );
    });

    it("transport native where it cannot be", () => {
      const client = mock(IOREDIS);
      assert.throws(
        () => createAdapter(client, client, { transport: "native" }),
        /TypeError|cannot be "native"/,
      );
    });
  });

  describe("what an adapter shows", () => {
    it("has the fields of the reference", async () => {
      await withAdapter(createAdapter(...clients), (adapter) => {
        assert.ok(adapter instanceof RedisAdapter);
        assert.match(adapter.uid, /^[A-Za-z0-9_-]{6}$/);
        assert.strictEqual(adapter.pubClient, clients[0]);
        assert.strictEqual(adapter.subClient, clients[1]);
        assert.strictEqual(adapter.requestsTimeout, 5000);
        assert.strictEqual(adapter.publishOnSpecificResponseChannel, false);
        assert.strictEqual(typeof adapter.parser.encode, "function");
        assert.strictEqual(typeof adapter.parser.decode, "function");
        assert.deepStrictEqual([adapter.requests.size, adapter.ackRequests.size], [0, 0]);
        assert.deepStrictEqual(Object.keys(adapter.transport).sort(), ["carrier", "proven", "reason"]);
      });
    });

    it("shows the options that were given", async () => {
      const parser = {
        encode: (/** @type {any} */ it) => Buffer.from(JSON.stringify(it)),
        decode: JSON.parse,
      };
      const options = { key: "k", requestsTimeout: 700, publishOnSpecificResponseChannel: true, parser };
      await withAdapter(createAdapter(...clients, options), async (adapter) => {
        assert.strictEqual(adapter.requestsTimeout, 700);
        assert.strictEqual(adapter.publishOnSpecificResponseChannel, true);
        assert.strictEqual(adapter.parser, parser);
        assert.strictEqual(await countSubscribers(redis, `k-response#/#${adapter.uid}#`), 1);
      });
    });

    it("takes undefined and null for the defaults", async () => {
      for (const nothing of [undefined, null]) {
        const names = ["key", "requestsTimeout", "parser", "transport", "maxBacklogBytes", "maxInboxBytes"];
        const options = Object.fromEntries(names.map((name) => [name, nothing]));
        await withAdapter(createAdapter(...clients, options), (adapter) => {
          assert.strictEqual(adapter.requestsTimeout, 5000);
        });
        await withAdapter(createAdapter(...clients, nothing));
      }
    });

    it("takes Infinity for no bound", async () => {
      const options = { requestsTimeout: Infinity, maxBacklogBytes: Infinity, maxInboxBytes: Infinity };
      await withAdapter(createAdapter(...clients, options), async (adapter) => {
        assert.deepStrictEqual(await adapter.allRooms(), new Set());
      });
    });

    it("has a uid of its own in each namespace", async () => {
      const io = new Server({ adapter: createAdapter(...clients) });
      const adapters = ["/", "/a", "/b"].map((name) => /** @type {any} */ (io.of(name).adapter));
      await Promise.all(adapters.map(({ ready }) => ready));
      assert.strictEqual(new Set(adapters.map(({ uid }) => uid)).size, 3);
      for (const adapter of adapters) adapter.close();
    });

    it("is callable, with everything as its properties", async () => {
      assert.strictEqual(typeof createAdapterItself, "function");
      assert.strictEqual(createAdapter, createAdapterItself);
      assert.strictEqual(typeof RedisAdapter, "function");
      await withAdapter(/** @type {any} */ (createAdapterItself)(...clients));
    });

    it("may be made by its constructor", async () => {
      class Mine extends RedisAdapter {}
      await withAdapter(
        /** @type {any} */ (
          function (/** @type {any} */ nsp) {
            return new /** @type {any} */ (Mine)(nsp, clients[0], clients[1], { key: "mine" });
          }
        ),
        async (adapter) => {
          assert.ok(adapter instanceof Mine);
          assert.strictEqual(await adapter.serverCount(), 1);
        },
      );
    });
  });

  describe("key", () => {
    it("keeps servers with different keys apart, and those with the same together", async () => {
      const nodes = ["one", "two", "one"].map(
        (key) => new Node({ redis: { port: redis.port }, options: { key } }),
      );
      await Promise.all(nodes.map((node) => node.ready()));
      await waitFor(async () => (await nodes[0].adapter.serverCount()) === 2);
      assert.strictEqual(await nodes[1].adapter.serverCount(), 1);
      /** @type {number[][]} */
      const received = [[], [], []];
      for (const [index, node] of nodes.entries()) {
        (await node.connect()).on("n", (/** @type {number} */ n) => received[index].push(n));
      }
      nodes[0].io.emit("n", 0);
      nodes[1].io.emit("n", 1);
      nodes[2].io.emit("n", 2);
      await waitFor(() => received[0].length === 2 && received[1].length === 1 && received[2].length === 2);
      assert.deepStrictEqual(
        received.map((list) => list.sort()),
        [[0, 2], [1], [0, 2]],
      );
      assert.deepStrictEqual(
        (await Promise.all(nodes.map((node) => node.io.fetchSockets()))).map((s) => s.length),
        [2, 1, 2],
      );
      await Promise.all(nodes.map((node) => node.close()));
    });

    it("is no glob (D11)", async () => {
      const keys = ["a*", "ab", "a[bc]", "a?"];
      const nodes = keys.map((key) => new Node({ redis: { port: redis.port }, options: { key } }));
      await Promise.all(nodes.map((node) => node.ready()));
      /** @type {Record<string, string[]>} */
      const received = Object.fromEntries(keys.map((key) => [key, []]));
      for (const [index, node] of nodes.entries()) {
        (await node.connect()).on("n", (/** @type {string} */ from) => received[keys[index]].push(from));
      }
      // A server of its own for each emit: what comes has come by Redis.
      const senders = keys.map((key) => new Node({ redis: { port: redis.port }, options: { key } }));
      await Promise.all(senders.map((node) => node.ready()));
      for (const [index, node] of senders.entries()) node.io.emit("n", keys[index]);
      await waitFor(() => keys.every((key) => received[key].length > 0));
      assert.deepStrictEqual(received, Object.fromEntries(keys.map((key) => [key, [key]])));
      await Promise.all([...nodes, ...senders].map((node) => node.close()));
    });
  });

  describe("where to connect", () => {
    /** @type {import("./support/redis").RedisServer} */
    let guarded;
    /** @type {import("./support/redis").RedisServer} */
    let users;

    before(async () => {
      guarded = await startRedis({ password: "p@ss/wörd:#1", unixSocket: true });
      users = await startRedis({
        unixSocket: true,
        users: { alice: "on >s%cret ~* &* +@all", default: "off" },
      });
    });

    after(() => Promise.all([guarded.stop(), users.stop()]));

    /**
     * Resolves once two servers have heard of each other.
     *
     * @param {any} one
     * @param {any} other
     * @param {import("./support/redis").RedisServer} server
     */
    async function meets(one, other, server) {
      const [a, b] = [one, other].map((adapter) => new Server({ adapter }));
      const adapters = [a, b].map((io) => /** @type {any} */ (io.of("/").adapter));
      try {
        await Promise.all(adapters.map(({ ready }) => ready));
        const heard = once(/** @type {any} */ (b), "hello");
        a.serverSideEmit("hello", 1);
        assert.deepStrictEqual(await heard, [1]);
        assert.strictEqual(await adapters[0].serverCount(), 2);
        assert.strictEqual(await countSubscribers(server, "socket.io-request#/#"), 2);
      } finally {
        for (const adapter of adapters) adapter.close();
      }
    }

    it("a URL", () =>
      meets(createAdapter(redis.url), createAdapter(`redis://localhost:${redis.port}/`), redis));

    it("a URL with a password", () => meets(createAdapter(guarded.url), createAdapter(guarded.url), guarded));

    it("a URL with a user", () => {
      const url = `redis://alice:${encodeURIComponent("s%cret")}@127.0.0.1:${users.port}`;
      return meets(createAdapter(url), createAdapter(url), users);
    });

    it("a URL with a database, which pub/sub does not know", () =>
      meets(createAdapter(`${redis.url}/3`), createAdapter(redis.url), redis));

    it("a socket file", () => {
      const url = `unix://${guarded.unixSocket}?pass=${encodeURIComponent("p@ss/wörd:#1")}`;
      return meets(createAdapter(url), createAdapter(guarded.url), guarded);
    });

    it("a wrong password is told, and kept secret", async () => {
      const io = new Server({ adapter: createAdapter(`redis://:not-it@127.0.0.1:${guarded.port}`) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      const [error] = await once(adapter, "degraded");
      assert.match(error.message, /WRONGPASS/);
      assert.ok(!error.message.includes("not-it"));
      adapter.close();
    });

    it("a Redis that is not there is told", async () => {
      const io = new Server({ adapter: createAdapter(`redis://127.0.0.1:${await freePort()}`) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      const [error] = await once(adapter, "degraded");
      assert.match(error.message, /connect/);
      adapter.close();
    });

    for (const kind of KINDS) {
      it(`${kind} clients with a user, a password or a socket file, on connections of our own`, async () => {
        /** @type {[any, import("./support/redis").RedisServer][]} */
        const wheres = [
          [{ port: users.port, username: "alice", password: "s%cret" }, users],
          [{ port: guarded.port, password: "p@ss/wörd:#1" }, guarded],
          [{ path: guarded.unixSocket, password: "p@ss/wörd:#1" }, guarded],
        ];
        for (const [where, server] of wheres) {
          const all = [1, 2, 3, 4].map(() => makeClient(kind, where));
          await meets(
            createAdapter(all[0], all[1], { transport: "native" }),
            createAdapter(all[2], all[3]),
            server,
          );
          await Promise.all(all.map(endClient));
        }
      });
    }
    leavesNoRejection();
  });
});
