// @ts-check
"use strict";

/**
 * Any value that Socket.IO takes arrives as the local clients get it, whoever sends it and whoever receives it.
 * Values are made from a seed, which is printed when a test fails: run with SEED=… to have them again.
 */

const assert = require("node:assert");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { Random, canonical, contains } = require("./support/values");

/** @typedef {import("./support/ring").Ring} Ring */

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
/** How many events each node sends, and how many at a time. */
const EVENTS = Number(process.env.EVENTS ?? 160);
const BATCH = 20;

/**
 * What the reference gets wrong as a receiver: its clients then need not have what ours have.
 *
 * @type {{ what: string, is: (args: any[]) => boolean }[]}
 */
const FAULTS_OF_THE_RECEIVER = [
  {
    what: "notepack.io's decoder assigns to `__proto__`, and the member is gone",
    is: (args) => contains(args, { key: (key) => key === "__proto__" }),
  },
];

/**
 * What the reference gets wrong as a sender: all remote clients then have the same, but not what was sent.
 *
 * @type {{ what: string, is: (args: any[]) => boolean }[]}
 */
const FAULTS_OF_THE_SENDER = [
  {
    what: "a lone surrogate swallows the character behind it",
    is: (args) => contains(args, { text: (text) => !isWellFormed(text) }),
  },
  {
    what: "integers of 2^64 and more are wrapped, as are those below -2^63",
    is: (args) => contains(args, { number: (n) => Number.isInteger(n) && (n >= 2 ** 63 || n < -(2 ** 63)) }),
  },
  {
    what: "views are truncated",
    is: (args) => contains(args, { view: (view) => !(view instanceof Uint8Array) }),
  },
  {
    what: "a String or Boolean object arrives as a map",
    is: (args) => contains(args, { wrapper: () => true }),
  },
  {
    what: "an invalid date arrives as another one",
    is: (args) => contains(args, { date: (date) => Number.isNaN(date.getTime()) }),
  },
];

describe(`values (SEED=${SEED})`, () => {
  for (const transport of /** @type {const} */ (["native", "client"])) {
    describe(transport, () => {
      /** @type {Awaited<ReturnType<typeof startRedis>>} */
      let redis;
      /** @type {Ring} */
      let ring;

      before(async () => {
        redis = await startRedis();
        ring = await startRing({ redis, nodes: ["ours", "reference", "ours"], sockets: 1, transport });
      });

      after(async () => {
        await ring?.close();
        await redis.stop();
      });

      for (const index of [0, 1, 2]) {
        const kind = ["ours", "reference", "ours"][index];
        it(`arrive everywhere, from node ${index} (${kind})`, async () => {
          const random = new Random(SEED + index);
          const sender = ring.nodes[index];
          for (let sent = 0; sent < EVENTS; sent += BATCH) {
            const batch = Array.from({ length: BATCH }, () => random.args());
            const got = await ring.collect(sender, () => {
              for (const [n, args] of batch.entries()) sender.io.emit("value", sent + n, ...args);
            });
            const logs = got.map(([log]) => log);
            for (const [n, args] of batch.entries()) {
              const received = logs.map((log) => log.find(([, number]) => number === sent + n)?.slice(2));
              check(ring, index, args, received, sent + n);
            }
          }
        });
      }
    });
  }
});

/**
 * Asserts that what came of some arguments is right.
 *
 * @param {Ring} ring
 * @param {number} from index of the sender
 * @param {any[]} args
 * @param {any[]} received by each node's client
 * @param {number} n
 */
function check(ring, from, args, received, n) {
  const sender = ring.nodes[from];
  const say = (/** @type {string} */ what) => `SEED=${SEED}, value ${n} of ${sender.name}: ${what}`;
  // notepack writes broken UTF-8 for long keys with a lone surrogate; what is no text is dropped, and counted.
  if (sender.kind === "reference" && FAULTS_OF_THE_SENDER[0].is(args)) {
    if (ring.ours.every((node) => !received[node.index])) return;
  }
  for (const [index, value] of received.entries()) assert.ok(value, say(`node ${index} received nothing`));
  const local = canonical(received[from]);
  for (const node of ring.nodes) {
    if (node === sender) continue;
    const remote = canonical(received[node.index]);
    if (sender.kind === "ours") {
      if (node.kind === "reference" && FAULTS_OF_THE_RECEIVER.some((fault) => fault.is(args))) continue;
      assertSame(remote, local, say(`${node.name} has another value`));
    } else if (!FAULTS_OF_THE_SENDER.some((fault) => fault.is(args))) {
      assertSame(remote, local, say(`${node.name} has another value`));
    }
  }
  if (sender.kind === "reference") {
    // The same garbage on both.
    const [a, b] = ring.ours.map((node) => canonical(received[node.index]));
    assertSame(a, b, say("our nodes differ"));
  }
}

/** @param {string} got @param {string} wanted @param {string} what */
function assertSame(got, wanted, what) {
  if (got === wanted) return;
  let at = 0;
  while (got[at] === wanted[at]) at++;
  const [start, end] = [Math.max(0, at - 30), at + 50];
  assert.fail(`${what} at ${at}:\n  ${got.slice(start, end)}\nwanted\n  ${wanted.slice(start, end)}`);
}

/** @param {string} text */
function isWellFormed(text) {
  return Buffer.from(text).toString() === text;
}
