// @ts-check
"use strict";

/**
 * What `createAdapter` of `socket.io-redis-native/streams` takes, what it refuses and in which words, and what of its
 * work is done in JS: the order in which local deliveries wait for the ids of their entries.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const {
  WaitingDeliveries,
  addOffset,
  compareOffsets,
  isRecoverable,
  withOffset,
} = require("../lib/delivery/offsets");
const { readStreamsOptions } = require("../lib/options/options");
const { frameOf } = require("../lib/delivery/frames");
const { createAdapter } = require("../streams");
const { makeClient, endClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { expectExceptions } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

describe("options of streams", () => {
  it("have the reference's defaults", () => {
    const { parser: _, ...options } = readStreamsOptions();
    assert.deepStrictEqual(options, {
      ...{ family: "streams", key: "socket.io", publishOnSpecificResponseChannel: true, customParser: false },
      ...{ streamName: "socket.io", streamCount: 1, maxLen: 10_000, readCount: 100, blockTimeInMs: 5000 },
      ...{ sessionKeyPrefix: "sio:session:", onlyPlaintext: false },
      ...{ requestsTimeout: 5000, transport: "auto", onError: null, allowedHosts: null, fanOut: false },
      ...{ maxBacklogBytes: 33_554_432, maxInboxBytes: 33_554_432 },
    });
    assert.deepStrictEqual(readStreamsOptions(null), readStreamsOptions({ streamName: undefined }));
  });

  it("are taken as they are given", () => {
    const given = {
      ...{ streamName: "s", streamCount: 4, maxLen: 1, readCount: 1, blockTimeInMs: 0 },
      ...{ sessionKeyPrefix: "", onlyPlaintext: true, requestsTimeout: 7 },
    };
    const read = readStreamsOptions({ ...given, channelPrefix: "c", useShardedPubSub: true });
    for (const [name, value] of Object.entries(given))
      assert.strictEqual(/** @type {any} */ (read)[name], value, name);
    assert.strictEqual(read.key, "c");
    assert.strictEqual(read.family, "streams-sharded");
    assert.deepStrictEqual(
      readStreamsOptions({ heartbeatInterval: 1, heartbeatTimeout: 2 }),
      readStreamsOptions(),
    );
  });

  /** @type {[object | string, RegExp][]} */
  const wrong = [
    ["socket.io", /opts must be an object, got "socket.io"/],
    [{ streamName: true }, /opts.streamName must be a string, got boolean true/],
    [{ channelPrefix: {} }, /opts.channelPrefix must be a string/],
    [{ sessionKeyPrefix: false }, /opts.sessionKeyPrefix must be a string, got boolean false/],
    [{ useShardedPubSub: "yes" }, /opts.useShardedPubSub must be true or false, got "yes"/],
    [{ onlyPlaintext: 2 }, /opts.onlyPlaintext must be true or false, got number 2/],
    [{ streamCount: 0 }, /opts.streamCount must be a whole number from 1 to 1024, got number 0/],
    [{ streamCount: 1.5 }, /opts.streamCount must be a whole number .*1\.5/],
    [{ streamCount: "4x" }, /opts.streamCount must be a whole number .*"4x"/],
    [{ streamCount: 5000 }, /opts.streamCount must be a whole number from 1 to 1024/],
    [{ maxLen: 0 }, /opts.maxLen must be a whole number of 1 or more, got number 0/],
    [{ maxLen: Infinity }, /opts.maxLen must be a whole number/],
    [{ readCount: -1 }, /opts.readCount must be a whole number of 1 or more/],
    [{ blockTimeInMs: NaN }, /opts.blockTimeInMs must be a whole number of 0 or more, got number NaN/],
    [{ heartbeatInterval: "5s" }, /opts.heartbeatInterval must be a number of milliseconds/],
    [{ heartbeatTimeout: -1 }, /opts.heartbeatTimeout must be a number of milliseconds/],
    [{ requestsTimeout: "1s" }, /opts.requestsTimeout must be a number of milliseconds/],
    [{ transport: "fast" }, /opts.transport must be "auto", "native" or "client"/],
  ];
  for (const [opts, message] of wrong) {
    it(`refuses ${JSON.stringify(opts)}${Object.values(opts).includes(Infinity) ? " (Infinity)" : ""}`, () => {
      assert.throws(() => createAdapter("redis://localhost", /** @type {any} */ (opts)), {
        name: "TypeError",
        message,
      });
    });
  }

  it("refuses what is no client", () => {
    assert.throws(() => createAdapter(undefined), {
      name: "TypeError",
      message:
        /redisClient must be a client of the redis or ioredis package, or the URL of a Redis, got undefined/,
    });
    assert.throws(() => createAdapter({}), {
      name: "TypeError",
      message: /redisClient must be .*no publish\(\)/,
    });
    assert.throws(() => createAdapter("localhost"), {
      name: "TypeError",
      message: /the URL must be redis:\/\//,
    });
  });

  it("refuses a client of redis 3, which could not carry streams, and of no known kind", () => {
    const { createClient } = /** @type {any} */ (require("redis-3"));
    const client = createClient({ port: 1, retry_strategy: () => undefined });
    client.on("error", () => {});
    assert.throws(() => createAdapter(client), {
      name: "TypeError",
      message: /redis 3 cannot carry streams/,
    });
    client.end(false);
    const mock = Object.fromEntries(
      ["publish", "on", "subscribe", "unsubscribe", "psubscribe"].map((name) => [name, () => {}]),
    );
    assert.throws(() => createAdapter(mock), {
      name: "TypeError",
      message: /no known kind cannot carry streams/,
    });
  });
});

