// @ts-check
"use strict";

/**
 * A program for any runtime: every function of the addon, with every kind of value in every place. Each call returns or
 * throws; none ends the process. The links still work afterwards: nothing has made their thread panic.
 */

const assert = require("node:assert");
const binding = require("../../binding");
const {
  NOWHERE,
  assertAlive,
  assertComplete,
  callables,
  classes,
  functions,
  linkOptions,
  memberOptions,
  start,
} = require("./addon");

/** @type {any} */
const resizable = ArrayBuffer;
const shared = new SharedArrayBuffer(8);

/** The values, made anew for each call: some are detached by one. @returns {any[]} */
function values() {
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const shrunk = new resizable(8, { maxByteLength: 16 });
  const tail = new Uint8Array(shrunk, 4);
  shrunk.resize?.(2);
  const primitives = [undefined, null, true, 0, 1, -1, 0.5, NaN, 2 ** 32, 2 ** 53, 10n, "", "text", "\ud800"];
  const views = [new Uint8Array(3), new Float64Array(2), new DataView(new ArrayBuffer(4)), detached, tail];
  return [
    ...primitives,
    ...[Symbol("s"), () => {}, {}, [], [null], [1, "a", Buffer.from("b")], new Date(0), new Map(), /r/],
    ...[
      Buffer.alloc(0),
      Buffer.from("bytes"),
      Buffer.from(shared),
      new Uint8Array(shared),
      new Uint32Array(13),
    ],
    ...[new ArrayBuffer(4), shared, shrunk, detached.buffer, new Proxy(Buffer.from("b"), {})],
    ...views,
    "x".repeat(300),
    "é".repeat(300) + "\udc00",
  ];
}

/** One waits for as long as it is told to, the other ends what is still to be called. */
const UNTRIED = ["waitFlushed", "close"];

let calls = 0;
let refusals = 0;

/** @param {(...args: any[]) => any} call @param {any[]} right */
function tryAll(call, right) {
  call(...right);
  for (let place = 0; place < right.length; place++) {
    for (let index = 0; index < values().length; index++) {
      const args = [...right];
      args[place] = values()[index];
      attempt(() => call(...args));
    }
  }
  for (let count = 0; count < right.length; count++) attempt(() => call(...right.slice(0, count)));
}

/** @param {() => any} call */
function attempt(call) {
  calls++;
  try {
    call();
  } catch (error) {
    refusals++;
    assert.ok(error instanceof Error, String(error));
    assert.doesNotMatch(error.message, /panick/, error.message);
  }
}

async function main() {
  assertComplete();
  const callable = callables();
  const { link, routing } = start();
  const { link: carried } = start(null);
  for (const [name, right] of Object.entries(functions(link.id))) tryAll(callable[name], right);
  for (const [object, methods] of [...classes(link, routing), ...classes(carried, routing).slice(0, 1)]) {
    const { prototype } = object.constructor;
    for (const [name, right] of Object.entries(methods)) {
      if (!UNTRIED.includes(name)) tryAll((...args) => object[name](...args), right);
      for (const odd of [...values(), Object.create(prototype)])
        attempt(() => prototype[name].call(odd, ...right));
    }
  }
  attempt(() => /** @type {any} */ (binding.Link)(linkOptions(), () => {}));
  const settings = { ...NOWHERE, tls: { ca: [], verify: true }, cluster: null, sentinel: null };
  const fields = { ...linkOptions(), ...settings, ...memberOptions(), stream: {} };
  for (const name of Object.keys(fields)) {
    for (const odd of values()) {
      attempt(() => new binding.Link({ ...linkOptions(), [name]: odd }, () => {}).close());
      attempt(() => new binding.Link(linkOptions({ ...NOWHERE, [name]: odd }), () => {}).close());
      attempt(() => new binding.Routing({ ...memberOptions(), [name]: odd }, "classic"));
      attempt(() => new binding.Routing(memberOptions(), /** @type {any} */ (odd)));
    }
  }
  tryAll((...args) => new /** @type {any} */ (binding.Link)(...args).close(), [linkOptions(), () => {}]);
  assert.strictEqual(callable.fastBroadcast(link.id, 1, Buffer.from('42["x",1]'), "room", null, true), 0);
  for (const each of [link, carried]) {
    each.join(routing.id, 1);
    each.open(true);
    await assertAlive(each);
    each.close();
  }
  assert.ok(refusals > 0 && refusals < calls);
  console.log(`${calls} calls, ${refusals} refused`);
  // What was published has nowhere to go, and would be waited for.
  process.exit(0);
}

main();
