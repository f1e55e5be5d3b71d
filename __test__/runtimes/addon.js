// @ts-check
"use strict";

/**
 * The addon for programs of any runtime: what each of its functions takes when all is well, and whether a link still
 * works. A function that is missing here fails the tests.
 */

const assert = require("node:assert");
const binding = require("../../binding");

/** Nobody listens there. */
const NOWHERE = Object.freeze({ host: "127.0.0.1", port: 1 });

/** Numbers per record, kinds of records, and a type of request: as in src/driver/inbox.rs, src/core/effects.rs, src/wire/request.rs. */
const STRIDE = 12;
const ANSWERS = 3;
const EVENT = 12;
const ALL_ROOMS = 1;

/** How long a link may take for a sign of life, in milliseconds. */
const PATIENCE = 20_000;

/** @param {any} [settings] `null` if clients carry the bytes @returns {any} options of a link */
function linkOptions(settings = NOWHERE) {
  const options = { family: "classic", maxBacklog: 1e6, maxInbox: 1e6, verbose: true };
  return settings === null ? options : { ...options, settings };
}

/** @returns {any} */
function memberOptions() {
  const flags = { customParser: false, specificResponses: false, frames: true };
  return { uid: "a", nsp: "/", prefix: "odd", ...flags };
}

/** What each function takes. @param {number} link @returns {Record<string, any[]>} */
function functions(link) {
  const text = Buffer.from('42["x",1]');
  const binary = Buffer.from('451-["x",{"_placeholder":true,"num":0}]');
  return {
    broadcastBinary: [link, 1, binary, [Buffer.from("b")], "room", null, true],
    clock: [],
    fastBroadcast: [link, 1, text, "room", null, true],
    fastSend: [link, 1, 0, "room", "text"],
    fetch: [link, Buffer.alloc(64), 0, new Uint32Array(13)],
    // Far from the number of any link.
    forgetHandshake: [1_000_000],
    isTakenLater: ["LOADING"],
    keepHandshake: [Buffer.from("{}")],
    nestsDeeper: [Buffer.from("{}"), 1],
    longestStep: [],
    mayMislead: [text, 0],
    prefixIn: ["prefix#/#", "/"],
    setOccupied: [link, 1, true],
    setRoom: [link, 1, "room", true, true],
    settled: [link, 1, 1],
    slotOf: ["channel"],
    streamOf: ["stream", 2, "/"],
    urlProblem: ["redis://127.0.0.1"],
  };
}

/** What the methods of a link take. @param {number} routing @returns {Record<string, any[]>} */
function linkMethods(routing) {
  const [channel, bytes] = [Buffer.from("channel"), Buffer.from("bytes")];
  return {
    append: [1, 3, bytes],
    clientCarries: [1],
    clientCounted: [1, [1, 2], null],
    clientDown: ["gone"],
    clientHeld: ["LOADING"],
    clientLost: [0, channel, "why", 0],
    clientMessage: [0, null, channel, bytes],
    clientPublished: [1],
    clientPublishFailed: ["why"],
    clientReplied: [1, Buffer.from("+OK\r\n"), null],
    clientReturned: [channel, bytes],
    clientSubscribed: [0, channel],
    clientSubscribeFailed: ["why"],
    clientUp: [],
    credentials: [1, "user", "password", null],
    drained: ["secret"],
    giveUpWaiting: [1, 1],
    isFlushed: [],
    join: [routing, null],
    leave: [2],
    open: [true],
    persist: [1, Buffer.from("key"), Buffer.from("session"), 1000],
    position: ["stream"],
    publish: ["channel", bytes],
    publishAgain: [channel, bytes],
    request: [1, "id", ALL_ROOMS, Buffer.from("{}"), 10, false],
    restore: [1, 1, Buffer.from("key"), Buffer.from("0-0")],
    serverCount: [1, 1],
    serverCountWithout: [routing, 1],
    stats: [],
    useOwn: [{ ...NOWHERE }, "secret"],
    waitFlushed: [0],
    watchFlushed: [],
    whenAnswered: [1],
    whenSubscribed: [1, 1],
    // These two last: the user's clients carry the bytes, and nothing is taken any more.
    useClient: [],
    close: [],
  };
}

/** What the methods of a routing take. @returns {Record<string, any[]>} */
function routingMethods() {
  return {
    aclRules: [],
    channel: [0, "room"],
    cover: [["room"]],
    encodeBroadcast: [Buffer.from('42["x",1]'), [], "room", null],
    names: [],
    roomChannel: ["room"],
  };
}

