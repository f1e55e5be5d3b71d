// @ts-check
"use strict";

/**
 * msgpack as `@msgpack/msgpack` writes it, as the servers of the reference's streams adapter do.
 */

const assert = require("node:assert");
const theirs = require("@msgpack/msgpack");
const { encode, encodeAsIs, decode } = require("../lib/msgpack");
const { generate, mulberry32, nested, same } = require("./support/generated");

/** @param {unknown} value */
const hex = (value) => encode(value).toString("hex");

describe("msgpack", () => {
  describe("as @msgpack/msgpack writes it", () => {
    /** @param {unknown} value */
    const reference = (value) => Buffer.from(theirs.encode(value));

    /** What is written, or that nothing can be. @param {() => Buffer} write */
    const outcome = (write) => {
      try {
        return write();
      } catch {
        return null;
      }
    };

    it("agrees on generated values, both ways", () => {
      const seed = Number(process.env.MSGPACK_SEED ?? Math.floor(Math.random() * 2 ** 32));
      const random = mulberry32(seed);
      let written = 0;
      for (let i = 0; i < 4000; i++) {
        const value = generate(random, 4);
        const context = `MSGPACK_SEED=${seed}, value ${i}`;
        const wanted = outcome(() => reference(value));
        const got = encodeAsIs(value);
        // Functions, and a toJSON.
        if (wanted === null) continue;
        written++;
        same(got, wanted, context);
        // Theirs hands out plain byte arrays.
        same(encodeAsIs(decode(wanted)), reference(theirs.decode(wanted)), context);
      }
      assert.ok(written > 1500, `${written} could be written`);
    });

    it("agrees at the borders of all lengths", () => {
      for (const n of [15, 16, 31, 32, 33, 255, 256, 65535, 65536]) {
        for (const value of [
          "a".repeat(n),
          "é".repeat(n),
          Buffer.alloc(n, 1),
          Array(n).fill(n),
          Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, undefined])),
        ]) {
          same(encodeAsIs(value), reference(value), `length ${n} of ${typeof value}`);
        }
      }
    });

    it("differs from the other: undefined members, toJSON, integers that are not safe, what is no map", () => {
      class Point {
        x = 1;
        toJSON() {
          return "a point";
        }
      }
      for (const value of [
        { a: undefined, b: [undefined, , 1] },
        new Point(),
        [2 ** 53 - 1, 2 ** 53, -(2 ** 53), 2 ** 63, 1e21],
        [new String("ab"), new Number(1), new Map([[1, 2]]), new Set([1]), /x/],
        [new Float32Array([1, 2]), new DataView(new ArrayBuffer(3)), new BigInt64Array([1n])],
      ]) {
        same(encodeAsIs(value), reference(value), String(value));
        assert.notDeepStrictEqual(
          outcome(() => encode(value)),
          ArrayBuffer.isView(/** @type {any} */ (value)[0]) ? null : reference(value),
        );
      }
      assert.throws(() => encodeAsIs(1n), { message: "Could not encode" });
      same(encodeAsIs(nested(100)), reference(nested(100)), "100 deep");
    });

    it("what that throws at is as JSON has it", () => {
      const bytes = Buffer.from([1]);
      class Task {
        constructor() {
          this.name = "a";
          this.run = () => {};
        }
        toJSON() {
          return "not asked: the reference does not";
        }
      }
      for (const [value, wanted] of /** @type {[any, any][]} */ ([
        [() => {}, null],
        [Symbol("a"), null],
        [
          [() => {}, Symbol("a"), bytes],
          [null, null, bytes],
        ],
        [{ bytes, f() {}, s: Symbol("a") }, { bytes }],
        [new Task(), { name: "a" }],
        [{ bytes, toJSON: () => "x" }, "x"],
        [{ toJSON: () => bytes }, bytes],
        [{ toJSON: () => ({ bytes, toJSON: () => "again" }) }, { bytes }],
        [
          [
            {
              bytes,
              toJSON() {
                return this;
              },
            },
          ],
          [{ bytes }],
        ],
        [nested(101), nested(101)],
        [nested(1024), nested(1024)],
      ])) {
        assert.throws(() => reference(value));
        assert.deepStrictEqual(decode(encodeAsIs(value)), wanted);
      }
      assert.throws(() => encodeAsIs(nested(1025)), RangeError);
    });

    it("D14: an ArrayBuffer is its bytes (theirs is an empty map), and a date that is none is nil", () => {
      const memory = Uint8Array.from([1, 2]).buffer;
      assert.strictEqual(encodeAsIs(memory).toString("hex"), "c4020102");
      assert.strictEqual(reference(memory).toString("hex"), "80");
      assert.strictEqual(encodeAsIs(new Date(NaN)).toString("hex"), "c0");
    });

    it("does not change how the other writes, even from within", () => {
      const outer = {
        toJSON: () => ({ a: undefined, bytes: encodeAsIs({ a: undefined }) }),
      };
      assert.deepStrictEqual(decode(encode(outer)), { bytes: Buffer.from("81a161c0", "hex") });
      assert.throws(() => encodeAsIs({ a: 1n }));
      assert.strictEqual(hex({ a() {} }), "80");
    });
  });
});
