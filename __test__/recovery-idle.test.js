// @ts-check
"use strict";

/**
 * Recovery of clients that were sent nothing for long: what they got last is gone from the stream by the time they go.
 * They come back as whom they were, with all that they have missed; and as somebody else wherever that is not certain.
 */

const assert = require("node:assert");
const { streamOf: writtenTo } = require("../binding");
const { LastSent } = require("../lib/recovery/last-sent");
const msgpack = require("../lib/msgpack");
const { OURS, REFERENCE } = require("./fixtures/rings");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { Returning } = require("./support/returning");
const { startRing } = require("./support/ring");
const { streamOf } = require("./support/streams");
const { waitFor } = require("./support/wait");

const serverOpts = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };

/** @type {import("./support/ring").Ring} */
let ring;
/** @type {Returning[]} */
let clients = [];

/** @param {import("./support/ring").Node} node */
async function connect(node) {
  const client = new Returning(ring, node);
  clients.push(client);
  return client.connected();
}

let events = 0;

/**
 * Has every node read an event that is for none of the clients under test, and drops all before it from the stream, if
 * it is to.
 *
 * @param {{ trims?: boolean }} [options]
 */
async function othersTalk({ trims = true } = {}) {
  const name = `others ${++events}`;
  const watchers = await Promise.all(ring.ours.map((node) => connect(node)));
  for (const watcher of watchers) watcher.socket.join("others");
  // Each node has read what all have added: the last entry is one that all know.
  for (const { io } of ring.ours) io.to("others").emit(name);
  await Promise.all(watchers.map((watcher) => watcher.took(ring.ours.length)));
  for (const watcher of watchers) watcher.close();
  if (trims) await trim(1);
}

/** Drops entries from the stream but for the last ones. @param {number} left */
async function trim(left) {
  await ring.raw.xTrim(ring.streamName, "MAXLEN", left);
  assert.strictEqual(await ring.raw.xLen(ring.streamName), left);
}

/** What a session says of how far its client had got. @param {Returning} client */
async function progressOf(client) {
  const raw = await ring.raw.get(ring.sessionKey(client.pid));
  const { read, sent } = /** @type {any} */ (msgpack.decode(Buffer.from(raw, "base64")));
  return { read, sent };
}

/** Has a client miss some events; resolves when they are in the stream. @param {string} id */
async function miss(id) {
  const before = await ring.raw.xLen(ring.streamName);
  for (let n = 0; n < 3; n++) ring.nodes[1].io.to(id).emit("missed", n);
  await waitFor(async () => (await ring.raw.xLen(ring.streamName)) === before + 3, { what: "the entries" });
}

const MISSED = [0, 1, 2].map((n) => ["missed", n]);

for (const [transport, kind] of /** @type {const} */ ([
  ["native", "redis"],
  ["client", "redis"],
  ["client", "ioredis"],
])) {
  describe(`recovery of idle clients, ${transport}, ${kind}`, () => {
    /** @type {Awaited<ReturnType<typeof startRedis>>} */
    let redis;
    before(async () => {
      redis = await startRedis();
      const nodes = [OURS, OURS, REFERENCE];
      ring = await startRing({
        ...{ adapter: "streams", nodes, sockets: 0, serverOpts },
        ...{ redis, transport, clients: kind },
      });
    });
    afterEach(() => {
      for (const client of clients) client.close();
      clients = [];
    });
    after(async () => {
      await ring?.close();
      await redis?.stop();
    });
    leavesNoRejection();

    for (const to of [0, 1]) {
      it(`node 0 to node ${to}: recovered, and again when nothing was sent to it since`, async () => {
        const [node] = ring.nodes;
        const client = await (await connect(node)).greet(ring.nodes[1]);
        const { id } = client;
        for (const _ of [1, 2]) {
          await othersTalk();
          await client.leave();
          assert.strictEqual(await client.come(ring.nodes[to]), true);
          assert.strictEqual(client.id, id);
          assert.deepStrictEqual(client.take(), []);
          await othersTalk();
          await client.leave();
          await miss(id);
          assert.strictEqual(await client.come(node), true);
          assert.deepStrictEqual(await client.took(3), MISSED);
          assert.strictEqual(client.socket.recovered, true);
        }
        await client.greet(ring.nodes[1]);
      });
    }

    it("one that has not got what was sent to it last is another", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      const before = client.client._lastOffset;
      await client.greet(ring.nodes[1]);
      await othersTalk();
      // As if the connection had broken with the second greeting under way.
      client.client._lastOffset = before;
      await client.leave();
      assert.ok((await progressOf(client)).sent, "or the session did not say how far it had got");
      assert.strictEqual(await client.come(ring.nodes[1]), false);
      assert.strictEqual(client.socket.recovered, false);
    });

    it("one that was sent something whose offset is not known is another", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      const offset = client.client._lastOffset;
      await ring.raw.sendCommand(["CLIENT", "PAUSE", "60000", "WRITE"]);
      try {
        ring.nodes[0].io.to(client.id).emit("late", 0);
        assert.deepStrictEqual(await client.took(1), [["late", 0]]);
      } finally {
        await ring.raw.sendCommand(["CLIENT", "UNPAUSE"]);
      }
      assert.strictEqual(client.client._lastOffset, offset);
      await othersTalk();
      await client.leave();
      assert.deepStrictEqual(await progressOf(client), { read: undefined, sent: undefined });
      assert.strictEqual(await client.come(ring.nodes[1]), false);
    });

    it("one that may have missed what was sent to it since it went is another", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      const { id } = client;
      await othersTalk();
      await client.leave();
      await miss(id);
      await trim(2);
      assert.strictEqual(await client.come(ring.nodes[1]), false);
      assert.deepStrictEqual(client.take(), []);
    });

    it("what was sent to none since a listener has thrown is not taken for sent", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      const { socket } = client;
      /** @type {unknown[]} */
      const thrown = [];
      ring.nodes[0].adapter().on("error", (/** @type {unknown} */ error) => thrown.push(error));
      socket.onAnyOutgoing(() => {
        throw new Error("a listener of the test");
      });
      ring.nodes[1].io.to(client.id).emit("not sent");
      await waitFor(() => thrown.length > 0, { what: "the listener to throw" });
      ring.nodes[0].adapter().removeAllListeners("error");
      socket.offAnyOutgoing();
      await othersTalk();
      await client.leave();
      assert.deepStrictEqual(await progressOf(client), { read: undefined, sent: undefined });
      assert.strictEqual(await client.come(ring.nodes[1]), false);
    });

    it("one that comes from a server of the reference is another, as ever", async () => {
      const client = await (await connect(ring.nodes[2])).greet();
      await othersTalk();
      await client.leave();
      assert.strictEqual(await client.come(ring.nodes[0]), false);
    });

    it("a server of the reference takes a session that says more, if it holds what the client has got", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      const { id } = client;
      await client.leave();
      assert.ok((await progressOf(client)).read);
      await miss(id);
      assert.strictEqual(await client.come(ring.nodes[2]), true);
      assert.deepStrictEqual(await client.took(3), MISSED);
    });

    it("and takes one that holds it no more for another, as ever", async () => {
      const client = await (await connect(ring.nodes[0])).greet();
      await othersTalk();
      await client.leave();
      assert.strictEqual(await client.come(ring.nodes[2]), false);
    });

    it("one that never got an offset is another: Socket.IO asks the adapter for nobody without", async () => {
      const client = await connect(ring.nodes[0]);
      const { _pid, _lastOffset } = client.client;
      assert.deepStrictEqual([typeof _pid, _lastOffset], ["string", undefined]);
      const adapter = ring.nodes[0].adapter();
      /** @type {any[]} */
      const asked = [];
      const { restoreSession } = adapter;
      adapter.restoreSession = (/** @type {any[]} */ ...args) => {
        asked.push(args);
        return restoreSession.apply(adapter, args);
      };
      try {
        await client.leave();
        assert.strictEqual(await client.come(ring.nodes[0]), false);
        assert.deepStrictEqual(asked, []);
      } finally {
        delete adapter.restoreSession;
      }
    });
  });
}

