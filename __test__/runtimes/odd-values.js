// @ts-check
"use strict";

/**
 * A program for any runtime: every function of the addon, with every kind of value in every place. Each call returns or
 * throws; none ends the process. The link still takes messages afterwards.
 */

const assert = require("node:assert");
const binding = require("../../binding");

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

/** What each function takes when all is well. @param {number} link @returns {Record<string, any[]>} */
function functions(link) {
  const text = Buffer.from('42["x",1]');
  const binary = Buffer.from('451-["x",{"_placeholder":true,"num":0}]');
  const attachments = [Buffer.from("b")];
  return {
    fastBroadcast: [link, 1, text, "room", null, true],
    fastSend: [link, 1, 0, "room", "text"],
    broadcastBinary: [link, 1, binary, attachments, "room", null, true],
    fetch: [link, Buffer.alloc(64), 0, new Uint32Array(13)],
    mayMislead: [text, 0],
    setOccupied: [link, 1, true],
    prefixIn: ["prefix#/#", "/"],
    setRoom: [link, 1, "room", true, true],
    settled: [link, 1, 1],
    streamOf: ["stream", 2, "/"],
    urlProblem: ["redis://127.0.0.1"],
  };
}

/** The same of a link's methods. @type {Record<string, any[]>} */
const METHODS = {
  append: [1, 3, Buffer.from("data")],
  clientCarries: [1],
  clientCounted: [1, [1, 2]],
  clientDown: ["gone"],
  clientMessage: [0, null, Buffer.from("channel"), Buffer.from("payload")],
  clientPublished: [1],
  clientPublishFailed: ["why"],
  clientReplied: [1, Buffer.from("+OK\r\n"), null],
  clientSubscribed: [0, Buffer.from("channel")],
  clientSubscribeFailed: ["why"],
  credentials: [1, "user", "password", null],
  isFlushed: [],
  join: [0, null],
  leave: [2],
  open: [true],
  persist: [1, Buffer.from("key"), Buffer.from("session"), 1000],
  publish: ["channel", Buffer.from("bytes")],
  request: [1, "id", 0, Buffer.from("{}"), 10],
  restore: [1, 1, Buffer.from("key"), Buffer.from("0-0")],
  serverCount: [1, 1],
  serverCountWithout: [0, 1],
  stats: [],
  watchFlushed: [],
  whenAnswered: [1],
  whenSubscribed: [1, 1],
};

/** The same of the channels of a member. @type {Record<string, any[]>} */
const ROUTING = {
  aclRules: [],
  channel: [0, "room"],
  cover: [["room"]],
  encodeBroadcast: [Buffer.from('42["x",1]'), [], "room", null],
  names: [],
  roomChannel: ["room"],
  socketsResponse: ["id", true, 1, [Buffer.from("{}")]],
};

let calls = 0;
let refusals = 0;

/** @param {(...args: any[]) => any} call @param {any[]} right */
function tryAll(call, right) {
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

/** @param {any} settings @returns {any} options of a link */
function linkOptions(settings) {
  return { family: "classic", maxBacklog: 1e6, maxInbox: 1e6, verbose: true, settings };
}

/** @returns {any} */
function member() {
  const flags = { customParser: false, specificResponses: false, frames: true };
  return { uid: "a", nsp: "/", prefix: "odd", ...flags };
}

function main() {
  const nowhere = { host: "127.0.0.1", port: 1 };
  const link = new binding.Link(linkOptions(nowhere), () => {});
  const routing = new binding.Routing(member(), "classic");
  link.join(routing.id);
  const taken = functions(link.id);
  const made = { fastBroadcast: binding.fastBroadcast(), fastSend: binding.fastSend() };
  for (const [name, right] of Object.entries(taken)) {
    tryAll({ .../** @type {any} */ (binding), ...made }[name], right);
  }
  for (const [object, methods] of /** @type {[any, Record<string, any[]>][]} */ ([
    [link, METHODS],
    [routing, ROUTING],
  ])) {
    const { prototype } = object.constructor;
    const known = Object.getOwnPropertyNames(prototype);
    for (const [name, right] of Object.entries(methods)) {
      assert.ok(known.includes(name), name);
      tryAll((...args) => object[name](...args), right);
      for (const odd of [...values(), Object.create(prototype)])
        attempt(() => prototype[name].call(odd, ...right));
    }
  }
  attempt(() => /** @type {any} */ (binding.Link)(linkOptions(nowhere), () => {}));
  const settings = { ...nowhere, tls: { ca: [], verify: true }, cluster: null, sentinel: null };
  for (const [name, value] of Object.entries({
    ...linkOptions(null),
    ...settings,
    ...member(),
    stream: {},
  })) {
    for (const odd of values()) {
      attempt(() => new binding.Link({ ...linkOptions(nowhere), [name]: odd }, () => {}).close());
      attempt(() => new binding.Link(linkOptions({ ...nowhere, [name]: odd }), () => {}).close());
      attempt(() => new binding.Routing({ ...member(), [name]: odd }, "classic"));
      attempt(() => new binding.Routing(member(), /** @type {any} */ (odd)));
    }
    assert.notStrictEqual(value, undefined);
  }
  tryAll(
    (...args) => new /** @type {any} */ (binding.Link)(...args).close(),
    [linkOptions(nowhere), () => {}],
  );
  assert.strictEqual(made.fastBroadcast(link.id, 1, Buffer.from('42["x",1]'), "room", null, true), 0);
  link.close();
  assert.ok(refusals > 0 && refusals < calls);
  console.log(`${calls} calls, ${refusals} refused`);
  // What was published has nowhere to go, and would be waited for.
  process.exit(0);
}

main();
