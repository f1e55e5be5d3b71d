// @ts-check
"use strict";

/**
 * Handshakes of other servers' sockets: they are read when somebody looks, and printed when they have changed. Nobody can tell.
 */

const assert = require("node:assert");
const { inspect } = require("node:util");
const { Redis } = require("ioredis");
const { DESCRIPTIONS } = require("../lib/messages/answers");
const { readHandshakesLater } = require("../lib/messages/handshakes");
const { PrintedSockets } = require("../lib/messages/printed-sockets");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring-node").Adapter} Adapter */

const ADAPTERS = /** @type {const} */ (["classic", "sharded", "streams"]);

const HANDSHAKE = { headers: { host: "h" }, auth: { token: "t", list: [1, { two: 2 }] }, é: "ü" };

/** A description as another server's answer brings it, and the same as a plain object. */
function pair() {
  const text = Buffer.from(JSON.stringify(HANDSHAKE));
  const ends = Buffer.alloc(4);
  ends.writeUInt32LE(text.length);
  const [unread] = readHandshakesLater(text, ends, (bytes, start, end) =>
    JSON.parse(bytes.toString("utf8", start, end)),
  );
  const lazy = DESCRIPTIONS.ofParts("an id", unread, ["a room"], { a: 1 });
  const plain = { id: "an id", handshake: structuredClone(HANDSHAKE), rooms: ["a room"], data: { a: 1 } };
  return { lazy, plain };
}

describe("a handshake that nobody has looked at", () => {
  /** @type {Record<string, (description: any) => any>} */
  const LOOKS = {
    "JSON.stringify": (description) => JSON.stringify(description),
    spread: (description) => ({ ...description }),
    "Object.assign": (description) => Object.assign({}, description),
    "Object.entries": (description) => Object.entries(description),
    "Reflect.ownKeys, but for symbols": (description) =>
      Reflect.ownKeys(description).filter((key) => typeof key === "string"),
    structuredClone: (description) => structuredClone(description),
    in: (description) => ["handshake" in description, Object.hasOwn(description, "handshake")],
    "for in": (description) => {
      const keys = [];
      for (const key in description) keys.push(key);
      return keys;
    },
    "util.inspect": (description) => inspect(description, { depth: 9 }),
    "util.inspect of what holds it": (description) => inspect([{ description }], { depth: 9 }),
    destructuring: ({ handshake, ...rest }) => [handshake, rest],
    assignment: (description) => {
      description.handshake = { own: true };
      return [description.handshake, { ...description }];
    },
    "a change of what is in it": (description) => {
      description.handshake.auth.token = "another";
      return [description.handshake.auth.token, JSON.stringify(description)];
    },
    "the descriptor, once it was looked at": (description) => {
      void description.handshake;
      return Object.getOwnPropertyDescriptor(description, "handshake");
    },
    deletion: (description) => [delete description.handshake, description.handshake, { ...description }],
    "an heir": (description) => {
      const heir = Object.create(description);
      const read = heir.handshake;
      heir.handshake = 1;
      return [read, heir.handshake, description.handshake, Object.keys(heir)];
    },
    "a clone by descriptors": (description) => {
      const clone = Object.defineProperties({}, Object.getOwnPropertyDescriptors(description));
      return [clone.handshake, clone.handshake === clone.handshake, { ...clone }];
    },
    "a proxy": (description) => {
      const proxy = new Proxy(description, {});
      return [proxy.handshake, { ...proxy }, (proxy.handshake = 1), description.handshake];
    },
    "a sealed object": (description) => {
      Object.seal(description);
      const before = description.handshake;
      description.handshake = 1;
      return [before, description.handshake, Object.keys(description)];
    },
    "a frozen object": (description) => {
      Object.freeze(description);
      let refusal = null;
      try {
        description.handshake = 1;
      } catch (error) {
        refusal = /** @type {Error} */ (error).name;
      }
      return [description.handshake, description.handshake === description.handshake, refusal];
    },
  };
  for (const [name, look] of Object.entries(LOOKS)) {
    it(`is as one that was read: ${name}`, () => {
      const { lazy, plain } = pair();
      assert.deepStrictEqual(look(lazy), look(plain));
    });
  }

  it("is the same object every time", () => {
    const { lazy } = pair();
    assert.strictEqual(lazy.handshake, lazy.handshake);
  });

  it("is deeply equal to one that was read, both ways", () => {
    const { lazy, plain } = pair();
    assert.deepStrictEqual(lazy, plain);
    const again = pair();
    assert.deepStrictEqual(again.plain, again.lazy);
  });
});

