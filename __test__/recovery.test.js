// @ts-check
"use strict";

/**
 * Recovery of connections over streams: a client comes back, to the node that it left or to another, ours or the
 * reference's, and receives what it has missed, once and in order; and as whom it comes when there is nothing to
 * recover.
 */

const assert = require("node:assert");
const { BINARY, OURS, REFERENCE, UNICODE, fakeSocket } = require("./fixtures/rings");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { Returning } = require("./support/returning");
const { startRing } = require("./support/ring");
const { added } = require("./support/streams");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring").Node} Node */

/** @type {import("./support/ring-node").Kind[]} */
const NODES = [OURS, OURS, REFERENCE];

/** From which node to which. @type {[number, number][]} */
const WAYS = [
  [0, 0],
  [0, 1],
  [0, 2],
  [2, 0],
];

const serverOpts = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };

/** @type {Ring} */
let ring;
/** @type {Returning[]} */
let clients = [];

/** @param {Node} node @param {string} [nsp] */
async function connect(node, nsp) {
  const client = new Returning(ring, node, nsp);
  clients.push(client);
  return client.connected();
}

/** @param {Omit<import("./support/ring").RingOptions, "nodes">} options @param {import("./support/ring-node").Kind[]} [nodes] */
async function start(options, nodes = NODES) {
  ring = await startRing({ adapter: "streams", nodes, sockets: 0, serverOpts, ...options });
}

for (const [transport, kind] of /** @type {const} */ ([
  ["native", "redis"],
  ["client", "redis"],
  ["client", "ioredis"],
])) {
  describe(`recovery, ${transport}, ${kind}`, () => {
    /** @type {Awaited<ReturnType<typeof startRedis>>} */
    let redis;
    before(async () => {
      redis = await startRedis();
      await start({ redis, transport, clients: kind, namespaces: ["/", "/chat"] });
    });
    afterEach(() => {
      for (const client of clients) client.close();
      clients = [];
    });
    after(async () => {
      await ring?.close();
      await redis?.stop();
    });
    for (const [from, to] of WAYS) ways(from, to);
    strangers();
    haste();
    leavesNoRejection();
  });
}

/** @param {number} from @param {number} to */
function ways(from, to) {
  const title = `node ${from} (${NODES[from]}) to node ${to} (${NODES[to]})`;

  for (const missed of [0, 1, 500]) {
    it(`from ${title}, after ${missed} missed packets`, async () => {
      const client = await connect(ring.nodes[from]);
      const { id, pid } = client;
      const data = {
        name: UNICODE,
        list: [1, null, { a: [] }],
        bytes: BINARY,
        when: new Date(5),
        big: 2 ** 40,
      };
      client.socket.data = data;
      // A room of its own: what is sent to it at the end may reach the other nodes after this test.
      const accented = `é of ${id}`;
      client.socket.join(["room", accented]);
      await client.greet(ring.nodes[1]);
      await client.leave();
      const name = `n of ${id}`;
      // Each of them adds in its own order.
      for (let n = 0; n < missed; n++) {
        const { io, index } = ring.nodes[n % 3];
        const target = [io, io.to("room"), io.to(id), io.to([accented, "room"])][n % 4];
        target.emit(name, index, n, n % 5 ? "text" : BINARY);
      }
      await added(ring, missed, name);
      const marker = await markers(ring.nodes[to]);
      assert.strictEqual(await client.come(ring.nodes[to]), true);
      const got = await client.took(missed + ring.nodes.length);
      assert.deepStrictEqual(
        got
          .filter(([event]) => event === "marker")
          .map(([, of, index]) => [of, index])
          .sort(),
        ring.nodes.map(({ index }) => [marker, index]),
      );
      const numbers = got.filter((args) => args[0] === name);
      for (const { index } of ring.nodes) {
        assert.deepStrictEqual(
          numbers.filter(([, sender]) => sender === index),
          Array.from({ length: missed }, (_, n) => [name, n % 3, n, n % 5 ? "text" : BINARY]).filter(
            ([, sender]) => sender === index,
          ),
        );
      }
      assert.strictEqual(client.id, id);
      assert.strictEqual(client.pid, pid);
      const { socket } = client;
      assert.strictEqual(socket.recovered, true);
      assert.deepStrictEqual([...socket.rooms].sort(), [id, "room", accented].sort());
      assert.deepStrictEqual(socket.data, data);
      await client.hears();
      ring.nodes[1].io.to(accented).emit("room", 1);
      assert.deepStrictEqual(await client.took(1), [["room", 1]]);
    });
  }

  it(`from ${title}: what it would have received, and nothing else`, async () => {
    const client = await connect(ring.nodes[from], "/chat");
    client.socket.join(["in", "in too"]);
    await client.greet();
    const { id } = client;
    await client.leave();
    /** @type {any[][]} */
    const wanted = [];
    for (const { io, index } of ring.nodes) {
      const chat = io.of("/chat");
      chat.emit("all", index);
      io.emit("in another namespace");
      chat.to("in").emit("in", index, BINARY, { deep: [BINARY, new Date(index)] });
      chat.to("out").emit("out");
      chat.to(["out", "in too", "in"]).emit("once", index);
      chat.except("in").emit("excepted");
      chat.to("in").except(["in too", "x"]).emit("excepted");
      chat.except(id).emit("excepted");
      chat.except("out").emit("not excepted", index);
      chat.volatile.emit("volatile", index);
      chat.local.emit("local");
      chat.timeout(100).emit("asked", () => {});
      chat.to(id).emit("to its id", index, undefined, null);
      chat.compress(false).emit(`flat of ${id}`, index, []);
      await ring.mark(ring.nodes[index], "/chat");
      // What the reference adds it delivers later.
      await added(ring, 1, `"flat of ${id}",${index}`);
      const date = new Date(index).toJSON();
      wanted.push(
        ["all", index],
        ["in", index, BINARY, { deep: [BINARY, date] }],
        ["once", index],
        ["not excepted", index],
        // The reference replays it.
        ...(NODES[to] === REFERENCE ? [["volatile", index]] : []),
        ["to its id", index, null, null],
        [`flat of ${id}`, index, []],
        ["marker"],
      );
    }
    assert.strictEqual(await client.come(ring.nodes[to]), true);
    const got = await client.took(wanted.length);
    assert.deepStrictEqual(
      got.map((args) => (args[0] === "marker" ? ["marker"] : args)),
      wanted,
    );
    await client.hears();
  });
}

