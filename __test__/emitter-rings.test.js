// @ts-check
"use strict";

/**
 * The emitter reaches servers of each kind, this package's and the reference's, and those of `socket.io-redis` as the
 * emitter of the reference does; and scripts that emit and return lose nothing.
 */

const assert = require("node:assert");
const { fork } = require("node:child_process");
const path = require("node:path");
const { Redis } = require("ioredis");
const { createClient } = require("redis");
const reference = require("@socket.io/redis-adapter");
const { createAdapter: createReferenceStreams } = require("@socket.io/redis-streams-adapter");
const { Emitter: ReferenceEmitter } = require("@socket.io/redis-emitter");
const ours = require("..");
const { Emitter } = require("../emitter");
const { createAdapter: createStreams } = require("../streams");
const { Cluster, OPERATIONS } = require("./fixtures/emitted");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { hearStreams } = require("./support/streams");
const { once, waitFor } = require("./support/wait");

/** @type {import("./support/redis").RedisServer} */
let redis;
/** @type {any[]} */
const clients = [];

before(async () => {
  redis = await startRedis();
});

after(async () => {
  for (const client of clients) await (client.close?.() ?? client.quit());
  await redis.stop();
});

/** A client of the test run's, connected. */
async function client() {
  const made = createClient({ url: redis.url });
  made.on("error", () => {});
  clients.push(made);
  await made.connect();
  return made;
}

/**
 * @typedef {object} Kind of servers
 * @property {(index: number, key: string) => any} adapter
 * @property {(key: string) => import("../emitter").EmitterOptions} opts of the emitter
 * @property {(key: string, nsp: string) => string[]} [channels] that each server listens to
 * @property {boolean} [sharded]
 * @property {number} [streamCount] if they read streams
 */

/** @type {any[]} */
let pairs;

before(async () => {
  pairs = [];
  for (let i = 0; i < 2; i++) pairs.push([await client(), await client()]);
});

const MODES = /** @type {const} */ (["static", "dynamic", "dynamic-private"]);

/** @type {Record<string, Kind>} */
const KINDS = {
  classic: {
    adapter: (index, key) => of(index).createAdapter(...pairs[index], { key }),
    opts: (key) => ({ key }),
    channels: (key, nsp) => [`${key}-request#${nsp}#`, `${key}-response#${nsp}#`],
  },
  ...Object.fromEntries(
    MODES.map((subscriptionMode) => [
      `sharded, ${subscriptionMode}`,
      /** @type {Kind} */ ({
        adapter: (index, key) =>
          of(index).createShardedAdapter(...pairs[index], { channelPrefix: key, subscriptionMode }),
        opts: (key) => ({ mode: "sharded", channelPrefix: key, subscriptionMode }),
        channels: (key, nsp) => [`${key}#${nsp}#`],
        sharded: true,
      }),
    ]),
  ),
  ...Object.fromEntries(
    [false, true].flatMap((useShardedPubSub) =>
      [1, 4].map((streamCount) => [
        `streams, ${streamCount}${useShardedPubSub ? ", sharded pub/sub" : ""}`,
        /** @type {Kind} */ ({
          adapter: (index, key) =>
            (index === 0 ? createStreams : createReferenceStreams)(pairs[index][0], {
              ...streamsOf(key),
              streamCount,
              useShardedPubSub,
              blockTimeInMs: 200,
            }),
          opts: (key) => ({ mode: "streams", ...streamsOf(key), streamCount, useShardedPubSub }),
          channels: (key, nsp) => [`${key}#${nsp}#`],
          sharded: useShardedPubSub,
          streamCount,
        }),
      ]),
    ),
  ),
};

/** The package of a server: ours first, the reference's second. @param {number} index @returns {any} */
function of(index) {
  return index === 0 ? ours : reference;
}

/** @param {string} key */
function streamsOf(key) {
  return { streamName: key, channelPrefix: key };
}

/** What an emitter does to a ring of the reference's, as the operation says. @type {Record<string, any>} */
const EXPECTED = {
  "an event to a room": { received: [0, 1] },
  "an event to a room of nobody": { received: [] },
  "an event to rooms": { received: [0, 1, 2] },
  "an event to all but a room": { received: [2, 3] },
  "an event to a room but another": { received: [0] },
  bytes: { received: [0, 1] },
  "a join of all": { received: [], rooms: [["a", "c"], ["a", "b", "c"], ["b", "c"], ["c"]] },
  "a join of a room": { received: [], rooms: [["a", "c", "d"], ["a", "b", "c", "d"], ["b"], []] },
  "a join of all but a room": { received: [], rooms: [["a"], ["a", "b"], ["b", "c"], ["c"]] },
  "a leave": { received: [], rooms: [["a"], [], [], []] },
  "a disconnect of a room": { received: [], connected: [0, 3], rooms: [["a"], [], [], []] },
  "a disconnect of all but a room, with their connections": {
    received: [],
    connected: [1, 2],
    rooms: [[], ["a", "b"], ["b"], []],
  },
  "an event to the servers": { received: [], heard: [["heard", 1, { a: "é" }]] },
};

