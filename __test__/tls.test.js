// @ts-check
"use strict";

/**
 * Redis over TLS: the link's own connections trust whom the user's clients trust, show what they show, and nobody
 * else.
 */

const assert = require("node:assert");
const { Node } = require("./fixtures/nodes");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { startCluster } = require("./support/cluster");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/redis").RedisServer} RedisServer */
/** @typedef {NonNullable<RedisServer["tls"]>} Tls */
/** @typedef {import("./support/connect").ClientPackage} ClientPackage */

/** The older ones differ in what they show, if at all: that is for the native transport. */
const CARRIERS = /** @type {const} */ ([
  ["redis", "native"],
  ["redis", "client"],
  ["redis-5", "native"],
  ["ioredis", "native"],
  ["ioredis", "client"],
  ["ioredis-5", "native"],
]);
const TRANSPORTS = /** @type {const} */ (["native", "client"]);

/** The servers of the tests, by what is special about their certificates. @type {Record<string, RedisServer>} */
const servers = {};

before(async () => {
  servers.plain = await startRedis({ tls: {} });
  servers.strict = await startRedis({ tls: { clientCert: "required" } });
  servers.elsewhere = await startRedis({ tls: { names: ["redis.internal"] } });
});

after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

/** @param {string} name @returns {{ redis: RedisServer, tls: Tls }} */
function serverOf(name) {
  const redis = servers[name];
  assert.ok(redis?.tls);
  return { redis, tls: redis.tls };
}

/**
 * Returns a client that speaks TLS with these options of Node's.
 *
 * @param {ClientPackage} name
 * @param {number} port
 * @param {object} options
 * @returns {any}
 */
function makeClient(name, port, options) {
  const { createClient, Redis } = require(name);
  if (name.startsWith("ioredis")) return new Redis({ host: "127.0.0.1", port, tls: options });
  return createClient({ socket: { host: "127.0.0.1", port, tls: true, ...options } });
}

/** Ways to connect that are right. @type {{ what: string, server: string, options: (tls: Tls) => object }[]} */
const RIGHT = [
  { what: "a CA", server: "plain", options: ({ ca }) => ({ ca }) },
  {
    what: "a CA in a list, as bytes",
    server: "plain",
    options: ({ ca, stranger }) => ({ ca: [stranger.ca, Buffer.from(ca)] }),
  },
  {
    what: "a certificate of the client's own",
    server: "strict",
    options: ({ ca, cert, key }) => ({ ca, cert, key }),
  },
  { what: "a server name", server: "elsewhere", options: ({ ca }) => ({ ca, servername: "redis.internal" }) },
  { what: "verification off", server: "elsewhere", options: () => ({ rejectUnauthorized: false }) },
  {
    what: "verification off, and a certificate of the client's own",
    server: "strict",
    options: ({ cert, key, stranger }) => ({ ca: stranger.ca, cert, key, rejectUnauthorized: false }),
  },
];

/** Ways that are wrong: what the certificate of neither side allows. */
const WRONG = [
  {
    what: "another CA",
    server: "plain",
    options: (/** @type {Tls} */ { stranger }) => ({ ca: stranger.ca }),
  },
  { what: "no CA", server: "plain", options: () => ({}) },
  {
    what: "no certificate of the client's own",
    server: "strict",
    options: (/** @type {Tls} */ { ca }) => ({ ca }),
  },
  {
    what: "a certificate of another CA",
    server: "strict",
    options: (/** @type {Tls} */ { ca, stranger: { cert, key } }) => ({ ca, cert, key }),
  },
  { what: "no server name", server: "elsewhere", options: (/** @type {Tls} */ { ca }) => ({ ca }) },
  {
    what: "another server name",
    server: "plain",
    options: (/** @type {Tls} */ { ca }) => ({ ca, servername: "elsewhere.test" }),
  },
];

