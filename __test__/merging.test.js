// @ts-check
"use strict";

/**
 * Broadcasts of other servers that come at once and are for the same sockets go out by one write per socket: in their
 * order, each once, and not to sockets of another kind, which get message by message.
 */

const assert = require("node:assert");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** As many as the link hands over at a time. */
const BURST = 64;

/** How large one write may be, in bytes. */
const RUN_BYTES = 64 * 1024;

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

describe("broadcasts that come at once", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of FAMILIES) describe(adapter, () => ofFamily(adapter, () => redis));

  it("come to clients that recover their connection, with their offsets", async () => {
    const ring = await startRing({
      redis,
      adapter: "streams",
      nodes: ["ours", "ours"],
      sockets: 1,
      serverOpts: { connectionStateRecovery: {} },
    });
    try {
      const [from, to] = ring.nodes;
      const [{ client }] = to.peers;
      /** @type {any[][]} */
      const got = [];
      client.on("n", (/** @type {any[]} */ ...args) => void got.push(args));
      atOnce(from, to, BURST, (n) => from.io.emit("n", n));
      await waitFor(() => got.length === BURST, { what: "all events" });
      assert.deepStrictEqual(
        got.map(([n]) => n),
        numbers(BURST),
      );
      const offsets = got.map(([, offset]) => offset);
      assert.ok(offsets.every((offset) => /^\d+-\d+$/.test(offset)));
      assert.strictEqual(new Set(offsets).size, BURST);
      // It is known what the client was sent last: nothing comes twice when it is back.
      client.io.engine.close();
      client.connect();
      await once(client, "connect");
      assert.strictEqual(client.recovered, true);
      await ring.mark(from);
      assert.strictEqual(got.length, BURST);
    } finally {
      await ring.close();
    }
  });
});

