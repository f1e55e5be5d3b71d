// @ts-check
"use strict";

/**
 * Redis goes away, stalls or refuses: local sockets notice nothing, and what was lost elsewhere was counted.
 */

const assert = require("node:assert");
const reference = require("@socket.io/redis-adapter");
const { KINDS, Node, countSubscribers } = require("./fixtures/nodes");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { RATE, Receiver, Sender } = require("./fixtures/traffic");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/redis").RedisServer} RedisServer */
/** @typedef {{ name: string, kind: "node-redis" | "ioredis", transport: string, mixed?: boolean }} Variant */

/** How long a turn of Redis' event loop takes at most, on a busy machine, in milliseconds. */
const TURN = 50;

/** @type {Variant[]} */
const ALONE = KINDS.flatMap((kind) =>
  ["auto", "client"].map((transport) => ({ name: `${kind}, transport ${transport}`, kind, transport })),
);

/** @type {Variant[]} */
const VARIANTS = [
  ...ALONE,
  { name: "node-redis, to the reference", kind: "node-redis", transport: "auto", mixed: true },
];

/**
 * @typedef {object} Pair
 * @property {RedisServer} redis
 * @property {Node} a the one that emits, always ours
 * @property {Node} b
 * @property {Receiver} here what the websocket client of `a` has received
 * @property {Receiver} there and that of `b`
 * @property {Sender} sender
 * @property {Break} broken
 * @property {[number, number][]} gaps when `b` did not hear `a`, as it has told: from and to
 *
 * @typedef {object} Break what is known when a connection of `a` breaks
 * @property {number} inFlight how many were published without an answer
 * @property {number} sent how many were emitted: what comes later waits for the end of the outage
 */

/**
 * Runs `use` with two nodes that know of each other, on a Redis of their own.
 *
 * @param {Variant} variant
 * @param {(pair: Pair) => Promise<void>} use
 * @param {{ options?: any, users?: Record<string, string>, user?: string }} [more]
 */
async function withPair({ kind, transport, mixed }, use, { options, users, user } = {}) {
  const redis = await startRedis({ users });
  const where = { port: redis.port, username: user, password: user };
  const a = new Node({ kind, redis: where, options: { transport, ...options } });
  const b = new Node(
    mixed
      ? { kind, redis: where, createAdapter: reference.createAdapter }
      : { kind, redis: where, options: { transport, ...options } },
  );
  const sender = new Sender(a.io);
  /** @type {[number, number][]} */
  const gaps = [];
  b.adapter.on("gap", (/** @type {{ milliseconds: number }} */ { milliseconds }) => {
    const now = performance.now();
    gaps.push([now - milliseconds, now]);
  });
  try {
    await Promise.all([a.ready(), b.ready()]);
    await waitFor(async () => (await countSubscribers(redis, "socket.io-response#/#")) === 2, {
      what: "both nodes to subscribe",
    });
    const [here, there] = [new Receiver(await a.connect()), new Receiver(await b.connect())];
    sender.follow([...a.io.sockets.sockets.values()][0]);
    await use({ redis, a, b, here, there, sender, gaps, broken: watchBreak(a, sender) });
  } finally {
    sender.stop();
    // The clients end before their Redis does, or they would go on about it.
    await Promise.all([a.close(), b.close()]);
    await redis.stop();
  }
}

/**
 * Notes what is known when a connection of a node breaks: as its link says it, or at once, if it is the user's client that
 * carries.
 *
 * @param {Node} a
 * @param {Sender} sender
 * @returns {Break}
 */
function watchBreak(a, sender) {
  const broken = { inFlight: 0, sent: Infinity };
  const note = () => {
    const { published, acknowledged } = a.adapter.stats();
    broken.inFlight = Math.max(broken.inFlight, published - acknowledged);
    broken.sent = Math.min(broken.sent, sender.sent);
  };
  if (a.adapter.transport.carrier === "native") a.adapter.on("degraded", note);
  else for (const event of ["close", "reconnecting", "end"]) a.pub.on(event, note);
  return broken;
}

/**
 * Sends on until the other node is up to date again and has been so for a second.
 *
 * @param {Pair} pair
 */
async function untilHealed({ sender, there }) {
  const now = sender.sent;
  await waitFor(() => (there.numbers.at(-1) ?? -1) >= now, {
    timeout: 15_000,
    what: "the other node to catch up",
  });
  const healed = sender.sent;
  await sender.more(RATE);
  sender.stop();
  await there.got(sender.sent - 1);
  const late = there.missing(sender.sent).filter((number) => number >= healed);
  assert.deepStrictEqual(late, [], "messages were lost after the healing");
}

/**
 * Every message is here at once, or not at all if it is nowhere; what is missing there was in flight when the connection
 * broke, and was counted.
 *
 * @param {Pair} pair
 */
