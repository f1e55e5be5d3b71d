// @ts-check
"use strict";

/**
 * The process that `npm run bench -- --only scale` measures: one Socket.IO server in which many things stand still,
 * and what a message costs beside them.
 *
 * Arguments: Redis URL, key, family ("classic" | "sharded" | "streams").
 */

const { setTimeout: sleep } = require("node:timers/promises");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const binding = require("../binding.js");
const { answerOrders } = require("./child.js");
const { cpuTimes } = require("./cpu.js");

const [url, key, family] = process.argv.slice(2);

/** How long a request of the bench waits, in milliseconds: longer than a run. */
const FOREVER = 3_600_000;

/** Emits between two turns of the event loop. */
const PER_TICK = 16;

/** Sessions that are restored at a time; the adapter takes 10,000. */
const AT_A_TIME = 1000;

/** The id, and so the room, of the socket that hears markers. */
const MARKERS = "markers";

const NOBODY = { rooms: new Set(["nobody-here"]), except: new Set(), flags: {} };

/** @type {Server} */
let io;
/** The one socket that messages are for: it has a room of its own. @type {any} */
let target;
/** @type {Awaited<ReturnType<typeof cpuTimes>>} */
let start;
const client = createClient({ url });
/** How many entries the stream had got when the clocks were started. */
let added = 0;
/** Called when a marker comes by the stream. */
let onMarker = () => {};

/** What stands still, by its name: each makes `size` of it. @type {Record<string, (size: number) => Promise<void>>} */
const STANDING = {
  /** Rooms of the one socket. With the sharded adapter each is a subscription. */
  async rooms(size) {
    target.join(Array.from({ length: size }, (_, i) => `standing-${i}`));
    await io.of("/").adapter.barrier();
  },

  async namespaces(size) {
    const adapters = Array.from({ length: size }, (_, i) => io.of(`/standing-${i}`).adapter);
    await Promise.all(adapters.map(({ ready }) => ready));
  },

  /** Requests that another server does not answer: it listens, and is silent. */
  async requests(size) {
    const silent = client.duplicate();
    await silent.connect();
    await silent.subscribe([`${key}-request#/#`, `${key}-response#/#`], () => {});
    const { adapter } = io.of("/");
    for (let i = 0; i < size; i++) adapter.fetchSockets(NOBODY).catch(() => {});
    while (adapter.stats().pendingRequests < size) await sleep(20);
  },

  async sockets(size) {
    for (let i = 0; i < size; i++) addSocket(`standing-${i}`);
  },

  /** Sessions whose clients have come back, and have not connected yet. */
  async sessions(size) {
    const { adapter } = io.of("/");
    const offset = await mark();
    for (let done = 0; done < size; done += AT_A_TIME) {
      const pids = Array.from({ length: Math.min(AT_A_TIME, size - done) }, (_, i) => `pid-${done + i}`);
      for (const pid of pids)
        adapter.persistSession({ sid: `sid-${pid}`, pid, rooms: [`sid-${pid}`], data: {} });
      // They are kept in order.
      while (!(await client.exists(key + pids[pids.length - 1]))) await sleep(5);
      const restored = await Promise.all(pids.map((pid) => adapter.restoreSession(pid, offset)));
      if (restored.some((session) => session === null)) throw new Error("a session was not restored");
    }
  },
};

