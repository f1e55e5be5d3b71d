// @ts-check
"use strict";

/**
 * Hostile entries of streams: they do no harm, and what comes later arrives.
 */

const assert = require("node:assert");
const msgpack = require("@msgpack/msgpack");
const { OURS, REFERENCE, fakeSocket } = require("./fixtures/rings");
const { leavesNoRejection } = require("./fixtures/suite");
const { expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { callsOf, entryOf } = require("./support/streams");
const { waitFor } = require("./support/wait");

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

describe("hostile entries", function () {
  this.timeout(60_000);

  before(async () => {
    redis = await startRedis();
  });
  afterEach(() => ring?.close());
  after(() => redis.stop());

  const DEEP = 20_000;
  const good = entryOf("/", ["x"]).data;
  const encode = (/** @type {any} */ value) => Buffer.from(msgpack.encode(value)).toString("base64");
  const opts = { rooms: [], except: [], flags: {} };

  /** @type {Record<string, Record<string, string | Buffer>[]>} */
  const HOSTILE = {
    "without a namespace": [{ uid: "x", type: "3", data: good }, { uid: "x" }, { "": "" }],
    "of another namespace": [
      { uid: "x", nsp: "/nobody", type: "3", data: good },
      { uid: "x", nsp: "", type: "3", data: good },
    ],
    "of no type": ["", "x", "3.5", "-3", "99", "1e1", "300000000000000000000", "3x", " 3"]
      .filter((type) => ![3].includes(parseInt(type, 10)))
      .map((type) => ({ uid: "x", nsp: "/", type, data: good })),
    "without data": [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map((type) => ({
      uid: "x",
      nsp: "/",
      type: String(type),
    })),
    "of bad JSON": [
      "{",
      "{}",
      '{"packet":',
      '{"packet":null}',
      '{"packet":{"type":2,"data":["x"]}',
      `{"a":"\u0000"}`,
    ].map((data) => ({ uid: "x", nsp: "/", type: "3", data })),
    "of bad base64": ["!", "=", "AAA", "####", " ", Buffer.from([0xff, 0xfe, 0])].map((data) => ({
      uid: "x",
      nsp: "/",
      type: "3",
      data,
    })),
    "of bad msgpack": [
      [0xc1],
      [0xdf, 0xff, 0xff, 0xff, 0xff],
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xc6, 0x7f, 0xff, 0xff, 0xff],
    ].map((bytes) => ({ uid: "x", nsp: "/", type: "3", data: Buffer.from(bytes).toString("base64") })),
    "that are deep": [
      { uid: "x", nsp: "/", type: "3", data: `{"packet":${"[".repeat(DEEP)}` },
      {
        uid: "x",
        nsp: "/",
        type: "3",
        data: `{"packet":{"type":2,"data":["deep",${"[".repeat(DEEP)}${"]".repeat(DEEP)}]},"opts":${JSON.stringify(opts)}}`,
      },
      { uid: "x", nsp: "/", type: "3", data: Buffer.alloc(DEEP, 0x91).toString("base64") },
    ],
    "of the wrong shape": [
      { packet: 1, opts },
      { packet: { type: 2, data: "x" }, opts },
      { packet: { type: 2, data: [] }, opts },
      { packet: { type: 2, data: ["x"] } },
      { packet: { type: 2, data: ["x"] }, opts: null },
      { packet: { type: 2, data: ["x"] }, opts: { rooms: 5, except: [], flags: {} } },
      { packet: { type: 2, data: ["x"] }, opts: { rooms: [{}], except: "x", flags: {} } },
      { packet: { type: 2, data: ["x"] }, opts: { rooms: [], except: [null], flags: 7 } },
      { packet: { type: 99, data: ["x"] }, opts },
      { packet: { type: 0, data: ["x"] }, opts },
      { opts, rooms: 5 },
      { opts, rooms: [{}] },
      { opts: {}, close: true },
      { requestId: 5, opts },
      { requestId: "x", packet: { type: 2, data: ["x"] }, opts: {} },
    ].flatMap((data) => [
      ...["3", "4", "5", "7", "8", "9", "10", "11", "12"].flatMap((type) => [
        { uid: "x", nsp: "/", type, data: JSON.stringify(data) },
        { uid: "x", nsp: "/", type, data: encode(data) },
      ]),
    ]),
    "with fields twice": [{ uid: "x", nsp: "/", type: "3", data: good, Type: "3", NSP: "/", DATA: "{" }],
    "of 16 MB": [
      { uid: "x", nsp: "/", type: "3", data: "x".repeat(1 << 24) },
      { uid: "x".repeat(1 << 24), nsp: "/", type: "99", data: good },
      { uid: "x", nsp: "/".repeat(1 << 24), type: "3", data: good },
    ],
  };

  for (const [transport, clients] of VARIANTS) {
    describe(`${transport}, ${clients}`, () => {
      for (const [what, entries] of Object.entries(HOSTILE)) {
        // Much to carry, and nothing that the carrier looks at.
        if (what === "of 16 MB" && transport === "client") continue;
        it(`${what} do no harm, and what comes later arrives`, async () => {
          const serverOpts = { connectionStateRecovery: {} };
          await start({ nodes: [OURS, OURS], transport, clients, serverOpts, sockets: 1 });
          for (const entry of entries) await ring.raw.xAdd(ring.streamName, "*", entry);
          await ring.raw.xAdd(ring.streamName, "*", entryOf("/", ["good", 1]));
          const isHere = () => ring.peers().every(({ log }) => log.some(([name]) => name === "good"));
          await waitFor(isHere, { timeout: 10_000, what: "the good one" });
          for (const node of ring.nodes) {
            node.io.emit("good", 2);
            await ring.mark(node);
          }
          const kept = ["x", "deep", "good"];
          for (const { log, client } of ring.peers()) {
            assert.ok(client.connected);
            assert.strictEqual(log.filter(([name, n]) => name === "good" && n === 2).length, 2);
            assert.deepStrictEqual(
              log.filter(([name]) => !kept.includes(name)),
              [],
            );
          }
          assert.strictEqual((await ring.nodes[0].io.fetchSockets()).length, 2);
        });
      }
      leavesNoRejection();
    });
  }

  it("one is read by the reference for ever, and nothing that comes later", async () => {
    expectRejections();
    await start({ nodes: [REFERENCE] });
    const heard = ring.nodes.map((node) => fakeSocket(node, "/"));
    await ring.raw.xAdd(ring.streamName, "*", { uid: "x", nsp: "/", type: "3" });
    await ring.raw.xAdd(ring.streamName, "*", entryOf("/", ["good"]));
    const before = await callsOf(redis, "xread");
    await waitFor(async () => (await callsOf(redis, "xread")) - before > 200, { what: "a storm" });
    assert.deepStrictEqual(heard[0], []);
  });
});
