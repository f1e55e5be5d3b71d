// @ts-check
"use strict";

/**
 * A link whose own connections failed goes back to them once they can be made: proven, and with nothing lost, doubled or
 * out of order.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const ours = require("..");
const { Emitter } = /** @type {any} */ (require("../emitter"));
const { KINDS, Node, endClient, makeClient } = require("./fixtures/nodes");
const { leavesNoRejection, sideBySide } = require("./fixtures/suite");
const { Receiver, Sender } = require("./fixtures/traffic");
const { countSubscribers } = require("./support/connect");
const { Gate } = require("./support/gate");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** Messages per second and way: many pairs run side by side, perhaps on a busy machine. */
const RATE = 50;

/** How long a change may take: some attempts come first. */
const CHANGE = { timeout: 60_000 };

/**
 * What makes clients look as if they were elsewhere: there the link's own connections go.
 *
 * @param {string} kind
 * @param {number} port
 */
function elsewhere(kind, port) {
  const options = kind === "ioredis" ? { host: "127.0.0.1", port } : { socket: { host: "127.0.0.1", port } };
  /** @type {WeakMap<object, any>} */
  const made = new WeakMap();
  return (/** @type {any} */ client) => {
    const known = made.get(client);
    if (known !== undefined) return known;
    const wrapped = new Proxy(client, {
      get(target, name) {
        if (name === "options") return options;
        const value = target[name];
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    made.set(client, wrapped);
    return wrapped;
  };
}

/** @typedef {{ kind: "node-redis" | "ioredis", sharded?: boolean, transport?: string }} Variant */

/** Two servers that know of each other: the own connections of one of them go by a gate, which is shut. */
class Pair {
  /** @param {Variant} variant */
  static async start({ kind, sharded = false, transport = "auto" }) {
    const [redis, gate] = await Promise.all([startRedis(), Gate.shut()]);
    return new Pair(kind, sharded, transport, redis, gate);
  }

  /**
   * @param {"node-redis" | "ioredis"} kind
   * @param {boolean} sharded
   * @param {string} transport
   * @param {import("./support/redis").RedisServer} redis
   * @param {Gate} gate
   */
  constructor(kind, sharded, transport, redis, gate) {
    this.redis = redis;
    this.gate = gate;
    this.sharded = sharded;
    this.createAdapter = sharded ? ours.createShardedAdapter : ours.createAdapter;
    this.wrap = elsewhere(kind, gate.port);
    this.options = { transport };
    const where = { port: redis.port };
    const { createAdapter } = this;
    this.b = new Node({ kind, redis: where, createAdapter });
    this.a = new Node({ kind, redis: where, createAdapter, wrap: this.wrap, options: this.options });
  }

  get carrier() {
    return this.a.adapter.transport.carrier;
  }

  /** Resolves when the clients carry the bytes of the one. */
  async fallBack() {
    await Promise.all([this.a.ready(), this.b.ready()]);
    await waitFor(() => this.carrier === "client", { what: "the clients to carry", ...CHANGE });
  }

  /** Resolves when its own connections do. */
  async comeBack() {
    await waitFor(() => this.carrier === "native", {
      what: `own connections to carry; ${this.gate.attempts} connections were made`,
      ...CHANGE,
    });
  }

  /** How many subscribers others count. */
  async subscribers() {
    const channel = this.sharded ? "socket.io#/#" : "socket.io-request#/#";
    return (await countSubscribers(this.redis, [channel], { sharded: this.sharded }))[0];
  }

  async stop() {
    await Promise.all([this.a.close(), this.b.close()]);
    await Promise.all([this.redis.stop(), this.gate.stop()]);
  }
}

/** What was lost, or may be. @param {Node} node */
function lossesOf(node) {
  const { lostInFlight, dropped, refused, early } = node.adapter.stats();
  return { lostInFlight, dropped, refused, early };
}

/** What is sent one way and what of it has come. */
class Traffic {
  /** @param {any} io @param {any} socket @param {string} event */
  constructor(io, socket, event) {
    this.sender = new Sender(io, event, RATE);
    this.receiver = new Receiver(socket, event);
  }

  /** Resolves when all is there, once and in order. */
  async end() {
    this.sender.stop();
    // One more is behind all others.
    this.sender.one();
    const { sent } = this.sender;
    await this.receiver.got(sent - 1, 30_000);
    const { doubled, misordered } = this.receiver;
    assert.deepStrictEqual([this.receiver.missing(sent), doubled, misordered], [[], [], []]);
  }
}

/** @type {{ name: string, run: () => Promise<void> }[]} */
const CASES = [
  {
    name: "takes all servers of the same clients along",
    run: async () => {
      const pair = await Pair.start({ kind: "node-redis" });
      const { a, b } = pair;
      const other = http.createServer();
      const io = new Server(other, {
        adapter: ours.createAdapter(pair.wrap(a.pub), pair.wrap(a.sub), pair.options),
        transports: ["websocket"],
      });
      const adapters = /** @type {any[]} */ ([a.io.of("/chat").adapter, io.of("/").adapter]);
      try {
        await pair.fallBack();
        await Promise.all(adapters.map(({ ready }) => ready));
        await new Promise((resolve) => other.listen(0, "127.0.0.1", () => resolve(undefined)));
        const { port } = /** @type {import("node:net").AddressInfo} */ (other.address());
        const socket = connect(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
        a.sockets.push(socket);
        await once(socket, "connect");
        const [chat, there] = [await a.connect("/chat"), await b.connect()];
        const ways = [
          new Traffic(b.io, socket, "to the other"),
          new Traffic(b.io.of("/chat"), chat, "to the namespace"),
          new Traffic(io, there, "from the other"),
          new Traffic(io, await a.connect(), "beside"),
        ];
        for (const { sender } of ways) sender.start();
        pair.gate.open(pair.redis.port);
        await pair.comeBack();
        await ways[0].sender.more(50);
        for (const way of ways) await way.end();
        await waitFor(async () => (await pair.subscribers()) === 3, { what: "three subscribers", ...CHANGE });
        assert.strictEqual(await b.adapter.serverCount(), 3);
      } finally {
        await io.close();
        await pair.stop();
      }
    },
  },

  {
    name: "takes many rooms along, and those that come and go meanwhile",
    run: async () => {
      const pair = await Pair.start({ kind: "node-redis", sharded: true });
      const { a, b } = pair;
      const rooms = Array.from({ length: 5000 }, (_, n) => `room${n}`);
      /** @type {Set<string>} */
      const present = new Set(rooms);
      const listening = async () => {
        const channels = rooms.map((room) => `socket.io#/#${room}#`);
        const counts = await countSubscribers({ port: pair.redis.port }, channels, { sharded: true });
        return rooms.filter((room, n) => counts[n] === Number(present.has(room))).length;
      };
      try {
        await pair.fallBack();
        const here = await a.connect();
        a.io.local.socketsJoin(rooms);
        await a.adapter.subscribed();
        const ways = ["room0", "room4999"].map(
          (room) => new Traffic({ emit: (event, n) => b.io.to(room).emit(event, n) }, here, `to ${room}`),
        );
        for (const { sender } of ways) sender.start();
        pair.gate.open(pair.redis.port);
        // Each comes and goes; the two that are written to stay.
        for (let n = 1; pair.carrier === "client"; n = (n + 1) % 4998) {
          const room = rooms[n + 1];
          if (present.delete(room)) a.io.local.socketsLeave(room);
          else {
            present.add(room);
            a.io.local.socketsJoin(room);
          }
          if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await pair.comeBack();
        for (const way of ways) await way.end();
        await waitFor(async () => (await listening()) === rooms.length, {
          what: "one subscriber to each room that is left, and none to the others",
          ...CHANGE,
        });
      } finally {
        await pair.stop();
      }
    },
  },

  {
    name: "is left again when the own connections fail again, and found again",
    run: async () => {
      const pair = await Pair.start({ kind: "ioredis" });
      const { a, b } = pair;
      try {
        await pair.fallBack();
        const there = new Receiver(await b.connect());
        for (let n = 0; n < 2; n++) {
          pair.gate.open(pair.redis.port);
          await pair.comeBack();
          a.io.emit("n", 2 * n);
          await there.got(2 * n);
          pair.gate.close();
          await waitFor(() => pair.carrier === "client", { what: "the clients to carry", ...CHANGE });
          a.io.emit("n", 2 * n + 1);
          await there.got(2 * n + 1);
        }
        assert.deepStrictEqual(there.numbers, [0, 1, 2, 3]);
        const isAnswered = (/** @type {any} */ { published, acknowledged }) => published === acknowledged;
        await waitFor(() => isAnswered(a.adapter.stats()), { what: "all to be answered" });
      } finally {
        await pair.stop();
      }
    },
  },

  ...KINDS.map((kind) => ({
    name: `is taken by an emitter, too: ${kind}`,
    run: async () => {
      const [redis, gate] = await Promise.all([startRedis(), Gate.shut()]);
      const b = new Node({ kind, redis: { port: redis.port } });
      const client = makeClient(kind, { port: redis.port });
      const emitter = new Emitter(elsewhere(kind, gate.port)(client));
      try {
        await b.ready();
        const way = new Traffic(emitter, await b.connect(), "there");
        way.sender.start();
        await waitFor(() => emitter.transport.carrier === "client", {
          what: "the client to carry",
          ...CHANGE,
        });
        await way.sender.more(50);
        gate.open(redis.port);
        await waitFor(() => emitter.transport.carrier === "native", { what: "own connections", ...CHANGE });
        await way.sender.more(50);
        await way.end();
        const { sent, lost } = await emitter.close();
        assert.deepStrictEqual([sent, lost], [way.sender.sent, 0]);
      } finally {
        await b.close();
        await endClient(client);
        await Promise.all([redis.stop(), gate.stop()]);
      }
    },
  })),

  {
    name: "leads nowhere if another Redis is there, and is tried ever more seldom",
    run: async () => {
      const pair = await Pair.start({ kind: "node-redis" });
      const wrong = await startRedis();
      const { a, b } = pair;
      try {
        await pair.fallBack();
        pair.gate.open(wrong.port);
        const way = new Traffic(a.io, await b.connect(), "there");
        way.sender.start();
        const before = pair.gate.attempts;
        await waitFor(() => pair.gate.attempts > before + 2, { what: "two attempts", ...CHANGE });
        await way.sender.more(50);
        assert.strictEqual(pair.carrier, "client");
        await way.end();
      } finally {
        await pair.stop();
        await wrong.stop();
      }
    },
  },

  {
    name: "is not looked for where the clients are to carry",
    run: async () => {
      const [told, pair] = await Promise.all(
        ["client", "auto"].map((transport) => Pair.start({ kind: "node-redis", transport })),
      );
      try {
        told.gate.open(told.redis.port);
        await Promise.all([told.fallBack(), pair.fallBack()]);
        pair.gate.open(pair.redis.port);
        // By then the other one would have tried, too.
        await pair.comeBack();
        assert.deepStrictEqual([told.carrier, told.gate.attempts], ["client", 0]);
      } finally {
        await Promise.all([told.stop(), pair.stop()]);
      }
    },
  },
];

describe("the way back to own connections", function () {
  this.timeout(120_000);

  /** @type {Variant[]} */
  const ALL = KINDS.flatMap((kind) => [
    { kind, sharded: false },
    { kind, sharded: true },
  ]);
  const nameOf = (/** @type {Variant} */ { kind, sharded }) => `${kind}, ${sharded ? "sharded" : "classic"}`;

  describe("loses, doubles and shuffles nothing", () => {
    sideBySide(
      ALL.map((variant) => ({ ...variant, name: nameOf(variant) })),
      async (variant) => {
        const pair = await Pair.start(variant);
        const { a, b } = pair;
        try {
          await pair.fallBack();
          const [here, there] = [await a.connect(), await b.connect()];
          for (const io of [a.io, b.io]) io.socketsJoin("room");
          await Promise.all([a.adapter.barrier(), b.adapter.barrier()]);
          const ways = [
            new Traffic(a.io, there, "there"),
            new Traffic(b.io, here, "here"),
            new Traffic({ emit: (event, n) => a.io.to("room").emit(event, n) }, there, "there, to a room"),
            new Traffic({ emit: (event, n) => b.io.to("room").emit(event, n) }, here, "here, to a room"),
          ];
          for (const { sender } of ways) sender.start();
          /** @type {number[]} */
          const found = [];
          let asks = true;
          const asked = (async () => {
            while (asks) {
              found.push((await a.io.fetchSockets()).length);
              await ways[0].sender.more(1);
            }
          })();
          await ways[0].sender.more(50);
          assert.strictEqual(pair.carrier, "client");
          /** @type {string[]} */
          const told = [];
          for (const event of ["degraded", "gap", "error", "disconnect"])
            a.adapter.on(event, (/** @type {any} */ why) => told.push(`${event} ${why?.message}`));
          const before = lossesOf(a);
          pair.gate.open(pair.redis.port);
          await pair.comeBack();
          const { proven, reason } = a.adapter.transport;
          assert.deepStrictEqual([proven, /^proven: /.test(reason)], [true, true]);
          await ways[0].sender.more(50);
          asks = false;
          await asked;
          for (const way of ways) await way.end();
          assert.deepStrictEqual(
            found.filter((count) => count !== 2),
            [],
          );
          assert.deepStrictEqual(told, []);
          await waitFor(async () => (await pair.subscribers()) === 2, { what: "two subscribers", ...CHANGE });
          assert.deepStrictEqual(lossesOf(a), before);
        } finally {
          await pair.stop();
        }
      },
    );
    leavesNoRejection();
  });

  describe("is tried again where it breaks, whatever has come in by then", () => {
    sideBySide(
      ALL.map((variant) => ({ ...variant, name: nameOf(variant) })),
      async (variant) => {
        const pair = await Pair.start(variant);
        const { a, b } = pair;
        try {
          await pair.fallBack();
          const [here, there] = [await a.connect(), await b.connect()];
          const ways = [new Traffic(a.io, there, "there"), new Traffic(b.io, here, "here")];
          for (const { sender } of ways) sender.start();
          // What divides the old from the new never comes in by the own connections.
          pair.gate.breakAt('"mark"', 1);
          pair.gate.open(pair.redis.port);
          await waitFor(() => pair.gate.breaks === 0, { what: "the mark", ...CHANGE });
          await pair.comeBack();
          for (const way of ways) await way.end();
        } finally {
          await pair.stop();
        }
      },
    );
    leavesNoRejection();
  });

  describe("in one case and another", () => {
    sideBySide(CASES, ({ run }) => run());
    leavesNoRejection();
  });
});
