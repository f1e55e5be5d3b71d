// @ts-check
"use strict";

/**
 * Commands about keys that the user's clients run, of each package, and their replies as Redis has written them.
 */

const assert = require("node:assert");
const { clientOf } = require("../lib/clients");
const { encodeRefusal, encodeReply, isRefusal } = require("../lib/clients/resp");
const { leavesNoRejection } = require("./fixtures/suite");
const { RedisCluster, startCluster } = require("./support/cluster");
const { connectClient, endClient, serversOf } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { startSentinel } = require("./support/sentinel");
const { waitFor } = require("./support/wait");

const PACKAGES = /** @type {const} */ (["redis-4", "redis-5", "redis", "ioredis-4", "ioredis-5", "ioredis"]);

/** What makes a client of a package. @param {string} name @returns {import("./support/connect").Clients} */
function clientsOf(name) {
  if (!/^(ioredis-4|iovalkey)$/.test(name)) return /** @type {any} */ (name);
  const Redis = require(name);
  return (topology) => {
    if (topology instanceof RedisCluster) {
      return new Redis.Cluster(topology.live.map(({ port }) => ({ host: "127.0.0.1", port })));
    }
    if (!("sentinels" in topology)) return new Redis(topology.port);
    const sentinels = topology.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    return new Redis({ sentinels, name: topology.name });
  };
}

describe("replies, as Redis writes them", () => {
  /** @param {any} reply */
  const text = (reply) => encodeReply(reply).toString();

  it("of all kinds", () => {
    assert.strictEqual(text(null), "$-1\r\n");
    assert.strictEqual(text("OK"), "+OK\r\n");
    assert.strictEqual(text(Buffer.from("é")), "$2\r\né\r\n");
    assert.strictEqual(text(Buffer.alloc(0)), "$0\r\n\r\n");
    assert.strictEqual(text(-7), ":-7\r\n");
    assert.strictEqual(text(12n), ":12\r\n");
    assert.strictEqual(text([]), "*0\r\n");
    assert.strictEqual(text([[Buffer.from("1-0"), null], 1]), "*2\r\n*2\r\n$3\r\n1-0\r\n$-1\r\n:1\r\n");
    const bytes = Buffer.from([0, 13, 10, 255]);
    assert.deepStrictEqual(
      encodeReply(bytes),
      Buffer.concat([Buffer.from("$4\r\n"), bytes, Buffer.from("\r\n")]),
    );
  });

  it("that are maps, which RESP2 has as pairs", () => {
    const pairs = "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n";
    assert.strictEqual(text(new Map([[Buffer.from("s"), []]])), pairs);
    assert.strictEqual(text({ s: [] }), pairs);
  });

  it("that are errors, told from what is none of Redis'", () => {
    class ReplyError extends Error {}
    class Moved extends ReplyError {}
    assert.ok(isRefusal(new Moved("MOVED 1 a:1")));
    assert.ok(!isRefusal(new Error("Socket closed unexpectedly")));
    assert.ok(!isRefusal(undefined));
    assert.strictEqual(encodeRefusal(new Error("ERR a\r\nb")).toString(), "-ERR a b\r\n");
  });
});

