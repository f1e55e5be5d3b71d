// @ts-check
"use strict";

/**
 * What JSON has its own way with (functions, symbols, a toJSON), and what is nested deep: the clients of other servers get
 * what those of the sending server get, and nothing throws.
 */

const assert = require("node:assert");
const { holdsDate } = require("../lib/delivery/outgoing");
const { holdsBinary } = require("../lib/messages/cluster-messages");
const { NestingError } = require("../lib/msgpack/format");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

/** Deeper than other servers read. */
const TOO_DEEP = 1100;

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

describe("whether something is binary", () => {
  /** The same, member by member. @param {any} value @param {boolean} [printed] @returns {boolean} */
  function naive(value, printed = false) {
    if (value === null || typeof value !== "object") return false;
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return true;
    if (Array.isArray(value)) return value.some((item) => naive(item));
    if (Object.keys(value).some((key) => naive(value[key]))) return true;
    return typeof value.toJSON === "function" && !printed && naive(value.toJSON(), true);
  }

  /** @type {Record<string, () => any>} */
  const MORE = {
    "bytes at the end of an array": () => [1, "a", null, undefined, [], {}, bytes],
    "bytes behind a hole": () => [, , bytes],
    "holes alone": () => [, ,],
    "bytes in a map of an array": () => ({ list: [{ at: [{ bytes }] }] }),
    "an ArrayBuffer": () => ({ a: new ArrayBuffer(1) }),
    "a view": () => [new DataView(new ArrayBuffer(1))],
    "an array with a toJSON": () => Object.assign([1], { toJSON: () => bytes }),
    "an array with bytes as a property": () => Object.assign([1], { bytes }),
    "a function with bytes": () => [Object.assign(() => {}, { bytes })],
    "a hidden member": () => Object.defineProperty({}, "bytes", { value: bytes }),
    "an inherited member": () => Object.create({ bytes }),
    "a getter": () => ({
      get bytes() {
        return bytes;
      },
    }),
    "a proxy of an array": () => new Proxy([1, bytes], {}),
    "a map and a set": () => [new Map([[1, bytes]]), new Set([bytes])],
    primitives: () => [1, "a", true, null, undefined, 1n, Symbol("s")],
    "a null prototype": () => Object.assign(Object.create(null), { a: { bytes } }),
  };
  for (const [what, value] of Object.entries({ ...VALUES, ...MORE }))
    it(`is found as by looking at each member: ${what}`, () => {
      assert.strictEqual(holdsBinary(value()), naive(value()));
    });
});

