// @ts-check
"use strict";

/**
 * A broadcast is compressed once for all clients that take the same bytes, and each gets what it would get otherwise, in its order.
 */

const assert = require("node:assert");
const { randomBytes } = require("node:crypto");
const zlib = require("node:zlib");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

const CLIENTS = 20;

/** The servers compress from here on. */
const THRESHOLD = 1024;

const LARGE = "large ".repeat(500);

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

describe("compression", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const adapter of FAMILIES) {
    describe(`without context takeover, ${adapter}`, () => {
      /** @type {import("./support/ring").Ring} */
      let ring;
      /** @type {import("./support/ring").Node} */
      let node;
      /** @type {import("./support/ring").Node} */
      let other;

      beforeEach(async () => {
        const perMessageDeflate = { threshold: THRESHOLD, serverNoContextTakeover: true };
        ring = await startRing({
          ...{ redis, adapter, nodes: ["ours", "ours"], serverOpts: { perMessageDeflate } },
          ...{ sockets: CLIENTS, socketOpts: { transports: ["websocket"] } },
        });
        [node, other] = ring.nodes;
      });
      afterEach(() => ring.close());

      for (const [from, sender] of /** @type {const} */ ([
        ["this server", () => node],
        ["another server", () => other],
      ])) {
        it(`happens once for broadcasts of ${from}`, async () => {
          const counts = count(node);
          other.peers.forEach(({ client }) => client.disconnect());
          await waitFor(() => other.io.of("/").sockets.size === 0);
          sender().io.emit("e", LARGE);
          await ring.mark(sender());
          for (const { log } of node.peers) assert.deepStrictEqual(log, [["e", LARGE]]);
          assert.deepStrictEqual(counts.end(), { once: 1, each: 0 });
        });

        it(`happens once for each attachment in broadcasts of ${from}`, async () => {
          const bytes = Buffer.alloc(3000, 7);
          const counts = count(node);
          other.peers.forEach(({ client }) => client.disconnect());
          await waitFor(() => other.io.of("/").sockets.size === 0);
          sender().io.emit("e", bytes, [bytes.subarray(0, 10)], LARGE);
          await ring.mark(sender());
          for (const { log } of node.peers)
            assert.deepStrictEqual(log, [["e", bytes, [bytes.subarray(0, 10)], LARGE]]);
          assert.deepStrictEqual(counts.end(), { once: 2, each: 0 });
        });
      }

      it("happens once for each size of window", async () => {
        for (const bits of [9, 12]) {
          const options = { transports: ["websocket"], perMessageDeflate: { serverMaxWindowBits: bits } };
          for (let n = 0; n < 3; n++) await node.connect("/", /** @type {any} */ (options));
        }
        const counts = count(node);
        node.io.local.emit("e", LARGE);
        await ring.mark(node);
        assert.deepStrictEqual(counts.end(), { once: 3, each: 0 });
        assert.strictEqual(node.peers.length, CLIENTS + 6);
        for (const { log } of node.peers) assert.deepStrictEqual(log, [["e", LARGE]]);
      });

      it("leaves small broadcasts as they are", async () => {
        const counts = count(node);
        node.io.local.emit("e", "small");
        await ring.mark(node);
        for (const { log } of node.peers) assert.deepStrictEqual(log, [["e", "small"]]);
        assert.deepStrictEqual(counts.end(), { once: 0, each: 0 });
      });

      it("does not happen if it is not wanted, nor if the broadcast is volatile", async () => {
        const counts = count(node);
        node.io.compress(false).local.emit("e", LARGE);
        await ring.mark(node);
        node.io.volatile.local.emit("v", LARGE);
        await ring.mark(node);
        assert.strictEqual(counts.end().once, 0);
        for (const { log } of node.peers)
          assert.deepStrictEqual(log, [
            ["e", LARGE],
            ["v", LARGE],
          ]);
      });

      it("does not keep the JS thread busy for few recipients", async () => {
        for (const { socket } of node.peers.slice(0, 3)) socket.join("few");
        const counts = count(node);
        node.io.local.to("few").emit("e", LARGE);
        // More than 20 recipients are worth.
        node.io.local.emit("h", "x".repeat(400_000));
        await ring.mark(node);
        assert.deepStrictEqual(counts.end(), { once: 0, each: 3 + CLIENTS });
        for (const [i, { log }] of node.peers.entries()) assert.strictEqual(log.length, i < 3 ? 2 : 1);
      });

      it("leaves connections alone whose packets somebody looks at", async () => {
        const [{ socket }] = node.peers;
        const packets = /** @type {any[]} */ ([]);
        socket.conn.on("packetCreate", (/** @type {any} */ packet) => packets.push(packet.data));
        const outgoing = /** @type {any[]} */ ([]);
        node.peers[1].socket.onAnyOutgoing((/** @type {any[]} */ ...args) => outgoing.push(args));
        const counts = count(node);
        node.io.local.emit("e", LARGE);
        await ring.mark(node);
        for (const { log } of node.peers) assert.deepStrictEqual(log, [["e", LARGE]]);
        assert.ok(packets.some((data) => String(data).includes(LARGE)));
        assert.deepStrictEqual(outgoing[0], ["e", LARGE]);
        assert.deepStrictEqual(counts.end(), { once: 1, each: 2 });
      });

      it("keeps the order of what goes to all and what goes to one", async () => {
        const sizes = [0, 100, 2000, 20_000];
        /** @type {any[][][]} */
        const sent = node.peers.map(() => []);
        for (let n = 0; n < 400; n++) {
          const text = "x".repeat(sizes[(n * 7) % 4]);
          const args = n % 5 === 0 ? [n, Buffer.from(text)] : [n, text];
          const at = n % CLIENTS;
          if (n % 3 === 0) {
            sent[at].push(["n", ...args]);
            node.peers[at].socket.emit("n", ...args);
          } else {
            for (const one of sent) one.push(["n", ...args]);
            node.io.local.emit("n", ...args);
          }
          if (n % 50 === 0) await new Promise((resolve) => setTimeout(resolve, n % 3));
        }
        await waitFor(() => node.peers.every(({ log }, i) => log.length === sent[i].length), {
          what: "all events",
        });
        for (const [i, { log }] of node.peers.entries()) assert.deepStrictEqual(log, sent[i]);
      });

      it("keeps what a slow client does not read in Engine.IO, and loses none of it", async () => {
        const [{ client, socket, log }] = node.peers;
        const { transport } = socket.conn;
        const tcp = client.io.engine.transport.ws._socket;
        tcp.pause();
        socket.join("slow");
        const slow = () => node.io.local.to("slow");
        let count = 0;
        // What is random is not compressed to less.
        for (; transport.writable; count++) {
          slow().emit("n", count, randomBytes(100_000).toString("hex"));
          await new Promise((resolve) => setImmediate(resolve));
          assert.ok(count < 1000, "the connection is never full");
        }
        const buffered = transport.socket.bufferedAmount;
        assert.ok(buffered > 0);
        for (const end = count + 3; count < end; count++) slow().emit("n", count, LARGE);
        slow().volatile.emit("v", LARGE);
        assert.strictEqual(transport.socket.bufferedAmount, buffered, "they wait in Engine.IO");
        tcp.resume();
        await waitFor(() => log.length === count, { what: "all events" });
        assert.deepStrictEqual(
          log.map(([name, n]) => [name, n]),
          Array.from({ length: count }, (_, n) => ["n", n]),
        );
      });
    });
  }

  it("is that of ws where options are for streams alone", async () => {
    for (const zlibDeflateOptions of [{ info: true }, { maxOutputLength: 10 }]) {
      const perMessageDeflate = { threshold: THRESHOLD, serverNoContextTakeover: true, zlibDeflateOptions };
      const ring = await startRing({
        ...{ redis, nodes: ["ours", "ours"], serverOpts: { perMessageDeflate } },
        ...{ sockets: 5, socketOpts: { transports: ["websocket"] } },
      });
      try {
        for (const { io } of ring.nodes) io.emit("e", LARGE, Buffer.alloc(2000));
        for (const node of ring.nodes) await ring.mark(node);
        for (const { log } of ring.peers()) assert.strictEqual(log.length, 2);
      } finally {
        await ring.close();
      }
    }
  });

  it("happens once for clients that recover their connection, too", async () => {
    const perMessageDeflate = { threshold: THRESHOLD, serverNoContextTakeover: true };
    const ring = await startRing({
      ...{ redis, adapter: "streams", nodes: ["ours", "ours"], sockets: 5 },
      serverOpts: { perMessageDeflate, connectionStateRecovery: {} },
      socketOpts: { transports: ["websocket"] },
    });
    try {
      const [node, other] = ring.nodes;
      const counts = count(node);
      other.io.emit("e", LARGE);
      await ring.mark(other);
      assert.deepStrictEqual(counts.end(), { once: 2, each: 0 }, "by each of the two servers");
      const [{ client }] = node.peers;
      client.io.engine.close();
      other.io.emit("while away", LARGE);
      client.connect();
      await once(client, "connect");
      assert.strictEqual(client.recovered, true);
      await ring.mark(other);
      assert.deepStrictEqual(
        node.peers[0].log.map(([name]) => name),
        ["e", "while away"],
      );
    } finally {
      await ring.close();
    }
  });

  it("with context takeover is that of ws", async () => {
    const perMessageDeflate = { threshold: THRESHOLD };
    const ring = await startRing({
      ...{ redis, nodes: ["ours"], serverOpts: { perMessageDeflate } },
      ...{ sockets: 3, socketOpts: { transports: ["websocket"] } },
    });
    try {
      const [node] = ring.nodes;
      const counts = count(node);
      node.io.emit("e", LARGE);
      await waitFor(() => node.peers.every(({ log }) => log.length === 1));
      assert.deepStrictEqual(counts.end(), { once: 0, each: 3 });
      for (const { log } of node.peers) assert.deepStrictEqual(log, [["e", LARGE]]);
    } finally {
      await ring.close();
    }
  });
});

/**
 * Counts what is compressed: for many connections at once, and by `ws` for each.
 *
 * @param {import("./support/ring").Node} node
 */
function count(node) {
  const found = { once: 0, each: 0 };
  const { deflateRawSync } = zlib;
  zlib.deflateRawSync = (...args) => {
    found.once++;
    return deflateRawSync(...args);
  };
  for (const { socket } of node.peers) {
    const deflating = socket.conn.transport.socket._extensions["permessage-deflate"];
    const { compress } = deflating;
    deflating.compress = (/** @type {any[]} */ ...args) => {
      found.each++;
      return compress.apply(deflating, args);
    };
  }
  return {
    end() {
      zlib.deflateRawSync = deflateRawSync;
      return found;
    },
  };
}
