// @ts-check
"use strict";

/**
 * What the reference's streams adapter gets wrong, or what befalls its connections, and this package's does not mind:
 * a row of FAULTS each.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { BINARY, OURS, REFERENCE, fakeSocket } = require("./fixtures/rings");
const { startRedis } = require("./support/redis");
const { roundTrip } = require("./support/resp");
const { startRing } = require("./support/ring");
const { callsOf, entryOf, hashOf, killReaders, readersOf } = require("./support/streams");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring-node").Kind} Kind */

const VARIANTS = /** @type {const} */ ([
  ["native", "redis"],
  ["client", "redis"],
  ["client", "ioredis"],
]);

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
/** @type {Ring} */
let ring;

/** @param {Omit<import("./support/ring").RingOptions, "redis" | "adapter">} options */
async function start(options) {
  return (ring = await startRing({ redis, adapter: "streams", sockets: 0, ...options }));
}

/** What each of the suites below runs on: a Redis of its own, and a ring for each test. */
function onRedis() {
  before(async () => {
    redis = await startRedis();
  });
  afterEach(() => ring?.close());
  after(() => redis.stop());
}

/** What sockets without a client were sent, in the order of the nodes. @param {string} [nsp] */
function listen(nsp = "/") {
  return ring.nodes.map((node) => fakeSocket(node, nsp));
}

/** @param {number} count */
const numbers = (count) => Array.from({ length: count }, (_, n) => n);

/** Asserts that a socket was sent all numbers, once and in order. @param {any[][]} list @param {number} count */
function assertNumbers(list, count) {
  const got = list.map(([, n]) => n);
  const wrong = got.findIndex((n, i) => n !== i);
  if (wrong < 0 && got.length === count) return;
  const lost = count - new Set(got).size;
  const near = got.slice(Math.max(0, wrong - 3), wrong + 3);
  assert.fail(`${got.length} came, ${lost} are missing; first wrong: ${near}`);
}

/** Has something happen again and again. @param {() => Promise<any>} act @param {number} every in milliseconds */
function again(act, every) {
  let running = true;
  const done = (async () => {
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, every));
      if (running) await act();
    }
  })();
  return () => {
    running = false;
    return done;
  };
}

