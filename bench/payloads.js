// @ts-check
"use strict";

/** What the messages carry. */

/** How many different messages a burst goes round in: enough that no cache holds just one. */
const VARIANTS = 64;

// By code points: half a surrogate pair is no text.
const WORDS = [..."grüße aus der küche, 你好世界, как дела, žluťoučký kůň, 🎉 ".repeat(8)];

/** @type {Record<string, (i: number) => any>} */
const MAKERS = {
  /** About 130 B of JSON. */
  small: (i) => ({
    id: 100000 + i,
    user: `user-${i}`,
    text: "hello there, how are you today?",
    at: 1700000000000 + i,
    read: false,
    tags: ["a", "b"],
  }),
  /** About 900 B of JSON, not ASCII. */
  medium: (i) => ({
    id: `m-${i}`,
    author: { name: "Zoë Müller", age: 30 + i, score: 0.5 + i / 7 },
    text: WORDS.slice(i, i + 360).join(""),
    history: Array.from({ length: 5 }, (_, n) => ({ n, at: 1700000000000 + n, text: "déjà vu" })),
  }),
  /** About 16 kB of JSON. */
  large: (i) => ({
    id: `l-${i}`,
    rows: Array.from({ length: 110 }, (_, n) => ({
      n: n * 1000 + i,
      name: `row number ${n}`,
      price: n * 1.37,
      active: n % 2 === 0,
      note: "the quick brown fox jumps over the lazy dog",
      tags: ["red", "green", n % 3 ? null : "blue"],
    })),
  }),
  /** A little JSON with 1 kB of binary inside. */
  binary: (i) => ({ id: i, name: "sensor", data: Buffer.alloc(1024, i) }),
};

/**
 * Returns `VARIANTS` different payloads of one kind.
 *
 * @param {string} kind
 * @returns {any[]}
 */
function payloads(kind) {
  return Array.from({ length: VARIANTS }, (_, i) => MAKERS[kind](i));
}

module.exports = { payloads };