/** @param {string} what @param {any} got */
function check(what, got) {
  const all = [0, 1, 2, 3];
  const {
    received = all,
    rooms = [["a"], ["a", "b"], ["b"], []],
    connected = all,
    heard = [],
  } = EXPECTED[what] ?? {};
  const count = what === "events in order" ? 20 : 1;
  assert.deepStrictEqual(
    got.received.map((/** @type {any[]} */ log) => log.length),
    all.map((index) => (received.includes(index) ? count : 0)),
  );
  const logs = got.received.filter((/** @type {any[]} */ log) => log.length > 0);
  for (const log of logs) assert.deepStrictEqual(log, logs[0]);
  assert.deepStrictEqual(got.rooms, rooms);
  assert.deepStrictEqual(
    got.connected,
    all.map((index) => connected.includes(index)),
  );
  assert.deepStrictEqual(got.heard, [heard, heard]);
}

/** What a client receives of what was emitted. @type {Record<string, any[][]>} */
const RECEIVED = {
  "an event to all": [["hello", 1, "é", { a: [null] }]],
  "events in order": Array.from({ length: 20 }, (_, i) => ["hello", i]),
  bytes: [["hello", Buffer.from("bytes"), { deep: [Buffer.from([1, 2, 3])] }]],
  "a date": [["hello", "1970-01-01T00:00:00.005Z", { at: "2009-02-13T23:31:30.123Z" }]],
};

let keys = 0;

for (const [name, kind] of Object.entries(KINDS)) {
  for (const nsp of ["/", "/chat"]) {
    describe(`the emitter, to servers of both packages: ${name}, ${nsp}`, function () {
      this.timeout(30_000);
      const key = `emitter-${++keys}`;
      /** @type {Cluster} */
      let cluster;
      /** @type {Emitter} */
      let root;
      /** @type {any} */
      let emitter;

      before(async () => {
        cluster = new Cluster((index) => kind.adapter(index, key), { nsp });
        await cluster.start();
        for (const channel of kind.channels?.(key, nsp) ?? []) {
          await waitFor(
            async () =>
              Number((await redis.cli("PUBSUB", kind.sharded ? "SHARDNUMSUB" : "NUMSUB", channel))[1]) === 2,
            { what: `both servers to listen to ${channel}` },
          );
        }
        if (kind.streamCount !== undefined) {
          const [ours, theirs] = cluster.servers.map(({ io }) => io);
          await ours.of(nsp).adapter.ready;
          const streams = { streamName: key, streamCount: kind.streamCount };
          await hearStreams(pairs[0][0], streams, [theirs], nsp);
        }
        // By its own connections, and by a client of the user's.
        root =
          nsp === "/"
            ? new Emitter(redis.url, kind.opts(key))
            : new Emitter(await client(), { ...kind.opts(key), transport: "client" });
        emitter = nsp === "/" ? root : root.of(nsp);
        await listening();
      });

      after(async () => {
        await root.close();
        await cluster.close();
      });

      /**
       * Resolves when servers listen to the rooms that their clients are in, and to no others. The reference loses a
       * subscription, over node-redis, if the room is joined again before Redis has ended the one before.
       */
      async function listening() {
        const { subscriptionMode } = /** @type {any} */ (kind.opts(key));
        if (!kind.sharded || subscriptionMode === undefined || subscriptionMode === "static") return;
        for (const room of ["a", "b", "new"]) {
          const servers = () => cluster.servers.filter(({ io }) => io.of(nsp).adapter.rooms.has(room)).length;
          await waitFor(
            async () =>
              Number((await redis.cli("PUBSUB", "SHARDNUMSUB", `${key}#${nsp}#${room}#`))[1]) === servers(),
            { what: `room ${room} to be listened to by those who have it` },
          );
        }
      }

      for (const [what, act] of Object.entries(OPERATIONS)) {
        it(what, async () => {
          const got = await cluster.outcome(emitter, act);
          check(what, got);
          for (const log of got.received.filter((log) => log.length > 0)) {
            if (RECEIVED[what]) assert.deepStrictEqual(log, RECEIVED[what]);
          }
          const { sent, receivers } = await root.flush();
          assert.ok(sent > 0);
          if (name.startsWith("streams")) assert.strictEqual(receivers, null);
          else assert.ok(Number(receivers) >= sent, `${receivers} receivers of ${sent}`);
          await listening();
          await cluster.restore();
          await listening();
        });
      }

      it("an event to a room that sockets have just been told to join", async () => {
        const got = await cluster.outcome(emitter, () => {
          emitter.in("b").socketsJoin("new");
          emitter.to("new").emit("hello", "new");
        });
        assert.deepStrictEqual(got.received, [[], [["hello", "new"]], [["hello", "new"]], []]);
        await listening();
        await cluster.restore();
        await listening();
      });
    });
  }
}