/** What the methods of an answer take. @param {number} link @returns {Record<string, any[]>} */
function answerMethods(link) {
  return {
    add: [Buffer.from('{"id":"a","handshake":0}'), Uint32Array.of(0)],
    bytes: [],
    // Last: nothing is left of it.
    send: [link, 1, "a"],
  };
}

/** What the methods of a fan-out take. @returns {Record<string, any[]>} */
function fanOutMethods() {
  const slots = Int32Array.of(0, 1);
  return {
    adopt: [-1],
    load: [Buffer.from("frames")],
    except: [slots, 1],
    push: [slots, 2, new Int32Array(2), new Int32Array(2), 0, false],
    settle: [0, Buffer.from("own")],
    takeReports: [new Int32Array(2)],
    errorOf: [0],
    hangUp: [0],
    needsDescriptors: [0],
    release: [0],
    stats: [],
    unload: [],
    drain: [],
  };
}

/** The functions as they are called: some are had from a function. @returns {Record<string, (...args: any[]) => any>} */
function callables() {
  const made = { fastBroadcast: binding.fastBroadcast(), fastSend: binding.fastSend() };
  return { .../** @type {any} */ (binding), ...made };
}

/** What there is of each class, and its methods. @param {any} link @param {any} routing @returns {[any, Record<string, any[]>][]} */
function classes(link, routing) {
  return [
    [link, linkMethods(routing.id)],
    [routing, routingMethods()],
    [new binding.SocketsAnswer(routing.id, "id", true, 1), answerMethods(link.id)],
    [new binding.FanOut(() => {}, 1e6, 1e6), fanOutMethods()],
  ];
}

/** Fails unless all that the addon has stands above. */
function assertComplete() {
  const isFunction = (/** @type {[string, any]} */ [, value]) => typeof value === "function";
  const names = Object.entries(binding).filter(isFunction);
  const known = [...Object.keys(functions(0)), "FanOut", "Link", "Routing", "SocketsAnswer"];
  assert.deepStrictEqual(names.map(([name]) => name).sort(), known.sort());
  for (const [made, methods, properties] of /** @type {[any, object, string[]][]} */ ([
    [binding.Link, linkMethods(0), ["id"]],
    [binding.Routing, routingMethods(), ["id"]],
    [binding.SocketsAnswer, answerMethods(0), []],
    [binding.FanOut, fanOutMethods(), []],
  ])) {
    const there = Object.getOwnPropertyNames(made.prototype);
    assert.deepStrictEqual(there.sort(), [...Object.keys(methods), ...properties, "constructor"].sort());
  }
}

/** Returns a link with a member, and the routing of that. @param {any} [settings] as above @returns {{ link: any, routing: any }} */
function start(settings) {
  const link = new binding.Link(linkOptions(settings), () => {});
  const routing = new binding.Routing(memberOptions(), "classic");
  link.join(routing.id);
  return { link, routing };
}

/**
 * Resolves when the link has worked off all that it was given; rejects if it has failed. It needs a member with the
 * number 1.
 *
 * @param {any} link
 */
async function assertAlive(link) {
  const id = `alive ${Math.random()}`;
  link.request(1, id, ALL_ROOMS, Buffer.from("{}"), 1, false);
  const end = Date.now() + PATIENCE;
  for (;;) {
    for (const { kind, first } of records(link)) {
      if (kind === EVENT) assert.notStrictEqual(JSON.parse(first).type, "failed", first);
      if (kind === ANSWERS && first === id) return;
    }
    assert.ok(Date.now() < end, "the link gives no sign of life");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What the link has for JS: kind and first part of each. @param {any} link */
function* records(link) {
  const slab = Buffer.alloc(4 << 20);
  const table = new Uint32Array(STRIDE * 64 + 1);
  for (let count; (count = binding.fetch(link.id, slab, 0, table)) > 0;) {
    for (let row = 0; row < count * STRIDE; row += STRIDE) {
      yield { kind: table[row], first: slab.toString("utf8", table[row + 4], table[row + 5]) };
    }
  }
}

module.exports = {
  NOWHERE,
  assertAlive,
  assertComplete,
  callables,
  classes,
  functions,
  linkOptions,
  memberOptions,
  start,
};
