// @ts-check
"use strict";

/**
 * With `fanOut` a thread writes broadcasts to the sockets: to those that may be lent to it. All others get the same, by Node.
 */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { createInterface } = require("node:readline");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { WebSocket } = require("ws");
const { Hub } = require("../lib/fan-out/hub");
const { skip } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** As many as are handed to the thread, and some. */
const SOCKETS = 20;

const WEBSOCKET = { transports: ["websocket"] };

describe("fanOut", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of /** @type {const} */ (["classic", "sharded", "streams"])) {
    describe(adapter, () => {
      /** @type {import("./support/ring").Ring} */
      let ring;
      /** @type {import("./support/ring").Node} */
      let other;
      /** @type {import("./support/ring").Node} */
      let node;
      before(async () => {
        ring = await startRing({
          ...{ redis, adapter, nodes: ["ours", "ours"], sockets: SOCKETS, opts: { fanOut: true } },
          namespaces: ["/", "/more"],
        });
        [other, node] = ring.nodes;
        for (const [n, { socket }] of node.peers.entries()) socket.join(["room", n % 2 ? "odd" : "even"]);
        await ring.joined();
      });
      after(() => ring.close());

      /** What the clients of a namespace got, of each event in the order of its coming. @param {() => unknown} act @param {string} [nsp] */
      async function heard(act, nsp = "/") {
        const peers = node.peers.filter((peer) => peer.nsp === nsp);
        for (const peer of peers) peer.log.length = 0;
        await act();
        await ring.mark(other);
        await ring.mark(node);
        return peers.map(({ log }) => log);
      }

      for (const [from, sender] of /** @type {const} */ ([
        ["this server", () => node],
        ["another server", () => other],
      ])) {
        it(`writes broadcasts of ${from}`, async () => {
          const before = written(node);
          const got = await heard(() => {
            for (let n = 0; n < 50; n++) sender().io.emit("n", n, "é".repeat(n), { at: n });
          });
          const expected = Array.from({ length: 50 }, (_, n) => ["n", n, "é".repeat(n), { at: n }]);
          for (const log of got) assert.deepStrictEqual(log, expected);
          assert.ok(stats(node).lent >= SOCKETS);
          assert.ok(written(node) >= before + 50 * SOCKETS);
        });

        it(`writes those with something binary: ${from}`, async () => {
          const args = [Buffer.from("one"), { two: Buffer.alloc(70_000, 2) }, 3];
          const got = await heard(() => {
            sender().io.emit("bytes", ...args);
            sender().io.emit("text");
          });
          for (const log of got) assert.deepStrictEqual(log, [["bytes", ...args], ["text"]]);
        });

        it(`writes to rooms, and not to those that are left out: ${from}`, async () => {
          const first = node.peers[0].id;
          const got = await heard(() => {
            const { io } = sender();
            io.to("room").emit("room");
            io.to(["room", "even", "none"]).emit("each once");
            io.to("room").except("odd").emit("even");
            io.except(["even", first]).emit("odd");
            io.except(first).emit("not the first");
          });
          for (const [n, log] of got.entries()) {
            const names = [
              "room",
              "each once",
              ...(n % 2 ? ["odd"] : ["even"]),
              ...(n ? ["not the first"] : []),
            ];
            assert.deepStrictEqual(
              log.map(([name]) => name),
              names,
              `client ${n}`,
            );
          }
        });

        it(`writes to sockets of another namespace: ${from}`, async () => {
          const got = await heard(() => sender().io.of("/more").emit("more"), "/more");
          for (const log of got) assert.deepStrictEqual(log, [["more"]]);
        });
      }

      it("keeps the order of what goes to all and what goes to one", async () => {
        const got = await heard(() => {
          for (let n = 0; n < 40; n++) {
            node.io.emit("all", n);
            for (const { socket } of node.peers) if (socket?.nsp.name === "/") socket.emit("one", n);
          }
        });
        const expected = Array.from({ length: 40 }, (_, n) => [
          ["all", n],
          ["one", n],
        ]).flat();
        for (const log of got) assert.deepStrictEqual(log, expected);
      });

      it("leaves rooms with few sockets to Node", async () => {
        /** What the thread writes of an event, and of the markers behind it. @param {() => void} act */
        const writtenFor = async (act) => {
          const before = written(node);
          await heard(act);
          return written(node) - before;
        };
        await heard(() => node.io.emit("once"));
        const ofMarkers = await writtenFor(() => {});
        assert.strictEqual(await writtenFor(() => node.io.to("odd").emit("few")), ofMarkers);
        assert.strictEqual(await writtenFor(() => node.io.to("room").emit("many")), ofMarkers + SOCKETS);
      });

      it("has listeners see what they listen to", async () => {
        const [one, another] = node.peers;
        /** @type {any[][]} */
        const outgoing = [];
        const listener = (/** @type {any[]} */ ...args) => void outgoing.push(args);
        let packets = 0;
        const onPacket = () => packets++;
        await heard(() => node.io.emit("once"));
        one.socket.onAnyOutgoing(listener);
        another.socket.conn.on("packetCreate", onPacket);
        const got = await heard(() => {
          for (let n = 0; n < 10; n++) other.io.emit("n", n);
          for (let n = 10; n < 20; n++) node.io.emit("n", n);
        });
        for (const log of got) assert.strictEqual(log.length, 20);
        assert.strictEqual(outgoing.filter(([name]) => name === "n").length, 20);
        assert.ok(packets >= 20);
        one.socket.offAnyOutgoing(listener);
        another.socket.conn.off("packetCreate", onPacket);
        await heard(() => node.io.emit("n", 20));
        assert.strictEqual(outgoing.filter(([name]) => name === "n").length, 20);
      });
    });
  }

  it("leaves connections alone where the server compresses", async () => {
    const ring = await startRing({
      ...{ redis, nodes: ["ours"], sockets: SOCKETS, opts: { fanOut: true } },
      serverOpts: { perMessageDeflate: { threshold: 1 } },
    });
    try {
      const [node] = ring.nodes;
      const polling = await node.connect("/", { transports: ["polling"] });
      const before = { written: written(node), compressed: stats(node).refused.compressed ?? 0 };
      node.io.emit("n", 0);
      await waitFor(() => node.peers.every(({ log }) => log.length === 1), { what: "all to have it" });
      assert.deepStrictEqual(
        { written: written(node), compressed: stats(node).refused.compressed },
        { written: before.written, compressed: before.compressed + SOCKETS },
      );
      await polling.close();
    } finally {
      await ring.close();
    }
  });

  it("lends a connection once it has been upgraded", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: SOCKETS, opts: { fanOut: true } });
    try {
      const [node] = ring.nodes;
      const peer = await node.connect("/", { transports: ["polling", "websocket"] });
      let sent = 0;
      const isUpgraded = new Promise((resolve) => peer.socket.conn.once("upgrade", resolve));
      node.io.emit("n", sent++);
      await isUpgraded;
      const before = stats(node).lent;
      for (; sent < 20; sent++) node.io.emit("n", sent);
      assert.strictEqual(stats(node).lent - before, 1);
      await waitFor(() => node.peers.every(({ log }) => log.length === sent), { what: "all events" });
      assert.deepStrictEqual(
        peer.log.map(([, n]) => n),
        Array.from({ length: sent }, (_, n) => n),
      );
    } finally {
      await ring.close();
    }
  });

  it("lets go of connections that end, and of their file descriptors", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: SOCKETS, opts: { fanOut: true } });
    try {
      const [node] = ring.nodes;
      node.io.emit("n");
      const before = { lent: stats(node).lent, descriptors: descriptors() };
      for (let round = 0; round < 5; round++) {
        const peers = await Promise.all(Array.from({ length: SOCKETS }, () => node.connect("/", WEBSOCKET)));
        node.io.emit("n");
        for (const [n, { client, socket }] of peers.entries()) {
          if (n % 4 === 0) client.disconnect();
          if (n % 4 === 1) socket.disconnect(true);
          if (n % 4 === 2) socket.conn.transport.socket.terminate();
          if (n % 4 === 3) client.io.engine.transport.ws._socket.resetAndDestroy();
        }
        await waitFor(() => node.io.of("/").sockets.size === SOCKETS, { what: "the others to be gone" });
      }
      await waitFor(() => descriptors() <= before.descriptors, { what: "the descriptors to be closed" });
      assert.strictEqual(stats(node).lent, before.lent);
    } finally {
      await ring.close();
    }
  });

  it("writes everything before the process exits", async () => {
    const crowd = await Crowd.of({ redis, mode: "exit", clients: 100, messages: 3 });
    await crowd.go();
    await crowd.gone;
    assert.strictEqual(crowd.got, 300);
  });

  it("does the same in a worker thread, which may be terminated", async () => {
    const crowd = await Crowd.of({ redis, mode: "worker", clients: 40, messages: 2 });
    try {
      await crowd.go();
      assert.strictEqual(JSON.parse(await crowd.line()).lent, 40);
      await waitFor(() => crowd.got === 80, { what: "all to have it" });
      assert.strictEqual(await crowd.line(), "terminated");
      // The process goes on without it.
      await crowd.gone;
    } finally {
      crowd.end();
    }
  });

  it("does the same in the processes of a cluster", async () => {
    const crowd = await Crowd.of({ redis, mode: "cluster", clients: 80, messages: 2 });
    try {
      await crowd.go();
      await waitFor(() => crowd.got === 160, { what: "all to have it" });
    } finally {
      crowd.end();
    }
  });

  it("leaves file descriptors to those who want to connect", async function () {
    if (process.platform === "win32") skip(/** @type {any} */ (this), "Windows has no such limit");
    const crowd = await Crowd.of({ redis, mode: "stay", clients: 90, messages: 1, limit: 256 });
    try {
      await crowd.go();
      const first = JSON.parse(await crowd.line());
      assert.ok(first.lent > 0, JSON.stringify(first));
      await waitFor(() => crowd.got === 90, { what: "all to have it" });
      // Three quarters of the table are full with these.
      await crowd.connect(85);
      await crowd.go();
      const second = JSON.parse(await crowd.line());
      assert.ok(second.refused.scarce > 0 && second.returned > 0, JSON.stringify(second));
      await waitFor(() => crowd.got === 90 + 175, { what: "all to have the second one" });
      await crowd.connect(20);
      await crowd.go();
      await waitFor(() => crowd.got === 90 + 175 + 195, { what: "all to have the third one" });
    } finally {
      crowd.end();
    }
  });

  it("is off where Node does not write by the methods of the socket", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: 2 });
    try {
      const hub = new Hub();
      const [first, second] = ring.nodes[0].peers.map(({ socket }) => socket.conn);
      const { _socket: socket } = first.transport.socket;
      socket.write = () => true;
      assert.strictEqual(hub.lend(first), null);
      delete socket.write;
      assert.ok(!Object.hasOwn(socket, "_write"));
      assert.strictEqual(hub.lend(second), null);
      assert.deepStrictEqual(hub.stats().refused, { untested: 1 });
    } finally {
      await ring.close();
    }
  });

  it("touches not one function when it is off", async () => {
    const ring = await startRing({ redis, nodes: ["ours"], sockets: SOCKETS });
    try {
      const [node] = ring.nodes;
      node.io.emit("n");
      const plain = new Server(0, { transports: ["websocket"] });
      const { port } = /** @type {any} */ (plain.httpServer.address());
      const client = connect(`http://127.0.0.1:${port}`, WEBSOCKET);
      const [theirs] = await once(plain, "connection");
      const [{ socket: ours }] = node.peers;
      assert.deepStrictEqual(functionsOf(ours), functionsOf(theirs));
      client.disconnect();
      await plain.close();
      const { socket: ws } = ours.conn.transport;
      assert.ok(!Object.hasOwn(ws._socket, "_write") && ws._socket._write === net.Socket.prototype._write);
      assert.strictEqual(node.adapter().stats().fanOut, undefined);
    } finally {
      await ring.close();
    }
  });
});

