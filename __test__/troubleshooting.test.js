// @ts-check
"use strict";

/**
 * What is said when something is wrong: each is provoked, and has a row in docs/troubleshooting.md with the very words.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const streams = require("../streams");
const { slotOf, startCluster } = require("./support/cluster");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { blockUntilCut, impatient } = require("./support/unread");
const { once, waitFor } = require("./support/wait");

const PAGE = fs
  .readFileSync(path.join(__dirname, "../docs/troubleshooting.md"), "utf8")
  .replace(/(?<=``) | (?=``)/g, "")
  .replaceAll("\\|", "¦")
  .replaceAll("|``", "| ``");

/** @typedef {{ redis: (options?: import("./support/redis").RedisOptions) => Promise<import("./support/redis").RedisServer>, last: () => import("./support/redis").RedisServer, fake: (reply: string) => Promise<number>, cluster: () => Promise<Awaited<ReturnType<typeof startCluster>>>, cleanUp: (end: () => any) => void }} Bench */

/**
 * The first column of the page: which event says it, and who provokes it, by what its server does then. Where several
 * errors come, `says` is part of the one.
 *
 * @typedef {{ name: string, event?: "degraded" | "error", says?: string, make: (bench: Bench) => Promise<any>,
 *   then?: (io: Server, bench: Bench) => any, patience?: number }} Case
 *
 * @type {Case[]}
 */
