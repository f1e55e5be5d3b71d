// @ts-check
"use strict";

/**
 * The wire, byte for byte: what this package publishes is what the reference publishes for the same call, and
 * captures of the reference, kept here, are still understood.
 */

const assert = require("node:assert");
const notepack = require("notepack.io");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring").Node} Node */

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
/** @type {Ring} */
let ring;
/** @type {Awaited<ReturnType<Ring["capture"]>>} */
let messages;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

/** @param {number} length */
const text = (length) => "é".repeat(length / 2) + "x".repeat(length % 2);

/** @param {number} length */
const bytes = (length) => Buffer.from(Array.from({ length }, (_, i) => i & 0xff));

/** @param {number} length */
const list = (length) => Array.from({ length }, (_, i) => i);

/** @param {number} length */
const map = (length) => Object.fromEntries(list(length).map((i) => [`k${i}`, i]));

const POWERS = [5, 7, 8, 15, 16, 31, 32, 33, 40, 52, 53].map((power) => 2 ** power);
const INTEGERS = [0, ...POWERS.flatMap((n) => [n - 1, n, n + (n < 2 ** 53 ? 1 : 0)])].flatMap((n) => [n, -n]);
const FLOATS = [0.1, -0.1, 1.5, 1e-7, 5e-324, 1.7976931348623157e308 * 0 + 2.5, 123456.789, -1e-10, Math.PI];
const DATES = [
  0,
  1,
  -1,
  1e12,
  1e12 + 123,
  -1e12 - 7,
  2 ** 32 * 1000,
  2 ** 32 * 1000 - 1,
  2 ** 34 * 1000,
  8.64e15,
  -8.64e15,
];
const LENGTHS = [0, 1, 15, 16, 31, 32, 33, 255, 256, 65535, 65536];

class Temperature {
  constructor(/** @type {number} */ degrees) {
    this.degrees = degrees;
  }
  toJSON() {
    return { celsius: this.degrees };
  }
}

/** Arguments of an event, by what is special about them. @type {Record<string, any[]>} */
const ARGUMENTS = {
  "none at all": [],
  several: [1, "a", null, true, false, [], {}],
  integers: INTEGERS,
  "each integer alone": [],
  floats: FLOATS,
  "minus zero": [-0, { z: -0 }],
  strings: ["", "a", "é", "漢", "🦀", "\u0000\u001f\u007f\u0080", '"\\/\b\f\n\r\t', "\u2028\u2029"],
  ...Object.fromEntries(LENGTHS.map((n) => [`ASCII of ${n}`, ["x".repeat(n)]])),
  ...Object.fromEntries(LENGTHS.slice(1).map((n) => [`text of ${n} bytes`, [text(n)]])),
  ...Object.fromEntries([0, 1, 15, 16, 17, 65535, 65536].map((n) => [`an array of ${n}`, [list(n)]])),
  ...Object.fromEntries([0, 1, 15, 16, 17, 1000].map((n) => [`a map of ${n}`, [map(n)]])),
  "an event of sixteen": list(15),
  "an event of seventeen": list(16),
  dates: DATES.map((time) => new Date(time)),
  "dates among others": [{ at: new Date(1234567890123), list: [new Date(0), "1970-01-01T00:00:00.000Z"] }],
  "the text of a date": ["1970-01-01T00:00:00.000Z", { at: "2020-02-02T02:02:02.020Z" }],
  "undefined in arrays": [undefined, [undefined, 1], 2],
  "undefined members": [{ a: undefined, b: 1, c: { d: undefined } }],
  "function members": [{ a: () => {}, b: 1 }],
  "maps that shrink to fifteen": [{ ...map(15), gone: undefined }],
  null: [null, { a: null }, [null]],
  nested: [{ a: [{ b: [[{ c: {} }]] }] }, [[[[[[[[1]]]]]]]]],
  "keys that are numbers": [{ 2: "b", 1: "a", x: 0, "-1": "c", "01": "d" }],
  "odd keys": [{ "": 1, constructor: 2, toString: 3, "a b": 4, é: 5, '"': 6 }],
  "a toJSON": [new Temperature(21), { t: new Temperature(-3) }],
  "a toJSON that returns a date": [{ toJSON: () => new Date(5) }, [{ a: { toJSON: () => [new Date(6)] } }]],
  "instances and wrappers": [
    new (class Point {
      x = 1;
    })(),
    new Map([[1, 2]]),
    new Set([1]),
  ],
  ...Object.fromEntries([0, 1, 255, 256, 70000].map((n) => [`a Buffer of ${n}`, [bytes(n)]])),
  "binary among others": ["x", { a: bytes(3), b: [bytes(4), { c: bytes(5) }], d: 1 }, null],
  "a Uint8Array and an ArrayBuffer": [new Uint8Array([1, 2, 3]), new Uint8Array([4, 5]).buffer],
  "binary and dates": [bytes(3), new Date(7), { b: bytes(2), d: new Date(-7) }],
  "what looks like an attachment": [{ _placeholder: true, num: 0 }, { _placeholder: false }],
  "what looks like an attachment, beside one": [{ _placeholder: 1, num: 0 }, bytes(1)],
};
for (const n of INTEGERS) ARGUMENTS[`the integer ${Object.is(n, -0) ? "-0" : n}`] = [n];
delete ARGUMENTS["each integer alone"];

