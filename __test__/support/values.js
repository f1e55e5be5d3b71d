// @ts-check
"use strict";

/**
 * Values as users emit them, made from a seed; and a form in which those that clients received are compared.
 */

/** Characters that are dear to those who got them wrong before. */
const CHARACTERS = [
  ..."abcXYZ019 _-",
  ...'"\\/\b\f\n\r\t\u0000\u001f\u007f\u0080',
  ..."éßñ漢字\u2028\u2029\ufeff\ufffd\uffff",
  ..."🦀😀𝒳",
  "\ud800",
  "\udfff",
];

const NUMBERS = [
  0,
  -0,
  1,
  -1,
  31,
  32,
  -32,
  -33,
  127,
  128,
  -128,
  -129,
  255,
  256,
  65535,
  65536,
  -32768,
  -32769,
  2 ** 31,
  -(2 ** 31),
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53,
  -(2 ** 53),
  2 ** 53 - 1,
  2 ** 63,
  -(2 ** 63),
  2 ** 64,
  1e21,
  -1e21,
  1e308,
  5e-324,
  -5e-324,
  1e-7,
  0.1,
  1 / 3,
  123456789.125,
  4.35,
  1e16,
  123456789012345680000,
  NaN,
  Infinity,
  -Infinity,
  2 ** 64 - 2048,
  -(2 ** 63) - 2048,
];

const KEYS = [
  "",
  "a",
  "b",
  "key",
  "__proto__",
  "constructor",
  "toString",
  "length",
  "0",
  "1",
  "-1",
  "01",
  "1e3",
  "_placeholder",
  "é",
];

const TIMES = [
  0,
  1,
  -1,
  1e12 + 123,
  -1e13 - 7,
  2 ** 32 * 1000 - 1,
  2 ** 32 * 1000,
  2 ** 34 * 1000 + 5,
  8.64e15,
  -8.64e15,
  NaN,
];

class Custom {
  constructor(/** @type {any} */ value) {
    this.value = value;
  }
  toJSON() {
    return { custom: this.value };
  }
}

/** How many attachments an event may have, for the clients' parser to take it. */
const MAX_ATTACHMENTS = 10;

/** A source of values. */
class Random {
  #state;
  #attachments = 0;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** Below 1; mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** @param {number} end */
  below(end) {
    return Math.floor(this.next() * end);
  }

  /** @template T @param {T[]} list @returns {T} */
  of(list) {
    return list[this.below(list.length)];
  }

  /** The arguments of an event. Some have no binary, for that is another way through. */
  args() {
    const binary = this.next() < 0.3;
    const dates = this.next() < 0.3;
    this.#attachments = 0;
    return this.#list(5, () => this.value(0, { binary, dates }));
  }

  /**
   * @param {number} depth
   * @param {{ binary: boolean, dates: boolean }} may
   * @returns {any}
   */
  value(depth, may) {
    const inner = () => this.value(depth + 1, may);
    const kind = this.below(depth > 4 ? 8 : 14);
    switch (kind) {
      case 0:
        return this.of([null, undefined, true, false]);
      case 1:
      case 2:
        return this.number();
      case 3:
      case 4:
        return this.text();
      case 5:
        return may.dates ? new Date(this.of(TIMES)) : this.text();
      case 6:
      case 7:
        return may.binary && this.#attachments++ < MAX_ATTACHMENTS ? this.binary() : this.number();
      case 8:
      case 9:
        return this.#list(this.of([2, 5, 18]), inner);
      case 10:
      case 11:
      case 12:
        return this.object(inner, may);
      default:
        return this.of([
          // Beside binary, Socket.IO's own parser makes plain objects of these for the local clients.
          () => (may.binary ? this.object(inner, may) : new Custom(inner())),
          () => new Map([[1, 2]]),
          () => Object.assign(Object.create(null), { plain: inner() }),
          () => ({ f() {}, after: inner() }),
          () => (may.binary ? false : new Boolean(false)),
          () => (may.binary ? "" : new String("wrapped")),
        ])();
    }
  }

