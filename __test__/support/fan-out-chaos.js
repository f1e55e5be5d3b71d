// @ts-check
"use strict";

/**
 * A server that emits numbered messages to clients which read slowly, vanish and come back: see numbered-clients.js. Broadcasts of
 * all kinds, of this server and of another, messages to single sockets, connections that the server ends.
 */

const { fork } = require("node:child_process");
const path = require("node:path");
const { setImmediate: nextTurn } = require("node:timers/promises");
const { mulberry32 } = require("./generated");
const { startRing } = require("./ring");
const { waitFor } = require("./wait");

const SIZES = [10, 10, 100, 100, 1000, 16_000, 64_000];

/** Returns what returns whole numbers from 0 up to less than `n`. @param {number} seed */
function randomOf(seed) {
  const random = mulberry32(seed);
  return (/** @type {number} */ n) => Math.floor(random() * n);
}

/** What the server has emitted. */
class Numbers {
  g = 0;
  /** @type {Record<string, number>} */
  all = {};

  /** @param {string} name */
  next(name) {
    this.all[name] = (this.all[name] ?? -1) + 1;
    return [this.g++, this.all[name]];
  }
}

const EMITS = {
  /** To all. */
  all: (/** @type {any} */ io) => io,
  even: (/** @type {any} */ io) => io.to("even"),
  both: (/** @type {any} */ io) => io.to(["even", "odd"]),
  notOdd: (/** @type {any} */ io) => io.except("odd"),
  local: (/** @type {any} */ io) => io.local,
};

/**
 * Resolves with what was wrong, in words, and how much was received.
 *
 * @param {object} options
 * @param {import("./redis").RedisServer} options.redis
 * @param {import("./ring").RingOptions["adapter"]} options.adapter
 * @param {boolean} options.fanOut
 * @param {number} options.seed
 * @param {number} options.clients
 * @param {number} options.rounds
 */
async function chaos({ redis, adapter, fanOut, seed, clients: count, rounds }) {
  const below = randomOf(seed);
  const ring = await startRing({
    ...{ redis, adapter, nodes: ["ours", "ours"], sockets: 0, opts: { fanOut } },
    serverOpts: { pingInterval: 100, pingTimeout: 20_000 },
  });
  const [{ io, port }, other] = ring.nodes;
  const numbers = new Numbers();
  let joined = 0;
  io.on("connection", (socket) => void socket.join(joined++ % 2 === 0 ? "even" : "odd"));
  const clients = fork(path.join(__dirname, "numbered-clients.js"), [port, count, seed].map(String));
  try {
    await waitFor(() => io.of("/").sockets.size >= count, { timeout: 20_000, what: "the clients" });
    let remote = 0;
    for (let round = 0; round < rounds; round++) {
      for (let n = below(8); n >= 0; n--) emitOne(io, numbers, below);
      // Numbered by itself: it goes its own way.
      for (let n = below(8); n > 0; n--) other.io.emit("remote", -1, remote++, "");
      if (below(10) === 0) dismiss(io, numbers, below);
      await nextTurn();
      if (below(4) === 0) await new Promise((resolve) => setTimeout(resolve, below(20)));
    }
    clients.send("calm");
    /** @returns {Promise<any>} */
    const report = () => new Promise((resolve) => (clients.once("message", resolve), clients.send("report")));
    // Those that have vanished come back first.
    let now = await report();
    const isCalm = async () => {
      now = await report();
      return now.open === count && io.of("/").sockets.size === count;
    };
    while (!(await isCalm())) {
      const { messages, connections } = now;
      // What was emitted may take long. It is too long if nothing comes any more.
      const isOn = async () => (await isCalm()) || now.messages > messages || now.connections > connections;
      await waitFor(isOn, { timeout: 20_000, what: `the clients to come back (seed ${seed})` });
    }
    io.emit("end", numbers.g++, null, numbers.all);
    let result = await report();
    const haveAll = async () => (result = await report()).waiting === 0;
    /** @type {string[]} */
    const faults = [];
    // Who waits for the rest of a frame that was torn never has all.
    await waitFor(haveAll, { timeout: 20_000, what: "the clients to have all" }).catch(({ message }) =>
      faults.push(message),
    );
    faults.push(...result.faults);
    const { stats } = /** @type {any} */ (io.of("/").adapter);
    return {
      faults: faults.map((fault) => `${fault} (seed ${seed})`),
      received: result.messages,
      connections: result.connections,
      stats: stats.call(io.of("/").adapter).fanOut,
    };
  } finally {
    clients.send("over");
    await ring.close();
  }
}

/** @param {any} io @param {Numbers} numbers @param {(n: number) => number} below */
function emitOne(io, numbers, below) {
  const payload = "x".repeat(SIZES[below(SIZES.length)]);
  const kind = below(12);
  const names = Object.keys(EMITS);
  if (kind === 0) return io.volatile.emit("volatile", numbers.g++, null, payload);
  if (kind < 4) {
    for (const socket of io.of("/").sockets.values())
      if (below(8) === 0) socket.emit("single", numbers.g, null, "");
    return void numbers.g++;
  }
  const name = /** @type {keyof typeof EMITS} */ (names[kind % names.length]);
  EMITS[name](io).emit(name, ...numbers.next(name), payload);
}

/** Ends a connection as a server does. @param {any} io @param {Numbers} numbers @param {(n: number) => number} below */
function dismiss(io, numbers, below) {
  const sockets = [...io.of("/").sockets.values()];
  const socket = sockets[below(sockets.length)];
  socket?.emit("bye", numbers.g++, null, numbers.all);
  socket?.disconnect(true);
}

module.exports = { chaos };
