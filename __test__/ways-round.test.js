// @ts-check
"use strict";

/**
 * Where the fast path cannot be taken, the way round it has the same outcome: for other parsers, other
 * transports, other implementations of the base class, and for listeners that look at packets.
 */

const assert = require("node:assert");
const path = require("node:path");
const { execFile } = require("node:child_process");
const { promisify } = require("node:util");
const { Adapter } = require("socket.io-adapter");
const msgpackParser = require("socket.io-msgpack-parser");
const notepack = require("notepack.io");
const textParser = require(require.resolve("socket.io-parser", { paths: [require.resolve("socket.io")] }));
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */

/** @type {import("./support/ring").Kind[]} */
const MIXED = ["ours", "reference", "ours"];
const PATIENCE = 5000;
const BINARY = Buffer.from([0, 0x7b, 0xff]);
const DATE = new Date(1234567890123);

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
/** @type {Ring} */
let ring;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

afterEach(() => ring?.close());

/** @param {Omit<import("./support/ring").RingOptions, "redis" | "nodes">} options */
async function start(options) {
  ring = await startRing({ redis, nodes: MIXED, ...options });
}

/**
 * Asserts that events from each node come to all clients.
 *
 * @param {any[]} args
 * @param {any[]} [wanted] what is received, if it is something else
 */
async function arrives(args, wanted = args) {
  for (const sender of ring.nodes) {
    for (const { peers } of ring.nodes) peers[0].socket.join("room");
    const got = await ring.collect(sender, () => {
      sender.io.emit("all", ...args);
      sender.io.to("room").emit("room", ...args);
      sender.io
        .to(["room", "other"])
        .compress(true)
        .emit("rooms", ...args);
    });
    const first = [
      ["all", ...wanted],
      ["room", ...wanted],
      ["rooms", ...wanted],
    ];
    assert.deepStrictEqual(
      got,
      ring.nodes.map(({ peers }) => peers.map((peer) => (peer === peers[0] ? first : first.slice(0, 1)))),
      sender.name,
    );
  }
}

/** Asserts that each node gets its answers from all. @param {any} [value] */
async function answers(value = { a: 1 }) {
  for (const peer of ring.peers()) {
    peer.client.off("ask");
    peer.client.on("ask", (/** @type {any[]} */ ...args) => args.at(-1)({ value, args: args.slice(0, -1) }));
  }
  for (const sender of ring.nodes) {
    const got = await sender.io.timeout(PATIENCE).emitWithAck("ask", value);
    assert.deepStrictEqual(
      got,
      ring.peers().map(() => ({ value, args: [value] })),
      sender.name,
    );
    assert.strictEqual((await sender.io.fetchSockets()).length, ring.peers().length);
    assert.strictEqual((await sender.adapter().allRooms()).has(ring.peers()[0].id), true);
    sender.io.socketsJoin("joined");
    await ring.markRequests(sender);
    for (const peer of ring.peers()) assert.ok(peer.rooms.includes("joined"));
    sender.io.socketsLeave("joined");
    await ring.markRequests(sender);
    const others = ring.nodes.filter((node) => node !== sender);
    for (const { io, index } of others) io.once("question", (n, ack) => ack({ n, index }));
    const said = await sender.io.serverSideEmitWithAck("question", 5);
    assert.deepStrictEqual(
      said.map(({ index }) => index).sort(),
      others.map(({ index }) => index),
    );
  }
}

describe("ways round", () => {
  for (const transport of /** @type {const} */ (["native", "client"])) {
    describe(transport, () => waysRound(transport));
  }

  it("a socket.io-adapter without frames", async () => {
    const script = path.join(__dirname, "support", "frameless.js");
    const { stdout } = await promisify(execFile)(process.execPath, [script, String(redis.port)], {
      timeout: 15_000,
    });
    const { frames, received } = JSON.parse(stdout);
    assert.strictEqual(frames, false);
    const log = [
      ["plain", 1, "é", { a: [null] }],
      ["date", "1970-01-01T00:00:00.005Z"],
      ["binary", { type: "Buffer", data: [1, 2] }],
    ];
    assert.deepStrictEqual(
      received,
      [0, 1, 2].map(() => [log, log, log]),
    );
  });
});