async function check(pair) {
  const { a, here, there, sender, broken } = pair;
  assert.deepStrictEqual(sender.thrown, []);
  await here.got(sender.sent - 1);
  assert.deepStrictEqual(here.missing(sender.sent), []);
  assert.deepStrictEqual([here.doubled, here.misordered], [[], []]);
  assert.deepStrictEqual(sender.late, [], "not delivered here at once");

  const isNative = a.adapter.transport.carrier === "native";
  await waitFor(() => settled(a.adapter.stats()), { what: "all that was published to be accounted for" });
  const { dropped, lostInFlight, refused, early } = a.adapter.stats();
  const inFlight = isNative ? lostInFlight : broken.inFlight;
  // A client of ioredis sends again what had no answer when its connection was lost, though Redis may have had it:
  // its own doing (autoResendUnfulfilledCommands), and the same under the reference.
  const resent = a.kind === "ioredis" && !isNative ? inFlight : 0;
  assert.ok(there.doubled.length <= resent, `doubled: ${there.doubled}; ${resent} may be (${show(a)})`);
  assert.deepStrictEqual(there.misordered, [], "out of order");
  const missing = there.missing(sender.sent);
  const unseen = unseenOf(missing, inFlight, pair);
  assert.ok(missing.length <= inFlight + unseen, `lost: ${missing}; ${inFlight} were in flight (${show(a)})`);
  // What it sends again reaches those who listen already: that is counted, too.
  const counted = dropped + lostInFlight + refused + (isNative ? 0 : early) + unseen;
  assert.ok(missing.length <= counted, `lost: ${missing}; ${counted} counted (${show(a)})`);
  const late = missing.filter((number) => number >= broken.sent);
  assert.deepStrictEqual(late, [], "what was emitted in the outage is not in flight");
}

/**
 * How many of those that are missing Redis had answered for, but not yet passed on, when it ended: those that it had taken in
 * the last turn of its event loop. Nobody can count them, but the one who did not get them says that it heard nothing then.
 *
 * @param {number[]} missing
 * @param {number} inFlight
 * @param {Pair} pair
 */
function unseenOf(missing, inFlight, { b, gaps, sender, broken }) {
  const rest = missing.slice(0, Math.max(missing.length - inFlight, 0));
  if (broken.sent === Infinity || rest.length === 0) return 0;
  const times = rest.map((number) => sender.sentAt[number]);
  const isRun = rest.every((number, n) => number === rest[0] + n);
  const isTold = times.every((at) => gaps.some(([from, to]) => from <= at && at <= to));
  // The reference does not say it.
  const isOfOneTurn = isRun && times[times.length - 1] - times[0] < TURN;
  return isOfOneTurn && (isTold || b.adapter.ready === undefined) ? rest.length : 0;
}

/** Whether all that was handed over is accounted for. @param {any} stats */
function settled({ published, acknowledged, refused, lostInFlight, backlog }) {
  return backlog === 0 && published === acknowledged + refused + lostInFlight;
}

/** @param {Node} node */
function show(node) {
  return JSON.stringify({ transport: node.adapter.transport, ...node.adapter.stats() });
}

