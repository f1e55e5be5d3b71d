// @ts-check
"use strict";

/**
 * A program for any runtime: calls of the addon that are more than a wrong value. Its argument says which; without one it
 * does all. Each call is named before it is made, so that one that ends the process is known.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const binding = require("../../binding");
const { callFanOut } = require("./hostile-fan-out");
const {
  NOWHERE,
  assertAlive,
  callables,
  classes,
  functions,
  linkOptions,
  memberOptions,
  start,
} = require("./addon");

/** The length that an array may say it has. */
const MOST = 2 ** 32 - 1;

/** @param {string} name @param {() => any} call @returns {{ value?: any, error?: any }} */
function attempt(name, call) {
  fs.writeSync(1, `${name}\n`);
  try {
    return { value: call() };
  } catch (error) {
    assert.ok(error instanceof Error, `${name}: ${String(error)}`);
    assert.doesNotMatch(error.message, /panick/, name);
    assert.notStrictEqual(error.message, "", name);
    return { error };
  }
}

/** @param {string} name @param {() => any} call @param {RegExp} [words] of the error */
function refused(name, call, words) {
  const { error } = attempt(name, call);
  assert.ok(error instanceof Error, `${name}: nothing was refused`);
  if (words) assert.match(error.message, words, name);
  return error;
}

/** Options with all that there may be in them, and what makes something of them. */
function constructions() {
  const tls = { ca: ["x"], cert: "x", key: "x", serverName: "x", verify: true };
  const node = () => ({ host: "127.0.0.1", port: 1 });
  const login = { username: "user", password: "password" };
  const common = { ...login, database: 1, name: "name", allowedHosts: ["*.example"], credentials: false };
  const settings = [
    { ...common, url: "redis://127.0.0.1:1" },
    { ...common, ...node() },
    { ...common, path: "/nowhere" },
    { ...common, ...node(), tls },
    { ...common, sentinel: { ...login, name: "master", nodes: [node()], tls } },
    { ...common, cluster: { nodes: [node()], natMap: [{ from: "a:1", ...node() }] } },
  ];
  const stream = { name: "s", count: 2, maxLen: 100, readCount: 10, block: 10, recovers: true };
  const member = { ...memberOptions(), mode: "dynamic", stream, emitter: "own" };
  const { link } = start();
  /** @type {[string, any, (options: any) => any][]} */
  const all = [
    ["new Routing", member, (options) => new binding.Routing(options, "classic")],
    ["new Link", { ...linkOptions(), proof: "proof" }, (options) => new binding.Link(options, () => {})],
  ];
  for (const each of settings) {
    all.push(
      ["new Link", { ...linkOptions(), settings: each }, (options) => new binding.Link(options, () => {})],
      ["useOwn", each, (options) => link.useOwn(options, "secret")],
    );
  }
  return all;
}

/** Every path in an object. @param {any} object @param {string[]} [above] @returns {Generator<string[]>} */
function* paths(object, above = []) {
  for (const key of Object.keys(object)) {
    yield [...above, key];
    if (object[key] !== null && typeof object[key] === "object") yield* paths(object[key], [...above, key]);
  }
}

/** A copy of an object that is different at one place. @param {any} object @param {string[]} path @param {PropertyDescriptor} there */
function changed(object, [key, ...below], there) {
  const copy = Array.isArray(object) ? [...object] : { ...object };
  const descriptor = { enumerable: true, configurable: true };
  if (below.length === 0) Object.defineProperty(copy, key, { ...descriptor, ...there });
  else copy[key] = changed(object[key], below, there);
  return copy;
}