describe("handshakes that were printed", () => {
  const print = (/** @type {object} */ handshake) => Buffer.from(JSON.stringify(handshake));

  it("are printed again when something in them is different", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    /** @type {any} */
    const socket = { id: "a", handshake: { ...structuredClone(HANDSHAKE), sessionStore: {} } };
    /** @type {(() => void)[]} */
    const changes = [
      () => (socket.handshake.auth.token = "u"),
      () => (socket.handshake.auth.list[1].two = "2"),
      () => socket.handshake.auth.list.push(3),
      () => (socket.handshake.auth.list = { 0: 1, 1: { two: "2" }, 2: 3 }),
      () => (socket.handshake.auth.more = undefined),
      () => (socket.handshake.auth.more = null),
      () => (socket.handshake.auth.more = {}),
      () => (socket.handshake.auth.more = []),
      () => delete socket.handshake.auth.more,
      () => (socket.handshake.query = {}),
      () => (socket.handshake = { ...socket.handshake, url: "/" }),
      () => (socket.handshake.headers = Object.fromEntries([["host", "g"]])),
    ];
    assert.notStrictEqual(printed.numberOf(socket), 0);
    for (const [n, change] of changes.entries()) {
      change();
      assert.notStrictEqual(printed.numberOf(socket), 0);
      assert.strictEqual(prints, n + 2, String(change));
      const number = printed.numberOf(socket);
      socket.handshake.sessionStore.now = n;
      socket.handshake.headers = { ...socket.handshake.headers };
      assert.strictEqual(printed.numberOf(socket), number, "nothing is different");
      assert.strictEqual(prints, n + 2);
    }
    printed.forget("a");
    assert.notStrictEqual(printed.numberOf(socket), 0);
    assert.strictEqual(prints, changes.length + 2);
    printed.clear();
  });

  it("are printed each time if what is printed may be different though they are not", () => {
    const printed = new PrintedSockets(print, () => true);
    const cyclic = /** @type {any} */ ({});
    cyclic.self = cyclic;
    const odd = [
      { at: new Date() },
      { toJSON: () => "now" },
      { auth: { toJSON: () => "now" } },
      { call() {} },
      { bytes: Buffer.from("b") },
      { bytes: new ArrayBuffer(1) },
      { text: new String("s") },
      { big: 1n },
      { list: [1, , 3] },
      { list: Object.assign([1], { more: 2 }) },
      { map: new Map() },
      Object.create({ inherited: 1 }),
      { many: Array.from({ length: 500 }, (_, n) => n) },
      { a: { b: { c: { d: { e: {} } } } } },
      cyclic,
      null,
      "text",
      undefined,
    ];
    for (const handshake of odd)
      assert.strictEqual(printed.numberOf({ id: "a", handshake }), 0, inspect(handshake));
    // Nor if they become so.
    const auth = /** @type {any} */ ({});
    const socket = { id: "b", handshake: { auth } };
    for (const value of [{}, new Date(), {}, new ArrayBuffer(1), {}, new String(""), {}, Buffer.alloc(0)]) {
      auth.value = value;
      const isPlain = Object.getPrototypeOf(value) === Object.prototype;
      assert.strictEqual(printed.numberOf(socket) !== 0, isPlain, inspect(value));
    }
    printed.clear();
  });

  it("are printed each time while a getter throws", () => {
    const printed = new PrintedSockets(print, () => true);
    let throws = false;
    const auth = {
      get token() {
        if (throws) throw new Error("a getter of the user's");
        return 1;
      },
    };
    const socket = { id: "a", handshake: { auth } };
    assert.notStrictEqual(printed.numberOf(socket), 0);
    throws = true;
    assert.strictEqual(printed.numberOf(socket), 0);
    throws = false;
    assert.notStrictEqual(printed.numberOf(socket), 0);
    printed.clear();
  });

  it("are printed again when a number is another one, and only then", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    const socket = { id: "a", handshake: { n: /** @type {any} */ (0) } };
    for (const value of [NaN, -0, 0, 1n, "0", true, null, undefined, "", Symbol("s")]) {
      socket.handshake.n = value;
      const before = prints;
      const isKept = typeof value !== "bigint";
      assert.strictEqual(printed.numberOf(socket) !== 0, isKept, inspect(value));
      assert.strictEqual(prints, before + Number(isKept), inspect(value));
      printed.numberOf(socket);
      assert.strictEqual(prints, before + Number(isKept), inspect(value));
    }
    printed.clear();
  });

  it("are printed again when an object has fewer keys, or ends where another one did", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    const shapes = [
      { a: { b: 1, c: 2 }, d: 3 },
      { a: { b: 1 }, c: 2, d: 3 },
      { a: { b: 1 }, c: 2 },
      { a: {}, b: 1, c: 2 },
      { a: [], b: 1, c: 2 },
      { a: undefined, b: 1, c: 2 },
      {},
      [],
    ];
    for (const [n, handshake] of shapes.entries()) {
      printed.numberOf({ id: "a", handshake });
      printed.numberOf({ id: "a", handshake: structuredClone(handshake) });
      assert.strictEqual(prints, n + 1, inspect(handshake));
    }
    printed.clear();
  });

  it("are not kept for a socket that leaves while its own is read", () => {
    const here = new Set(["a"]);
    const printed = new PrintedSockets(print, (id) => here.has(id));
    const auth = {
      get token() {
        here.delete("a");
        printed.forget("a");
        return 1;
      },
    };
    assert.strictEqual(printed.numberOf({ id: "a", handshake: { auth } }), 0);
  });

  it("are not kept for a socket that has left", () => {
    const here = new Set(["a"]);
    const printed = new PrintedSockets(print, (id) => here.has(id));
    const socket = { id: "a", handshake: { auth: {} } };
    assert.notStrictEqual(printed.numberOf(socket), 0);
    here.delete("a");
    printed.forget("a");
    assert.strictEqual(printed.numberOf(socket), 0);
  });
});

