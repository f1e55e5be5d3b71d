// @ts-check
"use strict";

/**
 * Handshakes of other servers' sockets: they are read when somebody looks, and come as they are now. Nobody can tell.
 */

const assert = require("node:assert");
const { inspect } = require("node:util");
const { Redis } = require("ioredis");
const { DESCRIPTIONS } = require("../lib/messages/answers");
const { readHandshakesLater } = require("../lib/messages/handshakes");
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
