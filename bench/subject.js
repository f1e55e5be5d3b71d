// @ts-check
"use strict";

/**
 * The process that is measured: one Socket.IO server with one adapter, kept for the whole run. Nothing else
 * happens in it: messages are counted and written, and clients live, elsewhere.
 *
 * Arguments: adapter module or "", "redis" | "ioredis" | "", Redis URL, key, "static" | "dynamic" for the sharded
 * adapter, "streams" for that of streams, or "" for the classic one.
 */

const { once } = require("node:events");
const { createServer } = require("node:http");
const { setTimeout: sleep } = require("node:timers/promises");
const { Server } = require("socket.io");
const { burstOrders } = require("./burst.js");
const { answerOrders } = require("./child.js");
const { threadClock } = require("./cpu.js");
const { payloads } = require("./payloads.js");

const [adapterModule, clientName, url, key, mode] = process.argv.slice(2);

/** How long the adapter may take to subscribe, in milliseconds. */
const PATIENCE = 10_000;

/** @type {Server} */
let io;
/** Who waits for a marker, by its number: markers come in the order of their numbers. @type {Map<number, () => void>} */
const markers = new Map();
let lastMarker = 0;

answerOrders({
  /** Answers once the adapter is subscribed. */
  async open({ nodes = 1 }) {
    const http = createServer();
    io = new Server(http, {
      transports: ["websocket"],
      serveClient: false,
      pingInterval: 3_600_000,
      ...(adapterModule && { adapter: await createRedisAdapter() }),
    });
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    if (mode === "streams") hearMarkers();
    const deadline = Date.now() + PATIENCE;
    while ((await io.of("/").adapter.serverCount()) < nodes) {
      if (Date.now() > deadline) throw new Error("the adapter did not subscribe");
      await sleep(10);
    }
    const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
    return { port, threadClock: { name: threadClock.name, reason: threadClock.reason } };
  },

  /** What carries the messages, as far as the adapter tells. */
  transport: () => /** @type {any} */ (io.of("/").adapter).transport ?? null,

  /** Answers once a marker has come by the stream. */
  async settled({ id }) {
    // It may come sooner than the order.
    if (id <= lastMarker) return;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no marker comes by the stream")), 3 * PATIENCE);
      markers.set(id, () => {
        clearTimeout(timer);
        markers.delete(id);
        resolve(null);
      });
    });
  },

  ...burstOrders(() => io),

  /** Emits at a steady low rate; each message says when it was sent. */
  async pulse({ payload, rate, messages }) {
    const bodies = payloads(payload);
    for (let sent = 0; sent < messages; sent++) {
      // The clock is the same in all processes of a machine.
      io.emit("pulse", Number(process.hrtime.bigint()), bodies[sent % bodies.length]);
      await sleep(1000 / rate);
    }
  },
});

/**
 * Puts a socket without a client into a namespace of its own, which has the same stream: what comes there comes after
 * all that was added before.
 */
function hearMarkers() {
  const nsp = io.of("/markers");
  const socket = /** @type {any} */ ({
    id: "markers",
    rooms: new Set(),
    notifyOutgoingListeners: (/** @type {any} */ { data }) => {
      lastMarker = data[1];
      markers.get(lastMarker)?.();
    },
    client: { writeToEngine: () => {} },
  });
  nsp.sockets.set(socket.id, socket);
  nsp.adapter.addAll(socket.id, new Set([socket.id]));
}

async function createRedisAdapter() {
  const { createAdapter, createShardedAdapter } = require(adapterModule);
  const onError = (/** @type {Error} */ err) =>
    console.error(`${adapterModule} with ${clientName}: ${err.message}`);
  let clients;
  if (clientName === "redis") {
    const pubClient = require("redis").createClient({ url });
    clients = [pubClient, pubClient.duplicate()];
    for (const client of clients) client.on("error", onError);
    await Promise.all(clients.map((client) => client.connect()));
  } else {
    const { Redis } = require("ioredis");
    clients = [new Redis(url), new Redis(url)];
    for (const client of clients) client.on("error", onError);
  }
  const [pub, sub] = clients;
  // Nothing is trimmed while it is measured.
  if (mode === "streams")
    return createAdapter(pub, { channelPrefix: key, streamName: key, maxLen: 100_000_000 });
  return mode
    ? createShardedAdapter(pub, sub, { channelPrefix: key, subscriptionMode: mode })
    : createAdapter(pub, sub, { key });
}