/** @param {import("./support/ring").Node} node */
function stats(node) {
  return node.adapter().stats().fanOut;
}

/** @param {import("./support/ring").Node} node */
function written(node) {
  return stats(node).written;
}

/** How many file descriptors this process has. */
function descriptors() {
  return fs.readdirSync("/proc/self/fd").length;
}

/** The names of the functions that a socket and what is behind it have of their own. @param {any} socket */
function functionsOf(socket) {
  const { conn, client } = socket;
  const { transport } = conn;
  const objects = [socket, client, conn, transport, transport.socket, transport.socket._socket];
  return objects.map((object) =>
    Object.getOwnPropertyNames(object)
      .filter((name) => typeof object[name] === "function")
      .sort(),
  );
}

/** Clients of a server in a process of its own: child-fan-out.js. */
class Crowd {
  got = 0;
  /** @type {WebSocket[]} */
  #clients = [];
  #ends = [Promise.resolve()];
  /** @type {string[]} */
  #lines = [];
  #child;
  #port = 0;

  /**
   * @param {object} options
   * @param {import("./support/redis").RedisServer} options.redis
   * @param {"exit" | "stay" | "worker" | "cluster"} options.mode
   * @param {number} options.clients
   * @param {number} options.messages
   * @param {number} [options.limit] of file descriptors
   */
  static async of({ redis, mode, clients, messages, limit }) {
    const crowd = new Crowd(
      { REDIS_URL: redis.url, MODE: mode, MESSAGES: String(messages) },
      limit === undefined ? "" : `ulimit -n ${limit}; `,
    );
    crowd.#port = Number(await crowd.line());
    await crowd.connect(clients);
    return crowd;
  }