describe("offsets", () => {
  it("are compared by number, however long", () => {
    const ascending = ["0-0", "0-1", "9-0", "10-0", "10-9", "10-10", "99-1", "18446744073709551615-2"];
    for (const [i, one] of ascending.entries())
      for (const [j, other] of ascending.entries())
        assert.strictEqual(Math.sign(compareOffsets(one, other)), Math.sign(i - j), `${one} and ${other}`);
  });

  it("go behind the last argument, in a copy", () => {
    assert.strictEqual(addOffset('2/a,["e",{"b":[1]}]', "1-0"), '2/a,["e",{"b":[1]},"1-0"]');
    const packet = { type: 2, nsp: "/", data: ["e", 1] };
    assert.deepStrictEqual(withOffset(packet, "1-0"), { type: 2, nsp: "/", data: ["e", 1, "1-0"] });
    assert.deepStrictEqual(packet.data, ["e", 1]);
  });

  it("are for events that are neither acknowledged nor volatile", () => {
    assert.strictEqual(isRecoverable({ type: 2 }, {}), true);
    assert.strictEqual(isRecoverable({ type: 2 }, { flags: { compress: false } }), true);
    assert.strictEqual(isRecoverable({ type: 2, id: 0 }, { flags: {} }), false);
    assert.strictEqual(isRecoverable({ type: 2 }, { flags: { volatile: true } }), false);
    assert.strictEqual(isRecoverable({ type: 1 }, { flags: {} }), false);
  });

  it("stand in frames that are as ws makes them", () => {
    const { Sender } = require("ws");
    for (const length of [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 100_000]) {
      for (const text of ["a".repeat(length), `${"a".repeat(Math.max(0, length - 2))}é`]) {
        const options = { readOnly: false, mask: false, rsv1: false, opcode: 1, fin: true };
        const frame = Buffer.concat(/** @type {any} */ (Sender).frame(Buffer.from(`4${text}`), options));
        assert.ok(frameOf(text).equals(frame), `${length} characters`);
      }
    }
  });
});

