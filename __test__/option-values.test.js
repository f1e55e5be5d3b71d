// @ts-check
"use strict";

/**
 * Options as they come from the environment, where everything is text; and those that nobody knows.
 */

const assert = require("node:assert");
const path = require("node:path");
const { Emitter } = /** @type {any} */ (require("../emitter"));
const { readEmitterOptions } = require("../lib/emitter/options");
const { readOptions, readShardedOptions, readStreamsOptions } = require("../lib/options/options");

/** @type {Record<string, (given: any) => any>} */
const READERS = { classic: readOptions, sharded: readShardedOptions, streams: readStreamsOptions };

const MILLISECONDS = /must be a number of milliseconds/;
const BYTES = /must be a number of bytes/;
const WHOLE = /must be a whole number/;

/** Which takes it, its name, and what is said of what it cannot be. @type {[string, string, RegExp][]} */
const NUMBERS = [
  ...Object.keys(READERS).flatMap(
    (family) =>
      /** @type {[string, string, RegExp][]} */ ([
        [family, "requestsTimeout", MILLISECONDS],
        [family, "maxBacklogBytes", BYTES],
        [family, "maxInboxBytes", BYTES],
      ]),
  ),
  ["streams", "streamCount", WHOLE],
  ["streams", "maxLen", WHOLE],
  ["streams", "readCount", WHOLE],
  ["streams", "blockTimeInMs", WHOLE],
];

/** And what the name of it is once it is read. @type {[string, string, (read: any) => boolean][]} */
const BOOLEANS = [
  ["classic", "publishOnSpecificResponseChannel", (read) => read.publishOnSpecificResponseChannel],
  ["streams", "onlyPlaintext", (read) => read.onlyPlaintext],
  ["streams", "useShardedPubSub", (read) => read.family === "streams-sharded"],
];

/** @type {[string, string, string][]} */
const TEXTS = [
  ["classic", "key", "key"],
  ["sharded", "channelPrefix", "key"],
  ["streams", "channelPrefix", "key"],
  ["streams", "streamName", "streamName"],
  ["streams", "sessionKeyPrefix", "sessionKeyPrefix"],
];

describe("values of options", () => {
  for (const [family, name, message] of NUMBERS) {
    const read = (/** @type {any} */ value) => READERS[family]({ [name]: value })[name];

    it(`${family}: ${name} may be text`, () => {
      for (const text of ["200", " 200 ", "200.0"]) assert.strictEqual(read(text), 200);
      for (const nothing of ["", undefined, null])
        assert.strictEqual(read(nothing), READERS[family]({})[name]);
    });

    it(`${family}: ${name} names itself where it cannot be meant`, () => {
      for (const value of ["200 ms", "2e", "-1", "0x10", "many", {}, [], true, NaN, -1, 5n]) {
        assert.throws(
          () => read(value),
          (/** @type {any} */ error) => {
            assert.ok(error instanceof TypeError);
            assert.ok(error.message.startsWith(`opts.${name} `), error.message);
            assert.match(error.message, message);
            return true;
          },
          String(value),
        );
      }
    });
  }

  it("streams: heartbeats, which have no effect, may be text, too", () => {
    for (const name of ["heartbeatInterval", "heartbeatTimeout"]) {
      assert.deepStrictEqual(readStreamsOptions({ [name]: "5000" }), readStreamsOptions({}));
      assert.throws(() => readStreamsOptions({ [name]: "often" }), MILLISECONDS);
    }
  });

  for (const [family, name, isSet] of BOOLEANS) {
    it(`${family}: ${name} may be text, or 0 and 1`, () => {
      const read = (/** @type {any} */ value) => isSet(READERS[family]({ [name]: value }));
      for (const value of [true, "true", "TRUE", "1", 1])
        assert.strictEqual(read(value), true, String(value));
      for (const value of [false, "false", "False", "0", 0, "", undefined, null])
        assert.strictEqual(read(value), false, String(value));
      for (const value of ["yes", "on", 2, {}, [], () => {}])
        assert.throws(() => read(value), {
          name: "TypeError",
          message: new RegExp(`^opts\\.${name} must be`),
        });
    });
  }

  for (const [family, name, field] of TEXTS) {
    it(`${family}: ${name} may be a number`, () => {
      assert.strictEqual(READERS[family]({ [name]: 7 })[field], "7");
      for (const value of [{}, true, NaN, Symbol("s"), () => {}])
        assert.throws(() => READERS[family]({ [name]: value }), {
          name: "TypeError",
          message: new RegExp(`^opts\\.${name} must be a string`),
        });
    });
  }

  it("an emitter's are the same", () => {
    const { identity, link } = readEmitterOptions({
      ...{ mode: "streams", maxLen: "9", streamCount: "2", useShardedPubSub: "true", maxBacklogBytes: "10" },
    });
    assert.deepStrictEqual([identity.stream?.maxLen, identity.stream?.count], [9, 2]);
    assert.deepStrictEqual([identity.family, link.maxBacklogBytes], ["streams-sharded", 10]);
  });

  it("a flush's, too", async () => {
    const emitter = new Emitter({ publish() {} });
    assert.strictEqual((await emitter.flush({ timeout: "100" })).pending, 0);
    assert.throws(() => emitter.flush({ timeout: "soon" }), { name: "TypeError", message: MILLISECONDS });
    await emitter.close();
  });
});

