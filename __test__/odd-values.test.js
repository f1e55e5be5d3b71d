// @ts-check
"use strict";

/**
 * What JSON has its own way with (functions, symbols, a toJSON): the clients of other servers get what those of the sending
 * server get, and nothing throws.
 */

const assert = require("node:assert");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

const bytes = Buffer.from("a");

/** @param {number} levels @param {any} [leaf] */
function nest(levels, leaf = 1) {
  let value = leaf;
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value };
  return value;
}

class Task {
  constructor() {
    this.name = "task";
    this.run = () => {};
  }
}

/** Arguments of an event. @type {Record<string, () => any[]>} */
const VALUES = {
  "a function member beside binary": () => [{ b: bytes, f() {} }],
  "a function in an array beside binary": () => [[() => {}, bytes]],
  "a symbol beside binary": () => [bytes, Symbol("q"), { s: Symbol("r"), a: 1 }],
  "an instance with a function member beside binary": () => [bytes, new Task()],
  "a toJSON beside binary": () => [bytes, { toJSON: () => "x" }],
  "a toJSON that hides binary": () => [{ b: bytes, toJSON: () => "x" }],
  "a toJSON that returns binary": () => [{ toJSON: () => bytes }],
  "a toJSON that returns itself beside binary": () => [bytes, itself({ a: 1 })],
  "a toJSON that returns itself beside the text of a date": () => [itself({ a: "2020-01-01T00:00:00.000Z" })],
  "a toJSON that returns itself beside a date": () => [new Date(0), itself({ a: 1 })],
  "a toJSON that returns what it holds beside a date": () => [
    new Date(0),
    {
      a: 1,
      toJSON() {
        return { ...this };
      },
    },
  ],
  "a function and a symbol beside a date": () => [
    new Date(0),
    Symbol("q"),
    { f() {}, s: Symbol("r") },
    [() => {}],
  ],
  "300 levels around binary": () => [nest(300, bytes)],
};

/** @param {object} value */
function itself(value) {
  return Object.assign(value, {
    toJSON() {
      return this;
    },
  });
}

describe("odd values", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {import("./support/ring").Ring} */
  let ring;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of FAMILIES) {
    describe(adapter, () => {
      before(async () => {
        ring = await startRing({ redis, adapter, nodes: ["ours", "ours"], sockets: 1 });
      });
      after(() => ring.close());

      for (const [what, values] of Object.entries(VALUES)) {
        it(`${what}: all clients get the same`, async () => {
          const [[own], [other]] = await ring.collect(ring.nodes[0], () =>
            ring.nodes[0].io.emit("value", ...values()),
          );
          assert.strictEqual(own.length, 1);
          assert.deepStrictEqual(other, own);
        });
      }

      it("with acknowledgements: all clients give them", async () => {
        const [{ io }] = ring.nodes;
        for (const { client } of ring.peers())
          client.once("ask", (/** @type {any[]} */ ...args) => args.pop()(args));
        const answers = await io
          .timeout(5000)
          .emitWithAck("ask", { b: bytes, f() {}, s: Symbol("s") }, Symbol("q"));
        assert.deepStrictEqual(answers, Array(2).fill([{ b: bytes }, null]));
      });

      it("to other servers", async () => {
        const [{ io }, { io: other }] = ring.nodes;
        /** @type {any[]} */
        let got = [];
        other.once("note", (...args) => (got = args));
        io.serverSideEmit("note", { a: 1, f() {}, s: Symbol("s") }, Symbol("q"));
        await waitFor(() => got.length > 0, { what: "the note" });
        assert.deepStrictEqual(got, [{ a: 1 }, null]);
      });
    });
  }
});
