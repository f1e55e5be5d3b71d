// @ts-check
"use strict";

/**
 * What is said when something is wrong: each is provoked, and has a row in docs/troubleshooting.md with the very words.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { startCluster } = require("./support/cluster");
const { freePort, startRedis } = require("./support/redis");
const { once } = require("./support/wait");

const PAGE = fs
  .readFileSync(path.join(__dirname, "../docs/troubleshooting.md"), "utf8")
  .replace(/(?<=``) | (?=``)/g, "")
  .replaceAll("|``", "| ``");

/** @typedef {{ redis: (options?: import("./support/redis").RedisOptions) => Promise<import("./support/redis").RedisServer>, fake: (reply: string) => Promise<number>, cleanUp: (end: () => any) => void }} Bench */

/**
 * The first column of the page: which event says it, and who provokes it.
 *
 * @type {{ name: string, event?: "degraded" | "error", make: (bench: Bench) => Promise<any> }[]}
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
    name: "no sharded Pub/Sub",
    event: "error",
    make: async ({ redis }) => {
      const extra = ['rename-command SPUBLISH ""', 'rename-command SSUBSCRIBE ""'];
      return createShardedAdapter(`redis://127.0.0.1:${(await redis({ extra })).port}`);
    },
  },
];

describe("what is said when something is wrong", function () {
  this.timeout(20_000);

  /** @type {(() => any)[]} */
  const ends = [];

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** @type {Bench} */
  const bench = {
    async redis(options) {
      const server = await startRedis(options);
      ends.push(() => server.stop());
      return server;
    },
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
    cleanUp: (end) => ends.push(end),
  };

  for (const { name, event = "degraded", make } of CASES) {
    it(`${name}: says where, why and what to do, as the page does`, async () => {
      const adapter = /** @type {any} */ (new Server({ adapter: await make(bench) }).of("/").adapter);
      ends.push(() => adapter.close());
      const [error] = await once(adapter, event, 10_000);
      const said = error.message.replace(/127\.0\.0\.1:\d+/g, "HOST:PORT").trim();
      assert.ok(!said.includes("secret"), said);
      // With a code span of two backticks where the text has one.
      const asCode = said.includes("`") ? `| \`\`${said}\`\`` : `| \`${said}\``;
      assert.ok(PAGE.includes(asCode), `docs/troubleshooting.md has no row for: ${said}`);
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