const CASES = [
  {
    name: "nothing listens",
    make: async () => createAdapter(`redis://127.0.0.1:${await freePort()}`),
  },
  { name: "no such socket", make: async () => createAdapter("unix:///nowhere/redis.sock") },
  { name: "a host name that does not exist", make: async () => createAdapter("redis://redis.invalid:6379") },
  {
    name: "a certificate that nobody vouches for",
    make: async ({ redis }) => createAdapter((await redis({ tls: {} })).url),
  },
  {
    name: "a certificate that has expired",
    make: async ({ redis }) => {
      const { port, tls } = await redis({ tls: { expired: true } });
      return createAdapter({ host: "127.0.0.1", port, tls: { ca: tls?.ca } });
    },
  },
  {
    name: "a certificate for another name",
    make: async ({ redis }) => {
      const { port, tls } = await redis({ tls: { names: ["redis.example.com"] } });
      return createAdapter({ host: "127.0.0.1", port, tls: { ca: tls?.ca } });
    },
  },
  {
    name: "no certificate where one is wanted",
    make: async ({ redis }) => {
      const { port, tls } = await redis({ tls: { clientCert: "required" } });
      return createAdapter({ host: "127.0.0.1", port, tls: { ca: tls?.ca } });
    },
  },
  {
    name: "TLS where none is spoken",
    make: async ({ fake }) => {
      const port = await fake("-ERR unknown command\r\n");
      return createAdapter({ host: "127.0.0.1", port, tls: { rejectUnauthorized: false } });
    },
  },
  {
    name: "no TLS where it is spoken",
    make: async ({ redis }) => createAdapter(`redis://127.0.0.1:${(await redis({ tls: {} })).port}`),
  },
  {
    name: "something that is no Redis",
    make: async ({ fake }) =>
      createAdapter(`redis://127.0.0.1:${await fake("HTTP/1.1 400 Bad Request\r\n\r\n")}`),
  },
  {
    name: "no password",
    make: async ({ redis }) =>
      createAdapter(`redis://127.0.0.1:${(await redis({ password: "secret" })).port}`),
  },
  {
    name: "a wrong password",
    make: async ({ redis }) =>
      createAdapter(`redis://:wrong@127.0.0.1:${(await redis({ password: "secret" })).port}`),
  },
  {
    name: "a password that nobody wants",
    make: async ({ redis }) => createAdapter(`redis://:secret@127.0.0.1:${(await redis()).port}`),
  },
  {
    name: "AUTH is renamed",
    make: async ({ redis }) => {
      const { port } = await redis({ extra: ['rename-command AUTH ""'] });
      return createAdapter(`redis://:secret@127.0.0.1:${port}`);
    },
  },
  {
    name: "a database that does not exist",
    make: async ({ redis }) => createAdapter(`redis://127.0.0.1:${(await redis()).port}/99`),
  },
  {
    name: "too many connections",
    make: async ({ redis, cleanUp }) => {
      const { port } = await redis({ extra: ["maxclients 3"] });
      for (let number = 0; number < 3; number++) {
        const socket = net.connect(port, "127.0.0.1");
        cleanUp(() => socket.destroy());
        socket.write("PING\r\n");
        await once(socket, "data");
      }
      return createAdapter(`redis://127.0.0.1:${port}`);
    },
  },
  {
    name: "protected mode",
    make: async ({ fake }) => {
      const port = await fake(
        "-DENIED Redis is running in protected mode because protected mode is enabled\r\n",
      );
      return createAdapter(`redis://127.0.0.1:${port}`);
    },
  },
  {
    name: "a Redis that is loading",
    make: async ({ fake }) =>
      createAdapter(`redis://127.0.0.1:${await fake("-LOADING Redis is loading the dataset in memory\r\n")}`),
  },
  {
    name: "a replica",
    make: async ({ redis }) => {
      const { port } = await redis({ extra: [`replicaof 127.0.0.1 ${await freePort()}`] });
      return createAdapter(`redis://127.0.0.1:${port}`);
    },
  },
  {
    name: "a sentinel in the place of a Redis",
    make: async ({ redis }) => createAdapter(`redis://127.0.0.1:${(await redis({ sentinel: true })).port}`),
  },
  {
    name: "a sentinel that knows no such master",
    make: async ({ redis }) => {
      const { port } = await redis({ sentinel: true });
      return createAdapter(
        /** @type {any} */ ({ name: "mymaster", sentinels: [{ host: "127.0.0.1", port }] }),
      );
    },
  },
  {
    name: "no cluster where one is expected",
    make: async ({ redis }) =>
      createAdapter(/** @type {any} */ ({ cluster: [{ host: "127.0.0.1", port: (await redis()).port }] })),
  },
  {
    name: "a slot that nobody has",
    make: async ({ cleanUp }) => {
      const cluster = await startCluster({ masters: 3, replicas: 0 });
      cleanUp(() => cluster.stop());
      for (const node of cluster.nodes) await node.cli("CLUSTER", "DELSLOTS", 7);
      const nodes = cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port }));
      return createShardedAdapter(/** @type {any} */ ({ cluster: nodes }));
    },
  },
  {
    name: "a host that is not allowed",
    make: async ({ redis }) => {
      const { port } = await redis();
      const name = "mymaster";
      const sentinel = await redis({
        sentinel: true,
        extra: [`sentinel monitor ${name} 127.0.0.1 ${port} 1`],
      });
      const sentinels = [{ host: "127.0.0.1", port: sentinel.port }];
      return createAdapter(/** @type {any} */ ({ name, sentinels, allowedHosts: ["10.0.0.0/8"] }));
    },
  },
  {
    name: "no permission to subscribe",
    event: "error",
    make: async ({ redis }) => {
      const { port } = await redis({ users: { app: "on >secret ~* resetchannels +@all" } });
      return createAdapter(`redis://app:secret@127.0.0.1:${port}`);
    },
  },
  {
    name: "no permission to publish: the hello",
    event: "error",
    make: async ({ redis }) => createAdapter(await urlOfListener(redis)),
  },
  {
    name: "no permission to publish",
    event: "error",
    says: "'publish' command",
    make: async ({ redis }) => createAdapter(await urlOfListener(redis)),
    then: (io) => io.emit("event"),
  },
  {
    name: "no permission to publish in a shard",
    event: "error",
    says: "'spublish' command",
    make: async ({ redis }) => createShardedAdapter(await urlOfListener(redis)),
    then: (io) => io.emit("event"),
  },
  {
    name: "no permission to add to a stream",
    event: "error",
    says: "'xadd' command",
    make: async ({ redis }) => streams.createAdapter(await urlOfListener(redis)),
    then: (io) => io.emit("event"),
  },
  {
    name: "no permission for the stream",
    event: "error",
    make: async ({ redis }) => {
      const { port } = await redis({ users: { app: "on >secret ~other &* +@all" } });
      return streams.createAdapter(`redis://app:secret@127.0.0.1:${port}`);
    },
  },
  {
    name: "no permission to read a stream",
    make: async ({ redis }) => {
      const { port } = await redis({ users: { app: "on >secret ~* &* +@all -xread" } });
      return streams.createAdapter(`redis://app:secret@127.0.0.1:${port}`);
    },
  },
  {
    name: "no permission for the channels: publishing",
    event: "error",
    says: "publish: ",
    make: async ({ redis }) => {
      const { port } = await redis({ users: { app: "on >secret ~* resetchannels &socket.io#* +@all" } });
      return createShardedAdapter(`redis://app:secret@127.0.0.1:${port}`, { channelPrefix: "other" });
    },
    then: (io) => io.emit("event"),
  },
  {
    name: "a key that is no stream: adding",
    event: "error",
    says: "publish: ",
    make: async ({ redis }) => streams.createAdapter(await urlOfTaken(redis)),
    then: (io) => io.emit("event"),
  },
  {
    name: "a key that is no stream: reading",
    make: async ({ redis }) => streams.createAdapter(await urlOfTaken(redis)),
  },
  {
    name: "a Redis that is full",
    event: "error",
    says: "publish: ",
    make: async ({ redis }) => {
      const { port } = await redis({ extra: ["maxmemory 1", "maxmemory-policy noeviction"] });
      return streams.createAdapter(`redis://127.0.0.1:${port}`);
    },
    then: (io) => io.emit("event"),
  },
  {
    name: "an event that is nested too deep",
    event: "error",
    make: async ({ redis }) => createAdapter(`redis://127.0.0.1:${(await redis()).port}`),
    then: (io) => {
      /** @type {any} */
      let value = 1;
      for (let level = 0; level < 1100; level++) value = [value];
      io.emit("event", value);
    },
  },
  {
    name: "a node of a cluster in the place of a Redis: subscribing",
    event: "error",
    says: "subscribe: ",
    make: async ({ cluster }) => createShardedAdapter(urlOf((await cluster()).nodes[0])),
  },
  {
    name: "a node of a cluster in the place of a Redis: publishing",
    event: "error",
    says: "publish: ",
    make: async ({ cluster }) => createShardedAdapter(urlOf((await cluster()).nodes[0])),
    then: (io) => io.emit("event"),
  },
  {
    name: "a node of a cluster in the place of a Redis: streams",
    event: "error",
    make: async ({ cluster }) => streams.createAdapter(urlOf((await cluster()).nodes[0])),
  },
  {
    name: "a cluster that loses the slot of a channel",
    make: async ({ cluster }) =>
      createShardedAdapter(/** @type {any} */ ({ cluster: placesOf((await cluster()).nodes) })),
    then: (io, bench) => loseSlot(io, bench, "socket.io#/#"),
  },
  {
    name: "a cluster that loses the slot of a stream",
    event: "error",
    make: async ({ cluster }) =>
      streams.createAdapter(/** @type {any} */ ({ cluster: placesOf((await cluster()).nodes) })),
    then: (io, bench) => loseSlot(io, bench, "socket.io", "at its owner"),
    // It is tried for some seconds before it is told.
    patience: 40_000,
  },
  {
    name: "nobody may be counted",
    event: "error",
    says: "count: ",
    make: async ({ redis }) => createAdapter(await urlWithoutCounts(redis)),
  },
  {
    name: "a script that does not end",
    make: async ({ redis, cleanUp }) => {
      const server = await redis({ extra: ["lua-time-limit 50"] });
      await keepBusy(server, cleanUp);
      return createAdapter(server.url);
    },
  },
  {
    name: "a script that does not end, begun later",
    make: async ({ redis }) => createAdapter((await redis({ extra: ["lua-time-limit 50"] })).url),
    then: async (io, { last, cleanUp }) => {
      await /** @type {any} */ (io.of("/").adapter).ready;
      await keepBusy(last(), cleanUp);
      io.emit("event");
    },
  },
  {
    name: "a connection that Redis ends",
    make: async ({ redis }) => createAdapter((await redis()).url),
    then: async (io, { last }) => {
      await /** @type {any} */ (io.of("/").adapter).ready;
      await last().cli("CLIENT", "KILL", "TYPE", "pubsub");
    },
  },
  {
    name: "no sharded Pub/Sub",
    event: "error",
    make: async ({ redis }) => {
      const extra = ['rename-command SPUBLISH ""', 'rename-command SSUBSCRIBE ""'];
      return createShardedAdapter(`redis://127.0.0.1:${(await redis({ extra })).port}`);
    },
  },
];