describe("what is told of sockets beside their handshakes", () => {
  /** Counts how often it prints. */
  class Prints {
    count = 0;
    printed = new PrintedSockets(
      (handshake) => Buffer.from(JSON.stringify(handshake)),
      () => true,
    );

    /** @param {any} socket */
    of(socket) {
      assert.notStrictEqual(this.printed.numberOf(socket), 0);
      const { rooms, data } = socket;
      const print = () => (this.count++, JSON.stringify({ rooms: [...rooms], data }));
      const text = this.printed.textOf(socket, print);
      assert.strictEqual(text, JSON.stringify({ rooms: [...rooms], data }));
      return this.count;
    }
  }

  /** @returns {any} */
  const aSocket = () => ({
    ...{ id: "a", handshake: structuredClone(HANDSHAKE), rooms: new Set(["a", "b"]) },
    data: { user: { name: "A", tags: [1, "2"] } },
  });

  it("is printed again when something is different, and only then", () => {
    const prints = new Prints();
    const socket = aSocket();
    /** @type {((socket: any) => void)[]} */
    const changes = [
      ({ rooms }) => rooms.add("c"),
      ({ rooms }) => rooms.delete("a"),
      ({ rooms }) => rooms.add("a"),
      (socket) => (socket.rooms = new Set(["b", "c"])),
      (socket) => (socket.rooms = new Set()),
      ({ data }) => data.user.tags.push(null),
      ({ data }) => (data.user.name = "B"),
      ({ data }) => (data.sessionStore = 1),
      ({ data }) => delete data.user,
      (socket) => (socket.data = {}),
      (socket) => (socket.data = []),
    ];
    assert.strictEqual(prints.of(socket), 1);
    for (const [n, change] of changes.entries()) {
      change(socket);
      assert.strictEqual(prints.of(socket), n + 2, String(change));
      socket.rooms = new Set(socket.rooms);
      socket.data = structuredClone(socket.data);
      assert.strictEqual(prints.of(socket), n + 2, "nothing is different");
    }
    // Nor may it have become what is printed otherwise.
    socket.data = { tags: [1] };
    prints.of(socket);
    socket.data.tags.length = 3;
    prints.of(socket);
    socket.data = { user: {} };
    const count = prints.of(socket);
    Object.setPrototypeOf(socket.data.user, { toJSON: () => 1 });
    prints.of(socket);
    socket.data = {};
    assert.strictEqual(prints.of(socket), count + 2);
    // The text of a handshake that is another one stands elsewhere.
    socket.handshake.auth.token = "u";
    const before = prints.count;
    assert.strictEqual(prints.of(socket), before + 1);
    prints.printed.clear();
  });

  it("is printed each time if what is printed may be different though it is not", () => {
    /** @type {((socket: any) => void)[]} */
    const odd = [
      (socket) => (socket.data = new (class Data {})()),
      (socket) => (socket.data = { at: new Date(0) }),
      (socket) => (socket.data = { toJSON: () => 1 }),
      (socket) => (socket.data = null),
      (socket) => (socket.data = "text"),
      (socket) => (socket.data = { bytes: Buffer.from("b") }),
      ({ rooms }) => rooms.add(1),
      ({ rooms }) => rooms.add({}),
    ];
    for (const change of odd) {
      const prints = new Prints();
      const socket = aSocket();
      change(socket);
      prints.of(socket);
      assert.strictEqual(prints.of(socket), 2, String(change));
      prints.printed.clear();
    }
  });

  it("throws what a getter throws, and is printed when it does no more", () => {
    const prints = new Prints();
    const socket = aSocket();
    prints.of(socket);
    const { data } = socket;
    Object.defineProperty(socket, "data", {
      configurable: true,
      get() {
        throw new Error("a getter of the user's");
      },
    });
    assert.throws(() => prints.printed.textOf(socket, () => ""), /a getter/);
    Object.defineProperty(socket, "data", { value: data });
    assert.strictEqual(prints.of(socket), 1);
    prints.printed.clear();
  });
});