/** @type {Record<string, () => void | Promise<void>>} */
const GROUPS = {
  "getters that throw": () => {
    for (const [name, options, make] of constructions()) {
      for (const path of paths(options)) {
        const thrown = new RangeError("a getter's own");
        const get = () => {
          throw thrown;
        };
        const error = refused(`${name} ${path.join(".")}`, () => make(changed(options, path, { get })));
        assert.strictEqual(error, thrown);
        const traps = new Proxy({}, { get, has: get, getOwnPropertyDescriptor: get, ownKeys: get });
        attempt(`${name} ${path.join(".")}, a proxy`, () => make(changed(options, path, { value: traps })));
      }
      const whole = new Proxy(options, {
        get: () => {
          throw new RangeError("a trap's own");
        },
      });
      refused(`${name} as a proxy`, () => make(whole), /a trap's own/);
    }
  },

  "fields of a wrong type": () => {
    const odd = [
      Symbol("s"),
      () => {},
      {},
      [[]],
      1n,
      -1,
      70_000,
      NaN,
      1e300,
      "x",
      true,
      "\ud800",
      Object.create(null),
    ];
    for (const [name, options, make] of constructions()) {
      for (const path of paths(options)) {
        const there = path.reduce((value, key) => value[key], options);
        for (const [index, value] of odd.entries()) {
          const where = `${name} ${path.join(".")}, value ${index}`;
          const { error } = attempt(where, () => make(changed(options, path, { value })));
          if (typeof there !== "object" && typeof there !== typeof value)
            assert.match(error?.message ?? "nothing was refused", mentions(path), where);
        }
      }
    }
  },

  "getters that call the addon": async () => {
    for (const [name, options, make] of constructions()) {
      for (const path of paths(options)) {
        const there = path.reduce((value, key) => value[key], options);
        const { link, routing } = start();
        const get = () => {
          link.join(routing.id);
          link.useOwn({ ...NOWHERE }, "secret");
          binding.setRoom(link.id, 1, "room", true, true);
          new binding.Link(linkOptions(), () => {}).close();
          new binding.Routing(memberOptions(), "sharded");
          return there;
        };
        attempt(`${name} ${path.join(".")}`, () => make(changed(options, path, { get })));
        link.close();
      }
    }
    const { link, routing } = start();
    const own = {
      ...NOWHERE,
      get database() {
        assert.strictEqual(link.join(routing.id), 2);
        return 0;
      },
    };
    link.useOwn(own, "secret");
    assert.strictEqual(link.join(routing.id), 3);
    await assertAlive(link);
  },

  arrays: async () => {
    const { link, routing } = start();
    const { broadcastBinary } = callables();
    const binary = Buffer.from('451-["x",{"_placeholder":true,"num":0}]');
    /** @type {[string, any, (list: any) => any][]} */
    const takers = [
      ["cover", "room", (list) => routing.cover(list)],
      ["clientCounted", 1, (list) => link.clientCounted(1, list, null)],
      [
        "broadcastBinary",
        Buffer.from("b"),
        (list) => broadcastBinary(link.id, 1, binary, list, null, null, true),
      ],
      ["encodeBroadcast", Buffer.from("b"), (list) => routing.encodeBroadcast(binary, list, null, null)],
    ];
    for (const [name, options, make] of constructions()) {
      for (const path of paths(options)) {
        const there = path.reduce((value, key) => value[key], options);
        if (!Array.isArray(there)) continue;
        const take = (/** @type {any} */ value) => make(changed(options, path, { value }));
        takers.push([`${name} ${path.join(".")}`, there[0], take]);
      }
    }
    for (const [name, item, take] of takers) {
      const { error } = attempt(`${name}, as it should be`, () => take([item]));
      assert.doesNotMatch(error?.message ?? "", /array|item|element/i);
      const holes = [item];
      holes.length = MOST;
      refused(`${name}, holes`, () => take(holes));
      /** @type {any[]} */
      const empty = [];
      empty.length = MOST;
      refused(`${name}, nothing but holes`, () => take(empty));
      const thrown = new RangeError("an element's own");
      const throwing = Object.defineProperty([item, item], 1, {
        get: () => {
          throw thrown;
        },
      });
      assert.strictEqual(
        refused(`${name}, an element that throws`, () => take(throwing)),
        thrown,
      );
      const shrinking = [item, item, item];
      const get = () => {
        shrinking.length = 0;
        return item;
      };
      Object.defineProperty(shrinking, 0, { configurable: true, get });
      refused(`${name}, one that shrinks`, () => take(shrinking));
      refused(`${name}, another one inside`, () => take([[item]]));
      refused(`${name}, what only looks like one`, () => take({ length: 1, 0: item }));
      attempt(`${name}, a proxy`, () => take(new Proxy([item], {})));
    }
    await assertAlive(link);
  },

  receivers: async () => {
    const { link, routing } = start();
    const [[, ofLink], [, ofRouting], [answer, ofAnswer]] = classes(link, routing);
    for (const [object, other, methods] of [
      [link, routing, ofLink],
      [routing, link, ofRouting],
      [answer, link, ofAnswer],
    ]) {
      const { prototype } = object.constructor;
      const like = Object.create(object);
      for (const [name, right] of Object.entries(methods)) {
        for (const receiver of [other, like, new Proxy(object, {}), {}, undefined, null, 1, prototype])
          refused(`${name} of something else`, () => prototype[name].call(receiver, ...right));
      }
      const id = Object.getOwnPropertyDescriptor(prototype, "id");
      for (const receiver of id === undefined ? [] : [other, like, {}])
        refused("id of something else", () => id?.get?.call(receiver));
    }
    const { Link } = /** @type {any} */ (binding);
    attempt("Link, not made", () => Link(linkOptions(), () => {}));
    refused("Link, made once more", () => Link.call(link, linkOptions(), () => {}));
    class Sub extends Link {}
    assert.strictEqual(Reflect.construct(Sub, [linkOptions(), () => {}]).isFlushed(), true);
    const made = Reflect.construct(Link, [linkOptions(), () => {}], Map);
    refused("a method of Map", () => made.get(1));
    assert.strictEqual(Link.prototype.isFlushed.call(made), true);
    await assertAlive(link);
  },

  "closed links": async () => {
    const { link, routing } = start();
    link.close();
    await untilEnded(link);
    for (const [name, right] of Object.entries(classes(link, routing)[0][1]))
      attempt(`${name} of a closed link`, () => link[name](...right));
    for (const milliseconds of [NaN, -1, 0, 1e300, Infinity])
      assert.strictEqual(link.waitFlushed(milliseconds), true);
    const callable = callables();
    for (const [name, right] of Object.entries(functions(link.id)))
      attempt(`${name} of a closed link`, () => callable[name](...right));
    for (const number of [link.id + 1, 2 ** 31, MOST, -1]) {
      for (const [name, right] of Object.entries(functions(number))) {
        if (right[0] === number)
          refused(`${name} of no link`, () => callable[name](...right), /the link is gone/);
      }
    }
    const { link: next } = start();
    for (const number of [MOST, -1, 2 ** 31])
      refused("a routing that is not there", () => next.join(number), /no such routing/);
    next.join(routing.id, MOST);
    next.join(routing.id);
    next.leave(MOST);
    await assertAlive(next);
  },

  handshakes: async () => {
    const { link, routing } = start();
    const answer = () => /** @type {any} */ (new binding.SocketsAnswer(routing.id, null, true, 1));
    const number = binding.keepHandshake(Buffer.from('{"n":1}'));
    const description = Buffer.from('{"id":"a","handshake":0}');
    for (const numbers of [[], [number], [number, number], [0], [number, 0]]) {
      const made = answer();
      assert.strictEqual(made.add(description, Uint32Array.from(numbers)), true);
      const handshake = numbers[0] === number ? '{"n":1}' : "0";
      const sockets = `[{"id":"a","handshake":${handshake}}]`;
      assert.strictEqual(made.bytes().toString(), `{"requestId":null,"sockets":${sockets}}`);
    }
    for (const text of ["", "{", '{"id":"a","handshake":0', '{"id":"', "[[[[", '"'])
      attempt(`add ${text}`, () => {
        const made = answer();
        made.add(Buffer.from(text), Uint32Array.of(number, number));
        made.bytes();
      });
    binding.forgetHandshake(number);
    for (const gone of [number, MOST, 2 ** 31])
      assert.strictEqual(answer().add(description, Uint32Array.of(gone)), false);
    for (const odd of [0, number, MOST]) attempt("forgetHandshake", () => binding.forgetHandshake(odd));
    for (const odd of [MOST, 2 ** 31])
      refused("an answer of no routing", () => new binding.SocketsAnswer(odd, null, true, 1));
    const sent = answer();
    assert.strictEqual(sent.send(link.id, 7, "a"), false);
    assert.strictEqual(sent.bytes().length, 0);
    refused("send by no link", () => answer().send(MOST, 1, null), /the link is gone/);
    const right = answer();
    right.add(description, Uint32Array.of(0));
    assert.strictEqual(right.send(link.id, 1, null), true);
    assert.strictEqual(right.send(link.id, 1, null), false);
    await assertAlive(link);
  },

  memory: async () => {
    const { link } = start();
    link.request(1, "id", 1, Buffer.from("{}"), 1, false);
    const one = () => new ArrayBuffer(4096);
    /** @param {ArrayBuffer} memory */
    const detached = (memory) => {
      structuredClone(memory, { transfer: [memory] });
      return memory;
    };
    const [gone, goneTable] = [Buffer.from(one()), new Uint32Array(one(), 8)];
    detached(gone.buffer);
    detached(goneTable.buffer);
    const shared = new SharedArrayBuffer(4096);
    const same = one();
    const slabs = [Buffer.alloc(0), Buffer.from(one(), 1, 7), gone, Buffer.from(shared), Buffer.from(same)];
    const tables = [
      new Uint32Array(0),
      new Uint32Array(1),
      new Uint32Array(12),
      goneTable,
      new Uint32Array(shared, 4, 13),
      new Uint32Array(same, 4, 13),
    ];
    for (const slab of slabs) {
      for (const table of tables) {
        for (const from of [0, 1, slab.length, slab.length + 1, MOST, -1, NaN])
          attempt("fetch", () => binding.fetch(link.id, slab, from, table));
      }
    }
    const views = [
      gone,
      goneTable,
      new Uint8Array(shared),
      new DataView(one()),
      new Uint16Array(one(), 2, 3),
    ];
    for (const view of views) {
      for (const name of ["append", "persist", "publish", "restore", "clientMessage", "clientReturned"]) {
        const right = classes(link, start().routing)[0][1][name];
        for (let place = 0; place < right.length; place++) {
          if (!Buffer.isBuffer(right[place])) continue;
          const args = right.map((value, index) => (index === place ? view : value));
          attempt(name, () => link[name](...args));
        }
      }
      attempt("fastBroadcast", () =>
        binding.fastBroadcast()(link.id, 1, /** @type {any} */ (view), null, null, true),
      );
      attempt("mayMislead", () => binding.mayMislead(/** @type {any} */ (view), 1));
    }
    await assertAlive(link);
  },

  "fan-out": () => callFanOut({ attempt, refused, MOST }),

  "a wake that throws": async () => {
    const thrown = new RangeError("the wake's own");
    const caught = new Promise((resolve) => process.once("uncaughtException", resolve));
    const link = new binding.Link(linkOptions(), () => {
      throw thrown;
    });
    // A link alone keeps no process alive.
    const alive = setTimeout(() => {}, 20_000);
    assert.strictEqual(await caught, thrown);
    clearTimeout(alive);
    link.close();
    await untilEnded(link);
  },
};

/** What an error about a field says: its name, or that of what it stands in. @param {string[]} path */
function mentions(path) {
  const names = path.filter((key) => !/^\d+$/.test(key));
  return new RegExp(names[names.length - 1], "i");
}

/** @param {any} link */
async function untilEnded(link) {
  const end = Date.now() + 20_000;
  // Its outbox takes nothing any more: what comes too late is dropped.
  for (let dropped = 0; dropped === 0; dropped = link.stats().dropped) {
    assert.ok(Date.now() < end, "the link does not end");
    link.publish("channel", Buffer.from("late"));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function main() {
  const [only] = process.argv.slice(2);
  for (const [name, run] of Object.entries(GROUPS)) {
    if (only === undefined || only === name) await run();
  }
  console.log("done");
  // What was published has nowhere to go, and would be waited for.
  process.exit(0);
}

module.exports = { GROUPS };

if (require.main === module) main();
