// @ts-check
"use strict";

/**
 * Nothing of ours keeps a process alive, nothing that was emitted is lost by its end, and what is closed is gone.
 */

const assert = require("node:assert");
const { fork, spawn } = require("node:child_process");
const path = require("node:path");
const { Worker } = require("node:worker_threads");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const reference = require("@socket.io/redis-adapter");
const { createAdapter } = require("..");
const streams = require("../streams");
const {
  KINDS,
  Node,
  countSubscribers,
  endClient,
  isConnected,
  makeClient,
  withTimeout,
} = require("./fixtures/nodes");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { callsOf } = require("./support/streams");
const { once, waitFor } = require("./support/wait");

const TRANSPORTS = /** @type {const} */ (["native", "auto", "client"]);

describe("lifetime", function () {
  this.timeout(60_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** Hears all broadcasts, with their channels. @type {Redis} */
  let subscriber;
  /** @type {Map<string, number>} */
  const heard = new Map();

  before(async () => {
    redis = await startRedis();
    subscriber = new Redis(redis.port);
    subscriber.on("pmessage", (_, channel) => heard.set(channel, (heard.get(channel) ?? 0) + 1));
    await subscriber.psubscribe("*#/#");
  });

  after(async () => {
    await subscriber.quit();
    await redis.stop();
  });

  /**
   * Runs a script to its own end, which has to be a good one.
   *
   * @param {Record<string, any>} given
   * @param {RegExp} [says]
   */
  async function runChild(given, says = /^$/) {
    const child = fork(path.join(__dirname, "support", "child-emit.js"), [JSON.stringify(given)], {
      silent: true,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => (output += text));
    // Talking to the parent must not be what keeps it.
    child.disconnect();
    const ended = once(child, "exit", 15_000).catch(() => [null, "still running"]);
    const [code, signal] = await ended;
    child.kill("SIGKILL");
    assert.deepStrictEqual([code, signal], [0, null], output);
    await waitFor(() => says.test(output), { what: `the child to say ${says}` });
  }

  describe("a script that has nothing more to do", () => {
    const clients = ["node-redis", "ioredis"];
    const endings = clients.flatMap((kind) =>
      ["native", "client", "auto"].flatMap((transport) =>
        ["tick", "ready"].map((when) => ({ clients: kind, transport, when, end: "clients", count: 10 })),
      ),
    );
    /** @type {any[]} */
    const all = [
      { clients: "url", transport: "auto", when: "tick", count: 1 },
      { clients: "url", transport: "auto", when: "ready", count: 1 },
      { clients: "url", transport: "auto", when: "tick", end: "server", count: 1 },
      { clients: "url", transport: "auto", when: "tick", end: "adapter", count: 1 },
      { clients: "url", transport: "auto", when: "tick", end: "process.exit", count: 1000 },
      { clients: "url", transport: "auto", when: "ready", end: "process.exit", count: 1000 },
      { clients: "node-redis", transport: "native", when: "tick", end: "process.exit", count: 1000 },
      { clients: "node-redis", transport: "auto", when: "ready", end: "process.exit", count: 1000 },
      { clients: "ioredis", transport: "auto", when: "ready", end: "process.exit", count: 1000 },
      ...endings,
    ];
    const variants = all.map((variant, index) => ({
      ...variant,
      name: `${variant.clients}, transport ${variant.transport}: emits ${variant.count} at ${variant.when}, ends ${variant.end ?? "by itself"}`,
      key: `child${index}`,
    }));
    sideBySide(variants, async ({ name, ...given }) => {
      // Two at a time, there being two cores.
      await turn(() => runChild({ port: redis.port, ...given }));
      await waitFor(() => heard.get(`${given.key}#/#`) === given.count, {
        timeout: 1000,
        what: `${given.count} messages on the wire, there are ${heard.get(`${given.key}#/#`) ?? 0}`,
      });
    });
  });

  describe("an idle process", () => {
    it("ends by itself with the URL of a Redis", () =>
      runChild({ port: redis.port, clients: "url", when: "ready", count: 0 }));

    it("ends by itself with the URL of a Redis that is not there", async () => {
      const given = { port: await freePort(), clients: "url", count: 0 };
      await runChild(given, /^socket\.io-redis: cannot connect to .*\n$/);
    });

    it("ends by itself once the server and the clients are closed", async () => {
      for (const clients of ["node-redis", "ioredis"]) {
        await runChild({ port: redis.port, clients, when: "ready", count: 0, end: "clients" });
        await runChild({ port: redis.port, clients, when: "ready", count: 0, end: "clients at once" });
      }
    });
  });

  describe("close", () => {
    for (const kind of KINDS) {
      for (const transport of TRANSPORTS) {
        describe(`${kind}, transport ${transport}`, () => {
          it("may come twice, and before the adapter is ready", async () => {
            for (const ready of [false, true]) {
              const options = { transport, key: `close-${kind}-${transport}-${ready}` };
              const node = new Node({ kind, redis: { port: redis.port }, options });
              try {
                if (ready) await node.ready();
                node.adapter.close();
                node.adapter.close();
                await waitFor(() => isConnected(node.pub) && isConnected(node.sub));
                await waitFor(
                  async () => (await countSubscribers(redis, `${options.key}-request#/#`)) === 0,
                  {
                    what: `it to be unsubscribed (ready: ${ready})`,
                  },
                );
              } finally {
                await node.close();
              }
            }
          });

          it("leaves emits possible, as with the reference", async () => {
            /** @type {[any, any][]} */
            const packages = [
              [reference.createAdapter, { key: "late-reference" }],
              [createAdapter, { key: "late-ours", transport }],
            ];
            for (const [createAdapter, options] of packages) {
              const node = new Node({ kind, redis: { port: redis.port }, createAdapter, options });
              await node.ready();
              node.adapter.close();
              heard.delete(`${options.key}#/#`);
              node.io.emit("late", 1);
              await waitFor(() => heard.get(`${options.key}#/#`) === 1, {
                what: `${options.key} to publish`,
              });
              await node.close();
            }
          });

          it("leaves nothing behind, 200 times", async () => {
            const key = `loop-${kind}-${transport}`;
            const node = new Node({
              kind,
              redis: { port: redis.port },
              options: { transport, key: "keeps" },
            });
            try {
              await node.ready();
              // A client of ioredis that is still connecting listens to itself.
              const connected = () =>
                [node.pub, node.sub].every(({ status }) => status === undefined || status === "ready");
              await waitFor(connected, { what: "the clients to be connected" });
              const before = await look();
              for (let i = 0; i < 200; i++) {
                const io = new Server({ adapter: createAdapter(node.pub, node.sub, { transport, key }) });
                // Some get as far as to be ready, some do not.
                if (i % 10 === 0) await /** @type {any} */ (io.of("/").adapter).ready;
                /** @type {any} */ (io.of("/").adapter).close();
              }
              const gone = async () => (await countSubscribers(redis, `${key}-request#/#`)) === 0;
              await waitFor(gone, { what: "all to be unsubscribed" });
              // Connections and timers of the tests before this one may go meanwhile.
              const same = async () => {
                const now = await look();
                return (
                  now.connections <= before.connections &&
                  now.timers <= before.timers &&
                  JSON.stringify(now.listeners) === JSON.stringify(before.listeners)
                );
              };
              await waitFor(same, { what: "the rest to be gone" }).catch(async () =>
                assert.deepStrictEqual(await look(), before),
              );
            } finally {
              await node.close();
            }

            async function look() {
              const connections = String(await redis.cli("CLIENT", "LIST"))
                .trim()
                .split("\n").length;
              const listeners = [node.pub, node.sub].map((client) =>
                client
                  .eventNames()
                  .map((/** @type {string} */ name) => [String(name), client.listenerCount(name)]),
              );
              return { connections, listeners, timers: timers() };
            }
          });

          it("ends and begins again with the clients", async () => {
            const options = { transport, key: `again-${kind}-${transport}` };
            const [a, b] = [1, 2].map(() => new Node({ kind, redis: { port: redis.port }, options }));
            await Promise.all([a.ready(), b.ready()]);
            const channel = `${options.key}-request#/#`;
            await waitFor(async () => (await countSubscribers(redis, channel)) === 2);
            await Promise.all([a.pub, a.sub].map(endClient));
            await waitFor(async () => (await countSubscribers(redis, channel)) === 1, {
              what: "the link to end",
            });
            await Promise.all([a.pub, a.sub].map((client) => client.connect()));
            await waitFor(async () => (await countSubscribers(redis, channel)) === 2, {
              what: "the link to be back",
            });
            const [here, there] = [once(await a.connect(), "back"), once(await b.connect(), "forth")];
            a.io.emit("forth", 1);
            b.io.emit("back", 2);
            assert.deepStrictEqual([await here, await there], [[2], [1]]);
            await Promise.all([a.close(), b.close()]);
          });
        });
      }
    }

    for (const kind of KINDS) {
      for (const transport of /** @type {const} */ (["native", "client"])) {
        it(`20 servers that share a client add one listener to each event: ${kind}, ${transport}`, async () => {
          const client = makeClient(kind, { port: redis.port });
          await waitFor(() => isConnected(client), { what: "the client to be connected" });
          const count = () =>
            client.eventNames().map((/** @type {any} */ name) => [String(name), client.listenerCount(name)]);
          const before = new Map(count());
          const make = (/** @type {string} */ key) =>
            new Server({
              adapter: streams.createAdapter(client, { channelPrefix: key, streamName: key, transport }),
            });
          const adapters = Array.from({ length: 20 }, () => make(`shared-${kind}`).of("/").adapter);
          await Promise.all(adapters.map((/** @type {any} */ adapter) => adapter.ready));
          for (const [name, listeners] of count())
            assert.ok(listeners <= (before.get(name) ?? 0) + 1, `${listeners} of ${name}`);
          for (const adapter of adapters) adapter.close();
          assert.deepStrictEqual(new Map(count()), before);
          await endClient(client);
        });
      }
    }

    it("leaves nothing behind, 200 times with a URL", async () => {
      const connections = async () =>
        String(await redis.cli("CLIENT", "LIST"))
          .trim()
          .split("\n").length;
      // That of the subscriber, and the one that asks: those of the tests before may still be about to go.
      const idle = 2;
      await waitFor(async () => (await connections()) === idle, { what: "other tests to be over" });
      const before = { connections: idle, timers: timers() };
      for (let i = 0; i < 200; i++) {
        const io = new Server({ adapter: createAdapter(redis.url, { key: "loop" }) });
        if (i % 10 === 0) await /** @type {any} */ (io.of("/").adapter).ready;
        /** @type {any} */ (io.of("/").adapter).close();
      }
      await waitFor(async () => (await connections()) === before.connections && timers() <= before.timers, {
        what: "the connections to be closed",
      });
    });

    for (const kind of KINDS) {
      for (const given of /** @type {const} */ (["pubClient", "subClient"])) {
        it(`connects no duplicate of ${given} for a factory that no server takes, ${kind}`, async () => {
          const client = makeClient(kind, { port: redis.port });
          await waitFor(() => isConnected(client), { what: "the client to be connected" });
          const listeners = () =>
            client.eventNames().map((/** @type {string} */ name) => client.listenerCount(name));
          const before = listeners();
          const other = given === "pubClient" ? "subClient" : "pubClient";
          const twin = createAdapter({ [given]: client })[other];
          assert.throws(() => createAdapter({ [given]: client, requestsTimeout: "soon" }), /requestsTimeout/);
          assert.strictEqual(twin.isOpen ?? twin.status, kind === "ioredis" ? "wait" : false);
          assert.deepStrictEqual(listeners(), before);
          await endClient(client);
        });

        it(`takes the duplicate of ${given} along, ${kind}`, async () => {
          // Connections of the tests before this one may go meanwhile.
          const own = await startRedis();
          const client = makeClient(kind, { port: own.port });
          await waitFor(() => isConnected(client), { what: "the client to be connected" });
          const look = async () => ({
            // What the test itself asks comes by the unix socket.
            connections: String(await own.cli("CLIENT", "LIST")).match(/ addr=127/g)?.length,
            listeners: client.eventNames().map((/** @type {string} */ name) => client.listenerCount(name)),
          });
          const before = await look();
          /** @type {any} */
          let adapter;
          const make = createAdapter({ [given]: client, key: `duplicate-${kind}-${given}` });
          for (let i = 0; i < 15; i++) {
            // The last one is of a factory that was used before.
            const again = i === 0 || i === 14;
            const io = new Server({ adapter: again ? make : createAdapter({ [given]: client }) });
            adapter = io.of("/").adapter;
            await adapter.ready;
            adapter.close();
            if (i === 0) await waitFor(async () => (await look()).connections === before.connections);
          }
          await waitFor(async () => JSON.stringify(await look()) === JSON.stringify(before), {
            what: "the duplicates to be gone",
          }).catch(async () => assert.deepStrictEqual(await look(), before));
          await endClient(client);
          await own.stop();
        });
      }
    }

    it("takes the duplicate of one of redis 3 along, and has it come back with the next server", async () => {
      const own = await startRedis();
      const client = /** @type {any} */ (require("redis-3")).createClient(own.port);
      await once(client, "ready");
      const connections = async () => String(await own.cli("CLIENT", "LIST")).match(/ addr=127/g)?.length;
      const only = async (/** @type {string} */ what) =>
        waitFor(async () => (await connections()) === 1, { what });
      const make = createAdapter({ pubClient: client, key: "old" });
      await only("the duplicate to wait for a server");
      const other = new Server({ adapter: createAdapter(own.url, { key: "old", transport: "native" }) });
      const far = /** @type {any} */ (other.of("/").adapter);
      await far.ready;
      await waitFor(async () => (await connections()) === 3);
      for (let n = 0; n < 3; n++) {
        const io = new Server({ adapter: make });
        const adapter = /** @type {any} */ (io.of("/").adapter);
        await adapter.ready;
        const heard = once(io, "n");
        other.serverSideEmit("n", n);
        assert.deepStrictEqual(await heard, [n]);
        adapter.close();
        await waitFor(async () => (await connections()) === 3, { what: `duplicate ${n} to be gone` });
      }
      far.close();
      await only("the other server to be gone");
      client.end(true);
      await own.stop();
    });
    leavesNoRejection();
  });

  describe("subscriptions", () => {
    for (const kind of KINDS) {
      for (const transport of TRANSPORTS) {
        it(`${kind}, transport ${transport}: unsubscribes when close is called`, async () => {
          const own = await startRedis();
          const count = async () => {
            const { pubsub_channels, pubsub_patterns } = await own.info("stats");
            return [Number(pubsub_channels), Number(pubsub_patterns)];
          };
          const pairs = [1, 2, 3].map(() => [1, 2].map(() => makeClient(kind, { port: own.port })));
          await waitFor(() => pairs.flat().every(isConnected));
          const servers = pairs.map(
            ([pub, sub]) => new Server({ adapter: createAdapter(pub, sub, { transport }) }),
          );
          // Requests and responses, which they share, and the own responses of each.
          await waitFor(async () => String(await count()) === "5,1", { what: "five channels and a pattern" });
          // A link that is not proven yet ends with its last member.
          await Promise.all(servers.map((io) => /** @type {any} */ (io.of("/").adapter).ready));
          for (const io of servers) /** @type {any} */ (io.of("/").adapter).close();
          await waitFor(async () => String(await count()) === "0,0", { what: "all to be unsubscribed" });
          // By command: what a connection had ends with it, too, but that of a closed adapter stays for a while.
          const called = [await callsOf(own, "unsubscribe"), await callsOf(own, "punsubscribe")];
          assert.ok(Math.min(...called) >= servers.length, `${called} commands of ${servers.length} servers`);
          await Promise.all(pairs.flat().map(endClient));
          await own.stop();
        });
      }
    }

    it("are those of the last adapter alone if a server gets two (F6)", async () => {
      for (const kind of KINDS) {
        for (const transport of /** @type {const} */ (["native", "client"])) {
          const options = { transport, key: `twice-${kind}-${transport}` };
          const node = new Node({ kind, redis: { port: redis.port }, options });
          await node.ready();
          node.io.adapter(/** @type {any} */ (createAdapter(node.pub, node.sub, options)));
          await node.ready();
          await waitFor(async () => (await node.adapter.serverCount()) === 1, { what: "a single server" });
          const [pub, sub] = [1, 2].map(() => makeClient(kind, { port: redis.port }));
          node.io.adapter(/** @type {any} */ (createAdapter(pub, sub, options)));
          await node.ready();
          await waitFor(async () => (await node.adapter.serverCount()) === 1, {
            what: "a single server, still",
          });
          assert.strictEqual((await node.io.fetchSockets()).length, 0);
          await node.close();
          await Promise.all([pub, sub].map(endClient));
        }
      }
    });
  });

  it("a package that is loaded anew adds no listeners to the process", async () => {
    const script = `
      for (let i = 0; i < 15; i++) {
        for (const name of Object.keys(require.cache)) delete require.cache[name];
        const { Server } = require("socket.io");
        const io = new Server({ adapter: require(".").createAdapter("redis://127.0.0.1:${redis.port}") });
        io.of("/").adapter.close();
      }
      console.log(process.listenerCount("exit"), process.listenerCount("beforeExit"));`;
    const child = spawn(process.execPath, ["-e", script], { cwd: path.join(__dirname, "..") });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
    const [code] = await once(child, "close", 15_000);
    assert.deepStrictEqual([code, output], [0, "1 1\n"]);
  });

  describe("worker threads", () => {
    const start = () =>
      new Worker(path.join(__dirname, "support", "child-worker.js"), { workerData: { port: redis.port } });

    it("share the cluster with the main thread, and may be terminated in the middle of traffic", async () => {
      const io = new Server({ adapter: createAdapter(redis.url) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      let ticks = 0;
      io.on("tick", () => ticks++);
      await withTimeout(adapter.ready, 5000, "the adapter to be ready");
      for (let round = 0; round < 3; round++) {
        const workers = [start(), start()];
        await Promise.all(workers.map((worker) => once(worker, "message", 10_000)));
        assert.strictEqual(await adapter.serverCount(), 3);
        const before = ticks;
        await waitFor(() => ticks > before + 200, { what: "ticks of the workers" });
        const greeted = workers.map((worker) => once(worker, "message"));
        io.serverSideEmit("hello", round);
        assert.deepStrictEqual(await Promise.all(greeted), [[`hello ${round}`], [`hello ${round}`]]);
        await Promise.all(workers.map((worker) => worker.terminate()));
        await waitFor(async () => (await adapter.serverCount()) === 1, { what: "the workers to be gone" });
      }
      const other = new Server({ adapter: createAdapter(redis.url) });
      await /** @type {any} */ (other.of("/").adapter).ready;
      const still = once(/** @type {any} */ (io), "still");
      other.serverSideEmit("still", 1);
      assert.deepStrictEqual(await still, [1]);
      for (const { adapter } of [io.of("/"), other.of("/")]) adapter.close();
    });
  });
});

/** How many timers keep the process. */
function timers() {
  return /** @type {any} */ (process)
    .getActiveResourcesInfo()
    .filter((/** @type {string} */ name) => name === "Timeout").length;
}

/** @type {Promise<unknown>[]} */
const turns = [Promise.resolve(), Promise.resolve()];
let nextTurn = 0;

/** Runs something when its turn comes. @template T @param {() => Promise<T>} run @returns {Promise<T>} */
function turn(run) {
  const which = nextTurn++ % turns.length;
  const result = turns[which].then(run);
  turns[which] = result.catch(() => {});
  return result;
}