describe("outage", function () {
  this.timeout(60_000);

  describe("Redis is killed for three seconds", () => {
    sideBySide(VARIANTS, (variant) =>
      withPair(variant, async (pair) => {
        const { redis, sender } = pair;
        sender.start();
        await sender.more(RATE);
        await redis.kill();
        await sender.more(3 * RATE);
        await redis.restart();
        await untilHealed(pair);
        await check(pair);
      }),
    );
    leavesNoRejection();
  });

  describe("Redis restarts", () => {
    sideBySide(VARIANTS, (variant) =>
      withPair(variant, async (pair) => {
        pair.sender.start();
        await pair.sender.more(RATE / 2);
        await pair.redis.restart();
        await untilHealed(pair);
        await check(pair);
      }),
    );
    leavesNoRejection();
  });

  describe("Redis is frozen for two seconds", () => {
    sideBySide(VARIANTS, (variant) =>
      withPair(variant, async (pair) => {
        const { redis, sender } = pair;
        sender.start();
        await sender.more(RATE / 2);
        redis.pause();
        await sender.more(2 * RATE);
        redis.resume();
        await untilHealed(pair);
        assert.deepStrictEqual(pair.there.missing(sender.sent), []);
        await check(pair);
      }),
    );
    leavesNoRejection();
  });

  describe("CLIENT KILL TYPE normal", () => {
    sideBySide(VARIANTS, (variant) =>
      withPair(variant, async (pair) => {
        const { redis, sender } = pair;
        sender.start();
        await sender.more(RATE / 2);
        assert.ok((await redis.cli("CLIENT", "KILL", "TYPE", "normal")) > 0);
        await untilHealed(pair);
        await check(pair);
      }),
    );
    leavesNoRejection();
  });

  describe("CLIENT KILL TYPE pubsub", () => {
    sideBySide(VARIANTS, (variant) =>
      withPair(variant, async (pair) => {
        const { redis, sender, a, there } = pair;
        let noticed = Infinity;
        a.adapter.once("degraded", () => (noticed = sender.sent));
        sender.start();
        await sender.more(RATE / 2);
        assert.ok((await redis.cli("CLIENT", "KILL", "TYPE", "pubsub")) > 0);
        await waitFor(() => a.events.degraded.length > 0, { what: "the adapter to say that it is degraded" });
        await untilHealed(pair);
        // Pub/sub keeps nothing for a subscriber that is away: what comes until that is noticed is lost to it.
        const late = there.missing(sender.sent).filter((number) => number >= noticed);
        assert.deepStrictEqual(late, [], `lost though it was known since ${noticed}; ${show(a)}`);
        assert.deepStrictEqual([there.doubled, there.misordered], [[], []]);
      }),
    );
    leavesNoRejection();
  });

  describe("Redis is not there at first", () => {
    sideBySide(ALONE, async ({ kind, transport }) => {
      const port = await freePort();
      const [a, b] = [1, 2].map(() => new Node({ kind, redis: { port }, options: { transport } }));
      /** @type {RedisServer | null} */
      let redis = null;
      try {
        const [here, there] = [new Receiver(await a.connect()), new Receiver(await b.connect())];
        const sender = new Sender(a.io);
        // On its first way to Redis a client queues by itself, and sends before the others have subscribed.
        if (transport === "client") {
          const failure = kind === "ioredis" ? "close" : "reconnecting";
          await Promise.all([a.pub, a.sub].map((client) => once(client, failure)));
        }
        for (let i = 0; i < 10; i++) sender.one();
        await here.got(9);
        redis = await startRedis({ port });
        await Promise.all([a.ready(), b.ready()]);
        sender.one();
        await there.got(10);
        assert.deepStrictEqual(there.numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      } finally {
        await Promise.all([a.close(), b.close()]);
        await redis?.stop();
      }
    });
    leavesNoRejection();
  });

  describe("Redis does not let the node subscribe at first", () => {
    sideBySide(ALONE, async ({ kind, transport }) => {
      const redis = await startRedis({ users: { app: "on >app ~* &* +@all -subscribe -psubscribe" } });
      const node = new Node({
        kind,
        redis: { port: redis.port, username: "app", password: "app" },
        options: { transport },
      });
      try {
        const [error] = await once(node.adapter, "error");
        assert.match(error.message, /subscribe.*NOPERM/);
        await redis.cli("ACL", "SETUSER", "app", "+@all");
        await node.ready();
        const received = once(await node.connect(), "hello");
        const other = new Node({ kind, redis: { port: redis.port, username: "app", password: "app" } });
        await other.ready();
        other.io.emit("hello", 1);
        assert.deepStrictEqual(await received, [1]);
        await other.close();
      } finally {
        await node.close();
        await redis.stop();
      }
    });
    leavesNoRejection();
  });

  describe("Redis does not let the node publish", () => {
    const users = { app: "on >app ~* &* +@all" };
    sideBySide(ALONE, (variant) =>
      withPair(
        variant,
        async ({ redis, a, here, there, sender }) => {
          await redis.cli("ACL", "SETUSER", "app", "-publish");
          for (let i = 0; i < 5; i++) sender.one();
          await waitFor(() => a.adapter.stats().refused >= 5, { what: `5 refusals: ${show(a)}` });
          assert.strictEqual(a.adapter.stats().refused, 5);
          await here.got(4);

          const refused = once(a.adapter, "error");
          sender.one();
          assert.match((await refused)[0].message, /publish.*NOPERM/);

          await redis.cli("ACL", "SETUSER", "app", "+publish");
          sender.one();
          await there.got(6);
          assert.deepStrictEqual(there.numbers, [6]);
          assert.deepStrictEqual(here.numbers, [0, 1, 2, 3, 4, 5, 6]);
          assert.strictEqual(a.adapter.stats().refused, 6);
        },
        { users, user: "app" },
      ),
    );
    leavesNoRejection();
  });

  describe("the backlog is full", () => {
    sideBySide(ALONE, (variant) =>
      withPair(
        variant,
        async ({ redis, a, here, there, sender }) => {
          sender.one();
          await there.got(0);
          await redis.kill();
          await waitFor(() => a.events.degraded.length > 0, { what: "the adapter to notice" });
          for (let i = 0; i < 500; i++) sender.one();
          await waitFor(() => a.adapter.stats().dropped > 0, { what: "the oldest to be dropped" });
          await here.got(500);
          await redis.restart();
          await there.got(500);
          const { dropped } = a.adapter.stats();
          assert.ok(dropped > 100 && dropped < 500, `${dropped} were dropped`);
          const kept = Array.from({ length: 500 - dropped }, (_, i) => dropped + 1 + i);
          assert.deepStrictEqual(
            there.numbers,
            [0, ...kept],
            "the oldest were dropped, the rest is in order",
          );
        },
        { options: { maxBacklogBytes: 10_000 } },
      ),
    );
    leavesNoRejection();
  });

  describe("requests in an outage", () => {
    sideBySide(ALONE, (variant) =>
      withPair(
        variant,
        async ({ redis, a }) => {
          assert.strictEqual(await a.adapter.serverCount(), 2);
          await redis.kill();
          await waitFor(() => a.events.degraded.length > 0, { what: "the adapter to notice" });
          const away = ": Redis is away since [-0-9]+T[:.0-9]+Z: .+$";
          // Socket.IO asks for it, too, and takes no error.
          const count = a.adapter.serverCount();
          const before = performance.now();
          await assert.rejects(
            a.io.fetchSockets(),
            new RegExp(`^Error: timeout reached while waiting for fetchSockets response${away}`),
          );
          const took = performance.now() - before;
          assert.ok(took >= 290 && took < 1000, `it took ${took} ms`);
          await assert.rejects(
            a.adapter.allRooms(),
            new RegExp(`^Error: timeout reached while waiting for allRooms response${away}`),
          );
          assert.strictEqual(await count, 2, "as last counted");
          await assert.rejects(a.io.timeout(400).emitWithAck("hello"), /^Error: operation has timed out$/);
          await assert.rejects(
            a.io.serverSideEmitWithAck("hello"),
            new RegExp(`^Error: timeout reached: only 0 responses received out of 0${away}`),
          );
          await redis.restart();
          // The other one hears again, but the client that it answers with may still be on its way.
          const all = async () => (await a.io.fetchSockets().catch(() => [])).length === 2;
          await waitFor(all, { what: "an answer" });
          assert.deepStrictEqual([a.adapter.requests.size, a.adapter.ackRequests.size], [0, 0]);
        },
        { options: { requestsTimeout: 300 } },
      ),
    );
    leavesNoRejection();
  });

  describe("the clients are not where their options say", () => {
    const variants = KINDS.flatMap((kind) =>
      ["a closed port", "another Redis"].map((place) => ({ name: `${kind}: ${place}`, kind, place })),
    );
    sideBySide(variants, async ({ kind, place }) => {
      const [redis, wrong] = await Promise.all([startRedis(), startRedis()]);
      const port = wrong.port;
      if (place === "a closed port") await wrong.stop();
      const options =
        kind === "ioredis" ? { host: "127.0.0.1", port } : { socket: { host: "127.0.0.1", port } };
      /** @param {any} client an instrumented one: it shows other options than it was made with */
      const wrap = (client) =>
        new Proxy(client, {
          get(target, name) {
            if (name === "options") return options;
            const value = target[name];
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      const b = new Node({ kind, redis: { port: redis.port } });
      await b.ready();
      const there = new Receiver(await b.connect());
      const a = new Node({ kind, redis: { port: redis.port }, wrap });
      const sender = new Sender(a.io);
      try {
        const here = new Receiver(await a.connect());
        assert.strictEqual(a.adapter.transport.carrier, "native");
        const before = performance.now();
        sender.start();
        await a.ready();
        const took = performance.now() - before;
        // It gives the proof two seconds, from when the clients are connected.
        assert.ok(took < 3500, `it took ${took} ms`);
        assert.strictEqual(a.adapter.transport.carrier, "client");
        assert.match(
          a.adapter.transport.reason,
          /did not reach the same Redis|own connections (fail|could not be made)/,
        );
        await sender.more(RATE / 2);
        sender.stop();
        await there.got(sender.sent - 1);
        assert.deepStrictEqual(there.missing(sender.sent), []);
        assert.deepStrictEqual([there.doubled, there.misordered], [[], []]);
        await here.got(sender.sent - 1);
        assert.deepStrictEqual([here.missing(sender.sent), here.doubled, here.misordered], [[], [], []]);
        // The other way, and nothing twice.
        const received = new Receiver(a.sockets[0], "back");
        const back = new Sender(b.io, "back");
        for (let i = 0; i < 10; i++) back.one();
        await received.got(9);
        assert.deepStrictEqual(received.numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      } finally {
        sender.stop();
        await Promise.all([a.close(), b.close()]);
        await Promise.all([redis.stop(), wrong.stop()]);
      }
    });
    leavesNoRejection();
  });
});