describe("TLS", () => {
  describe("as it is right", () => {
    for (const [name, transport] of CARRIERS) {
      for (const { what, server, options } of RIGHT) {
        it(`with ${what}, over ${name}, ${transport}`, async () => {
          const { redis, tls } = serverOf(server);
          const ring = await startRing({
            redis,
            nodes: ["ours", "reference", "ours"],
            clients: () => makeClient(name, redis.port, options(tls)),
            transport,
            sockets: 1,
          });
          try {
            for (const node of ring.ours) assert.strictEqual(node.adapter().transport.carrier, transport);
            for (const sender of ring.nodes) {
              const got = await ring.collect(sender, () => sender.io.emit("secret", sender.index));
              assert.deepStrictEqual(
                got,
                ring.nodes.map(() => [[["secret", sender.index]]]),
              );
            }
          } finally {
            await ring.close();
          }
        });
      }
    }
    leavesNoRejection();
  });

  describe("as it is wrong, if the user's clients do connect", () => {
    const variants = /** @type {const} */ (["redis", "ioredis"]).flatMap((name) =>
      WRONG.map(({ what, server, options }) => ({
        name: `with ${what}, over ${name}`,
        package: name,
        server,
        options,
      })),
    );
    sideBySide(variants, async ({ package: name, server, options }) => {
      const { redis, tls } = serverOf(server);
      const shown = options(tls);
      // It connects one way, and shows another.
      const right = { ca: tls.ca, cert: tls.cert, key: tls.key, rejectUnauthorized: false };
      const socket = { host: "127.0.0.1", port: redis.port };
      const seen =
        name === "ioredis" ? { ...socket, tls: shown } : { socket: { ...socket, tls: true, ...shown } };
      const ring = await startRing({
        redis,
        nodes: ["ours", "ours"],
        clients: async () => {
          const client = makeClient(name, redis.port, right);
          client.on("error", () => {});
          if (name === "redis") await client.connect();
          else await once(client, "ready");
          return new Proxy(client, {
            get(target, property) {
              if (property === "options") return seen;
              const value = target[property];
              return typeof value === "function" ? value.bind(target) : value;
            },
          });
        },
        transport: "auto",
        sockets: 1,
      });
      try {
        for (const node of ring.nodes) {
          const { carrier, reason } = node.adapter().transport;
          assert.strictEqual(carrier, "client", "the link's own connections trust whom the clients do not");
          assert.match(reason, /own connections/);
        }
        const [sender] = ring.nodes;
        const got = await ring.collect(sender, () => sender.io.emit("secret"));
        assert.deepStrictEqual(got, [[[["secret"]]], [[["secret"]]]]);
      } finally {
        await ring.close();
      }
    });
    leavesNoRejection();
  });

  describe("as it is wrong, for the user's clients too", () => {
    const carriers = /** @type {const} */ ([
      ["redis", "auto"],
      ["ioredis", "native"],
    ]);
    const variants = carriers.flatMap(([name, transport]) =>
      WRONG.map(({ what, server, options }) => ({
        name: `with ${what}, over ${name}, ${transport}: local sockets are served, and the adapter says why no others`,
        ...{ package: name, server, options, transport },
      })),
    );
    sideBySide(variants, async ({ package: name, server, options, transport }) => {
      const { redis, tls } = serverOf(server);
      /** @type {any[]} */
      const clients = [];
      const node = new Node({
        kind: name === "ioredis" ? "ioredis" : "node-redis",
        redis: { port: redis.port, lazy: true },
        options: { transport },
        wrap: () => {
          const client = makeClient(name, redis.port, options(tls));
          client.on("error", () => {});
          if (name === "redis") client.connect().catch(() => {});
          clients.push(client);
          return client;
        },
      });
      try {
        const { adapter } = node;
        let ready = false;
        adapter.ready.then(() => (ready = true));
        const client = await node.connect();
        const heard = once(client, "local");
        node.io.emit("local", 1);
        assert.deepStrictEqual(await heard, [1]);
        const told = node.events.degraded;
        await waitFor(() => told.length > 0, { timeout: 10_000, what: "the adapter to say so" });
        assert.match(told[0].message, /certificate|tls|alert|handshake|not connected|ended/i);
        assert.strictEqual(ready, false);
      } finally {
        await node.close();
        for (const client of clients) {
          if (name === "redis") client.destroy();
          // Disconnected in a handshake, a client of ioredis has an error that nobody hears.
          else await waitFor(() => client.status === "reconnecting").then(() => client.disconnect());
        }
      }
    });
    leavesNoRejection();
  });

  describe("of a cluster, for an ACL user with a certificate", function () {
    this.timeout(30_000);
    /** @type {Awaited<ReturnType<typeof startCluster>>} */
    let cluster;
    before(async () => {
      const users = { default: "off", app: "on >secret ~* &* +@all" };
      cluster = await startCluster({ replicas: 0, tls: { clientCert: "required" }, users });
    });
    after(() => cluster?.stop());

    for (const adapter of /** @type {const} */ (["classic", "sharded"])) {
      for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
        for (const transport of TRANSPORTS) {
          it(`${adapter}, over ${clients}, ${transport}`, async () => {
            const ring = await startRing({
              redis: cluster,
              nodes: ["ours", "reference", "ours"],
              credentials: { username: "app", password: "secret" },
              ...{ adapter, clients, transport },
            });
            try {
              for (const node of ring.ours) assert.strictEqual(node.adapter().transport.carrier, transport);
              for (const { peers } of ring.nodes) peers[0].socket.join("room");
              await ring.joined();
              for (const sender of ring.nodes) {
                // No marker would come behind it: a Cluster of ioredis publishes at any node.
                sender.io.to("room").emit("secret", sender.index);
                const last = () => ring.nodes.map(({ peers }) => peers[0].log.at(-1)?.[1]);
                await waitFor(() => last().every((index) => index === sender.index), { what: "the event" });
                assert.strictEqual((await sender.io.fetchSockets()).length, 6);
              }
            } finally {
              await ring.close();
            }
          });
        }
      }
    }
    leavesNoRejection();
  });
});
