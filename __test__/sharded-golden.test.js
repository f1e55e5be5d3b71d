// @ts-check
"use strict";

/**
 * The wire of the sharded adapter, byte for byte: channels and envelopes are those that the reference publishes for
 * the same call.
 */

const assert = require("node:assert");
const notepack = require("notepack.io");
const { ARGUMENTS, TARGETS, bytes } = require("./fixtures/events");
const { Wire, shape } = require("./fixtures/golden");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */

const TWENTY = "exactly-twenty-chars";

/** More targets, for the channels that rooms have or not. @type {Record<string, (io: any) => any>} */
const ROOMS = {
  "a room as long as the id of a socket": (io) => io.to(TWENTY),
  "a room of twenty characters that are more bytes": (io) => io.to("é".repeat(20)),
  "a room named #": (io) => io.to("#"),
  "no room but an exception as long as an id": (io) => io.except(TWENTY),
  "a room, twice": (io) => io.to("room").to("room"),
  "a room as long as an id, and another": (io) => io.to(TWENTY).to("room"),
};

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

for (const mode of /** @type {const} */ (["static", "dynamic", "dynamic-private"])) {
  for (const transport of /** @type {const} */ (["native", "client"])) {
    describe(`the sharded wire, ${mode}, ${transport}`, () => declare(mode, transport));
  }
}

/**
 * @param {"static" | "dynamic" | "dynamic-private"} mode
 * @param {"native" | "client"} transport
 */
function declare(mode, transport) {
  /** @type {Ring} */
  let ring;
  /** @type {import("./fixtures/golden").Messages} */
  let messages;
  /** @type {Wire} */
  let wire;

  before(async () => {
    ring = await startRing({
      redis,
      adapter: "sharded",
      mode,
      nodes: ["ours", "reference"],
      transport,
      sockets: 0,
      key: `golden-${mode}-${transport}`,
    });
    messages = await ring.capture();
    wire = new Wire(ring, messages);
  });

  after(async () => {
    await messages?.stop();
    await ring?.close();
  });

  // What an event holds has nothing to do with the mode.
  if (mode === "dynamic") {
    describe("of an event", () => {
      for (const [what, args] of Object.entries(ARGUMENTS)) {
        it(`carries ${what}`, () => wire.same((io) => io.emit("event", ...args)));
      }
    });
  }

  describe("of an event's target", () => {
    for (const [what, target] of Object.entries({ ...TARGETS, ...ROOMS })) {
      it(`names ${what}`, async () => {
        await wire.same((io) => target(io).emit("event", 1, "a"));
        await wire.same((io) => target(io).emit("event", bytes(5)));
        await wire.same((io) => target(io).emit("event", new Date(5)));
      });
    }
  });

  describe("of requests", () => {
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
  });

  describe("of responses", () => {
    /** Publishes a request as another member would. @param {number} type @param {object} data @param {number} count of answers */
    async function asked(type, data, count) {
      const envelope = { type, data: { requestId: "0123456789abcdef", ...data }, uid: "nobody", nsp: "/" };
      const encoded = type === 3 ? notepack.encode(envelope) : Buffer.from(JSON.stringify(envelope));
      const [, ...responses] = await wire.next(1 + count, () => ring.raw.sPublish(ring.channel(), encoded));
      for (const { channel } of responses) assert.strictEqual(channel, ring.channel("/", "nobody"));
      return responses.map(({ bytes }) => bytes);
    }

    it("is the same when clients answer", async () => {
      const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
      const values = [
        1,
        "é",
        null,
        bytes(3),
        { a: [bytes(300), 1.5] },
        [],
        "1970-01-01T00:00:00.000Z",
        undefined,
      ];
      for (const value of values) {
        const responses = [];
        for (const peer of peers) {
          peer.socket.join("here");
          peer.client.once("ask", (/** @type {any[]} */ ...args) => args.at(-1)(value));
          const opts = { rooms: ["here"], except: [], flags: { timeout: 1000 } };
          // A count from each node, the one client's answer.
          const got = await asked(3, { packet: { type: 2, data: ["ask"] }, opts }, 3);
          const uid = peer.node.adapter().uid;
          const others = ring.nodes.map((node) => node.adapter().uid).filter((other) => other !== uid);
          responses.push(
            got
              .map((bytes) =>
                bytes.toString("latin1").replaceAll(uid, "ASKED").replaceAll(others[0], "OTHER"),
              )
              .sort(),
          );
          peer.socket.leave("here");
        }
        assert.deepStrictEqual(responses[0], responses[1]);
      }
      await Promise.all(peers.map((peer) => peer.close()));
    });

    it("has the same shape when sockets are described", async () => {
      const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
      for (const data of [
        { name: "é", at: new Date(5), gone: undefined, list: [undefined] },
        { name: "é", at: new Date(5), gone: undefined, bytes: bytes(3) },
      ]) {
        for (const { socket } of peers) {
          socket.data = data;
          socket.join("room");
        }
        const responses = await asked(7, { opts: { rooms: ["room"], except: [], flags: {} } }, 2);
        const isBinary = "bytes" in data;
        for (const response of responses) assert.strictEqual(response[0] !== 0x7b, isBinary);
        const decode = (/** @type {Buffer} */ response) =>
          isBinary ? notepack.decode(response) : JSON.parse(response.toString());
        const [a, b] = responses.map(decode);
        assert.deepStrictEqual(shape(a), shape(b));
        assert.deepStrictEqual(a.data.sockets[0].data, b.data.sockets[0].data);
        // Decoded and encoded again, it is the same: nothing is hidden behind the decoder.
        const encode = (/** @type {any} */ value) =>
          isBinary ? notepack.encode(value) : Buffer.from(JSON.stringify(value));
        for (const response of responses)
          assert.strictEqual(encode(decode(response)).toString("latin1"), response.toString("latin1"));
      }
      await Promise.all(peers.map((peer) => peer.close()));
    });
  });

  it("is understood when it comes from an emitter", async () => {
    const [node] = ring.ours;
    const peer = await node.connect();
    peer.socket.join("room");
    await ring.joined();
    const envelope = {
      uid: "emitter",
      nsp: "/",
      type: 3,
      data: { packet: { type: 2, data: ["hello", 1] }, opts: { rooms: ["room"], except: [], flags: {} } },
    };
    await ring.raw.sPublish(ring.channel(), notepack.encode(envelope));
    await ring.raw.sPublish(ring.channel(), JSON.stringify(envelope));
    if (mode !== "static") await ring.raw.sPublish(ring.channel("/", "room"), JSON.stringify(envelope));
    const count = mode === "static" ? 2 : 3;
    await waitFor(() => peer.log.length === count, { what: `${count} events` });
    assert.deepStrictEqual(peer.log, new Array(count).fill(["hello", 1]));
    await peer.close();
  });
}