/** Who an event goes to. @type {Record<string, (io: any) => any>} */
const TARGETS = {
  everyone: (io) => io,
  "a room": (io) => io.to("room"),
  "a room with a long name": (io) => io.to(text(300)),
  "a room with a number for a name": (io) => io.to(5),
  "two rooms": (io) => io.to("room").to("other"),
  "sixteen rooms": (io) => io.to(list(16).map((i) => `room ${i}`)),
  "two rooms with numbers for names": (io) => io.to(1).to(-70000),
  "all but a room": (io) => io.except("room"),
  "a room but another": (io) => io.to("room").except(["other", "third"]),
  volatile: (io) => io.volatile,
  "compress false": (io) => io.compress(false),
  "compress true": (io) => io.compress(true),
  "volatile, compress and timeout": (io) => io.volatile.compress(true).timeout(1234),
  "a room, volatile": (io) => io.to("room").volatile,
};

/**
 * Resolves to what a node publishes for a call, with its uid and request ids made equal.
 *
 * @param {Node} node
 * @param {(io: any) => any} act
 * @param {number} [count] of messages
 */
async function published(node, act, count = 1) {
  const start = messages.length;
  act(node.io);
  await waitFor(() => messages.length >= start + count, { what: `${count} messages of ${node.name}` });
  return messages.splice(start, count).map(({ channel, bytes }) => ({ channel, hex: neutral(bytes, node) }));
}

/** @param {Buffer} bytes @param {Node} node */
function neutral(bytes, node) {
  // One byte a character, so that nothing moves.
  const plain = bytes
    .toString("latin1")
    .replaceAll(node.adapter().uid, "UUUUUU")
    .replace(/requestId(":"|\xa6)[\w-]{6}/, "requestId$1RRRRRR");
  return Buffer.from(plain, "latin1").toString("hex");
}

/**
 * Asserts that our node and the reference publish the same for a call.
 *
 * @param {(io: any) => any} act
 * @param {number} [count] of messages
 */
async function same(act, count = 1) {
  const wanted = await published(ring.references[0], act, count);
  const got = await published(ring.ours[0], act, count);
  assert.deepStrictEqual(got, wanted);
}

