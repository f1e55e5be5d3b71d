// @ts-check
"use strict";

/**
 * The wire of the streams adapter, byte for byte: what is added to the stream, and how, and what is published are what
 * the reference adds and publishes for the same call.
 */

const assert = require("node:assert");
const msgpack = require("@msgpack/msgpack");
const { ARGUMENTS, TARGETS, bytes } = require("./fixtures/events");
const { Wire, neutral, shape } = require("./fixtures/golden");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { entryOf } = require("./support/streams");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */

/** To the encoder of the reference an ArrayBuffer is an object without a member. */
const AMISS = "a Uint8Array and an ArrayBuffer";

/** What the reference's encoder throws at, when there is binary beside it. */
const THROWN_AT = ["function members", "a toJSON that returns a date"];

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

for (const transport of /** @type {const} */ (["native", "client"])) {
  describe(`the wire of streams, ${transport}`, () => declare(transport));
}

/** @param {"native" | "client"} transport */
function declare(transport) {
  /** @type {Ring} */
  let ring;
  /** @type {import("./fixtures/golden").Messages} */
  let messages;
  /** @type {Wire} */
  let wire;

  /** @param {Partial<import("./support/ring").RingOptions>} [options] */
  async function start(options = {}) {
    const nodes = /** @type {import("./support/ring-node").Kind[]} */ (["ours", "reference"]);
    ring = await startRing({ redis, adapter: "streams", nodes, transport, sockets: 0, ...options });
    messages = await ring.capture();
    wire = new Wire(ring, messages);
  }

  async function stop() {
    await messages?.stop();
    await ring?.close();
  }

  describe("by default", () => {
    before(() => start());
    after(stop);

    // What an event holds has nothing to do with who carries it.
    if (transport === "native")
      describe("of an event", () => {
        for (const [what, args] of Object.entries(ARGUMENTS)) {
          if (what === AMISS) continue;
          it(`carries ${what}`, () => wire.same((io) => io.emit("event", ...args)));
          if (THROWN_AT.includes(what)) continue;
          it(`carries ${what}, beside binary`, () =>
            wire.same((io) => io.emit("event", bytes(2), { deep: args })));
        }

        it("carries an ArrayBuffer as the bytes that it is", async () => {
          const emitting =
            (/** @type {any} */ value) =>
            (/** @type {any} */ { io }) =>
              void io.emit("event", value);
          const [node] = ring.ours;
          const [got] = await wire.published(node, emitting(new Uint8Array([1, 2]).buffer));
          const [wanted] = await wire.published(node, emitting(new Uint8Array([1, 2])));
          assert.deepStrictEqual(got, wanted);
        });
      });

    describe("of an event's target", () => {
      for (const [what, target] of Object.entries(TARGETS)) {
        it(`names ${what}`, async () => {
          await wire.same((io) => target(io).emit("event", 1, "a"));
          await wire.same((io) => target(io).emit("event", bytes(5)));
          await wire.same((io) => target(io).emit("event", new Date(5)));
        });
      }
    });

    describe("of requests", () => requests());
    describe("of responses", () => responses());

    it("is understood when it comes from an emitter", async () => {
      const [node] = ring.ours;
      const peer = await node.connect();
      peer.socket.join("room");
      await ring.raw.xAdd(ring.streamName, "*", entryOf("/", ["hello", 1], ["room"]));
      const data = {
        packet: { type: 2, data: ["bytes", bytes(3)] },
        opts: { rooms: [], except: [], flags: {} },
      };
      const text = Buffer.from(msgpack.encode(data)).toString("base64");
      await ring.raw.xAdd(ring.streamName, "*", { uid: "emitter", nsp: "/", type: "3", data: text });
      // In any order, and with more than we know of.
      const { uid, nsp, type, data: json } = entryOf("/", ["other", 2]);
      await ring.raw.xAdd(ring.streamName, "*", { more: "yes", data: json, type, nsp, uid });
      await waitFor(() => peer.log.length === 3, { what: "three events" });
      assert.deepStrictEqual(peer.log, [
        ["hello", 1],
        ["bytes", bytes(3)],
        ["other", 2],
      ]);
      await peer.close();
    });
  });

  it("has the length that the options say, in the stream of the namespace", async () => {
    const namespaces = ["/", "/b", "/d"];
    await start({ streamCount: 4, namespaces, opts: { maxLen: 77 } });
    try {
      // Those of the reference with a stream that is read.
      for (const nsp of namespaces.filter((nsp) => !ring.stream(nsp).includes("--"))) {
        await wire.same((io) => io.of(nsp).emit("event", nsp));
        await wire.same((io) => io.of(nsp).serverSideEmit("note", nsp));
      }
    } finally {
      await stop();
    }
  });

  it("is text alone, when it is to be", async () => {
    await start({ opts: { onlyPlaintext: true } });
    try {
      for (const args of [[1, "a"], [bytes(3), new Date(5)], [{ a: bytes(1), b: undefined }]]) {
        await wire.same((io) => io.emit("event", ...args));
      }
    } finally {
      await stop();
    }
  });

  it("is the same with sharded pub/sub", async () => {
    await start({ useShardedPubSub: true });
    try {
      await wire.same((io) => io.emit("event", 1));
      await wire.same((io) => io.serverSideEmit("note", 1));
      const sockets = await wire.both((node) => node.io.fetchSockets());
      assert.deepStrictEqual(sockets[0], sockets[1]);
    } finally {
      await stop();
    }
  });

  it("is the same with recovery: an entry does not hold its own id", async () => {
    await start({ serverOpts: { connectionStateRecovery: {} } });
    try {
      await wire.same((io) => io.emit("event", 1));
      await wire.same((io) => io.to("room").emit("event", bytes(3)));
      await wire.same((io) => io.volatile.emit("event", "a"));
      await wire.same((io) => io.socketsJoin("a"));
    } finally {
      await stop();
    }
  });

  function requests() {
    it("is the same for a broadcast with acknowledgements", async () => {
      for (const args of [[], [1, "a"], [bytes(300), new Date(5)], [{ a: undefined, b: [undefined] }]]) {
        const targets = [
          (/** @type {any} */ io) => io,
          (/** @type {any} */ io) => io.to("room"),
          (/** @type {any} */ io) => io.to("room").except("other").volatile,
        ];
        for (const target of targets) {
          // The other node answers at once: with the number of its clients.
          await wire.same(
            (io) =>
              target(io)
                .timeout(50)
                .emit("event", ...args, () => {}),
            2,
          );
        }
      }
    });

    it("is the same for commands", async () => {
      await wire.same((io) => io.socketsJoin("a"));
      await wire.same((io) => io.in("é").except(["x", "y"]).socketsJoin(["a", "b"]));
      await wire.same((io) => io.socketsLeave("a"));
      await wire.same((io) => io.in(["a", 5]).socketsLeave(["a", 7]));
      await wire.same((io) => io.disconnectSockets());
      await wire.same((io) => io.in("a").except("b").disconnectSockets(true));
    });

    it("is the same for an event between servers", async () => {
      for (const args of [
        [],
        [1, null, "é\u2028", { a: undefined, b: [undefined] }],
        [bytes(3), new Date(5)],
        [2 ** 32, 2 ** 53, -(2 ** 53), 1.5, [], {}],
      ]) {
        await wire.same((io) => io.serverSideEmit("note", ...args));
      }
    });

    it("is the same for questions", async () => {
      // With each comes the answer of the other node.
      const sockets = await wire.both((node) => node.io.in("é").except("x").fetchSockets());
      assert.deepStrictEqual(sockets[0], sockets[1]);
      const timed = await wire.both((node) => node.io.timeout(1234).fetchSockets());
      assert.deepStrictEqual(timed[0], timed[1]);
      for (const value of [{ got: [undefined, 1] }, bytes(3), undefined]) {
        const answers = await wire.both((node) => {
          ring.nodes[1 - node.index].io.once("note", (/** @type {any} */ _, ack) => ack(value, 2));
          return node.io.serverSideEmitWithAck("note", { a: 1 });
        });
        assert.deepStrictEqual(answers[0], answers[1]);
        assert.strictEqual(answers[0].length, 2);
      }
    });
  }

  function responses() {
    /** Publishes a request as another member would. @param {number} type @param {object} data @param {number} count of answers */
    async function asked(type, data, count) {
      const envelope = { type, data: { requestId: "0123456789abcdef", ...data }, uid: "nobody", nsp: "/" };
      const encoded = Buffer.from(msgpack.encode(envelope));
      const [, ...responses] = await wire.next(1 + count, () => ring.raw.publish(ring.channel(), encoded));
      for (const { channel } of responses) assert.strictEqual(channel, ring.channel("/", "nobody"));
      return responses.map(({ bytes }) => bytes);
    }

    it("is the same when clients answer", async () => {
      const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
      const values = [1, "é", null, bytes(3), { a: [bytes(300), 1.5] }, [], new Date(0).toJSON(), undefined];
      for (const value of values) {
        const responses = [];
        for (const peer of peers) {
          peer.socket.join("here");
          peer.client.once("ask", (/** @type {any[]} */ ...args) => args.at(-1)(value));
          const opts = { rooms: ["here"], except: [], flags: { timeout: 1000 } };
          // A count from each node, the one client's answer.
          const got = await asked(3, { packet: { type: 2, data: ["ask"] }, opts }, 3);
          const other = ring.nodes[1 - peer.node.index];
          responses.push(got.map((bytes) => neutral(bytes, peer.node, other).toString("latin1")).sort());
          peer.socket.leave("here");
        }
        assert.deepStrictEqual(responses[0], responses[1]);
      }
      await Promise.all(peers.map((peer) => peer.close()));
    });

    it("has the same shape when sockets are described", async () => {
      const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
      const data = { name: "é", at: new Date(5), gone: undefined, bytes: bytes(3), list: [undefined] };
      for (const { socket } of peers) {
        socket.data = data;
        socket.join("room");
      }
      const responses = await asked(7, { opts: { rooms: ["room"], except: [], flags: {} } }, 2);
      const [a, b] = responses.map((response) => /** @type {any} */ (msgpack.decode(response)));
      assert.deepStrictEqual(shape(a), shape(b));
      assert.deepStrictEqual(a.data.sockets[0].data, b.data.sockets[0].data);
      // Decoded and encoded again, it is the same: nothing is hidden behind the decoder.
      for (const response of responses) {
        const again = Buffer.from(msgpack.encode(msgpack.decode(response)));
        assert.strictEqual(again.toString("latin1"), response.toString("latin1"));
      }
      await Promise.all(peers.map((peer) => peer.close()));
    });
  }
}