  /** @param {Record<string, string>} env @param {string} before the program, in the shell */
  constructor(env, before) {
    const program = path.join(__dirname, "support/child-fan-out.js");
    this.#child = spawn("sh", ["-c", `${before}exec "$0" "$1"`, process.execPath, program], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface(this.#child.stdout).on("line", (line) => this.#lines.push(line));
  }

  /** Resolves with the next line that the process prints. */
  async line() {
    await waitFor(() => this.#lines.length > 0, { timeout: 10_000, what: "a line of the server" });
    return /** @type {string} */ (this.#lines.shift());
  }

  /** @param {number} count */
  async connect(count) {
    const isConnected = Array.from({ length: count }, () => this.#connectOne());
    await Promise.all(isConnected);
  }

  #connectOne() {
    const ws = new WebSocket(`ws://127.0.0.1:${this.#port}/socket.io/?EIO=4&transport=websocket`);
    this.#clients.push(ws);
    this.#ends.push(new Promise((resolve) => ws.once("close", () => resolve())));
    return new Promise((resolve, reject) => {
      ws.on("error", reject);
      ws.on("message", (data) => {
        const packet = String(data);
        if (packet.startsWith("0")) ws.send("40");
        if (packet.startsWith("40")) resolve(null);
        if (packet.startsWith("42")) this.got++;
      });
    });
  }

  /** Has the server broadcast. */
  async go() {
    this.#clients[0].send('42["go"]');
  }

  /** Resolves when all connections have ended. */
  get gone() {
    return Promise.all(this.#ends);
  }

  end() {
    this.#child.kill();
  }
}