  number() {
    const pick = this.below(4);
    if (pick < 2) return this.of(NUMBERS);
    if (pick === 2) return this.below(2 ** 32) * this.of([1, -1, 2 ** 20, 1e-3]);
    const bytes = Buffer.from(Array.from({ length: 8 }, () => this.below(256)));
    return bytes.readDoubleBE();
  }

  text() {
    const length = this.of([0, 1, 3, 10, 31, 32, 40, 255, 256, 300]);
    if (this.next() < 0.02) return this.of(CHARACTERS).repeat(70_000);
    return Array.from({ length: this.next() < 0.8 ? length % 40 : length }, () => this.of(CHARACTERS)).join(
      "",
    );
  }

  binary() {
    const bytes = Buffer.from(Array.from({ length: this.of([0, 1, 8, 16, 264]) }, () => this.below(256)));
    const whole = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    return this.of([
      () => bytes,
      () => whole,
      () => new Uint8Array(whole),
      () => new Uint8Array([0, ...bytes, 0]).subarray(1, bytes.length + 1),
      () => new Float64Array(whole.slice(0, bytes.length & ~7)),
      () => new Uint16Array(whole.slice(0, bytes.length & ~1)),
      () => new DataView(whole),
    ])();
  }

  /**
   * @param {() => any} inner
   * @param {{ binary: boolean, dates: boolean }} may
   */
  object(inner, may) {
    /** @type {Record<string, any>} */
    const object = {};
    for (let n = this.of([0, 1, 2, 4, 17]); n > 0; n--) {
      const key = this.next() < 0.7 ? this.of(KEYS) : this.text();
      // Beside binary, Socket.IO's own parser makes a prototype of the one, and takes the other for its own. A
      // date that notepack.io's decoder made a prototype throws when it is printed, and ends the reference's client.
      if (may.binary && ["__proto__", "_placeholder"].includes(key)) continue;
      if (may.dates && key === "__proto__") continue;
      Object.defineProperty(object, key, {
        value: inner(),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return object;
  }

  /** @param {number} end @param {() => any} make */
  #list(end, make) {
    return Array.from({ length: this.below(end) }, make);
  }
}

/**
 * Returns text that is equal for values that are. Lone surrogates count as U+FFFD: the wire is UTF-8, which has
 * no place for them, while the clients of the sending node get them escaped in JSON. Members have no order.
 *
 * @param {any} value as a client received it
 * @returns {string}
 */
function canonical(value) {
  if (typeof value === "string") return JSON.stringify(wellFormed(value));
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === undefined) return "undefined";
  if (ArrayBuffer.isView(value))
    return `<${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}>`;
  if (typeof value === "object" && value !== null) {
    // Keys that are told apart by their surrogates alone become one: the last counts.
    const members = new Map(Object.keys(value).map((key) => [wellFormed(key), canonical(value[key])]));
    return `{${[...members]
      .map(([key, member]) => `${JSON.stringify(key)}:${member}`)
      .sort()
      .join()}}`;
  }
  return JSON.stringify(value);
}

/** @param {string} text */
function wellFormed(text) {
  return Buffer.from(text).toString();
}

/**
 * Whether something that a test says yes to is in a value.
 *
 * @param {any} value
 * @param {{ key?: (key: string) => boolean, text?: (text: string) => boolean, number?: (n: number) => boolean,
 *   view?: (view: ArrayBufferView) => boolean, date?: (date: Date) => boolean, wrapper?: () => boolean }} tests
 * @returns {boolean}
 */
function contains(value, tests) {
  if (typeof value === "string") return tests.text?.(value) ?? false;
  if (typeof value === "number") return tests.number?.(value) ?? false;
  if (value === null || typeof value !== "object") return false;
  if (ArrayBuffer.isView(value)) return tests.view?.(value) ?? false;
  if (value instanceof String || value instanceof Boolean) return tests.wrapper?.() ?? false;
  if (value instanceof Date) return tests.date?.(value) ?? false;
  return Object.keys(value).some(
    (key) => tests.key?.(key) || (!Array.isArray(value) && tests.text?.(key)) || contains(value[key], tests),
  );
}

module.exports = { Random, canonical, contains };