let marked = 0;

/**
 * Has every node emit a marker, and resolves with its number; if a node of the reference is to be come to, when all
 * have come there: what it has added it delivers whenever it pleases, also to who has recovered it.
 *
 * @param {Node} to
 */
async function markers(to) {
  const marker = ++marked;
  const heard = fakeSocket(to, "/");
  for (const { io, index } of ring.nodes) io.emit("marker", marker, index);
  if (to.kind === REFERENCE) {
    const isAll = () => heard.filter(([name]) => name === "marker").length === ring.nodes.length;
    await waitFor(isAll, { what: "the markers of all nodes" });
  }
  to.adapter().delAll(`fake-${to.index}`);
  to.io.of("/").sockets.delete(/** @type {any} */ (`fake-${to.index}`));
  return marker;
}

/** Those who have nothing to recover. */
function strangers() {
  const [node, other] = [0, 1];

  /** Has a client come, and be somebody else. @param {Returning} client @param {Node} to */
  async function isNew(client, to) {
    const { pid } = client;
    assert.strictEqual(await client.come(to), false);
    assert.notStrictEqual(client.pid, pid);
    assert.strictEqual(client.socket.recovered, false);
    assert.deepStrictEqual([...client.socket.rooms], [client.id]);
    assert.deepStrictEqual(client.take(), []);
    await client.hears();
  }

  it("a session lasts as long as the server says, and then it is another", async () => {
    const client = await (await connect(ring.nodes[node])).greet();
    await client.leave();
    const key = ring.sessionKey(client.pid);
    const left = await ring.raw.pTTL(key);
    assert.ok(left > 30_000 && left <= 60_000, `${left} ms`);
    await ring.raw.pExpire(key, 1);
    await waitFor(async () => !(await ring.raw.exists(key)), { what: "the session to expire" });
    ring.nodes[node].io.emit("missed");
    await isNew(client, ring.nodes[other]);
  });

  it("a session is recovered once", async () => {
    const client = await (await connect(ring.nodes[node])).greet();
    await client.leave();
    const { _pid, _lastOffset } = client.client;
    assert.strictEqual(await client.come(ring.nodes[other]), true);
    const second = new Returning(ring, ring.nodes[node]);
    clients.push(second);
    Object.assign(second.client, { _pid, _lastOffset });
    await second.connected();
    assert.strictEqual(second.client.recovered, false);
    assert.notStrictEqual(second.id, client.id);
  });

  const LONG = "9".repeat(30);
  for (const offset of [
    "1-1",
    "0-0",
    "",
    "-",
    "1",
    "1-",
    "x-1",
    " 1-1",
    `${LONG}-1`,
    `1-${LONG}`,
    "+",
    "$",
  ]) {
    it(`an offset that is not known: ${JSON.stringify(offset)}`, async () => {
      const client = await (await connect(ring.nodes[node])).greet();
      await client.leave();
      client.client._lastOffset = offset;
      await isNew(client, ring.nodes[other]);
    });
  }

  for (const pid of ["nobody", "", "a\r\nb", "é".repeat(1000), "\u0000"]) {
    it(`a session that is not known: ${JSON.stringify(pid.slice(0, 10))}`, async () => {
      const client = await (await connect(ring.nodes[node])).greet();
      await client.leave();
      // The client shows none that is empty.
      if (pid === "") delete client.client._pid;
      else client.client._pid = pid;
      await isNew(client, ring.nodes[other]);
    });
  }

  it("a session that holds anything but one", async () => {
    const values = [
      "",
      "####",
      "AAAA",
      Buffer.from([0xc1, 0xff]).toString("base64"),
      "kw==",
      "gA==",
      "x".repeat(1000),
    ];
    for (const value of values) {
      const client = await (await connect(ring.nodes[node])).greet();
      await client.leave();
      await ring.raw.set(ring.sessionKey(client.pid), value);
      await isNew(client, ring.nodes[other]);
    }
  });

  it("an offset that was trimmed away is not recovered with a gap", async () => {
    for (const to of [node, other]) {
      const client = await (await connect(ring.nodes[node])).greet();
      await client.leave();
      ring.nodes[other].io.emit("missed", 1);
      await added(ring, 1, '"missed",1');
      await ring.raw.xTrim(ring.streamName, "MAXLEN", 0);
      // Who has seen it may have kept it.
      const isRecovered = await client.come(ring.nodes[to]);
      if (isRecovered) assert.deepStrictEqual(await client.took(1), [["missed", 1]]);
      else assert.deepStrictEqual(client.take(), []);
      await client.hears();
    }
  });
}