/** Sends numbers at a steady rate. @param {any} io @param {number} count */
async function sendNumbers(io, count) {
  for (let n = 0; n < count;) {
    for (const end = Math.min(n + 30, count); n < end; n++) io.to("room").emit("n", n);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("connections of streams that break", function () {
  this.timeout(60_000);
  onRedis();

  /** @type {[string, () => Promise<number>][]} */
  const KILLS = [
    ["the readers are", () => killReaders(redis)],
    [
      "every connection, those that publish too, is",
      async () =>
        Number(await redis.cli("CLIENT", "KILL", "TYPE", "normal")) +
        Number(await redis.cli("CLIENT", "KILL", "TYPE", "pubsub")),
    ],
  ];

  for (const [transport, clients] of VARIANTS) {
    for (const [what, kill] of KILLS) {
      // The rest of them are among all connections.
      if (transport === "client" && kill === KILLS[0][1]) continue;
      it(`5,000 messages arrive once and in order while ${what} killed every 200 ms, ${transport}, ${clients}`, async function () {
        await start({ nodes: [OURS, OURS, OURS], transport, clients });
        const heard = listen();
        let killed = 0;
        const stop = again(async () => (killed += await kill()), 200);
        try {
          await sendNumbers(ring.nodes[0].io, 5000);
        } finally {
          await stop();
        }
        const isAll = () => heard.every((list) => list.length >= 5000);
        await waitFor(isAll, { timeout: 15_000, what: "all messages" }).catch(() => {});
        for (const list of heard) assertNumbers(list, 5000);
        assert.ok(killed >= 10, `only ${killed} connections were killed`);
        /** @type {any} */ (this.test).title += `: ${killed} connections`;
      });
    }
  }

  it("5,000 messages of the reference arrive once and in order while the readers are killed every 200 ms", async () => {
    await start({ nodes: [OURS, REFERENCE, OURS] });
    const heard = listen();
    const stop = again(() => killReaders(redis), 200);
    try {
      await sendNumbers(ring.nodes[1].io, 5000);
    } finally {
      await stop();
    }
    const ours = [heard[0], heard[2]];
    const isAll = () => ours.every((list) => list.length >= 5000);
    await waitFor(isAll, { timeout: 15_000, what: "all messages" }).catch(() => {});
    for (const list of ours) assertNumbers(list, 5000);
  });

  for (const [transport, clients] of VARIANTS) {
    it(`5 of 5 messages arrive that come after a kill and before any other, ${transport}, ${clients}`, async () => {
      await start({ nodes: [OURS, OURS, OURS], transport, clients });
      const heard = listen();
      await waitFor(async () => (await readersOf(redis)).length >= 3, { what: "the readers" });
      assert.strictEqual(await redis.cli("EXISTS", ring.streamName), 0);
      await addAfterKill(ring.streamName);
      await waitFor(() => heard.every((list) => list.length >= 5), { what: "five messages" });
      assert.ok((await killReaders(redis)) > 0);
      for (let n = 5; n < 10; n++) ring.nodes[0].io.emit("n", n);
      await waitFor(() => heard.every((list) => list.length >= 10), { what: "five more" });
      for (const list of heard)
        assert.deepStrictEqual(
          list,
          numbers(10).map((n) => ["n", n]),
        );
    });
  }

  /** Closes the connections of readers, and adds five entries before they can be back. @param {string} stream */
  async function addAfterKill(stream) {
    const ids = await readersOf(redis);
    const replies = await roundTrip({ host: "127.0.0.1", port: redis.port }, [
      ...ids.map((id) => ["CLIENT", "KILL", "ID", id]),
      ...numbers(5).map((n) => ["XADD", stream, "*", ...Object.entries(entryOf("/", ["n", n])).flat()]),
    ]);
    assert.ok(ids.length > 0);
    assert.ok(replies.every((reply) => !(reply instanceof Error)));
  }

  it("the reference loses them: 0 of 5", async () => {
    const make = require("@socket.io/redis-streams-adapter").createAdapter;
    await start({ nodes: [REFERENCE, REFERENCE] });
    // Servers of their own: those of the ring have seen entries.
    const options = { streamName: "fresh", channelPrefix: "fresh", blockTimeInMs: 1000 };
    const servers = ring.nodes.map(({ pub }) => new Server({ adapter: make(pub, options) }));
    try {
      await waitFor(async () => (await readersOf(redis)).length >= 4, { what: "the readers" });
      const nodes = /** @type {any[]} */ (
        servers.map((io, index) => ({ io, index, adapter: () => io.of("/").adapter }))
      );
      const heard = nodes.map((node) => fakeSocket(node, "/"));
      await addAfterKill("fresh");
      await waitFor(
        () => {
          servers[0].emit("later");
          return heard[1].length > 0;
        },
        { what: "the reference to read again" },
      );
      assert.deepStrictEqual(
        heard[1].filter(([name]) => name === "n"),
        [],
      );
    } finally {
      for (const io of servers) io.of("/").adapter.close();
    }
  });

  it("a gap of entries that were trimmed is reported, with what was lost", async () => {
    await start({ nodes: [OURS, OURS] });
    const heard = listen();
    const { streamName } = ring;
    /** @type {any[][]} */
    const gaps = ring.nodes.map(() => []);
    for (const [i, node] of ring.nodes.entries()) {
      node.adapter().on("gap", (/** @type {any} */ gap) => gap.stream && gaps[i].push(gap));
    }
    const seen = await ring.raw.xAdd(streamName, "*", entryOf("/", ["n", 0]));
    await waitFor(() => heard.every((list) => list.length === 1), { what: "the first" });
    const script = `
      local ids = {}
      for n = 1, 9 do
        local data = string.gsub(ARGV[1], "NUMBER", n)
        ids[n] = redis.call("XADD", KEYS[1], "*", "uid", "emitter", "nsp", "/", "type", "3", "data", data)
      end
      redis.call("XTRIM", KEYS[1], "MAXLEN", 3)
      return ids`;
    const { data } = entryOf("/", ["n", "NUMBER"]);
    const ids = await readersOf(redis);
    // In one go, so that nobody reads in between.
    const replies = await roundTrip({ host: "127.0.0.1", port: redis.port }, [
      ...ids.map((id) => ["CLIENT", "KILL", "ID", id]),
      ["EVAL", script, "1", streamName, data],
    ]);
    const added = replies.at(-1).map(String);
    await waitFor(() => heard.every((list) => list.length >= 4), { what: "what is left" });
    for (const list of heard)
      assert.deepStrictEqual(
        list.map(([, n]) => n),
        [0, "7", "8", "9"],
      );
    await waitFor(() => gaps.every((list) => list.length > 0), { what: "the gap to be reported" });
    for (const list of gaps) {
      assert.strictEqual(list.length, 1);
      const [{ stream, after, before }] = list;
      assert.deepStrictEqual(
        { stream, after, before },
        { stream: streamName, after: seen, before: added[6] },
      );
    }
    // What was read before it was trimmed is no gap.
    ring.nodes[0].io.emit("n", 10);
    await waitFor(() => heard.every((list) => list.length >= 5), { what: "the next" });
    await redis.cli("XTRIM", streamName, "MAXLEN", "1");
    await killReaders(redis);
    ring.nodes[0].io.emit("n", 11);
    await waitFor(() => heard.every((list) => list.length >= 6), { what: "the last" });
    assert.deepStrictEqual(
      gaps.map((list) => list.length),
      [1, 1],
    );
  });
});

describe("faults of streams", function () {
  this.timeout(30_000);
  onRedis();

  const NAMESPACES = numbers(50).map((n) => `/tenant/${n}/chat`);
  const isNegative = (/** @type {string} */ nsp) => hashOf(nsp) % 4 < 0;

  for (const transport of /** @type {const} */ (["native", "client"])) {
    it(`with 4 streams all of 50 namespaces are delivered among ours, ${transport}`, async () => {
      await start({ nodes: [OURS, OURS, OURS], streamCount: 4, namespaces: NAMESPACES, transport });
      for (const nsp of NAMESPACES) await heardFrom(nsp, [0, 1, 2], [0, 1, 2]);
    });
  }

  it("with 4 streams and the reference: to it all of 50 namespaces, from it too, though it hears itself in half of them only", async function () {
    const deaf = NAMESPACES.filter(isNegative);
    assert.ok(deaf.length > 10 && deaf.length < 40);
    await start({ nodes: [OURS, REFERENCE, REFERENCE], streamCount: 4, namespaces: NAMESPACES });
    for (const nsp of NAMESPACES) {
      await heardFrom(nsp, [0], [0, 1, 2]);
      await heardFrom(nsp, [1, 2], [0]);
      if (!isNegative(nsp)) await heardFrom(nsp, [1, 2], [0, 1, 2]);
    }
    const nsp = deaf[0];
    const heard = listen(nsp);
    ring.nodes[1].io.of(nsp).emit("lost");
    ring.nodes[0].io.of(nsp).emit("later");
    await waitFor(() => heard[2].length > 0, { what: "ours" });
    assert.deepStrictEqual(heard[2], [["later"]]);
    /** @type {any} */ (this.test).title += `: ${deaf.length} of 50`;
  });

  let times = 0;

  /** Has nodes emit in a namespace, and waits until others hear. @param {string} nsp @param {number[]} from @param {number[]} to */
  async function heardFrom(nsp, from, to) {
    const heard = listen(nsp);
    const time = ++times;
    for (const index of from) {
      ring.nodes[index].io.of(nsp).emit("all", index, time);
      ring.nodes[index].io.of(nsp).to("room").emit("room", index, time);
    }
    const isHere = (/** @type {any[][]} */ list, /** @type {number} */ index) =>
      list.filter(([, other, when]) => other === index && when === time).length === 2;
    await waitFor(() => to.every((at) => from.every((index) => isHere(heard[at], index))), {
      what: `${nsp} from ${from} at ${to}`,
    });
  }

  it("a key that is no stream: no storm of XREAD, one report, and all is well when it is gone", async function () {
    await start({ nodes: [OURS, OURS] });
    const heard = listen();
    const { streamName } = ring;
    /** @type {any[][]} */
    const reports = ring.nodes.map(() => []);
    for (const [i, node] of ring.nodes.entries()) {
      node.adapter().on("error", (/** @type {Error} */ error) => reports[i].push(error));
    }
    await redis.cli("SET", streamName, "no stream");
    await killReaders(redis);
    await waitFor(() => reports.every((list) => list.length > 0), { what: "a report" });
    const before = await callsOf(redis, "xread");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const calls = (await callsOf(redis, "xread")) - before;
    assert.ok(calls < 50, `${calls} XREAD in a second`);
    for (const list of reports) {
      assert.strictEqual(list.length, 1);
      assert.match(list[0].message, new RegExp(streamName));
      assert.match(list[0].message, /WRONGTYPE/);
    }
    await redis.cli("DEL", streamName);
    // Whether what was emitted in the meantime is kept is another matter.
    await waitFor(
      () => {
        for (const { io, index } of ring.nodes) io.emit("well", index);
        return heard.every((list) => [0, 1].every((index) => list.some(([, other]) => other === index)));
      },
      { timeout: 10_000, what: "all to be well" },
    );
    /** @type {any} */ (this.test).title += `: ${calls} XREAD/s`;
  });

  it("the reference has a storm", async function () {
    await start({ nodes: [REFERENCE] });
    await redis.cli("SET", ring.streamName, "no stream");
    await killReaders(redis);
    const before = await callsOf(redis, "xread");
    const begin = performance.now();
    await waitFor(async () => (await callsOf(redis, "xread")) - before > 500, { what: "a storm" });
    const calls = (await callsOf(redis, "xread")) - before;
    const rate = Math.round((calls * 1000) / (performance.now() - begin));
    /** @type {any} */ (this.test).title += `: ${rate} XREAD/s`;
    await redis.cli("DEL", ring.streamName);
  });

  for (const transport of /** @type {const} */ (["native", "client"])) {
    it(`a question at once is answered by all: it waits, ${transport}`, async () => {
      await start({ nodes: [OURS, REFERENCE], sockets: 2, transport });
      const { createAdapter } = require("../streams");
      const { streamName, key: channelPrefix } = ring;
      const io = new Server({
        adapter: createAdapter(ring.nodes[0].pub, { streamName, channelPrefix, transport }),
      });
      try {
        const adapter = /** @type {any} */ (io.of("/").adapter);
        for (const { io: other, index } of ring.nodes) other.once("question", (ack) => ack(index));
        const [sockets, count, answers] = await Promise.all([
          io.fetchSockets(),
          adapter.serverCount(),
          io.serverSideEmitWithAck("question"),
        ]);
        assert.strictEqual(sockets.length, 4);
        assert.strictEqual(count, 3);
        assert.deepStrictEqual(answers.sort(), [0, 1]);
      } finally {
        io.of("/").adapter.close();
      }
    });

    it(`close() of a namespace, and of the last one, leaves nothing behind, ${transport}`, async () => {
      await start({ nodes: [OURS, OURS], transport });
      const connections = async () =>
        String(await redis.cli("CLIENT", "LIST")).match(/^id=.* cmd=(?!client)/gm)?.length ?? 0;
      const channels = async () =>
        (await redis.cli("PUBSUB", "CHANNELS", `${ring.key}#*`)).map(String).sort();
      const [{ io }] = ring.nodes;
      const before = { channels: await channels(), connections: await connections() };
      for (let round = 0; round < 3; round++) {
        const child = io.of("/child");
        await /** @type {any} */ (child.adapter).ready;
        assert.strictEqual((await channels()).length, before.channels.length + 2);
        child.emit("something");
        child.adapter.close();
        io._nsps.delete("/child");
        await waitFor(async () => (await channels()).length === before.channels.length, {
          what: "its subscriptions to end",
        });
      }
      assert.deepStrictEqual(await channels(), before.channels);
      assert.strictEqual(await connections(), before.connections);
      for (const node of ring.nodes) await node.close();
      await waitFor(async () => (await channels()).length === 0, { what: "all subscriptions to end" });
      // The user's, and ours to ask.
      await waitFor(async () => (await connections()) === 3, {
        what: "all connections to end but the user's",
      });
    });
  }

  for (const recovers of [false, true]) {
    for (const transport of /** @type {const} */ (["native", "client"])) {
      it(`a local emit waits for nobody, ${recovers ? "with recovery for a second at most" : "though Redis hangs"}, ${transport}`, async function () {
        const serverOpts = recovers ? { connectionStateRecovery: {} } : {};
        await start({ nodes: [OURS, OURS], transport, serverOpts });
        const heard = listen();
        const { io } = ring.nodes[0];
        redis.pause();
        let waited = 0;
        try {
          const begin = performance.now();
          for (let n = 0; n < 5; n++) io.emit("n", n);
          io.volatile.emit("n", 5);
          if (!recovers) assert.strictEqual(heard[0].length, 6);
          await waitFor(() => heard[0].length === 6, { what: "the local ones" });
          waited = Math.round(performance.now() - begin);
          assert.ok(waited < 1500, `${waited} ms`);
        } finally {
          redis.resume();
        }
        await waitFor(() => heard[1].length >= 6, { timeout: 10_000, what: "those of the other node" });
        const got = (/** @type {any[][]} */ list) => list.map(([, n]) => n);
        assert.deepStrictEqual(heard.map(got), [numbers(6), numbers(6)]);
        /** @type {any} */ (this.test).title += `: ${waited} ms`;
      });

      it(`what is emitted before sockets are disconnected comes before, recovery ${recovers}, ${transport}`, async () => {
        const serverOpts = recovers ? { connectionStateRecovery: {} } : {};
        await start({ nodes: [OURS, REFERENCE, OURS], transport, serverOpts, sockets: 2 });
        for (const sender of [ring.nodes[0], ring.nodes[2]]) {
          for (const node of ring.nodes) await node.connect();
          const peers = ring.peers();
          const gone = peers.map((peer) => once(peer.client, "disconnect"));
          sender.io.emit("first", 1);
          sender.io.emit("second", 2);
          sender.io.socketsJoin("late");
          sender.io.to("late").emit("third", BINARY);
          sender.io.in("late").disconnectSockets(true);
          sender.io.emit("too late");
          await Promise.all(gone);
          for (const { log } of peers) {
            assert.deepStrictEqual(
              log.map(([name]) => name),
              ["first", "second", "third"],
            );
          }
        }
      });
    }
  }
});