/** Servers of `socket.io-redis`. */
const LEGACY = /** @type {const} */ ({
  "socket.io-redis-5": { version: "then" },
  "socket.io-redis-6": { version: "now" },
});

for (const [name, { version }] of Object.entries(LEGACY)) {
  for (const nsp of ["/", "/chat"]) {
    describe(`the emitter, to servers of ${name}, ${nsp}`, function () {
      this.timeout(30_000);
      const key = `emitter-${++keys}`;
      /** @type {Cluster} */
      let cluster;
      /** @type {Emitter} */
      let mine;
      /** @type {any} */
      let theirs;
      /** @type {any[]} */
      const adapters = [];

      before(async () => {
        const legacy = require(name);
        const create = legacy.createAdapter ?? legacy;
        cluster = new Cluster(
          () => {
            const [pubClient, subClient] = [new Redis(redis.port), new Redis(redis.port)];
            adapters.push(pubClient, subClient);
            return create({ pubClient, subClient, key });
          },
          { nsp, version, hears: false },
        );
        await cluster.start();
        await waitFor(
          async () => Number((await redis.cli("PUBSUB", "NUMSUB", `${key}-request#${nsp}#`))[1]) === 2,
        );
        mine = new Emitter(redis.url, { key });
        theirs = new ReferenceEmitter(await client(), { key });
      });

      after(async () => {
        await mine.close();
        await cluster.close();
        for (const one of adapters) one.disconnect();
      });

      for (const [what, act] of Object.entries(OPERATIONS)) {
        it(`${what}: as the reference's`, async () => {
          const wanted = await cluster.outcome(nsp === "/" ? theirs : theirs.of(nsp), act);
          await cluster.restore();
          const got = await cluster.outcome(nsp === "/" ? mine : mine.of(nsp), act);
          await cluster.restore();
          assert.deepStrictEqual(got, wanted);
          if (what === "an event to rooms")
            assert.deepStrictEqual(
              got.received.map((log) => log.length),
              [1, 1, 1, 0],
            );
        });
      }
    });
  }
}

describe("a script that emits 10,000 messages and returns", function () {
  this.timeout(60_000);
  const COUNT = 10_000;
  const WAYS = ["url", "redis", "ioredis"].flatMap((clients) =>
    ["classic", "sharded", "streams"].flatMap((mode) =>
      (clients === "url" ? [{}] : [{}, { transport: "client" }]).map((more) => ({ clients, mode, ...more })),
    ),
  );
  sideBySide(
    WAYS.map((given) => ({ name: `loses none: ${Object.values(given).join(", ")}`, given })),
    async ({ given }) => {
      const key = `script-${++keys}`;
      /** @type {number[]} */
      const got = [];
      const subscriber = await client();
      const take = (/** @type {Buffer} */ bytes) =>
        void got.push(Number(/(\d+) of many/.exec(String(bytes))?.[1]));
      if (given.mode === "classic") await subscriber.subscribe(`${key}#/#`, take, true);
      if (given.mode === "sharded") await subscriber.sSubscribe(`${key}#/#`, take, true);
      const child = fork(
        path.join(__dirname, "support", "child-emitter.js"),
        [JSON.stringify({ port: redis.port, key, count: COUNT, ...given })],
        { silent: true },
      );
      let output = "";
      for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => (output += text));
      child.disconnect();
      const ended = await once(child, "exit", 30_000).catch(() => ["still running"]);
      child.kill("SIGKILL");
      assert.deepStrictEqual([ended[0], output], [0, ""]);
      if (given.mode === "streams") {
        const entries = await redis.cli("XRANGE", key, "-", "+");
        for (const [, fields] of entries) take(Buffer.from(fields.map(String).join(" ")));
      }
      await waitFor(() => got.length >= COUNT, {
        what: `${COUNT} messages, of which there are ${got.length}`,
      }).catch(() => {});
      assert.strictEqual(got.length, COUNT);
      assert.deepStrictEqual(
        got,
        Array.from({ length: COUNT }, (_, i) => i),
      );
    },
    // Each is a process.
    { atOnce: 4 },
  );

  leavesNoRejection();
});