/** So many arrays, one in the other. @param {number} levels */
function nested(levels) {
  return JSON.parse("[".repeat(levels) + "]".repeat(levels));
}

describe("handshakes of the sockets of other servers", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of ADAPTERS) {
    it(`come as they are now: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours", "reference"], sockets: 2 });
      try {
        const [answering, ...asking] = ring.nodes;
        const sockets = answering.peers.map(({ socket }) => /** @type {any} */ (socket));
        const [{ handshake }, other] = sockets;
        /** @type {(() => void)[]} */
        const changes = [
          () => {},
          () => (handshake.auth.user = { name: "A", roles: ["é"] }),
          () => handshake.auth.user.roles.push("b"),
          () => delete handshake.headers.host,
          () => (handshake.query.q = 1),
          () => (other.handshake.auth = { when: new Date(0) }),
          () => (other.handshake.auth.when = new Date(1)),
          () => (other.data = { bytes: Buffer.from([1, 2]) }),
          () => (other.handshake.auth = { bytes: Buffer.from([3]) }),
          () => (other.data = {}),
          () => (other.handshake.auth = {}),
          () => (sockets[0].handshake = { ...handshake, issued: 7 }),
        ];
        for (const change of changes) {
          change();
          for (const { io } of asking) {
            const found = await io.fetchSockets();
            for (const { id, handshake, rooms, data } of sockets) {
              const remote = /** @type {any} */ (found.find((socket) => socket.id === id));
              assert.deepStrictEqual(asText(remote.handshake), asText(handshake), String(change));
              assert.deepStrictEqual(asText(remote.data), asText(data), String(change));
              assert.deepStrictEqual([...remote.rooms], [...rooms]);
            }
          }
        }
      } finally {
        await ring.close();
      }
    });

    it(`are left out if they cannot be told, and nothing else is: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours"], sockets: 3 });
      try {
        const [answering, asking] = ring.nodes;
        const [odd, ...others] = answering.peers.map(({ socket }) => /** @type {any} */ (socket));
        const { handshake } = odd;
        const circular = /** @type {any} */ ({});
        circular.self = circular;
        const thrower = Object.defineProperty({ ...handshake }, "auth", {
          enumerable: true,
          get() {
            throw new Error("a getter of the user's");
          },
        });
        /** What cannot be told, as the handshake and as the data. @type {[string, any][]} */
        const untold = [
          ["a getter that throws", thrower],
          ["a circle", { auth: circular }],
          // Bytes make a sharded answer msgpack.
          ["a nesting of 1,030, with bytes", { bytes: Buffer.from("b"), auth: nested(1029) }],
        ];
        for (const levels of [1021, 1024, 1030, 3000, 20_000])
          untold.push([`a nesting of ${levels}`, { auth: nested(levels - 1) }]);
        const told = [handshake, { auth: nested(1019) }, { bytes: Buffer.from("b"), auth: nested(1000) }];
        const check = async (/** @type {string} */ what, /** @type {object} */ expected) => {
          const found = /** @type {any[]} */ (await asking.io.fetchSockets());
          assert.strictEqual(found.length, 6, what);
          const remote = found.find(({ id }) => id === odd.id);
          assert.deepStrictEqual(asText({ ...pick(remote), rooms: [] }), asText(expected), what);
          for (const { id, handshake } of others) {
            const other = found.find((socket) => socket.id === id);
            assert.deepStrictEqual(asText(other.handshake), asText(handshake), what);
          }
        };
        for (const [what, value] of untold) {
          odd.handshake = value;
          odd.data = { mine: 1 };
          await check(`${what} as the handshake`, { id: odd.id, rooms: [], data: { mine: 1 } });
          odd.handshake = handshake;
          odd.data = value;
          await check(`${what} as the data`, { id: odd.id, handshake, rooms: [] });
        }
        for (const value of told) {
          odd.handshake = value;
          odd.data = value;
          await check("what can be told", { id: odd.id, handshake: value, rooms: [], data: value });
        }
      } finally {
        await ring.close();
      }
    });

    it(`are those of a RemoteSocket as Socket.IO makes it, and of a description: ${adapter}`, async () => {
      const ring = await startRing({ redis, adapter, nodes: ["ours", "ours", "reference"], sockets: 1 });
      try {
        const [ours, other, reference] = ring.nodes;
        const [{ socket }] = other.peers;
        const of = (/** @type {any[]} */ sockets) => sockets.find(({ id }) => id === socket.id);
        const mine = of(await ours.io.fetchSockets());
        const theirs = of(await reference.io.fetchSockets());
        assert.strictEqual(Object.getPrototypeOf(mine), Object.getPrototypeOf(theirs));
        assert.deepStrictEqual(Object.keys(mine), Object.keys(theirs));
        mine.operator.adapter = theirs.operator.adapter = null;
        assert.deepStrictEqual(mine, theirs);
        const opts = { rooms: new Set(), except: new Set(), flags: {} };
        const description = of(await ours.adapter("/").fetchSockets(opts));
        assert.deepStrictEqual(description, of(await reference.adapter("/").fetchSockets(opts)));
        assert.strictEqual(Object.getPrototypeOf(description), Object.prototype);
        const first = await ours
          .adapter("/")
          .fetchSockets(opts)
          .then((/** @type {any[]} */ sockets) => of(sockets));
        assert.deepStrictEqual(first, description);
      } finally {
        await ring.close();
      }
    });
  }

  it("are left as they came where an answer is odd", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: 0 });
    const [ours] = ring.nodes;
    const peer = new Redis(redis.url);
    const raw = new Redis(redis.url);
    const usual = { id: "u", handshake: { auth: { n: 1 } }, rooms: ["r"], data: { d: 1 } };
    const list = [
      usual,
      { id: "no data", handshake: {}, rooms: [] },
      { ...usual, server: true, more: 1 },
      { data: 1, rooms: ["x"], handshake: { a: 1 }, id: "turned" },
      { id: "no list", handshake: {}, rooms: {}, data: null },
      { id: "text", handshake: "text", rooms: ["é"], data: [] },
      { id: "proto", handshake: JSON.parse('{"__proto__":{"x":1}}'), rooms: [], data: "é" },
      usual,
    ];
    try {
      await peer.subscribe(ring.requestChannel(), ring.responseChannel());
      peer.on("message", (channel, text) => {
        if (channel !== ring.requestChannel()) return;
        const { requestId } = JSON.parse(text);
        void raw.publish(ring.responseChannel(), JSON.stringify({ requestId, sockets: list }));
      });
      await waitFor(async () => (await ours.adapter("/").serverCount()) === 2, { what: "the peer to count" });
      const opts = { rooms: new Set(), except: new Set(), flags: {} };
      const found = await ours.adapter("/").fetchSockets(opts);
      assert.deepStrictEqual(found, JSON.parse(JSON.stringify(list)));
    } finally {
      await Promise.all([peer.quit(), raw.quit()]);
      await ring.close();
    }
  });
});

/** What was told of a socket. @param {any} remote */
function pick({ id, handshake, rooms, data }) {
  return { id, handshake, rooms, data };
}

/** What is left of a value on its way, whatever the encoding. @param {any} value */
function asText(value) {
  return JSON.parse(JSON.stringify(value));
}