describe("what is nested too deep for other servers", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  /** @type {Record<string, any>} */
  const LEAVES = { "": 1, " around a date": new Date(0), " around binary": bytes };

  for (const transport of /** @type {const} */ (["native", "client"])) {
    for (const adapter of FAMILIES) {
      for (const [what, leaf] of Object.entries(LEAVES)) {
        // Text goes as it is with these.
        if (adapter !== "classic" && leaf !== bytes) continue;
        it(`reaches the local clients, is counted and told: ${adapter}, ${transport}${what}`, async () => {
          const ring = await startRing({ redis, adapter, transport, nodes: ["ours", "ours"], sockets: 1 });
          try {
            const [node] = ring.nodes;
            /** @type {string[]} */
            const errors = [];
            node.adapter().on("error", (/** @type {Error} */ { message }) => void errors.push(message));
            const value = nest(TOO_DEEP, leaf);
            const [[own], [other]] = await ring.collect(node, () => {
              for (let time = 0; time < 3; time++) node.io.emit("value", value);
              node.io.emit("next");
            });
            assert.deepStrictEqual(
              own.map(([name]) => name),
              ["value", "value", "value", "next"],
            );
            assert.deepStrictEqual(other, [["next"]]);
            await waitFor(() => errors.length > 0, { what: "an error" });
            assert.strictEqual(errors.length, 1);
            assert.match(errors[0], /^publish: a broadcast is nested deeper than 1024 levels/);
            assert.strictEqual(node.adapter().stats().unencodable, 3);
          } finally {
            await ring.close();
          }
        });
      }
    }
  }

  for (const adapter of FAMILIES) {
    it(`is acknowledged by the local clients: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours"], sockets: 1 });
      try {
        const [node] = ring.nodes;
        for (const { client } of ring.peers())
          client.once("ask", (/** @type {any} */ _, /** @type {any} */ ack) => ack("yes"));
        const asked = new Promise((resolve) =>
          node.io
            .timeout(300)
            .emit("ask", nest(TOO_DEEP), (/** @type {any} */ error, /** @type {any} */ answers) =>
              resolve([error !== null, answers]),
            ),
        );
        assert.deepStrictEqual(await asked, [true, ["yes"]]);
        assert.strictEqual(node.adapter().stats().unencodable, 1);
      } finally {
        await ring.close();
      }
    });

    it(`may be what a client acknowledges with: only that is missing: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours"], sockets: 2 });
      try {
        const [asking, answering] = ring.nodes;
        const [odd, usual] = answering.peers;
        const [one, other] = asking.peers;
        for (const { client } of [one, other]) client.on("ask", (/** @type {any} */ ack) => ack("here"));
        for (const levels of [TOO_DEEP, 20_000]) {
          const asked = new Promise((resolve) => usual.client.once("ask", resolve));
          const { engine } = odd.client.io;
          const reply = (/** @type {string} */ packet) => {
            const [, id] = /^2(\d+)\["ask"/.exec(packet) ?? [];
            if (id === undefined) return;
            engine.off("data", reply);
            engine.write(`3${id}[${"[".repeat(levels)}${"]".repeat(levels)}]`);
            odd.client.emit("answered");
          };
          engine.on("data", reply);
          const answered = once(odd.socket, "answered");
          /** @type {any[]} */
          const acks = [];
          const packet = { type: 2, data: ["ask"] };
          const opts = { rooms: new Set(), except: new Set(), flags: { timeout: 60_000 } };
          const before = answering.adapter().stats().malformed;
          const onAck = (/** @type {any} */ ack) => acks.push(ack);
          asking.adapter().broadcastWithAck(packet, opts, () => {}, onAck);
          await answered;
          (await asked)("there");
          await waitFor(() => acks.length === 3, { what: "the other acknowledgements" });
          assert.deepStrictEqual(acks.flat().sort(), ["here", "here", "there"]);
          assert.strictEqual(answering.adapter().stats().malformed, before + 1);
        }
      } finally {
        await ring.close();
      }
    });

    it(`is no request: it throws, rather than be dropped by the others: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours"] });
      try {
        const [{ io }, { io: other }] = ring.nodes;
        const tooDeep = { name: "RangeError", message: /nested deeper than 1024/ };
        assert.throws(() => io.serverSideEmit("note", nest(TOO_DEEP)), tooDeep);
        assert.throws(() => io.serverSideEmit("note", nest(TOO_DEEP), () => {}), tooDeep);
        /** @type {any[]} */
        let got = [];
        other.once("note", (...args) => (got = args));
        // Text may look like levels.
        const text = `\\"${"[".repeat(TOO_DEEP)}\\`;
        io.serverSideEmit("note", nest(1000), text);
        await waitFor(() => got.length > 0, { what: "the note" });
        assert.deepStrictEqual(got, [nest(1000), text]);
      } finally {
        await ring.close();
      }
    });
  }
});

describe("a RangeError that a value throws", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const thrown = new RangeError("of the user");
  /** @type {Record<string, any>} */
  const values = {
    "a toJSON": {
      toJSON() {
        throw thrown;
      },
    },
    "a getter": {
      get member() {
        throw thrown;
      },
    },
  };

  for (const adapter of FAMILIES) {
    for (const [what, value] of Object.entries(values)) {
      it(`comes out, and is no nesting: ${what}, ${adapter}`, async () => {
        // With the reference's other adapters it is a rejection that nobody can handle.
        const nodes = /** @type {import("./support/ring").Kind[]} */ (
          adapter === "classic" ? ["ours", "reference"] : ["ours"]
        );
        const ring = await startRing({ redis, adapter, nodes, sockets: 1 });
        try {
          const [ours] = ring.nodes;
          /** @type {Error[]} */
          const errors = [];
          ours.adapter().on("error", (/** @type {Error} */ error) => void errors.push(error));
          for (const { io } of ring.nodes) {
            assert.throws(() => io.emit("value", value), thrown);
            assert.throws(() => io.timeout(300).emit("ask", value, () => {}), thrown);
            assert.throws(() => io.serverSideEmit("note", value), thrown);
          }
          assert.strictEqual(ours.adapter().stats().unencodable, 0);
          assert.deepStrictEqual(errors, []);
        } finally {
          await ring.close();
        }
      });
    }
  }

  it("is nesting if it is that around a date, however deep", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: 1 });
    try {
      const [node] = ring.nodes;
      node.adapter().on("error", () => {});
      node.io.emit("value", nest(TOO_DEEP, new Date(0)));
      assert.strictEqual(node.adapter().stats().unencodable, 1);
    } finally {
      await ring.close();
    }
    // Deeper than any stack is.
    assert.throws(() => holdsDate(nest(100_000, new Date(0))), NestingError);
  });
});