describe("options that nobody knows", () => {
  const { warn } = console;
  /** @type {string[]} */
  let said;

  // Of the package's own files a copy for these tests: what others have been warned of is said no more.
  const root = path.join(__dirname, "..") + path.sep;
  const isOwn = (/** @type {string} */ file) =>
    file.startsWith(root) && !file.includes("node_modules") && !file.startsWith(__dirname);
  /** @type {any} */ let createAdapter;
  /** @type {any} */ let createShardedAdapter;
  /** @type {any} */ let FreshEmitter;
  /** @type {any} */ let streams;

  before(() => {
    const loaded = Object.entries(require.cache).filter(([file]) => isOwn(file));
    for (const [file] of loaded) delete require.cache[file];
    ({ createAdapter, createShardedAdapter } = require(".."));
    FreshEmitter = require("../emitter").Emitter;
    streams = require("../streams");
    for (const file of Object.keys(require.cache)) if (isOwn(file)) delete require.cache[file];
    Object.assign(require.cache, Object.fromEntries(loaded));
  });

  beforeEach(() => {
    said = [];
    console.warn = (/** @type {any[]} */ ...args) => void said.push(args.join(" "));
  });

  afterEach(() => {
    console.warn = warn;
  });

  const URL = "redis://localhost:1";

  /** @type {[string, () => any, string][]} */
  const unknown = [
    [
      "a typing mistake",
      () => createAdapter(URL, { requestTimeout: 1 }),
      "socket.io-redis: createAdapter() has no option requestTimeout: is requestsTimeout meant?",
    ],
    [
      "another spelling",
      () => createAdapter(URL, { requeststimeout: 1 }),
      "socket.io-redis: createAdapter() has no option requeststimeout: is requestsTimeout meant?",
    ],
    [
      "what is the server's",
      () => createAdapter(URL, { generateId: () => "id" }),
      "socket.io-redis: createAdapter() has no option generateId: it belongs to io.engine.generateId",
    ],
    [
      "what is the server's, with clients in the options",
      () => createAdapter({ host: "localhost", pingTimeout: 1 }),
      "socket.io-redis: createAdapter() has no option pingTimeout: it belongs to new Server({ pingTimeout })",
    ],
    [
      "what is the sharded one's",
      () => createAdapter(URL, { subscriptionMode: "static" }),
      "socket.io-redis: createAdapter() has no option subscriptionMode: it is one of createShardedAdapter()",
    ],
    [
      "the classic one's prefix",
      () => createShardedAdapter(URL, { key: "k" }),
      "socket.io-redis: createShardedAdapter() has no option key: here it is channelPrefix",
    ],
    [
      "the others' prefix",
      () => createAdapter(URL, { channelPrefix: "k" }),
      "socket.io-redis: createAdapter() has no option channelPrefix: here it is key",
    ],
    [
      "a mistake in a name of streams",
      () => streams.createAdapter(URL, { maxLength: 1 }),
      "socket.io-redis: createAdapter() of streams has no option maxLength: is maxLen meant?",
    ],
    [
      "an emitter's",
      () => new FreshEmitter({ publish() {} }, { parsers: 1 }),
      "socket.io-redis: Emitter has no option parsers: is parser meant?",
    ],
    [
      "a second client, where one is enough",
      () => {
        const [client, other] = [1, 2].map(() => require("redis").createClient());
        streams.createAdapter(client, other);
        new FreshEmitter({ publish() {} }, other);
      },
      "socket.io-redis: one client is enough here, and the second one is not used: options stand there",
    ],
    [
      "something else altogether",
      () => createAdapter(URL, { colourOfTheSky: "blue" }),
      "socket.io-redis: createAdapter() has no option colourOfTheSky",
    ],
  ];
  for (const [what, make, warning] of unknown) {
    it(`${what}: one warning, however often`, () => {
      make();
      make();
      assert.deepStrictEqual(said, [warning]);
    });
  }

  it("those of the reference, of old and of clients are known", () => {
    createAdapter(URL, {
      key: "k",
      requestsTimeout: 1,
      publishOnSpecificResponseChannel: true,
      onError() {},
    });
    createShardedAdapter(URL, { channelPrefix: "c", subscriptionMode: "static" });
    streams.createAdapter(URL, {
      ...{ streamName: "s", streamCount: 1, channelPrefix: "c", useShardedPubSub: false, maxLen: 1 },
      ...{ readCount: 1, blockTimeInMs: 1, sessionKeyPrefix: "p", onlyPlaintext: false },
      ...{ heartbeatInterval: 1, heartbeatTimeout: 1 },
    });
    new FreshEmitter({ publish() {} }, { key: "k", parser: { encode: JSON.stringify } });
    createAdapter({ host: "localhost", port: 1, return_buffers: true, no_ready_check: true, ttl: 60, db: 0 });
    createAdapter({ host: "localhost", lazyConnect: true, connectionName: "c", maxRetriesPerRequest: null });
    createAdapter({ socket: { host: "localhost" }, disableOfflineQueue: true, pingInterval: 1000 });
    // What is undefined was not given.
    createAdapter(URL, { colour: undefined });
    assert.deepStrictEqual(said, []);
  });
});