describe("recovery of idle clients with several streams", () => {
  /** Of each the reference makes a negative number, and so another stream than is read. */
  const names = Array.from({ length: 50 }, (_, n) => `/namespace-${n}`);
  const nsp = names.find((name) => streamOf("s", 4, name) !== writtenTo("s", 4, name)) ?? "";

  it("is as with one, also where the reference adds to a stream of its own", async () => {
    assert.notStrictEqual(nsp, "");
    const redis = await startRedis();
    const settings = { adapter: /** @type {const} */ ("streams"), sockets: 0, serverOpts, streamCount: 4 };
    const streams = await startRing({ ...settings, redis, nodes: [OURS, OURS], namespaces: [nsp] });
    const client = new Returning(streams, streams.nodes[0], nsp);
    const watcher = new Returning(streams, streams.nodes[0], nsp);
    try {
      await Promise.all([client.connected(), watcher.connected()]);
      await client.greet(streams.nodes[1]);
      await watcher.greet(streams.nodes[1]);
      await streams.raw.xTrim(writtenTo(streams.streamName, 4, nsp), "MAXLEN", 1);
      const { id } = client;
      await client.leave();
      streams.nodes[1].io.of(nsp).to(id).emit("missed", 0);
      assert.strictEqual(await client.come(streams.nodes[1]), true);
      assert.deepStrictEqual(await client.took(1), [["missed", 0]]);
    } finally {
      client.close();
      watcher.close();
      await streams.close();
      await redis.stop();
    }
  });
});

describe("how far the sockets of a node have got", () => {
  const read = "1000-0";

  it("is certain behind what this node has passed over alone", () => {
    const sent = new LastSent();
    sent.note("a", "900-1");
    assert.deepStrictEqual(sent.progress("a", { last: read, since: "900-0" }), { read, sent: "900-1" });
    assert.strictEqual(sent.progress("a", { last: read, since: "900-2" }), null);
    assert.strictEqual(sent.progress("a", null), null);
    sent.restored("b", "900-1");
    assert.deepStrictEqual(sent.progress("b", { last: read, since: "900-1" }), { read });
    assert.strictEqual(sent.progress("b", { last: read, since: "1000-0" }), null);
  });

  it("is not known of those who were sent nothing, or something whose offset is not known", () => {
    const position = { last: read, since: "0-0" };
    const sent = new LastSent();
    sent.note("a", "900-1");
    sent.restored("b", "900-1");
    sent.note("a", "");
    sent.note("b", "");
    for (const sid of ["a", "b", "c"]) assert.strictEqual(sent.progress(sid, position), null);
    sent.note("a", "900-2");
    assert.deepStrictEqual(sent.progress("a", position), { read, sent: "900-2" });
    sent.clear();
    assert.strictEqual(sent.progress("a", position), null);
  });
});