describe("commands about keys", function () {
  this.timeout(60_000);

  /** @typedef {import("./support/connect").Topology} Topology */

  /** @param {import("../lib/clients").Clients} clients */
  const runnerOf =
    (clients) =>
    async (/** @type {string} */ reader, /** @type {string[]} */ ...args) => {
      const key = /** @type {string} */ (args[args[0] === "XREAD" ? args.length - 2 : 1]);
      const command = args.map((arg) => Buffer.from(arg));
      return encodeReply(await clients.command(reader, key, command)).toString();
    };

  /**
   * What they answer, and what becomes of a reader.
   *
   * @param {any} client
   * @param {Topology} topology
   */
  async function runAll(client, topology) {
    const clients = clientOf(client, "global");
    assert.strictEqual(clients.flaw(), null);
    const run = runnerOf(clients);
    const entry = "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$2\r\né\r\n";
    // Duplicates refuse what they are given before they are connected.
    await waitFor(() => run("", "XRANGE", "s", "-", "+"));
    assert.strictEqual(await run("", "XADD", "s", "1-1", "a", "é"), "$3\r\n1-1\r\n");
    assert.strictEqual(await run("", "XRANGE", "s", "-", "+", "COUNT", "5"), `*1\r\n${entry}`);
    assert.strictEqual(await run("", "XREVRANGE", "s", "+", "-", "COUNT", "1"), `*1\r\n${entry}`);
    assert.strictEqual(await run("", "XRANGE", "none", "-", "+"), "*0\r\n");
    assert.match(await run("", "SET", "k", "v", "PX", "60000"), /^(\+OK|\$2\r\nOK)\r\n$/);
    assert.strictEqual(await run("", "GETDEL", "k"), "$1\r\nv\r\n");
    assert.strictEqual(await run("", "GET", "k"), "$-1\r\n");
    assert.strictEqual(await run("", "DEL", "k"), ":0\r\n");
    await assert.rejects(
      run("", "GET", "s"),
      (error) => isRefusal(error) && /^WRONGTYPE/.test(String(/** @type {any} */ (error).message)),
    );

    const read = (/** @type {string} */ after, block = "10000") =>
      run("4", "XREAD", "BLOCK", block, "COUNT", "9", "STREAMS", "s", after);
    await waitFor(() => read("0-0"));
    assert.strictEqual(await read("0-0"), `*1\r\n*2\r\n$1\r\ns\r\n*1\r\n${entry}`);
    assert.strictEqual(await read("1-1", "10"), "$-1\r\n");
    // It blocks nobody else.
    const blocked = read("1-1");
    const [server, id] = await waitFor(() => blockedClient(topology));
    assert.strictEqual(await run("", "XADD", "s", "1-2", "a", "é"), "$3\r\n1-2\r\n");
    assert.match(await blocked, /1-2/);

    // What is lost is told at once, and the next one is read by a new connection.
    const lost = read("1-2").catch((error) => error);
    const [, again] = await waitFor(() => blockedClient(topology));
    assert.strictEqual(again, id);
    await server.cli("CLIENT", "KILL", "ID", id);
    const error = await lost;
    assert.ok(error instanceof Error && !isRefusal(error), String(error));
    await run("", "XADD", "s", "1-3", "a", "é");
    await waitFor(async () => (await read("1-1", "10")).includes("1-3"));

    // So is what everybody shares: it may be something to be run once.
    const shared = run("", "XREAD", "BLOCK", "10000", "STREAMS", "s", "1-3").catch((error) => error);
    const [owner, busy] = await waitFor(() => blockedClient(topology));
    await owner.cli("CLIENT", "KILL", "ID", busy);
    const failure = await shared;
    assert.ok(failure instanceof Error && !isRefusal(failure), String(failure));
    await waitFor(async () => (await run("", "XRANGE", "s", "1-3", "+")).includes("1-3"));
    clients.closeReader("4");
    clients.stop();
    await waitFor(async () => (await blockedClient(topology)) === null);
  }

  /** The server and the id of a connection that waits for a stream. @param {Topology} topology @returns {Promise<[any, string] | null>} */
  async function blockedClient(topology) {
    for (const server of /** @type {any[]} */ (serversOf(topology))) {
      const list = String(await server.cli("CLIENT", "LIST"));
      const id = /^id=(\d+) .*flags=b.* cmd=xread/m.exec(list)?.[1];
      if (id !== undefined) return [server, id];
    }
    return null;
  }

  describe("on one Redis", () => {
    for (const name of [...PACKAGES, /** @type {const} */ ("iovalkey")]) {
      it(name, async () => {
        const redis = await startRedis();
        const client = await connectClient(clientsOf(name), redis);
        try {
          await runAll(client, redis);
          // That of the client, and the one that asks.
          await waitFor(
            async () =>
              String(await redis.cli("CLIENT", "LIST"))
                .trim()
                .split("\n").length === 2,
          );
        } finally {
          await endClient(client);
          await redis.stop();
        }
      });
    }
  });

  describe("on a cluster", () => {
    /** @type {RedisCluster} */
    let cluster;
    before(async () => {
      cluster = await startCluster();
    });
    after(() => cluster.stop());
    for (const name of PACKAGES) {
      it(name, async () => {
        const client = await connectClient(clientsOf(name), cluster);
        try {
          await client.del("s");
          await runAll(client, cluster);
        } finally {
          await endClient(client);
        }
      });
    }
  });

  describe("behind sentinels", () => {
    /** @type {import("./support/sentinel").RedisSentinel} */
    let sentinel;
    before(async () => {
      sentinel = await startSentinel();
    });
    after(() => sentinel.stop());
    for (const name of /** @type {const} */ (["redis", "ioredis-4", "ioredis-5", "ioredis"])) {
      it(name, async () => {
        const client = await connectClient(clientsOf(name), sentinel);
        try {
          await client.del("s");
          await runAll(client, sentinel);
        } finally {
          await endClient(client);
        }
      });
    }

    it("redis-5: its clients have no duplicates, which is said", async () => {
      const client = await connectClient("redis-5", sentinel);
      assert.match(String(clientOf(client, "global").flaw()), /no duplicate\(\)/);
      await endClient(client);
    });
  });

  leavesNoRejection();
});