for (const transport of /** @type {const} */ (["native", "client"])) {
  describe(`the wire, ${transport}`, () => {
    before(async () => {
      ring = await startRing({
        redis,
        nodes: ["ours", "reference"],
        transport,
        sockets: 0,
        key: `golden-${transport}`,
      });
      messages = await ring.capture();
    });

    after(() => ring.close());

    describe("of an event", () => {
      for (const [what, args] of Object.entries(ARGUMENTS)) {
        it(`carries ${what}`, () => same((io) => io.emit("event", ...args)));
      }
    });

    describe("of an event's target", () => {
      for (const [what, target] of Object.entries(TARGETS)) {
        it(`names ${what}`, async () => {
          await same((io) => target(io).emit("event", 1, "a"));
          await same((io) => target(io).emit("event", bytes(5)));
          await same((io) => target(io).emit("event", new Date(5)));
        });
      }
    });

    describe("of requests", () => {
      it("is the same for a broadcast with acknowledgements", async () => {
        for (const args of [[], [1, "a"], [bytes(300), new Date(5)], [{ a: undefined, b: [undefined] }]]) {
          const targets = [
            (/** @type {any} */ io) => io,
            (/** @type {any} */ io) => io.to("room").except("other").volatile,
          ];
          for (const target of targets) {
            // The other node answers at once: with the number of its clients.
            await same(
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
        await same((io) => io.socketsJoin("a"));
        await same((io) => io.in("é").except(["x", "y"]).socketsJoin(["a", "b"]));
        await same((io) => io.socketsLeave("a"));
        await same((io) => io.in(["a", 5]).socketsLeave(["a", 7]));
        await same((io) => io.disconnectSockets());
        await same((io) => io.in("a").except("b").disconnectSockets(true));
      });

      it("is the same for an event between servers", async () => {
        for (const args of [
          [],
          [1, null, "é\u2028", { a: undefined, b: [undefined] }],
          [bytes(3), new Date(5)],
        ]) {
          await same((io) => io.serverSideEmit("note", ...args));
        }
      });

      it("is the same for questions", async () => {
        // With each comes the answer of the other node.
        const rooms = await both((node) => node.adapter().allRooms());
        assert.deepStrictEqual(rooms[0], rooms[1]);
        const sockets = await both((node) => node.io.in("é").except("x").fetchSockets());
        assert.deepStrictEqual(sockets[0], sockets[1]);
        const answers = await both((node) => {
          ring.nodes[1 - node.index].io.once("note", (/** @type {any} */ _, ack) =>
            ack({ got: [undefined, 1] }, 2),
          );
          return node.io.serverSideEmitWithAck("note", { a: 1 });
        });
        assert.deepStrictEqual(answers[0], answers[1]);
        assert.strictEqual(answers[0].length, 2);
      });
    });

    describe("of responses", () => {
      it("is the same when clients answer", async () => {
        const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
        for (const value of [
          1,
          "é",
          null,
          bytes(3),
          { a: [bytes(300), 1.5] },
          [],
          "1970-01-01T00:00:00.000Z",
          undefined,
        ]) {
          const responses = [];
          for (const peer of peers) {
            peer.socket.join("here");
            peer.client.once("ask", (/** @type {any[]} */ ...args) => args.at(-1)(value));
            const start = messages.length;
            const request = {
              uid: "nobody",
              requestId: "fixed1",
              type: 7,
              packet: { type: 2, data: ["ask"], nsp: "/" },
              opts: { rooms: ["here"], except: [], flags: { timeout: 1000 } },
            };
            await ring.raw.publish(ring.requestChannel(), notepack.encode(request));
            // The request, a count from each node, the one client's answer.
            await waitFor(() => messages.length >= start + 4);
            const sorted = messages
              .splice(start, 4)
              .slice(1)
              .map(({ channel, bytes }) => `${channel} ${bytes.toString("hex")}`);
            responses.push(sorted.sort());
            peer.socket.leave("here");
          }
          assert.deepStrictEqual(responses[0], responses[1]);
        }
        await Promise.all(peers.map((peer) => peer.close()));
      });

      it("has the same shape when sockets are described", async () => {
        const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
        for (const { socket } of peers) {
          socket.data = { name: "é", at: new Date(5), bytes: bytes(3), gone: undefined };
          socket.join("room");
        }
        const start = messages.length;
        const request = { requestId: "fixed2", type: 5, opts: { rooms: [], except: [] } };
        await ring.raw.publish(ring.requestChannel(), JSON.stringify(request));
        await waitFor(() => messages.length >= start + 3);
        const [a, b] = messages
          .splice(start, 3)
          .slice(1)
          .map(({ bytes }) => bytes.toString());
        for (const response of [a, b]) assert.strictEqual(JSON.stringify(JSON.parse(response)), response);
        assert.deepStrictEqual(shape(JSON.parse(a)), shape(JSON.parse(b)));
        assert.deepStrictEqual(JSON.parse(a).sockets[0].data, JSON.parse(b).sockets[0].data);
        await Promise.all(peers.map((peer) => peer.close()));
      });
    });

    describe("as it was captured of the reference", () => {
      for (const { what, room, hex, event } of require("./support/captures")) {
        it(`is understood: ${what}`, async () => {
          const [node] = ring.ours;
          const peer = await node.connect();
          if (room) peer.socket.join(room);
          await ring.raw.publish(ring.channel("/", room), Buffer.from(hex, "hex"));
          await waitFor(() => peer.log.length > 0, { what: "the event" });
          await ring.mark(ring.references[0]);
          assert.deepStrictEqual(peer.log, [event]);
          await peer.close();
        });
      }
    });
  });
}

/**
 * Has each node ask, and resolves to what was published each time, made equal.
 *
 * @param {(node: Node) => Promise<any>} ask
 */
async function both(ask) {
  const lists = [];
  for (const node of ring.nodes) {
    const start = messages.length;
    await ask(node);
    await waitFor(() => messages.length >= start + 2);
    lists.push(
      messages.splice(start, 2).map(({ channel, bytes }) => ({ channel, hex: neutral(bytes, node) })),
    );
  }
  return lists;
}

/** The keys of a value, in their order, and the types of what they hold. @param {any} value @returns {any} */
function shape(value) {
  if (Array.isArray(value)) return value.map(shape);
  if (value === null || typeof value !== "object") return typeof value;
  return Object.keys(value).map((key) => [key, shape(value[key])]);
}