/** @param {typeof FAMILIES[number]} adapter @param {() => import("./support/redis").RedisServer} redis */
function ofFamily(adapter, redis) {
  /** @type {import("./support/ring").Ring} */
  let ring;
  /** @type {import("./support/ring").Node} */
  let from;
  /** @type {import("./support/ring").Node} */
  let to;

  before(async () => {
    const serverOpts = { allowEIO3: true, perMessageDeflate: { threshold: 1 } };
    ring = await startRing({
      ...{ redis: redis(), adapter, nodes: ["ours", "ours", "reference"], sockets: 1 },
      serverOpts: (index) => (index === 1 ? {} : serverOpts),
    });
    [from, to] = ring.nodes;
  });
  after(() => ring.close());

  it("are written at once", async () => {
    const { conn } = to.peers[0].socket;
    await writable(conn);
    const writes = watch(conn);
    atOnce(from, to, BURST, (n) => from.io.emit("n", n, { text: "é" }));
    await ring.mark(from);
    writes.end();
    assert.ok(writes.count <= 4, `${writes.count} writes`);
    assert.strictEqual(writes.text.match(/"n",\d+,/g)?.length, BURST);
  });

  it("are written at once with their attachments", async () => {
    const [{ client, socket }] = to.peers;
    await writable(socket.conn);
    const writes = watch(socket.conn);
    /** @type {any[][]} */
    const got = [];
    client.on("bytes", (/** @type {any[]} */ ...args) => void got.push(args));
    const sent = (/** @type {number} */ n) => [n, Buffer.alloc(n * 40, n), [{ at: Buffer.from([n]) }]];
    atOnce(from, to, BURST / 2, (n) => from.io.emit("bytes", ...sent(n)));
    await ring.mark(from);
    writes.end();
    client.off("bytes");
    assert.deepStrictEqual(got, numbers(BURST / 2).map(sent));
    // Streams of the reference's have binary in base64 within msgpack; the frames are the same.
    assert.ok(writes.count <= 6, `${writes.count} writes`);
  });

  it("that are large are written in pieces", async () => {
    const { conn } = to.peers[0].socket;
    await writable(conn);
    const writes = watch(conn);
    atOnce(from, to, BURST, (n) => from.io.emit("n", n, "x".repeat(10_000)));
    await ring.mark(from);
    writes.end();
    assert.ok(writes.largest <= RUN_BYTES, `${writes.largest} bytes at once`);
    assert.ok(writes.count < BURST / 2, `${writes.count} writes`);
    assert.strictEqual(writes.text.match(/"n",\d+,/g)?.length, BURST);
  });

  it("come in their order to clients of every kind, whatever they are for", async () => {
    const node = ring.nodes[0];
    const kinds = {
      websocket: { transports: ["websocket"] },
      polling: { transports: ["polling"] },
      upgrading: { transports: ["polling", "websocket"] },
      base64: { transports: ["websocket"], forceBase64: true },
    };
    const old = require("socket.io-client-2")(`http://127.0.0.1:${node.port}`, {
      transports: ["websocket"],
      forceNew: true,
    });
    const isOldHere = once(old, "connect");
    const clients = await Promise.all(
      Object.values(kinds).map((options) => node.connect("/", /** @type {any} */ (options))),
    );
    await isOldHere;
    const listening = await node.connect("/", { transports: ["websocket"] });
    /** @type {any[][]} */
    const outgoing = [];
    const watched = await node.connect("/", { transports: ["websocket"] });
    let packets = 0;
    watched.socket.conn.on("packetCreate", () => packets++);
    listening.socket.onAnyOutgoing((/** @type {any[]} */ ...args) => void outgoing.push(args));
    const sockets = [...node.io.of("/").sockets.values()];
    for (const socket of sockets) socket.join("room");
    await ring.joined();
    const all = [...clients.map(({ client }) => client), old, listening.client, watched.client];
    /** @type {any[][][]} */
    const got = all.map(() => []);
    for (const [index, client] of all.entries())
      client.on("n", (/** @type {any[]} */ ...args) => void got[index].push(args));
    const except = watched.socket.id;
    /** @type {any[][]} */
    const sent = [];
    /** @type {any[][]} */
    const sentToAll = [];
    const emit = (/** @type {any} */ io, /** @type {number} */ n) => {
      const args = n % 7 === 0 ? [n, Buffer.from([n])] : n % 5 === 0 ? [n, new Date(n)] : [n, "é".repeat(n)];
      const seen = n % 5 === 0 && n % 7 !== 0 ? [n, new Date(n).toISOString()] : args;
      sent.push(seen);
      if (n % 16 < 12 || n % 3 !== 0) sentToAll.push(seen);
      if (n % 16 < 4) io.emit("n", ...args);
      else if (n % 16 < 8) io.to("room").emit("n", ...args);
      else if (n % 16 < 12) io.to(["room", "none"]).emit("n", ...args);
      else if (n % 3 === 0) io.except(except).emit("n", ...args);
      else io.compress(true).emit("n", ...args);
    };
    for (const sender of [ring.nodes[1], ring.nodes[2]]) {
      const first = sent.length;
      if (sender.kind === "ours") atOnce(sender, node, 2 * BURST, (n) => emit(sender.io, first + n));
      else for (let n = 0; n < 2 * BURST; n++) emit(sender.io, first + n);
      await waitFor(() => got.every((one, i) => one.length === (i === 6 ? sentToAll : sent).length), {
        what: `all events (${got.map(({ length }) => length)} of ${sent.length})`,
      });
    }
    for (const [index, one] of got.entries()) assert.deepStrictEqual(one, index === 6 ? sentToAll : sent);
    assert.strictEqual(outgoing.filter(([event]) => event === "n").length, sent.length);
    assert.ok(packets >= sentToAll.length);
    for (const client of all) client.disconnect();
  });

  it("are dropped, when volatile, by a connection that is busy with the first", async () => {
    const { conn } = to.peers[0].socket;
    await writable(conn);
    const writes = watch(conn);
    atOnce(from, to, 8, (n) => from.io.volatile.emit("n", n));
    await ring.mark(from);
    writes.end();
    assert.deepStrictEqual(writes.text.match(/"n",\d+/g), ['"n",0']);
  });

  it("are seen one by one by functions that were put in the place of Socket.IO's own", async () => {
    const { client } = to.peers[0].socket;
    const { conn } = client;
    for (const [object, name] of /** @type {[any, string][]} */ ([
      [client, "writeToEngine"],
      [conn, "write"],
      [conn, "sendPacket"],
      [conn.transport, "send"],
    ])) {
      let calls = 0;
      const original = object[name];
      object[name] = function (/** @type {any[]} */ ...args) {
        // The transport is given all that waits for it.
        calls += name === "send" ? args[0].length : 1;
        return original.apply(this, args);
      };
      atOnce(from, to, 4, (n) => from.io.emit("n", n));
      await ring.mark(from);
      delete object[name];
      assert.ok(calls >= 4, `${name} was called ${calls} times`);
    }
  });

  it("are not for a socket that leaves the room within an outgoing listener of another one", async () => {
    const { socket } = to.peers[0];
    const second = await to.connect("/", { transports: ["websocket"] });
    for (const one of [socket, second.socket]) one.join("room");
    await ring.joined();
    /** @type {number[]} */
    const got = [];
    second.client.on("n", (/** @type {number} */ n) => void got.push(n));
    const leave = (/** @type {string} */ event, /** @type {number} */ n) => {
      if (event === "n" && n === 2) second.socket.leave("room");
    };
    socket.onAnyOutgoing(leave);
    atOnce(from, to, 4, (n) => from.io.to("room").emit("n", n));
    await ring.mark(from);
    socket.offAnyOutgoing(leave);
    socket.leave("room");
    second.client.disconnect();
    assert.deepStrictEqual(got, [0, 1]);
  });

  it("go on behind an outgoing listener that throws", async () => {
    const { socket, client } = to.peers[0];
    const adapter = to.adapter();
    /** @type {Error[]} */
    const errors = [];
    adapter.on("error", (/** @type {Error} */ error) => void errors.push(error));
    const fail = (/** @type {string} */ event, /** @type {number} */ n) => {
      if (event === "n" && n === 3) throw new Error("by the user");
    };
    socket.onAnyOutgoing(fail);
    /** @type {number[]} */
    const got = [];
    client.on("n", (/** @type {number} */ n) => void got.push(n));
    atOnce(from, to, 6, (n) => from.io.emit("n", n));
    await ring.mark(from);
    socket.offAnyOutgoing(fail);
    client.off("n");
    adapter.removeAllListeners("error");
    assert.deepStrictEqual(got, [0, 1, 2, 4, 5]);
    assert.deepStrictEqual(
      errors.map(({ message }) => message),
      ["by the user"],
    );
  });
}

