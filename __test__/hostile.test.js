// @ts-check
"use strict";

/**
 * Whatever is published on our channels: nothing of it can throw into the process, and the next good message is
 * delivered (D1, D2, D33).
 */

const assert = require("node:assert");
const { fork } = require("node:child_process");
const path = require("node:path");
const { Redis } = require("ioredis");
const msgpack = require("notepack.io");
const reference = require("@socket.io/redis-adapter");
const { CATEGORIES, json, randomBytes, validResponses, wrongShapes } = require("./fixtures/hostile");
const { Node, countSubscribers, withTimeout } = require("./fixtures/nodes");
const { expectExceptions, expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const REQUESTS = "socket.io-request#/#";
const RESPONSES = "socket.io-response#/#";

/** What a resident set may have grown by after 100,000 hostile messages, in MiB: it does not grow per message. */
const GROWTH = 48;

/** A parser of the user's that does not bear what it cannot read. */
const throwing = {
  encode: (/** @type {any} */ value) => Buffer.from(`#${JSON.stringify(value)}`),
  decode(/** @type {Buffer} */ bytes) {
    if (bytes[0] !== 0x23) throw new Error("this parser throws");
    return JSON.parse(bytes.toString("utf8", 1));
  },
};

/** Packets that are no events: a client takes them for a violation of the protocol, and closes its connection. */
const NO_EVENTS = [
  { data: ["hello", 1], nsp: "/" },
  { type: 0, data: ["hello", 1], nsp: "/" },
  { type: 7, data: ["hello", 1], nsp: "/" },
  { type: 2, nsp: "/" },
  { type: 2, data: [], nsp: "/" },
  { type: 2, data: [null, 1], nsp: "/" },
  { type: 2, data: [{}, 1], nsp: "/" },
  { type: 2, data: "hello", nsp: "/" },
  { type: 2, data: { k: 1 }, nsp: "/" },
];

/** @param {string} event @param {any} value @param {string[]} rooms */
function broadcastOf(event, value, rooms) {
  return ["other1", { type: 2, data: [event, value], nsp: "/" }, { rooms, except: [], flags: {} }];
}

const SET_UPS = [
  { name: "native", kind: "node-redis", transport: "native" },
  { name: "node-redis as transport", kind: "node-redis", transport: "client" },
  { name: "ioredis as transport", kind: "ioredis", transport: "client" },
  { name: "native, with a parser that throws", kind: "node-redis", transport: "native", parser: throwing },
];

describe("hostile messages", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** Publishes without waiting; what it publishes arrives in order. @type {Redis} */
  let raw;
  /** A peer that says nothing: it listens where a node would. @type {Redis} */
  let peer;

  before(async () => {
    redis = await startRedis();
    raw = new Redis(redis.port);
    peer = new Redis(redis.port);
  });

  after(async () => {
    await Promise.all([raw.quit(), peer.quit()]);
    await redis.stop();
  });

  /** @param {string} channel @param {Iterable<Buffer>} messages */
  async function publishAll(channel, messages) {
    const published = [];
    for (const message of messages) published.push(raw.publish(channel, message));
    await Promise.all(published);
    return published.length;
  }

  for (const { name, kind, transport, parser } of SET_UPS) {
    describe(name, () => {
      /** @type {Node} */
      let node;
      /** @type {any} */
      let socket;
      let number = 0;
      const encode = parser ? parser.encode : msgpack.encode;

      before(async () => {
        node = new Node({
          kind: /** @type {any} */ (kind),
          redis: { port: redis.port },
          options: { transport, parser, requestsTimeout: 10_000 },
        });
        await node.ready();
      });

      // A hostile message may well say that all sockets are to be disconnected.
      async function connect() {
        socket?.disconnect();
        socket = await node.connect();
        for (const one of node.io.of("/").sockets.values()) one.join("room");
      }

      after(async () => {
        await peer.unsubscribe();
        await node.close();
      });

      /** @param {string[]} rooms */
      async function goodBroadcast(rooms) {
        // It comes behind what was published before, so that this is over.
        await goodRequest();
        await connect();
        const received = once(socket, "good");
        const channel = rooms.length === 1 ? `socket.io#/#${rooms[0]}#` : "socket.io#/#";
        await raw.publish(channel, encode(broadcastOf("good", ++number, rooms)));
        assert.deepStrictEqual(await received, [number]);
      }

      async function goodRequest() {
        const received = once(/** @type {any} */ (node.io), "good");
        await raw.publish(REQUESTS, json({ uid: "other1", type: 6, data: ["good", ++number] }));
        assert.deepStrictEqual(await received, [number]);
      }

      /** Resolves with the id of the next request to fetch sockets. @returns {Promise<string>} */
      function askedId() {
        return new Promise((resolve) => {
          const listener = (/** @type {string} */ channel, /** @type {string} */ text) => {
            if (channel !== REQUESTS || !/"type":5/.test(text)) return;
            const request = JSON.parse(text);
            if (request.uid !== node.adapter.uid) return;
            peer.off("message", listener);
            resolve(request.requestId);
          };
          peer.on("message", listener);
        });
      }

      /** @param {string} channel */
      async function goodResponse(channel) {
        await peer.subscribe(REQUESTS, RESPONSES);
        const asked = askedId();
        const sockets = node.io.fetchSockets();
        sockets.catch(() => {});
        const requestId = await asked;
        await raw.publish(channel, json(validResponses(requestId).sockets));
        assert.ok((await sockets).some(({ id }) => id === "a"));
        await peer.unsubscribe();
      }

      const channels = () => [
        { of: "broadcasts", channel: "socket.io#/#", good: () => goodBroadcast([]) },
        { of: "a room", channel: "socket.io#/#room#", good: () => goodBroadcast(["room"]) },
        { of: "requests", channel: REQUESTS, good: goodRequest },
        { of: "responses", channel: RESPONSES, good: () => goodResponse(RESPONSES) },
        {
          of: "its own responses",
          channel: `${RESPONSES}${node.adapter.uid}#`,
          good: () => goodResponse(`${RESPONSES}${node.adapter.uid}#`),
        },
      ];

      for (const category of CATEGORIES) {
        it(`takes ${category.name} on every channel`, async () => {
          const exceptions = expectExceptions();
          const rejections = expectRejections();
          for (const { of, channel, good } of channels()) {
            await good();
            const before = node.adapter.stats();
            const count = await publishAll(channel, category.messages(encode));
            await good();
            const what = `${count} on the channel of ${of}`;
            // The counters may be a step behind the messages.
            const counted = () => since(before, node.adapter.stats());
            await waitFor(() => counted().received >= count, { what: `${what} to be counted` });
            const { received, delivered, ignored, own, malformed } = counted();
            assert.strictEqual(
              delivered + ignored + own + malformed,
              received,
              `${what}: some were not counted`,
            );
            // What only the user's parser can judge has to be handed to it.
            if (category.broken && !parser) {
              assert.ok(malformed + ignored >= count, `${what}: malformed ${malformed}, ignored ${ignored}`);
            }
            assert.deepStrictEqual(exceptions.splice(0).filter(isOfServer), [], what);
            assert.deepStrictEqual(rejections.splice(0), [], what);
          }
        });
      }

      it("drops broadcasts that no client can read", async () => {
        const exceptions = expectExceptions();
        await goodBroadcast([]);
        /** @type {string[]} */
        const cut = [];
        const opts = { rooms: [], except: [], flags: {} };
        for (const packet of NO_EVENTS) {
          const next = new Promise((resolve) => {
            socket.once("good", () => resolve(""));
            socket.once("disconnect", resolve);
          });
          await raw.publish("socket.io#/#", encode(["other1", packet, opts]));
          await raw.publish("socket.io#/#", encode(broadcastOf("good", 0, [])));
          const result = await next;
          socket.removeAllListeners();
          const error = result + exceptions.splice(0);
          if (error !== "") cut.push(`${JSON.stringify(packet)}: ${error}`);
          if (!socket.connected) await connect();
        }
        assert.deepStrictEqual(cut, []);
      });

      it("completes a request with the good answers alone (D33)", async () => {
        await peer.subscribe(REQUESTS, RESPONSES);
        const asked = askedId();
        const sockets = node.io.fetchSockets();
        sockets.catch(() => {});
        const requestId = await asked;
        const { sockets: good } = validResponses(requestId);
        for (const response of wrongShapes(good)) {
          // As it is, this would be the answer of a node: the id is right, and what it says are sockets.
          if (response?.requestId === requestId && Array.isArray(response.sockets)) continue;
          raw.publish(RESPONSES, json(response)).catch(() => {});
          raw.publish(RESPONSES, encode(response)).catch(() => {});
        }
        for (const response of Object.values(validResponses(requestId))) {
          if (response.sockets) response.requestId = "unknown";
          raw.publish(RESPONSES, json(response)).catch(() => {});
        }
        raw.publish(RESPONSES, json(good)).catch(() => {});
        raw.publish(RESPONSES, json(good)).catch(() => {});
        const ids = (await withTimeout(sockets, 5000, "the request")).map(({ id }) => id);
        assert.strictEqual(ids.filter((id) => id === "a").length, 1);
        assert.strictEqual(ids.length, node.io.of("/").sockets.size + 1);
        assert.strictEqual(node.adapter.requests.size, 0);
        await peer.unsubscribe();
        await goodRequest();
      });

      it("does not count an answer whose sockets are none (D33)", async () => {
        await peer.subscribe(REQUESTS, RESPONSES);
        const asked = askedId();
        const sockets = node.io.fetchSockets();
        sockets.catch(() => {});
        const requestId = await asked;
        for (const wrong of [[null], [1], ["text"]]) {
          await raw.publish(RESPONSES, json({ requestId, sockets: wrong }));
        }
        await raw.publish(RESPONSES, json(validResponses(requestId).sockets));
        const ids = (await withTimeout(sockets, 5000, "the request")).map(({ id }) => id);
        assert.ok(ids.includes("a"), `the sockets are ${ids}`);
        await peer.unsubscribe();
      });
    });
  }

  describe("100,000 in a row", () => {
    for (const { name, kind, transport, parser } of SET_UPS) {
      it(`${name}: leave nothing behind`, async function () {
        this.timeout(60_000);
        const child = fork(
          path.join(__dirname, "support", "child-hostile.js"),
          [JSON.stringify({ port: redis.port, kind, transport, parser: parser && "throwing" })],
          { execArgv: ["--expose-gc"] },
        );
        const encode = parser ? parser.encode : msgpack.encode;
        const [{ uid }] = await once(child, "message", 10_000);
        const look = async () => {
          const answer = once(child, "message", 30_000);
          child.send("look");
          return (await answer)[0];
        };
        const channels = ["socket.io#/#", "socket.io#/#room#", REQUESTS, RESPONSES, `${RESPONSES}${uid}#`];
        const small = CATEGORIES.flatMap(({ messages }) => [...messages(encode)]).filter(
          ({ length }) => length < 1000,
        );
        // Those that would disconnect the client on whom we rely.
        const messages = [...small.filter(isHarmless), ...randomBytes(5000, 2, 500)];
        const until = (/** @type {(state: any) => boolean} */ is, /** @type {string} */ what) =>
          waitFor(
            async () => {
              const state = await look();
              return is(state) ? state : null;
            },
            { timeout: 20_000, what },
          );
        const storm = async (/** @type {number} */ count) => {
          for (let sent = 0; sent < count;) {
            const batch = [];
            for (let i = 0; i < 2000; i++, sent++) {
              batch.push(raw.publish(channels[sent % channels.length], messages[sent % messages.length]));
            }
            await Promise.all(batch);
          }
          await raw.publish(REQUESTS, json({ uid: "other1", type: 6, data: ["good", count] }));
          await until(({ good }) => good.includes(`server ${count}`), "the good request to be heard");
          // Some of it may have cut the client off: it comes back.
          await until(({ connected }) => connected, "the client to be back");
          await raw.publish("socket.io#/#", encode(broadcastOf("good", count, [])));
          return until(({ good }) => good.includes(count), "the good message to be delivered");
        };
        const before = await storm(20_000);
        const after = await storm(100_000);
        assert.deepStrictEqual(after.errors, []);
        const growth = Math.round((after.rss - before.rss) / 2 ** 20);
        assert.ok(growth < GROWTH, `it has grown by ${growth} MiB`);
        assert.ok(after.stats.received - before.stats.received >= 100_000);
        child.send("end");
        await once(child, "exit");
      });
    }
  });
});

/** Whether an exception is not the client's, which runs in this process too. @param {any} error */
function isOfServer(error) {
  return !/socket\.io-client|component-emitter/.test(error?.stack);
}

/** @param {Record<string, number>} before @param {Record<string, number>} after @returns {Record<string, number>} */
function since(before, after) {
  return Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - before[name]]));
}

/** Whether it cannot be a request to disconnect everyone. @param {Buffer} bytes */
function isHarmless(bytes) {
  const text = bytes.toString("latin1");
  return !text.includes('"type":4') && !text.includes("\xa4type\x04");
}
