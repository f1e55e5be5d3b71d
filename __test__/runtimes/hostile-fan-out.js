// @ts-check
"use strict";

/** Calls of the class `FanOut` with what it does not want: a part of hostile-calls.js. */

const assert = require("node:assert");
const { once } = require("node:events");
const fs = require("node:fs");
const net = require("node:net");
const binding = require("../../binding");

/**
 * @param {object} calls
 * @param {(name: string, call: () => any) => any} calls.attempt
 * @param {(name: string, call: () => any, words?: RegExp) => void} calls.refused
 * @param {number} calls.MOST the largest u32
 */
async function callFanOut({ attempt, refused, MOST }) {
  for (const odd of [null, {}, 1, "x"])
    refused("new FanOut", () => new binding.FanOut(/** @type {any} */ (odd), 1, 1));
  for (const bound of [NaN, -1, 0, 1e300, Infinity])
    attempt("new FanOut", () => new binding.FanOut(() => {}, bound, bound).stats());
  const fanOut = new binding.FanOut(() => {}, 100, 10);
  const file = fs.openSync(__filename, "r");
  const closed = fs.openSync(__filename, "r");
  fs.closeSync(closed);
  for (const fd of [-1, -(2 ** 31), 0, 1, 2, 2 ** 31 - 1, 2 ** 31, MOST, NaN, file, closed])
    assert.strictEqual(attempt(`adopt ${fd}`, () => fanOut.adopt(fd)).value, -1);
  fs.closeSync(file);

  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = net.connect(/** @type {any} */ (server.address()));
  const [[peer]] = await Promise.all([once(server, "connection"), once(client, "connect")]);
  // Not every runtime tells; then there is no slot.
  const fd = peer._handle?.fd ?? -1;
  const slot = fanOut.adopt(fd);
  assert.ok(slot === (process.platform === "linux" && fd > 2 ? 0 : -1), `slot ${slot} of ${fd}`);

  const array = (/** @type {number[]} */ ...numbers) => Int32Array.from(numbers);
  const numbers = [-1, 0, 0, 1, 65_536, 2 ** 31 - 1, -(2 ** 31)];
  const slots = array(...numbers);
  const flags = new Int32Array(1);
  const room = () => new Int32Array(numbers.length + 1);
  attempt("push of nothing", () => assert.strictEqual(fanOut.push(slots, 7, flags, room(), 0, false), 0));
  fanOut.load(Buffer.from("frames"));
  for (const [count, at] of [
    [8, 0],
    [MOST, 0],
    [-1, 0],
    [7, 2],
    [7, 9],
    [7, MOST],
    [7, -1],
  ])
    // prettier-ignore
    refused(`push ${count} ${at}`, () => fanOut.push(slots, count, flags, room(), at, false), /number|room/);
  refused("except", () => fanOut.except(slots, 8), /only 7/);
  assert.strictEqual(flags[0], 0);
  const out = room();
  const lent = slot === 0;
  assert.strictEqual(fanOut.push(slots, 7, flags, out, 1, false), lent ? 6 : 8);
  const others = lent ? numbers.filter((number) => number !== 0) : numbers;
  assert.deepStrictEqual([...out.subarray(1, 1 + others.length)], others);
  assert.strictEqual(flags[0], lent ? 65_536 : 0);
  for (const number of [...numbers, MOST, NaN]) {
    for (const own of [null, Buffer.alloc(0), Buffer.from(new SharedArrayBuffer(4))])
      attempt(`settle ${number}`, () => fanOut.settle(number === 0 ? 7 : number, own));
    attempt(`errorOf ${number}`, () => assert.strictEqual(fanOut.errorOf(number), 0));
  }
  if (lent) {
    const [bytes] = await once(client, "data");
    assert.match(bytes.toString(), /^f/);
  }

  const shared = new SharedArrayBuffer(64);
  const gone = new Int32Array(4);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  const same = array(0, 0, 0);
  const arrays = [
    same,
    gone,
    new Int32Array(shared, 4, 3),
    new Int32Array(new ArrayBuffer(16), 4),
    new Int32Array(0),
  ];
  for (const one of arrays) {
    for (const two of arrays) {
      for (const three of arrays) {
        for (const count of [0, 1, 3]) {
          fanOut.load(Buffer.from("x"));
          attempt("push", () => fanOut.push(one, count, two, three, 0, count === 1));
        }
      }
    }
    attempt("except", () => fanOut.except(one, one.length));
    attempt("takeReports", () => fanOut.takeReports(one));
  }
  fanOut.load(Buffer.alloc(101));
  flags[0] = 0;
  assert.strictEqual(fanOut.push(array(0), 1, flags, room(), 0, false), 1, "more than may wait");

  for (const number of [...numbers, MOST]) {
    if (number === 0) continue;
    attempt(`hangUp ${number}`, () => fanOut.hangUp(number));
    attempt(`release ${number}`, () => fanOut.release(number));
  }
  assert.strictEqual(fanOut.stats().lent, lent ? 1 : 0);
  for (let round = 0; round < 2; round++) {
    fanOut.hangUp(0);
    fanOut.release(0);
    fanOut.release(0);
    assert.strictEqual(fanOut.stats().lent, 0);
    assert.strictEqual(fanOut.adopt(fd), slot);
  }
  fanOut.drain();
  fanOut.drain();
  assert.strictEqual(fanOut.stats().isDead, false);
  client.destroy();
  peer.destroy();
  server.close();
}

module.exports = { callFanOut };