/** @param {"native" | "client"} transport */
function waysRound(transport) {
  describe("another parser of the server", () => {
    it("socket.io-msgpack-parser keeps dates and binary", async () => {
      await start({
        transport,
        serverOpts: { parser: msgpackParser },
        socketOpts: { parser: msgpackParser },
      });
      await arrives([1, "é", DATE, BINARY, { at: [DATE, BINARY] }, null]);
      await arrives([{ a: 1 }]);
      await arrives(["1970-01-01T00:00:00.000Z"]);
      await answers(BINARY);
    });

    it("a subclass of the encoder", async () => {
      class Encoder extends textParser.Encoder {
        /** @param {any} packet */
        encode(packet) {
          const data =
            packet.type === 2 && packet.data[0] !== "marker" ? [...packet.data, "signed"] : packet.data;
          return super.encode({ ...packet, data });
        }
      }
      await start({ transport, serverOpts: { parser: { ...textParser, Encoder } } });
      await arrives([1, BINARY], [1, BINARY, "signed"]);
      await arrives(["x"], ["x", "signed"]);
    });

    it("a replacer", async () => {
      class Encoder extends textParser.Encoder {
        constructor() {
          super((/** @type {string} */ key, /** @type {any} */ value) => (key === "secret" ? "***" : value));
        }
      }
      await start({ transport, serverOpts: { parser: { ...textParser, Encoder } } });
      await arrives([{ secret: 1, open: 2 }], [{ secret: "***", open: 2 }]);
      await answers();
    });

    it("one whose nodes differ: text here, msgpack there", async () => {
      const isBinary = (/** @type {number} */ index) => index === 2;
      await start({
        transport,
        nodes: ["ours", "reference", "ours"],
        sockets: 0,
        serverOpts: (/** @type {number} */ index) => (isBinary(index) ? { parser: msgpackParser } : {}),
      });
      for (const node of ring.nodes)
        await node.connect("/", isBinary(node.index) ? { parser: msgpackParser } : {});
      for (const sender of ring.nodes) {
        const got = await ring.collect(sender, () =>
          sender.io.emit("mixed", DATE, BINARY, { a: [1.5, "é"] }),
        );
        const wanted = (/** @type {any} */ date) => [[["mixed", date, BINARY, { a: [1.5, "é"] }]]];
        assert.deepStrictEqual(
          got,
          ring.nodes.map(({ index }) => wanted(isBinary(index) ? DATE : DATE.toISOString())),
        );
      }
    });
  });

  describe("another parser of the adapter", () => {
    const PARSERS = {
      "JSON behind a byte": {
        encode: (/** @type {any} */ value) => Buffer.from(`\u0001${JSON.stringify(value)}`),
        decode: (/** @type {Buffer} */ bytes) => JSON.parse(bytes.toString("utf8", 1)),
      },
      "JSON as a string": {
        encode: (/** @type {any} */ value) => JSON.stringify(value),
        decode: (/** @type {Buffer} */ bytes) => JSON.parse(bytes.toString()),
      },
      "notepack.io, given as an option": notepack,
      "an instance with state": new (class {
        #magic = 7;
        /** @param {any} value */
        encode(value) {
          return Buffer.concat([Buffer.from([this.#magic]), notepack.encode(value)]);
        }
        /** @param {Buffer} bytes */
        decode(bytes) {
          assert.strictEqual(bytes[0], this.#magic);
          return notepack.decode(bytes.subarray(1));
        }
      })(),
    };
    for (const [what, parser] of Object.entries(PARSERS)) {
      for (const publishOnSpecificResponseChannel of [false, true]) {
        it(`${what}${publishOnSpecificResponseChannel ? ", response channels of one's own" : ""}`, async () => {
          await start({ transport, opts: { parser, publishOnSpecificResponseChannel } });
          await arrives([1, "é", { a: [null, 1.5] }, []]);
          await answers();
          if (what.includes("JSON")) return;
          await arrives([BINARY, DATE], [BINARY, DATE.toISOString()]);
          await answers(BINARY);
        });
      }
    }
  });

  describe("other ways to the client", () => {
    it("long-polling", async () => {
      await start({ transport, socketOpts: { transports: ["polling"] } });
      await arrives([1, "é 漢 🦀", { a: [null] }]);
      await arrives([BINARY, { b: BINARY }, "after"]);
      await answers(BINARY);
    });

    it("an upgrade in mid-traffic", async () => {
      /** @type {(_?: any) => void} */
      let open = () => {};
      const opened = new Promise((resolve) => (open = resolve));
      const setUp = (/** @type {import("socket.io").Server} */ io) =>
        void io.engine.use((/** @type {any} */ request, /** @type {any} */ _, /** @type {any} */ next) => {
          if (request.headers.upgrade) opened.then(() => next());
          else next();
        });
      const socketOpts = { transports: ["polling", "websocket"] };
      await start({ transport, sockets: 1, setUp, socketOpts });
      const clients = ring.peers();
      /** @type {Record<string, number>} */
      const carriers = { polling: 0, websocket: 0 };
      for (const { client } of clients) client.onAny(() => carriers[client.io.engine.transport.name]++);
      let n = 0;
      const sent = ring.nodes.map(() => /** @type {any[][]} */ ([]));
      const send = () => {
        for (const sender of ring.nodes) {
          const args = ["n", sender.index, n++, n % 3 ? "text" : BINARY];
          sent[sender.index].push(args);
          sender.io.emit(.../** @type {[any]} */ (/** @type {any} */ (args)));
        }
      };
      send();
      for (const sender of ring.nodes) await ring.mark(sender);
      open();
      const deadline = Date.now() + PATIENCE;
      while (!clients.every(({ client }) => client.io.engine.transport.name === "websocket")) {
        assert.ok(Date.now() < deadline, "no upgrade");
        send();
        await new Promise((resolve) => setImmediate(resolve));
      }
      send();
      for (const sender of ring.nodes) await ring.mark(sender);
      assert.ok(carriers.polling > 0 && carriers.websocket > 0, JSON.stringify(carriers));
      for (const { log } of clients) {
        for (const sender of ring.nodes) {
          assert.deepStrictEqual(
            log.filter(([, index]) => index === sender.index),
            sent[sender.index],
          );
        }
      }
    });

    it("compressed messages", async () => {
      await start({ transport, serverOpts: { perMessageDeflate: { threshold: 0 } } });
      const long = "long ".repeat(2000);
      await arrives([long, { long }]);
      await arrives([Buffer.from(long)]);
      for (const sender of ring.nodes) {
        const got = await ring.collect(sender, () => {
          sender.io.compress(true).emit("pressed", long);
          sender.io.compress(false).emit("plain", long);
        });
        assert.deepStrictEqual(
          got,
          ring.nodes.map(() =>
            [0, 1].map(() => [
              ["pressed", long],
              ["plain", long],
            ]),
          ),
        );
      }
    });
  });

  describe("listeners for outgoing packets", () => {
    it("see what the reference's see", async () => {
      await start({ transport });
      class Point {
        x = 1;
      }
      const args = [
        "é",
        1.5,
        DATE,
        BINARY,
        { at: [DATE, undefined, { b: BINARY }], gone: undefined },
        undefined,
        null,
        new Point(),
      ];
      /** @type {any[][][]} */
      const seen = ring.nodes.map(() => []);
      for (const { index, peers } of ring.nodes) {
        peers[0].socket.onAnyOutgoing((/** @type {any[]} */ ...data) => {
          if (data[0] !== "marker") seen[index].push(data);
        });
      }
      for (const sender of ring.nodes) {
        for (const list of seen) list.length = 0;
        await ring.collect(sender, () => {
          sender.io.emit("all", ...args);
          sender.io.emit("plain", 1, "a", { b: [1, { c: null }] });
          sender.io.emit("binary", BINARY, { b: BINARY });
          sender.io.emit("none");
        });
        const decoded = notepack.decode(notepack.encode(args));
        const remote = [
          ["all", ...decoded],
          ["plain", 1, "a", { b: [1, { c: null }] }],
          ["binary", BINARY, { b: BINARY }],
          ["none"],
        ];
        for (const node of ring.nodes) {
          if (node !== sender)
            assert.deepStrictEqual(seen[node.index], remote, `${sender.name} to ${node.name}`);
        }
      }
    });

    it("may throw, and later messages come all the same", async () => {
      await start({ transport, nodes: ["ours", "ours"], sockets: 1 });
      const [sender, receiver] = ring.nodes;
      const told = once(receiver.adapter(), "error");
      const error = new Error("from a listener");
      receiver.peers[0].socket.onAnyOutgoing((/** @type {any} */ name) => {
        if (name === "bad") throw error;
      });
      const got = await ring.collect(sender, () => {
        sender.io.emit("before");
        sender.io.emit("bad");
        sender.io.emit("after", BINARY);
      });
      assert.deepStrictEqual(await told, [error]);
      assert.deepStrictEqual(got[1], [[["before"], ["after", BINARY]]]);
    });
  });

  describe("a replaced broadcast()", () => {
    const original = Adapter.prototype.broadcast;
    afterEach(() => {
      Adapter.prototype.broadcast = original;
    });

    it("as that for uWebSockets.js is called with whole packets", async () => {
      await start({ transport });
      let calls = 0;
      // After uws.js of socket.io, with sockets in the place of its topics.
      Adapter.prototype.broadcast = function (packet, opts) {
        if (opts.rooms.size > 1 || (opts.except?.size ?? 0) > 0) return original.call(this, packet, opts);
        // Not when it is asked what it does.
        if (this.sids.size > 0) calls++;
        const flags = opts.flags || {};
        const basePacketOpts = { preEncoded: true, volatile: flags.volatile, compress: flags.compress };
        packet.nsp = this.nsp.name;
        const encodedPackets = this.encoder.encode(packet);
        const sids = opts.rooms.size === 0 ? this.sids.keys() : (this.rooms.get([...opts.rooms][0]) ?? []);
        for (const sid of sids) {
          /** @type {any} */ (this.nsp.sockets.get(sid)).client.writeToEngine(encodedPackets, basePacketOpts);
        }
      };
      await arrives([1, "é", { a: [null] }]);
      await arrives([DATE], [DATE.toISOString()]);
      await arrives([BINARY, DATE, { b: BINARY }], [BINARY, DATE.toISOString(), { b: BINARY }]);
      // Of the three events of each call, two are to everyone or one room, and each comes to three nodes, from
      // three; besides, there is a marker.
      assert.strictEqual(calls, 3 * 3 * 3 * 3);
    });
  });
}
