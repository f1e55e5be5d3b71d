// @ts-check
"use strict";

/**
 * A connection is lost with an entry on it that Redis has not read yet, and reads later: the entry was sent again by then.
 */

const assert = require("node:assert");
const net = require("node:net");
const { Server } = require("socket.io");
const streams = require("../streams");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

/** A way to Redis that can keep back what adds an entry, and lose the connection that it came by. */
class Proxy {
  /** Whether the next XADD is kept back. */
  holds = false;
  /** What was kept back, and where it would go. @type {{ bytes: Buffer, server: net.Socket } | null} */
  held = null;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  #listener;

  /** @param {number} to */
  constructor(to) {
    this.#listener = net.createServer((client) => {
      const server = net.connect(to, "127.0.0.1");
      let lost = false;
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
      }
      client.on("data", (bytes) => {
        if (lost) return;
        if (!this.holds || !bytes.includes("XADD")) return server.write(bytes);
        this.holds = false;
        this.held = { bytes, server };
        lost = true;
        client.destroy();
      });
      server.on("data", (bytes) => client.write(bytes));
      server.on("close", () => client.destroy());
      client.on("close", () => lost || server.destroy());
    });
  }

  /** @returns {Promise<number>} its port */
  listen() {
    return new Promise((resolve) => {
      this.#listener.listen(0, "127.0.0.1", () =>
        resolve(/** @type {net.AddressInfo} */ (this.#listener.address()).port),
      );
    });
  }

  /** Hands over what was kept back; resolves once Redis has answered it, or has closed the connection. */
  async release() {
    assert.ok(this.held);
    const { bytes, server } = this.held;
    if (server.closed || server.destroyed) return;
    const ended = new Promise((resolve) => server.once("data", resolve).once("close", resolve));
    server.write(bytes);
    await ended;
  }

  close() {
    this.#listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe("an entry that Redis reads late", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {Proxy} */
  let proxy;
  /** @type {any} */
  let adapter;

  before(async () => {
    const most = "on >secret ~* &* +@all";
    redis = await startRedis({ users: { all: most, some: `${most} -client|kill -client|info` } });
  });

  afterEach(async () => {
    adapter.close();
    proxy.close();
    await redis.cli("FLUSHALL");
  });

  after(() => redis.stop());

  /** Resolves with the number of entries in the end. @param {string} user */
  async function emitOnce(user) {
    proxy = new Proxy(redis.port);
    const port = await proxy.listen();
    const io = new Server({ adapter: streams.createAdapter(`redis://${user}:secret@127.0.0.1:${port}`) });
    adapter = io.of("/").adapter;
    await adapter.ready;
    io.emit("before");
    const length = async () => Number(await redis.cli("XLEN", "socket.io"));
    await waitFor(async () => (await length()) === 1);
    proxy.holds = true;
    io.emit("once");
    await waitFor(() => proxy.held);
    // Nothing of it has arrived, so it is sent again by another connection.
    await waitFor(async () => (await length()) === 2);
    await proxy.release();
    return length();
  }

  it("is not in the stream twice", async () => {
    assert.strictEqual(await emitOnce("all"), 2);
  });

  it("is in the stream at least where the user may not end connections", async () => {
    assert.ok((await emitOnce("some")) >= 2);
  });
});