/**
 * Has a server send, and keeps the process busy until all of that is at the other one: it is handed over at once then.
 *
 * @param {import("./support/ring").Node} from
 * @param {import("./support/ring").Node} to
 * @param {number} count
 * @param {(n: number) => void} send
 */
function atOnce(from, to, count, send) {
  const [inAdapter, outAdapter] = [to.adapter(), from.adapter()];
  const before = inAdapter.stats().delivered;
  for (let n = 0; n < count; n++) send(n);
  const until = performance.now() + 5000;
  while (inAdapter.stats().delivered < before + count)
    assert.ok(performance.now() < until, `${inAdapter.stats().delivered - before} of ${count} are there`);
  assert.ok(outAdapter.stats().published > 0);
}

/** @param {any} conn */
function writable(conn) {
  return waitFor(() => conn.transport.writable && conn.writeBuffer.length === 0, {
    what: "the connection to be idle",
  });
}

/** Counts what is written to a connection's socket, and keeps it. @param {any} conn */
function watch(conn) {
  const sender = conn.transport.socket._sender;
  const { sendFrame } = sender;
  const seen = { count: 0, largest: 0, text: "", end: () => void (sender.sendFrame = sendFrame) };
  sender.sendFrame = (/** @type {Buffer[]} */ list, /** @type {any} */ callback) => {
    const bytes = Buffer.concat(list);
    seen.count++;
    seen.largest = Math.max(seen.largest, bytes.length);
    seen.text += bytes.toString("latin1");
    return sendFrame.call(sender, list, callback);
  };
  return seen;
}

/** @param {number} count */
function numbers(count) {
  return Array.from({ length: count }, (_, n) => n);
}
