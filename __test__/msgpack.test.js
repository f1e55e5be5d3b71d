// @ts-check
"use strict";

/**
 * msgpack as `notepack.io` writes it, as the servers of the reference do; what it mends, and what it reads.
 */

const assert = require("node:assert");
const vm = require("node:vm");
// @ts-ignore: it has no types
const notepack = require("notepack.io");
const { encode, decode } = require("../lib/msgpack");
const { generate, mulberry32, same } = require("./support/generated");

/** @param {unknown} value */
const hex = (value) => encode(value).toString("hex");

/** @param {string} bytes */
const fromHex = (bytes) => decode(Buffer.from(bytes.replace(/ /g, ""), "hex"));

describe("msgpack", () => {
  describe("golden bytes", () => {
    /** @type {[string, unknown, string][]} */
    const cases = [
      ["nil", null, "c0"],
      ["undefined as nil", undefined, "c0"],
      ["false", false, "c2"],
      ["true", true, "c3"],
      ["0", 0, "00"],
      ["-0", -0, "00"],
      ["127", 127, "7f"],
      ["128", 128, "cc80"],
      ["255", 255, "ccff"],
      ["256", 256, "cd0100"],
      ["65535", 65535, "cdffff"],
      ["65536", 65536, "ce00010000"],
      ["2^32 - 1", 2 ** 32 - 1, "ceffffffff"],
      ["2^32", 2 ** 32, "cf0000000100000000"],
      ["2^53", 2 ** 53, "cf0020000000000000"],
      ["the last double below 2^64", 2 ** 64 - 2 ** 11, "cffffffffffffff800"],
      ["-1", -1, "ff"],
      ["-32", -32, "e0"],
      ["-33", -33, "d0df"],
      ["-128", -128, "d080"],
      ["-129", -129, "d1ff7f"],
      ["-32768", -32768, "d18000"],
      ["-32769", -32769, "d2ffff7fff"],
      ["-2^31", -(2 ** 31), "d280000000"],
      ["-2^31 - 1", -(2 ** 31) - 1, "d3ffffffff7fffffff"],
      ["-2^63", -(2 ** 63), "d38000000000000000"],
      ["0.5", 0.5, "cb3fe0000000000000"],
      ["NaN", NaN, "cb7ff8000000000000"],
      ["Infinity", Infinity, "cb7ff0000000000000"],
      ["empty string", "", "a0"],
      ["string", "hé€😀", "aa68c3a9e282acf09f9880"],
      ["31 bytes", "a".repeat(31), `bf${"61".repeat(31)}`],
      ["32 bytes", "a".repeat(32), `d920${"61".repeat(32)}`],
      ["16 characters, 32 bytes", "é".repeat(16), `d920${"c3a9".repeat(16)}`],
      ["empty array", [], "90"],
      ["sparse array", [, 1], "92c001"], // eslint-disable-line no-sparse-arrays
      ["empty map", {}, "80"],
      ["undefined and function members are dropped", { a: undefined, b() {}, c: 1 }, "81a16301"],
      ["numeric keys", { 7: 1 }, "81a13701"],
      ["Buffer", Buffer.from([1, 2]), "c4020102"],
      ["Date with whole seconds", new Date(1000), "d6ff00000001"],
      ["Date with milliseconds", new Date(1001), "d7ff003d090000000001"],
      ["Date past 2106", new Date(2 ** 32 * 1000), "d7ff0000000100000000"],
      ["Date past 2514", new Date(2 ** 34 * 1000), "c70cff000000000000000400000000"],
      ["Date before 1970", new Date(-1), "c70cff3b8b87c0ffffffffffffffff"],
      [
        "options of a broadcast",
        { rooms: [], except: [], flags: {} },
        "83a5726f6f6d7390a665786365707490a5666c61677380",
      ],
    ];
    for (const [title, value, bytes] of cases) {
      it(`${title}: ${bytes.slice(0, 24)}`, () => {
        assert.strictEqual(hex(value), bytes);
        assert.strictEqual(notepack.encode(value).toString("hex"), bytes, "the reference differs");
      });
    }
  });

  it("writes every length at its borders as the reference does", () => {
    for (const n of [15, 16, 31, 32, 33, 255, 256, 1000, 65535, 65536, 70000, 200_000]) {
      for (const value of [
        "a".repeat(n),
        "é".repeat(n),
        "€".repeat(n),
        `${"a".repeat(n - 1)}é`,
        Buffer.alloc(n, 1),
        Array(n).fill(n),
        Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i])),
      ]) {
        same(encode(value), notepack.encode(value), `length ${n} of ${typeof value}`);
        assert.deepStrictEqual(decode(encode(value)), notepack.decode(encode(value)));
      }
    }
  });

  it("makes the head smaller when members are dropped across its borders", () => {
    for (const n of [15, 16, 17, 65535, 65536]) {
      for (const dropped of [1, 2, n]) {
        const map = Object.fromEntries(
          Array.from({ length: n + dropped }, (_, i) => [i, i < n ? i : undefined]),
        );
        same(encode([map, "after"]), notepack.encode([map, "after"]), `${n} members and ${dropped} dropped`);
      }
    }
  });

  it("agrees with the reference on generated values, both ways", () => {
    const seed = Number(process.env.MSGPACK_SEED ?? Math.floor(Math.random() * 2 ** 32));
    const random = mulberry32(seed);
    for (let i = 0; i < 2000; i++) {
      const value = generate(random, 4);
      const context = `MSGPACK_SEED=${seed}, value ${i}`;
      const reference = notepack.encode(value);
      same(encode(value), reference, context);
      assert.deepStrictEqual(decode(reference), notepack.decode(reference), context);
      // Again: what the first pass left in the scratch buffer makes no difference.
      same(encode(decode(reference)), notepack.encode(notepack.decode(reference)), context);
    }
  });

  describe("faults mended", () => {
    it("F12: integers of 2^64 and more, or below -2^63, are doubles (notepack wraps them)", () => {
      for (const value of [2 ** 64, 1e21, 1e300, Number.MAX_VALUE, -(2 ** 63) - 2 ** 11, -(2 ** 64), -1e21]) {
        assert.strictEqual(encode(value)[0], 0xcb);
        assert.strictEqual(decode(encode(value)), value);
        assert.notStrictEqual(notepack.decode(notepack.encode(value)), value);
      }
    });

    it("D13: a view is its bytes (notepack rounds each element to a byte, and empties a DataView)", () => {
      const memory = Uint8Array.from([9, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 9]).buffer;
      const floats = new Float32Array(memory.slice(1, 9));
      assert.strictEqual(hex(floats), "c4080000803f00000040");
      assert.strictEqual(hex(new DataView(memory, 1, 4)), "c4040000803f");
      assert.strictEqual(hex(new Uint8Array(memory, 1, 4)), "c4040000803f");
      assert.strictEqual(hex(new Uint16Array(memory, 2, 2)), "c40400803f00");
      assert.strictEqual(hex(new BigInt64Array([1n])), "c4080100000000000000");
      assert.strictEqual(hex(memory), "c40a090000803f0000004009");
      assert.strictEqual(notepack.encode(floats).length, 4);
    });

    it("a SharedArrayBuffer, and a view of one, is its bytes (notepack sends an empty map)", () => {
      const memory = new SharedArrayBuffer(2);
      new Uint8Array(memory).set([1, 2]);
      assert.strictEqual(hex(memory), "c4020102");
      assert.strictEqual(hex(new Uint8Array(memory, 1)), "c40102");
      assert.strictEqual(notepack.encode(memory).toString("hex"), "80");
    });

    it("binary and dates of another realm count as such (notepack goes by instanceof)", () => {
      const [buffer, date] = vm.runInNewContext("[new Uint8Array([1]).buffer, new Date(1000)]");
      assert.strictEqual(hex([buffer, date]), "92c40101d6ff00000001");
    });

    it("lone surrogates are U+FFFD (notepack writes bytes that are not UTF-8)", () => {
      for (const text of ["\ud800", "a\udc00b", "\ud83dx", "\udc00\ud800", `${"x".repeat(40)}\ud800y`]) {
        const expected = Buffer.from(text).toString();
        assert.ok(expected.includes("\ufffd"));
        assert.strictEqual(decode(encode(text)), expected);
        assert.deepStrictEqual(decode(encode({ [text]: text })), { [expected]: expected });
      }
    });

    it("a __proto__ key is a member (notepack's decoder sets the prototype)", () => {
      const value = JSON.parse('{"__proto__":{"polluted":true},"a":1}');
      const decoded = decode(encode(value));
      assert.deepStrictEqual(Object.keys(decoded), ["__proto__", "a"]);
      assert.strictEqual(Object.getPrototypeOf(decoded), Object.prototype);
      assert.strictEqual(decoded.polluted, undefined);
      assert.strictEqual(notepack.decode(encode(value)).polluted, true);
      same(encode(value), notepack.encode(value), "__proto__");
    });

    it("an invalid Date is nil (notepack sends 1970)", () => {
      assert.strictEqual(hex(new Date(NaN)), "c0");
      assert.strictEqual(hex([new Date(8.64e15), new Date(-8.64e15)]).length, 62);
    });

    it("boxed primitives are their values (notepack sends maps)", () => {
      assert.strictEqual(hex([new String("ab"), new Number(5), new Boolean(false)]), "93a2616205c2");
    });

    it("a getter is read once (notepack reads it three times)", () => {
      let reads = 0;
      const value = {
        get a() {
          return ++reads;
        },
      };
      assert.strictEqual(hex(value), "81a16101");
    });
  });

  describe("toJSON", () => {
    it("is called once per value, and its result may have one in its turn", () => {
      let calls = 0;
      const value = { toJSON: () => (calls++, { a: { toJSON: () => 1 } }) };
      assert.strictEqual(hex([value]), "9181a16101");
      assert.strictEqual(calls, 1);
    });

    it("may return undefined, which is nil", () => {
      assert.strictEqual(hex({ a: { toJSON() {} } }), "81a161c0");
    });

    it("may encode something itself", () => {
      const big = "x".repeat(100_000);
      const value = { a: "before", b: { toJSON: () => [decode(encode({ big })).big.length] }, c: "after" };
      assert.deepStrictEqual(decode(encode(value)), { a: "before", b: [100_000], c: "after" });
    });

    it("is not asked on arrays, Dates and Buffers, like the reference", () => {
      const toJSON = () => "no";
      for (const value of [[1], new Date(5), Buffer.from([1])]) {
        const odd = Object.assign(value, { toJSON });
        same(encode(odd), notepack.encode(odd), "toJSON");
      }
    });

    it("is asked once, as by JSON, whatever it returns", () => {
      for (const value of [
        {
          a: "b",
          toJSON() {
            return this;
          },
        },
        [
          {
            a: 1,
            toJSON() {
              return { ...this };
            },
          },
        ],
        { toJSON: () => ({ a: 2, toJSON: () => "again" }) },
      ]) {
        assert.deepStrictEqual(decode(encode(value)), JSON.parse(JSON.stringify(value)));
      }
    });

    it("of a BigInt's prototype is honoured", () => {
      const prototype = /** @type {any} */ (BigInt.prototype);
      prototype.toJSON = function () {
        return String(this);
      };
      try {
        assert.strictEqual(hex(12n), "a23132");
      } finally {
        delete prototype.toJSON;
      }
    });
  });

  it("throws for what has no bytes, and goes on working", () => {
    for (const value of [1n, [1, [2n]], { a: 3n }]) {
      assert.throws(() => encode(["written in vain", value]), { message: "Could not encode" });
      assert.throws(() => notepack.encode(value), { message: "Could not encode" });
    }
    for (const [value, bytes] of /** @type {[any, string][]} */ ([
      [Symbol("s"), "c0"],
      [() => {}, "c0"],
      [{ a: Symbol("s"), b: 1 }, "81a16201"],
      [[() => {}], "91c0"],
    ])) {
      assert.strictEqual(hex(value), bytes, "as JSON has it");
      assert.throws(() => notepack.encode(value), { message: "Could not encode" });
    }
    /** @type {any[]} */
    const circular = [];
    circular.push({ circular });
    assert.throws(() => encode(circular), /circular/);
    assert.strictEqual(hex({ a: 1 }), "81a16101");
  });

  it("returns buffers of their own", () => {
    const first = encode("first");
    const second = encode("other");
    assert.strictEqual(first.toString("hex"), "a56669727374");
    assert.strictEqual(second.toString("hex"), "a56f74686572");
  });

  describe("decode", () => {
    it("returns binary as a view", () => {
      const bytes = encode([Buffer.from([1, 2, 3])]);
      const [view] = decode(bytes);
      assert.ok(Buffer.isBuffer(view));
      assert.strictEqual(view.buffer, bytes.buffer);
    });

    it("takes a Uint8Array at an offset", () => {
      const memory = Buffer.concat([Buffer.from([1, 2, 3]), encode({ a: "b" })]);
      assert.deepStrictEqual(decode(new Uint8Array(memory.buffer, memory.byteOffset + 3, 5)), { a: "b" });
    });

    it("reads the legacy forms of notepack.io 2", () => {
      /** @type {[string, unknown][]} */
      const cases = [
        ["d4 00 00", undefined],
        ["d7 00 00000001 00000002", new Date(2 ** 32 + 2)],
        ["d7 00 ffffffff ffffffff", new Date(-1)],
        ["c7 02 00 0102", Uint8Array.from([1, 2]).buffer],
        ["c8 0001 00 07", Uint8Array.from([7]).buffer],
        ["c9 00000000 00", new ArrayBuffer(0)],
      ];
      for (const [bytes, expected] of cases) {
        assert.deepStrictEqual(fromHex(bytes), expected);
        assert.deepStrictEqual(notepack.decode(Buffer.from(bytes.replace(/ /g, ""), "hex")), expected);
      }
    });

    it("reads any other extension as [type, Buffer]", () => {
      assert.deepStrictEqual(fromHex("d4 05 01"), [5, Buffer.from([1])]);
      assert.deepStrictEqual(fromHex("d5 00 0102"), [0, Buffer.from([1, 2])]);
      assert.deepStrictEqual(fromHex(`d8 fe ${"00".repeat(16)}`), [-2, Buffer.alloc(16)]);
      assert.deepStrictEqual(fromHex("c7 03 05 010203"), [5, Buffer.from([1, 2, 3])]);
      assert.deepStrictEqual(fromHex("c7 03 ff 010203"), [-1, Buffer.from([1, 2, 3])]);
    });

    it("reads numbers in forms that are not the smallest, and floats of 32 bits", () => {
      assert.deepStrictEqual(
        fromHex("95 cc01 cd0001 ce00000001 cf0000000000000001 ca3fc00000"),
        [1, 1, 1, 1, 1.5],
      );
      assert.deepStrictEqual(fromHex("94 d0ff d1ffff d2ffffffff d3ffffffffffffffff"), [-1, -1, -1, -1]);
    });

    it("makes strings of other keys", () => {
      assert.deepStrictEqual(fromHex("83 01 01 c0 02 c40161 03"), { 1: 1, null: 2, a: 3 });
    });
  });

  describe("hostile input", () => {
    it("every truncation of a message throws, and so does every trailing byte", () => {
      const value = {
        list: [1, -1, 300, 70_000, 2 ** 40, 1.5, null, true, "é".repeat(40)],
        when: [new Date(1000), new Date(1001), new Date(-1)],
        bin: Buffer.alloc(300),
      };
      const bytes = encode(value);
      for (let end = 0; end < bytes.length; end++)
        assert.throws(() => decode(bytes.subarray(0, end)), /truncated/);
      assert.throws(() => decode(Buffer.concat([bytes, Buffer.alloc(2)])), { message: "2 trailing bytes" });
    });

    it("a length of 4 GiB throws at once, and allocates nothing", () => {
      for (const first of [0xc6, 0xc9, 0xdb, 0xdd, 0xdf]) {
        const bytes = Buffer.alloc(1000, 0xff);
        bytes[0] = first;
        const before = process.memoryUsage().rss;
        const start = process.hrtime.bigint();
        assert.throws(() => decode(bytes), /truncated/);
        assert.ok(process.hrtime.bigint() - start < 1_000_000_000n);
        assert.ok(process.memoryUsage().rss - before < 64 * 2 ** 20);
      }
    });

    it("nested arrays that each claim the rest of the message cost no more than it", () => {
      // 1000 arrays, each with as many items as there are bytes left: 8 GB if they were made at once.
      const bytes = Buffer.alloc(1_000_000, 0xc0);
      for (let i = 0; i < 1000; i++) {
        bytes[i * 5] = 0xdd;
        bytes.writeUInt32BE(bytes.length - (i + 1) * 5, i * 5 + 1);
      }
      assert.throws(() => decode(bytes), /truncated/);
    });

    it("1024 levels are read and written, more throw", () => {
      const deep = (/** @type {number} */ n) => Buffer.concat([Buffer.alloc(n, 0x91), Buffer.from([0xc0])]);
      const value = decode(deep(1024));
      same(encode(value), deep(1024), "1024 levels");
      assert.throws(() => decode(deep(1025)), /deeper than 1024/);
      assert.throws(() => encode([value]), /deeper than 1024/);
      assert.throws(() => decode(deep(1_000_000)), /deeper than 1024/);
      assert.throws(() => decode(Buffer.alloc(100_000, 0x81)), /deeper than 1024/);
    });

    it("random bytes throw an Error or are a value, nothing else", () => {
      const random = mulberry32(1);
      for (let i = 0; i < 20_000; i++) {
        const bytes = Buffer.from(Array.from({ length: 1 + random() * 40 }, () => random() * 256));
        try {
          decode(bytes);
        } catch (err) {
          assert.ok(err instanceof Error);
        }
      }
    });

    it("the byte that means nothing throws", () => {
      assert.throws(() => fromHex("c1"), { message: "Could not parse" });
    });
  });
});