describe("local deliveries that wait", () => {
  /** @type {string[]} */
  let log;
  /** @type {WaitingDeliveries} */
  let waiting;
  beforeEach(() => {
    log = [];
    waiting = new WaitingDeliveries();
  });
  const act = (/** @type {string} */ name) => (/** @type {string} */ id) =>
    void log.push(`${name} ${id}`.trim());

  it("keep their order, and that of what needs no id", () => {
    waiting.push(1, act("a"));
    waiting.push(null, act("volatile"));
    waiting.push(3, act("b"));
    waiting.push(null, act("join"));
    waiting.push(null, act("leave"));
    waiting.added(1, "1-0");
    assert.deepStrictEqual(log, ["a 1-0", "volatile"]);
    waiting.added(2, "1-1");
    assert.deepStrictEqual(log.length, 2);
    waiting.added(3, "1-2");
    assert.deepStrictEqual(log.slice(2), ["b 1-2", "join", "leave"]);
    assert.ok(waiting.isEmpty);
  });

  it("are told apart when the numbers of 32 bits have been used up", () => {
    waiting.push(2 ** 32 - 1, act("a"));
    waiting.push(0, act("b"));
    waiting.push(1, act("c"));
    waiting.added(2 ** 32 - 2, "0-1");
    assert.deepStrictEqual(log, []);
    waiting.added(2 ** 32 - 1, "1-0");
    waiting.added(0, "1-1");
    assert.deepStrictEqual(log, ["a 1-0", "b 1-1"]);
    waiting.added(1, "1-2");
    assert.deepStrictEqual(log[2], "c 1-2");
  });

  it("go without an id where that is not known, and what was passed over too", () => {
    waiting.push(1, act("a"));
    waiting.push(2, act("b"));
    waiting.push(3, act("c"));
    waiting.added(2, "");
    assert.deepStrictEqual(log, ["a", "b"]);
    waiting.flush();
    assert.deepStrictEqual(log, ["a", "b", "c"]);
  });

  it("may make others wait, and are not held up by one that throws", async () => {
    const exceptions = expectExceptions();
    waiting.push(1, () => {
      waiting.push(2, act("from within"));
      throw new Error("of the user's");
    });
    waiting.added(1, "1-0");
    assert.deepStrictEqual(log, []);
    waiting.added(2, "1-1");
    assert.deepStrictEqual(log, ["from within 1-1"]);
    await waitFor(() => exceptions.length === 1);
  });

  it("are many", () => {
    for (let n = 1; n <= 10_000; n++) waiting.push(n, act(String(n)));
    for (let n = 1; n <= 10_000; n += 3) waiting.added(n, `${n}-0`);
    waiting.flush();
    assert.deepStrictEqual(
      log.map((line) => Number(line.split(" ")[0])),
      Array.from({ length: 10_000 }, (_, n) => n + 1),
    );
  });
});

