// @ts-check
"use strict";

/**
 * With `fanOut` the adapter keeps lists of who is in a room. They are right at any moment: in listeners, when these throw, and when
 * connections come and go.
 */

const assert = require("node:assert");
const { FLAG, LENT } = require("../lib/fan-out/connection");
const { theHub } = require("../lib/fan-out/hub");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** As many as are handed to the thread, and some. */
const SOCKETS = 20;

const WEBSOCKET = { transports: ["websocket"] };

describe("the recipients of fanOut", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {import("./support/ring").Ring} */
  let ring;
  /** @type {import("./support/ring").Node} */
  let node;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());
  beforeEach(async () => {
    ring = await startRing({ redis, nodes: ["ours"], sockets: SOCKETS, opts: { fanOut: true } });
    [node] = ring.nodes;
  });
  afterEach(() => ring.close());

  const sockets = () => node.peers.map(({ socket }) => socket);

  /** The names of the events that each client got by now. */
  async function heard() {
    await ring.mark(node);
    return node.peers.map(({ log }) => log.map(([name]) => name));
  }

  it("get a broadcast once, though they are new and in a small room, too", async () => {
    for (const [n, socket] of sockets().entries()) socket.join(n < 5 ? ["big", "small"] : "big");
    node.io.to(["big", "small"]).emit("first");
    node.io.to(["small", "big"]).emit("second");
    for (const names of await heard()) assert.deepStrictEqual(names, ["first", "second"]);
  });

  it("are those who are in a room when listeners hear of it", async () => {
    const [one] = sockets();
    for (const socket of sockets().slice(1)) socket.join("room");
    node.io.to("room").emit("before");
    const adapter = node.adapter();
    adapter.on(
      "join-room",
      (/** @type {string} */ room) => room === "room" && node.io.to(room).emit("joined"),
    );
    adapter.on(
      "leave-room",
      (/** @type {string} */ room) => room === "room" && node.io.to(room).emit("left"),
    );
    one.join("room");
    one.leave("room");
    const [names, ...others] = await heard();
    assert.deepStrictEqual(names, ["joined"]);
    for (const other of others) assert.deepStrictEqual(other, ["before", "joined", "left"]);
  });

  it("are right when listeners throw", async () => {
    const [one, another] = sockets();
    for (const socket of sockets()) if (socket !== another) socket.join("room");
    node.io.to("room").emit("before");
    const adapter = node.adapter();
    const thrower = () => {
      throw new Error("of the user");
    };
    adapter.once("leave-room", thrower);
    assert.throws(() => one.leave("room"));
    adapter.once("join-room", thrower);
    assert.throws(() => another.join("room"));
    node.io.to("room").emit("after");
    const [names, of] = await heard();
    assert.deepStrictEqual(names, ["before"]);
    assert.deepStrictEqual(of, ["after"]);
  });

  it("are right when a listener joins a room again", async () => {
    const [one] = sockets();
    for (const socket of sockets()) socket.join("room");
    node.io.to("room").emit("before");
    node.adapter().once("leave-room", () => one.join("room"));
    one.leave("room");
    node.io.to("room").emit("after");
    for (const names of await heard()) assert.deepStrictEqual(names, ["before", "after"]);
  });

  it("leave no slot behind, whatever listeners broadcast while they leave", async () => {
    for (const socket of sockets()) socket.join("room");
    const { native } = theHub();
    node.io.emit("before");
    const lent = native.stats().lent;
    node.adapter().on("leave-room", () => void node.io.to("room").emit("somebody leaves"));
    const more = await Promise.all(Array.from({ length: SOCKETS }, () => node.connect("/", WEBSOCKET)));
    for (const { socket } of more) socket.join("room");
    node.io.to("room").emit("all");
    assert.strictEqual(native.stats().lent, lent + SOCKETS);
    for (const { client } of more) client.disconnect();
    await waitFor(() => native.stats().lent === lent, { what: "the slots to be free" });
    assert.ok([...theHub().touched].every((one) => !one.isGone));
  });

  it("that have ended say nothing of those who have their slots", async () => {
    node.io.emit("before");
    const gone = await node.connect("/", WEBSOCKET);
    node.io.emit("lent");
    const { socket } = gone;
    await gone.close();
    await waitFor(() => socket.conn.readyState === "closed", { what: "the connection to end" });
    const next = await node.connect("/", WEBSOCKET);
    /** @type {string[]} */
    const seen = [];
    next.socket.onAnyOutgoing((/** @type {string} */ name) => void seen.push(name));
    node.io.emit("one");
    socket.offAnyOutgoing();
    socket.onAnyOutgoing(() => {});
    node.io.emit("two");
    assert.deepStrictEqual(seen, ["one", "two"]);
  });

  it("that are corked get everything in its order", async () => {
    node.io.emit("before");
    await heard();
    const [{ socket, log }] = node.peers;
    const { _socket: tcp } = socket.conn.transport.socket;
    tcp.cork();
    socket.emit("a");
    node.io.emit("b");
    process.nextTick(() => tcp.uncork());
    await heard();
    assert.deepStrictEqual(
      log.map(([name]) => name),
      ["before", "a", "b"],
    );
  });

  it("have methods that heirs of a socket can call", () => {
    node.io.emit("before");
    const heir = Object.create(sockets()[0]);
    assert.strictEqual(
      heir.onAnyOutgoing(() => {}),
      heir,
    );
    assert.strictEqual(heir.listenersAnyOutgoing().length, 1);
  });

  it("are given back behind what Node waits to write", async () => {
    node.io.emit("before");
    await heard();
    const [{ socket, log }] = node.peers;
    const { native } = theHub();
    const lent = socket.conn[LENT];
    // As if the writer were in its system call.
    lent.flag(FLAG.HELD);
    Object.defineProperty(native, "settle", { value: () => 2, configurable: true });
    socket.emit("late");
    lent.giveBack();
    Reflect.deleteProperty(native, "settle");
    assert.strictEqual(lent.isGone, false);
    lent.onReport();
    assert.strictEqual(lent.isGone, true);
    node.io.emit("after");
    await heard();
    assert.deepStrictEqual(
      log.map(([name]) => name),
      ["before", "late", "after"],
    );
  });

  it("are given back when the writer is done, though Node waits to write nothing", async () => {
    node.io.emit("before");
    await heard();
    const [{ socket, log }] = node.peers;
    const { native, returned } = theHub();
    const lent = socket.conn[LENT];
    // As if the writer were in its system call.
    lent.flag(FLAG.HELD);
    Object.defineProperty(native, "settle", { value: () => 2, configurable: true });
    lent.giveBack();
    Reflect.deleteProperty(native, "settle");
    node.io.emit("meanwhile");
    assert.strictEqual(lent.isGone, false);
    lent.onReport();
    assert.strictEqual(lent.isGone, true);
    assert.strictEqual(theHub().returned, returned + 1);
    node.io.emit("after");
    await heard();
    assert.deepStrictEqual(
      log.map(([name]) => name),
      ["before", "meanwhile", "after"],
    );
  });

  it("can be listened to again after all listeners were removed", async () => {
    node.io.emit("before");
    const [{ conn }] = sockets();
    let packets = 0;
    conn.on("packetCreate", () => packets++);
    conn.removeAllListeners("packetCreate");
    conn.on("packetCreate", () => packets++);
    node.io.emit("event");
    assert.strictEqual(packets, 1);
    const kept = ["close", "data"].flatMap((event) =>
      conn.listeners(event).map((/** @type {any} */ listener) => [event, listener]),
    );
    conn.removeAllListeners();
    for (const [event, listener] of kept) conn.on(event, listener);
    conn.on("packetCreate", () => packets++);
    node.io.emit("event");
    assert.strictEqual(packets, 2);
  });

  it("whose adapter is asked otherwise get what that says", async () => {
    const adapter = node.adapter();
    node.io.emit("before");
    const { apply } = adapter;
    let calls = 0;
    adapter.apply = (/** @type {any[]} */ ...args) => (calls++, apply.apply(adapter, args));
    node.io.emit("event");
    assert.strictEqual(calls, 1);
    for (const names of await heard()) assert.deepStrictEqual(names, ["before", "event"]);
  });
});
