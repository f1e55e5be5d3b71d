// @ts-check
"use strict";

/**
 * Values that both packages of msgpack encode rightly, made from a seed.
 */

const assert = require("node:assert");

/**
 * @param {Buffer} actual
 * @param {Buffer} expected
 * @param {string} message
 */
function same(actual, expected, message) {
  // Not deepStrictEqual first: its report on two large buffers takes minutes.
  if (actual.equals(expected)) return;
  assert.strictEqual(
    actual.subarray(0, 500).toString("hex"),
    expected.subarray(0, 500).toString("hex"),
    message,
  );
  assert.fail(`${message}: ${actual.length} bytes, not ${expected.length}, or a difference after 500`);
}

/**
 * Returns a generator of numbers in [0, 1).
 *
 * @param {number} seed
 */
function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Arrays in arrays. @param {number} depth @returns {any} */
function nested(depth) {
  return depth === 1 ? [] : [nested(depth - 1)];
}

/**
 * Returns a value that the reference encodes rightly.
 *
 * @param {() => number} random
 * @param {number} depth
 * @returns {unknown}
 */
function generate(random, depth) {
  const below = (/** @type {number} */ n) => Math.floor(random() * n);
  const text = () => {
    const alphabet = ["a", "Z", "0", " ", "é", "ß", "€", "漢", "😀", "\0", '"'];
    const ascii = random() < 0.6;
    return Array.from(
      { length: below(random() < 0.1 ? 400 : 40) },
      () => alphabet[below(ascii ? 4 : 11)],
    ).join("");
  };
  switch (below(depth > 0 ? 13 : 10)) {
    case 0:
      return [null, undefined, true, false][below(4)];
    case 1:
      return below(300) - 100;
    case 2:
      // Around the powers of two, where the forms change.
      return (random() < 0.5 ? -1 : 1) * Math.min(2 ** below(63) + below(3) - 1, 2 ** 62);
    case 3:
      return (random() - 0.5) * 10 ** (below(40) - 20);
    case 4:
      return [NaN, Infinity, -Infinity, -0, Number.MIN_VALUE, 0.1, Number.MAX_SAFE_INTEGER][below(7)];
    case 5:
    case 6:
      return text();
    case 7:
      return Buffer.from(Array.from({ length: below(random() < 0.1 ? 600 : 20) }, () => below(256)));
    case 8:
      return new Date(Math.floor((random() - 0.3) * 10 ** below(16)));
    case 9: {
      const json = text();
      return { toJSON: () => json };
    }
    case 10:
      return Array.from({ length: below(random() < 0.1 ? 40 : 6) }, () => generate(random, depth - 1));
    default: {
      /** @type {Record<string, unknown>} */
      const map = {};
      for (let i = below(random() < 0.1 ? 40 : 6); i > 0; i--) {
        map[text()] = random() < 0.1 ? () => {} : generate(random, depth - 1);
      }
      return map;
    }
  }
}

module.exports = { generate, mulberry32, nested, same };