describe("an adapter of streams", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const kind of /** @type {const} */ (["node-redis", "ioredis"])) {
    it(`shows what it is, with a client of ${kind}`, async () => {
      const client = makeClient(kind, { port: redis.port });
      const io = new Server({
        adapter: createAdapter(client, { transport: "client", requestsTimeout: 1234 }),
      });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      await adapter.ready;
      assert.match(adapter.uid, /^[0-9a-f]{16}$/);
      assert.strictEqual(adapter.requestsTimeout, 1234);
      assert.strictEqual(adapter.transport.carrier, "client");
      assert.strictEqual(await adapter.serverCount(), 1);
      await assert.rejects(adapter.barrier(), /no barrier/);
      // The user's own is not in subscribed state: it can do what it could.
      assert.strictEqual(await client.set("a", "b"), "OK");
      io.of("/").adapter.close();
      const duplicates = async () =>
        String(await redis.cli("CLIENT", "LIST")).match(/cmd=(?!client)/g)?.length;
      await waitFor(async () => (await duplicates()) === 1, { what: "the duplicates to be gone" });
      await endClient(client);
    });
  }

  it("adds the ioredis keyPrefix to its stream, as the client would", async () => {
    const { Redis } = require("ioredis");
    const client = new Redis({ port: redis.port, keyPrefix: "tenant:", enableAutoPipelining: true });
    const io = new Server({
      adapter: createAdapter(client, { transport: "client", streamName: "prefixed" }),
    });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    io.emit("hello");
    await waitFor(async () => Number(await redis.cli("XLEN", "tenant:prefixed")) === 1);
    io.of("/").adapter.close();
    await client.quit();
  });

  it("encodes what is only plain text as JSON, binary or not", async () => {
    const client = makeClient("node-redis", { port: redis.port });
    const opts = { transport: /** @type {const} */ ("client"), streamName: "plain", onlyPlaintext: true };
    const io = new Server({ adapter: createAdapter(client, opts) });
    await /** @type {any} */ (io.of("/").adapter).ready;
    io.emit("e", Buffer.from([1]));
    io.to("a").emit("f", new Date(0));
    const entries = await waitFor(async () => {
      const list = /** @type {any} */ (await redis.cli("XRANGE", "plain", "-", "+"));
      return list.length === 2 && list;
    });
    const fields = entries.map((/** @type {any} */ [, values]) => values[values.indexOf("data") + 1]);
    assert.deepStrictEqual(
      fields.map((/** @type {string} */ text) => JSON.parse(text).packet.data),
      [
        ["e", { type: "Buffer", data: [1] }],
        ["f", new Date(0).toJSON()],
      ],
    );
    io.of("/").adapter.close();
    await endClient(client);
  });

  it("D8: tells of a socket whose data cannot be encoded, without it", async () => {
    const client = makeClient("node-redis", { port: redis.port });
    const [a, b] = [1, 2].map(
      () => new Server({ adapter: createAdapter(client, { transport: "client", streamName: "data" }) }),
    );
    const adapters = [a, b].map((io) => /** @type {any} */ (io.of("/").adapter));
    await Promise.all(adapters.map(({ ready }) => ready));
    fakeSocket(adapters[1], "good", []);
    fakeSocket(adapters[1], "bad", []);
    b.of("/").sockets.get(/** @type {any} */ ("bad")).data = { big: 1n };
    b.of("/").sockets.get(/** @type {any} */ ("good")).data = { bytes: Buffer.from([1]) };
    const warn = console.warn;
    console.warn = () => {};
    try {
      const sockets = await a.fetchSockets();
      assert.deepStrictEqual(
        sockets.map(({ id, data }) => [id, data]),
        [
          ["good", { bytes: Buffer.from([1]) }],
          ["bad", undefined],
        ],
      );
    } finally {
      console.warn = warn;
      for (const adapter of adapters) adapter.close();
      await endClient(client);
    }
  });

  it("D21: delivers in the same tick, Redis or not, if connections are not recovered", async () => {
    const client = makeClient("node-redis", { port: redis.port });
    const io = new Server({ adapter: createAdapter(client, { transport: "client", streamName: "local" }) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    const written = fakeSocket(adapter, "s", ["room"]);
    await redis.pause();
    try {
      io.to("room").emit("now", 1);
      assert.deepStrictEqual(written, ['2["now",1]']);
      io.in("s").socketsJoin("other");
      assert.ok(adapter.rooms.has("other"));
    } finally {
      await redis.resume();
    }
    io.of("/").adapter.close();
    await endClient(client);
  });

  it("D21: with recovery, delivers within a second in which Redis does not answer, and in order", async () => {
    const client = makeClient("node-redis", { port: redis.port });
    const io = new Server({
      adapter: createAdapter(client, { transport: "client", streamName: "late" }),
      connectionStateRecovery: {},
    });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    await adapter.ready;
    const written = fakeSocket(adapter, "s", ["room"]);
    await redis.pause();
    const since = performance.now();
    io.to("room").emit("now", 1);
    io.volatile.emit("volatile");
    io.in("s").socketsJoin("other");
    io.to("other").emit("joined");
    io.local.emit("local");
    assert.deepStrictEqual(written, ['2["local"]']);
    try {
      await waitFor(() => written.length === 4);
      assert.deepStrictEqual(written.slice(1), ['2["now",1]', '2["volatile"]', '2["joined"]']);
      assert.ok(performance.now() - since < 1900, `it took ${performance.now() - since} ms`);
    } finally {
      await redis.resume();
    }
    io.of("/").adapter.close();
    await endClient(client);
  });

  leavesNoRejection();
});

/** A socket that keeps what is written to it. @param {any} adapter @param {string} id @param {string[]} rooms */
function fakeSocket(adapter, id, rooms) {
  /** @type {string[]} */
  const written = [];
  const socket = {
    ...{ id, handshake: {}, rooms: new Set([id]), data: {}, notifyOutgoingListeners() {} },
    join: (/** @type {any} */ names) => adapter.addAll(id, new Set([names].flat())),
    leave() {},
    client: { writeToEngine: (/** @type {string[]} */ [text]) => written.push(text) },
  };
  adapter.nsp.sockets.set(id, socket);
  adapter.addAll(id, new Set([id, ...rooms]));
  return written;
}