/** @param {{ port: number }} node */
const urlOf = ({ port }) => `redis://127.0.0.1:${port}`;

/** @param {{ port: number }[]} nodes */
const placesOf = (nodes) => nodes.map(({ port }) => ({ host: "127.0.0.1", port }));

/** The URL of a Redis for a user who may only listen. @param {Bench["redis"]} redis */
async function urlOfListener(redis) {
  const { port } = await redis({ users: { app: "on >secret ~* &* +@all -publish -spublish -xadd" } });
  return `redis://app:secret@127.0.0.1:${port}`;
}

/** The URL of a Redis where the key of the stream is a string. @param {Bench["redis"]} redis */
async function urlOfTaken(redis) {
  const server = await redis();
  await server.cli("SET", "socket.io", "no stream");
  return `redis://127.0.0.1:${server.port}`;
}

/** The URL of a Redis for a user who may not count subscribers. @param {Bench["redis"]} redis */
async function urlWithoutCounts(redis) {
  const { port } = await redis({ users: { app: "on >secret ~* &* +@all -pubsub" } });
  return `redis://app:secret@127.0.0.1:${port}`;
}

/** Runs a script that does not end. @param {import("./support/redis").RedisServer} server @param {Bench["cleanUp"]} cleanUp */
async function keepBusy(server, cleanUp) {
  const client = new Redis({ host: "127.0.0.1", port: server.port, retryStrategy: null });
  client.on("error", () => {});
  cleanUp(() => client.disconnect());
  client.eval("while true do end", 0).catch(() => {});
  const isBusy = async () =>
    server.cli("PING").then(
      () => false,
      (/** @type {Error} */ { message }) => message.includes("BUSY"),
    );
  await waitFor(isBusy, { what: "the script to run" });
}