answerOrders({
  /** Answers once everything stands. */
  async open({ what, size }) {
    client.on("error", () => {});
    await client.connect();
    io = new Server({ adapter: adapter(), ...(what === "sessions" && { connectionStateRecovery: {} }) });
    target = addSocket("target");
    addSocket(MARKERS, () => onMarker());
    await io.of("/").adapter.ready;
    await STANDING[what](size);
  },

  /** Starts the clocks. */
  async begin() {
    if (family === "streams") added = await entriesAdded();
    binding.longestStep();
    start = await cpuTimes();
  },

  /** What was used since: CPU times in nanoseconds, the longest step of the link thread in milliseconds. */
  async end() {
    const now = await cpuTimes();
    return {
      thread: now.thread === null || start.thread === null ? null : now.thread - start.thread,
      process: now.process - start.process,
      elapsedMs: now.at - start.at,
      longestStepMs: binding.longestStep(),
    };
  },

  /** Emits to a room that nobody here is in. */
  emit: ({ messages }) => each(messages, () => io.to("nobody-here").emit("message", "x")),

  /** Emits to the one socket, which does not acknowledge. */
  async ask({ messages }) {
    let ended = 0;
    await each(messages, () =>
      io
        .to("target")
        .timeout(1)
        .emit("message", "x", () => ended++),
    );
    while (ended < messages) await sleep(1);
  },

  /** Has the one socket join a room and leave it. */
  change: ({ messages }) =>
    each(messages, (i) => {
      target.join(`changing-${i % 100}`);
      target.leave(`changing-${i % 100}`);
    }),

  /** Answers once Redis, and the link, have done with all that was emitted or received before. */
  settled: ({ entries }) =>
    family === "streams" ? settledStream(entries) : io.of("/").adapter.serverCount(),

  /** Ends the link's connections; answers with what it took until the link stood again. */
  async reconnect() {
    const { adapter } = io.of("/");
    const again = new Promise((resolve) => adapter.once("ready", resolve));
    const before = await load();
    const list = String(await client.sendCommand(["CLIENT", "LIST", "TYPE", "pubsub"]));
    for (const [, id, name] of list.matchAll(/^id=(\d+) .* name=(\S*) /gm)) {
      if (name !== "bench-wire") await client.sendCommand(["CLIENT", "KILL", "ID", id]);
    }
    await again;
    const after = await load();
    return { counts: after.counts - before.counts, bytes: after.bytes - before.bytes };
  },
});

/** Resolves with how often Redis was asked to count subscribers, and the bytes that it was sent. */
async function load() {
  const info = await client.info("all");
  const calls = [...info.matchAll(/^cmdstat_pubsub\|(?:shard)?numsub:calls=(\d+)/gm)];
  return {
    counts: calls.reduce((sum, [, n]) => sum + Number(n), 0),
    bytes: Number(/total_net_input_bytes:(\d+)/.exec(info)?.[1]),
  };
}

/** Resolves with how many entries the stream has got so far. */
async function entriesAdded() {
  const info = await client.xInfoStream(key).catch(() => null);
  return Number(info?.["entries-added"] ?? 0);
}

/**
 * Resolves once Redis has got so many entries since the start of the clocks, and the reader has come by all of them.
 *
 * @param {number} entries
 */
async function settledStream(entries) {
  while ((await entriesAdded()) < added + entries) await sleep(5);
  await mark();
}

/** Adds an entry for the socket of markers; resolves with its id once that has got it. */
async function mark() {
  const come = new Promise((resolve) => (onMarker = () => resolve(null)));
  const data = { packet: { type: 2, data: ["marker"] }, opts: { rooms: [MARKERS], except: [], flags: {} } };
  const entry = { uid: "bench", nsp: "/", type: "3", data: JSON.stringify(data) };
  const id = await client.xAdd(key, "*", entry);
  await come;
  return id;
}

/** @param {number} messages @param {(i: number) => void} act */
async function each(messages, act) {
  for (let done = 0; done < messages;) {
    for (const end = Math.min(done + PER_TICK, messages); done < end; done++) act(done);
    await new Promise(setImmediate);
  }
}

/**
 * A socket without a client: what is written to it is forgotten.
 *
 * @param {string} id
 * @param {() => void} [onPacket]
 */
function addSocket(id, onPacket = () => {}) {
  const nsp = io.of("/");
  const socket = {
    id,
    rooms: new Set(),
    handshake: {},
    data: {},
    acks: new Map(),
    notifyOutgoingListeners: () => {},
    client: { writeToEngine: onPacket },
    join: (/** @type {string | string[]} */ rooms) => nsp.adapter.addAll(id, new Set([rooms].flat())),
    leave: (/** @type {string} */ room) => nsp.adapter.del(id, room),
  };
  nsp.sockets.set(/** @type {any} */ (id), /** @type {any} */ (socket));
  socket.join(id);
  return socket;
}

/** @returns {any} */
function adapter() {
  const { createAdapter, createShardedAdapter } = require("..");
  if (family === "classic") return createAdapter(url, { key, requestsTimeout: FOREVER });
  if (family === "sharded")
    return createShardedAdapter(url, { channelPrefix: key, requestsTimeout: FOREVER });
  // Nothing is trimmed while it is measured.
  const options = { channelPrefix: key, streamName: key, sessionKeyPrefix: key, maxLen: 100_000_000 };
  return require("../streams").createAdapter(url, options);
}