/** Those who come and go. */
function haste() {
  it("two quick reconnects: each event once, in order, wherever it went", async () => {
    const client = await (await connect(ring.nodes[0])).greet();
    const { id } = client;
    let n = 0;
    const emit = () => ring.nodes[n % 2].io.to(id).emit("n", n++);
    /** @type {any[][]} */
    const got = [];
    for (const to of [0, 1, 1, 0, 0, 1]) {
      await client.leave({ kept: false });
      emit();
      assert.strictEqual(await client.come(ring.nodes[to]), true);
      got.push(...client.take());
    }
    await waitFor(() => got.push(...client.take()) >= n, { what: "all events" });
    assert.deepStrictEqual(
      got.map(([, number]) => number),
      Array.from({ length: n }, (_, i) => i),
    );
    await client.hears();
  });

  it("one who goes before it is connected may come again", async () => {
    for (const to of [0, 1]) {
      const client = await (await connect(ring.nodes[0])).greet();
      const { id, pid } = client;
      await client.leave();
      for (let n = 0; n < 3; n++) ring.nodes[1].io.to(id).emit("n", n, id);
      await added(ring, 3, `,"${id}"]`);
      const key = ring.sessionKey(pid);
      const sessions = ring.nodes[to].adapter();
      const { restoreSession } = sessions;
      const asked = new Promise((resolve) => {
        sessions.restoreSession = async (/** @type {any[]} */ ...args) => {
          sessions.restoreSession = restoreSession;
          const session = await restoreSession.apply(sessions, args);
          const { clientsCount } = ring.nodes[to].io.engine;
          client.client.io.engine.close();
          await waitFor(() => ring.nodes[to].io.engine.clientsCount < clientsCount, {
            what: "the server to see the client go",
          });
          resolve(null);
          return session;
        };
      });
      client.to(ring.nodes[to]);
      await asked;
      await waitFor(() => ring.raw.exists(key), { what: "the session to be kept again" });
      assert.strictEqual(await client.come(ring.nodes[1 - to]), true);
      assert.deepStrictEqual(await client.took(3), [
        ["n", 0, id],
        ["n", 1, id],
        ["n", 2, id],
      ]);
      await client.hears();
      await client.leave();
    }
  });

  it("30 reconnects in the midst of 1,500 events: each once, in order", async function () {
    this.timeout(60_000);
    const client = await connect(ring.nodes[0]);
    client.socket.join("room");
    await client.greet();
    const { id } = client;
    const senders = ring.nodes.slice(0, 2);
    const sent = senders.map(() => 0);
    const timer = setInterval(() => {
      for (const [i, { io }] of senders.entries()) {
        const target = [io, io.to("room"), io.to(id)][sent[i] % 3];
        if (sent[i] < 750) target.emit("n", i, sent[i]++);
        // Nobody else's business.
        io.to("nobody").emit("nothing");
        io.volatile.except(id).emit("nothing");
      }
    }, 2);
    /** @type {any[][]} */
    const got = [];
    try {
      for (let round = 0; round < 30; round++) {
        await client.leave({ kept: false });
        if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
        assert.strictEqual(await client.come(senders[(round >> 1) % 2]), true, `round ${round}`);
        if (round % 2 === 0) {
          const before = client.log.length;
          await waitFor(() => client.log.length > before || sent[0] === 750, { what: "an event" });
        }
        got.push(...client.take());
      }
      await waitFor(() => sent.every((count) => count === 750), { timeout: 20_000, what: "all to be sent" });
    } finally {
      clearInterval(timer);
    }
    await waitFor(() => got.push(...client.take()) >= 1500, { what: "all events" }).catch(() => {});
    for (const i of [0, 1]) {
      assert.deepStrictEqual(
        got.filter(([, sender]) => sender === i).map(([, , n]) => n),
        Array.from({ length: 750 }, (_, n) => n),
        `of node ${i}`,
      );
    }
    await client.hears();
  });
}