/** @param {string} message */
const isHello = (message) => message.includes("are not told");

/**
 * Takes the slot of a name from a cluster when a server is ready: from all nodes, or from its owner alone, which the others
 * go on naming.
 *
 * @param {Server} io
 * @param {Bench} bench
 * @param {string} name
 * @param {"everywhere" | "at its owner"} where
 */
async function loseSlot(io, bench, name, where = "everywhere") {
  await /** @type {any} */ (io.of("/").adapter).ready;
  const cluster = await bench.cluster();
  const nodes = where === "everywhere" ? cluster.nodes : [await cluster.ownerOf(name)];
  for (const node of nodes) await node.cli("CLUSTER", "DELSLOTS", slotOf(name));
}

describe("what is said when something is wrong", function () {
  this.timeout(20_000);

  /** @type {(() => any)[]} */
  const ends = [];
  /** @type {Awaited<ReturnType<typeof startCluster>> | null} */
  let running = null;
  /** @type {import("./support/redis").RedisServer | null} */
  let started = null;

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** @type {Bench} */
  const bench = {
    async redis(options) {
      const server = await startRedis(options);
      ends.push(() => server.stop());
      started = server;
      return server;
    },
    last: () => /** @type {import("./support/redis").RedisServer} */ (started),
    async fake(reply) {
      const server = net.createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.write(reply));
        ends.push(() => socket.destroy());
      });
      ends.push(() => server.close());
      await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
      return /** @type {net.AddressInfo} */ (server.address()).port;
    },
    async cluster() {
      if (running === null) {
        const cluster = await startCluster({ masters: 3, replicas: 0 });
        running = cluster;
        ends.push(() => ((running = null), cluster.stop()));
      }
      return running;
    },
    cleanUp: (end) => ends.push(end),
  };

  /** @param {string} text */
  function isOnPage(text) {
    const said = text
      .replace(/127\.0\.0\.1:\d+/g, "HOST:PORT")
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "…")
      .replaceAll("|", "¦")
      .trim();
    assert.ok(!said.includes("secret"), said);
    // With a code span of two backticks where the text has one.
    const asCode = said.includes("`") ? `| \`\`${said}\`\`` : `| \`${said}\``;
    assert.ok(PAGE.includes(asCode), `docs/troubleshooting.md has no row for: ${said}`);
  }

  for (const { name, event = "degraded", says = "", make, then, patience = 10_000 } of CASES) {
    it(`${name}: says where, why and what to do, as the page does`, async function () {
      if (patience > 10_000) this.timeout(2 * patience);
      const io = new Server({ adapter: await make(bench) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      ends.push(() => adapter.close());
      /** @type {string[]} */
      const messages = [];
      adapter.on(event, (/** @type {Error} */ { message }) => messages.push(message));
      await then?.(io, bench);
      const isIt = (/** @type {string} */ message) => message.includes(says) && !(says && isHello(message));
      await waitFor(() => messages.some(isIt), { what: "the error", timeout: patience });
      isOnPage(/** @type {string} */ (messages.find(isIt)));
    });
  }

  it("a server that does not read in time: the gap begins when it stopped reading", async () => {
    const redis = await impatient(await bench.redis());
    const io = new Server({ adapter: createAdapter(redis.url, { maxInboxBytes: 65_536 }) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    ends.push(() => adapter.close());
    await adapter.ready;
    const degraded = once(adapter, "degraded");
    const gap = once(adapter, "gap");
    const blockedAt = performance.now();
    blockUntilCut(redis);
    const cutAt = performance.now();
    const [{ message }] = await degraded;
    isOnPage(message.replace(/\d+\.\d s/, "… s"));
    const [{ milliseconds }] = await gap;
    const since = performance.now() - milliseconds;
    // Nothing that was published behind the cut has come, nor what waited for being read before it.
    assert.ok(since < cutAt, `the gap begins ${since - cutAt} ms late`);
    assert.ok(since >= blockedAt, `the gap begins ${blockedAt - since} ms early`);
  });

  for (const where of /** @type {const} */ (["everywhere", "at its owner"])) {
    it(`a cluster that loses a slot ${where}: who asks the others is told so`, async () => {
      const adapter = createShardedAdapter(
        /** @type {any} */ ({ cluster: placesOf((await bench.cluster()).nodes) }),
      );
      const io = new Server({ adapter });
      ends.push(() => /** @type {any} */ (io.of("/").adapter).close());
      await loseSlot(io, bench, "socket.io#/#", where);
      let said = "";
      const ask = () =>
        io
          .timeout(50)
          .fetchSockets()
          .then(
            () => {},
            ({ message }) => void (said = message),
          );
      await waitFor(async () => (await ask(), said.includes("owns slot")), {
        what: "the reason",
        timeout: 10_000,
      });
      isOnPage(said);
    });
  }

  for (const [family, make, says] of /** @type {const} */ ([
    ["classic", createAdapter, "timeout reached while waiting for allRooms response"],
    ["sharded", createShardedAdapter, "timeout reached: only 0 responses received out of 0"],
    ["streams", streams.createAdapter, "timeout reached: only 0 responses received out of 0"],
  ])) {
    it(`nobody may be counted: who asks is told so: ${family}`, async () => {
      const io = new Server({ adapter: make(await urlWithoutCounts(bench.redis)) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      ends.push(() => adapter.close());
      /** @type {string[]} */
      const errors = [];
      adapter.on("error", (/** @type {Error} */ { message }) => errors.push(message));
      await adapter.ready;
      const refusal =
        "NOPERM this user has no permissions to run the 'pubsub|" +
        (family === "sharded" ? "shard" : "") +
        "numsub' command";
      await assert.rejects(adapter.serverCount(), { message: refusal });
      adapter.requestsTimeout = 50;
      await assert.rejects(adapter.allRooms(), {
        message: `${says}: the servers cannot be counted: ${refusal}`,
      });
      if (family === "sharded") isOnPage(`${says}: the servers cannot be counted: ${refusal}`);
      // Socket.IO counts the servers for an acknowledged broadcast, and handles no rejection.
      const rejections = /** @type {any[]} */ ([]);
      const onRejection = (/** @type {any} */ reason) => rejections.push(reason);
      process.on("unhandledRejection", onRejection);
      ends.push(() => process.off("unhandledRejection", onRejection));
      await io
        .timeout(50)
        .emitWithAck("event")
        .catch(() => {});
      assert.deepStrictEqual(rejections, []);
      assert.ok(errors.includes(`count: ${refusal}`), errors.join("\n"));
    });
  }

  it("is on a page whose rows have a cause and a way out", () => {
    const rows = PAGE.split("\n").filter((line) => line.startsWith("| `"));
    assert.ok(rows.length >= CASES.length, `${rows.length} rows, ${CASES.length} cases`);
    for (const row of rows) {
      const [, ...cells] = row.split("|").map((cell) => cell.trim());
      assert.strictEqual(cells.filter((cell) => cell !== "").length, 3, row);
    }
  });
});
