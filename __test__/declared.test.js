// @ts-check
"use strict";

/**
 * What the types declare is there at run time: the members of adapters, factories and emitters, what their methods
 * return, the fields of what they hand out, and the options that they take.
 */

const assert = require("node:assert");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const main = require("../index.js");
const streams = require("../streams.js");
const { Emitter } = require("../emitter.js");
const { TAKERS } = require("../lib/options/known-options");
const { membersOf } = require("./support/declared");
const { startRedis } = require("./support/redis");

/** Methods that can be called without harm, and with what. @type {Record<string, (adapter: any) => any[]>} */
const CALLS = {
  addSockets: () => [nobody(), []],
  allRooms: () => [],
  barrier: () => [],
  broadcast: () => [{ type: 2, data: ["hello"], nsp: "/" }, nobody()],
  delSockets: () => [nobody(), []],
  disconnectSockets: () => [nobody(), false],
  doPublish: ({ uid }) => [{ uid, nsp: "/", type: 9, data: { packet: ["hello"] } }],
  fetchSockets: () => [nobody()],
  serverCount: () => [],
  serverSideEmit: () => [["hello"]],
  sockets: () => [new Set(["nowhere"])],
  subscribed: () => [],
};

/** Of what the classes of socket.io-adapter declare, what is not ours to have: it is for themselves. */
const INTERNAL = new Set(["encoder", "apply", "computeExceptSids", "_del", "addOffsetIfNecessary"]);

describe("what the types declare", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {any[]} */
  let clients;
  /** @type {any[]} */
  const open = [];

  before(async () => {
    redis = await startRedis();
    clients = [1, 2].map(() => createClient({ url: redis.url }));
    await Promise.all(clients.map((client) => client.connect()));
  });

  after(async () => {
    await Promise.all(open.map((each) => each.close()));
    await Promise.all(clients.map((client) => client.close()));
    await redis.stop();
  });

  /** @type {[string, "index" | "streams", () => any][]} */
  const adapters = [
    ["RedisAdapter", "index", () => main.createAdapter(clients[0], clients[1], { fanOut: true })],
    [
      "ShardedRedisAdapter",
      "index",
      () => main.createShardedAdapter(clients[0], clients[1], { fanOut: true }),
    ],
    ["RedisStreamsAdapter", "streams", () => streams.createAdapter(clients[0], { fanOut: true })],
  ];
  for (const [name, entry, make] of adapters) {
    it(`${name}: its members are there, and its methods return what they say`, async () => {
      const io = new Server({ adapter: make() });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      open.push(adapter);
      await adapter.ready;
      const members = membersOf(entry, name).filter((member) => !INTERNAL.has(member.name));
      for (const member of members) check(adapter, member);
      for (const { name: method, returns } of members) {
        if (!CALLS[method]) continue;
        const result = adapter[method](...CALLS[method](adapter));
        const isPromise = typeof result?.then === "function";
        // The first overload is without a callback. A promise may stand where nothing is promised.
        if (returns[0] !== "any" && !returns[0].includes("void | ") && !returns[0].includes("| void"))
          assert.strictEqual(isPromise, returns[0].startsWith("Promise<"), `${method}(): ${returns[0]}`);
        await result;
      }
      fields(adapter.stats(), "index", "AdapterStats");
      fields(adapter.stats().fanOut, "index", "FanOutStats");
      fields(adapter.transport, "index", "TransportInfo");
    });
  }

  it("AdapterFactory: its members are there", () => {
    const factory = main.createAdapter(clients[0], clients[1]);
    for (const member of membersOf("index", "AdapterFactory")) check(factory, member);
    for (const other of [
      main.createShardedAdapter(clients[0], clients[1]),
      streams.createAdapter(clients[0]),
    ])
      for (const member of membersOf("index", "FactoryEvents")) check(other, member);
  });

  it("Emitter, BroadcastOperator: their members are there", async () => {
    const emitter = new Emitter(redis.url);
    open.push(emitter);
    for (const member of membersOf("emitter", "Emitter")) check(emitter, member);
    for (const member of membersOf("emitter", "BroadcastOperator")) check(emitter.to("a"), member);
    assert.strictEqual(emitter.emit("hello"), true);
    assert.strictEqual(emitter.to("a").emit("hello"), true);
    fields(await emitter.flush(), "emitter", "FlushResult");
    fields(emitter.stats(), "index", "LinkStats");
  });

  /** @type {[string, "index" | "streams" | "emitter", string, string[]][]} */
  const options = [
    ["classic", "index", "RedisAdapterOptions", []],
    // Where they connect to is not among the options of these.
    ["sharded", "index", "ShardedRedisAdapterOptions", ["pubClient", "subClient"]],
    ["streams", "streams", "RedisStreamsAdapterOptions", ["heartbeatInterval", "heartbeatTimeout"]],
    ["emitter, classic", "emitter", "EmitterOptions", ["maxInboxBytes"]],
    ["emitter, sharded", "emitter", "ShardedEmitterOptions", ["maxInboxBytes"]],
    // It takes the options of the servers as they are.
    [
      ...["emitter, streams", "emitter", "StreamsEmitterOptions"],
      [
        "maxInboxBytes",
        "readCount",
        "blockTimeInMs",
        "sessionKeyPrefix",
        "heartbeatInterval",
        "heartbeatTimeout",
      ],
    ],
  ];
  for (const [taker, entry, name, undeclared] of options) {
    it(`${name}: the options that are declared are those that are taken`, () => {
      const declared = membersOf(entry, name).map((member) => member.name);
      assert.deepStrictEqual([...declared, ...undeclared].sort(), [...TAKERS[taker].names].sort());
    });
  }
});

function nobody() {
  return { rooms: new Set(["nowhere"]), except: new Set(), flags: {} };
}

/**
 * Asserts that a member is there, as its type has it.
 *
 * @param {any} owner
 * @param {import("./support/declared").Member} member
 */
function check(owner, { name, type, isMethod, isOptional }) {
  const value = name.startsWith("__@asyncDispose") ? owner[Symbol.asyncDispose] : owner[name];
  if (isOptional && value === undefined) return;
  if (isMethod) return assert.strictEqual(typeof value, "function", name);
  if (["string", "number", "boolean"].includes(type)) return assert.strictEqual(typeof value, type, name);
  if (type.startsWith("Promise<")) return assert.strictEqual(typeof value?.then, "function", name);
  assert.notStrictEqual(value, undefined, `${name}: ${type}`);
}

/**
 * Asserts that an object has the fields that are declared, and no others.
 *
 * @param {any} value
 * @param {"index" | "streams" | "emitter"} entry
 * @param {string} name
 */
function fields(value, entry, name) {
  const members = membersOf(entry, name);
  assert.deepStrictEqual(Object.keys(value).sort(), members.map((member) => member.name).sort());
  for (const member of members) check(value, member);
}
