// @ts-check
"use strict";

/**
 * One of the servers of `npm run bench -- --only delivery`: it delivers to real WebSocket clients, or emits to those of
 * another server.
 *
 * Arguments: adapter module or "" for the in-memory one, Redis URL, key, family ("classic" | "sharded" | "streams"), options of
 * the adapter in JSON.
 */

const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const { createServer } = require("node:http");
const { setTimeout: sleep } = require("node:timers/promises");
const { Server } = require("socket.io");
const { answerOrders } = require("./child.js");
const { usageOrders } = require("./usage.js");

const [adapterModule, url, key, family, json] = process.argv.slice(2);
const { fanOut, compresses } = JSON.parse(json);
/** The reference is given no options that it does not know. */
const options = fanOut ? { fanOut } : {};

/** How long the servers may take to find each other, in milliseconds. */
const PATIENCE = 20_000;

/** @type {Server} */
let io;
let number = 0;

answerOrders({
  async open() {
    const http = createServer();
    io = new Server(http, {
      transports: ["websocket"],
      serveClient: false,
      pingInterval: 3_600_000,
      perMessageDeflate: compresses && { threshold: 1024, serverNoContextTakeover: true },
      ...(adapterModule && { adapter: await createRedisAdapter() }),
    });
    http.listen(0, "127.0.0.1", 10_000);
    await once(http, "listening");
    return /** @type {import("node:net").AddressInfo} */ (http.address()).port;
  },

  /** Answers once all servers are there. */
  async meet({ nodes }) {
    const deadline = Date.now() + PATIENCE;
    while ((await io.of("/").adapter.serverCount()) < nodes) {
      if (Date.now() > deadline) throw new Error("the servers did not subscribe");
      await sleep(10);
    }
  },

  ...usageOrders(),

  /**
   * Emits to everybody, so many in one turn of the event loop; answers with the time of the last turn, in nanoseconds.
   *
   * @param {{ count: number, perTick: number, interval: number, bytes: number, kind: string }} details
   */
  async emit({ count, perTick, interval, bytes, kind }) {
    const payload = payloadOf(kind, bytes);
    let at = 0n;
    for (let done = 0; done < count;) {
      at = process.hrtime.bigint();
      for (const end = Math.min(done + perTick, count); done < end; done++) io.emit("n", number++, payload);
      await sleep(interval);
    }
    return Number(at);
  },
});

/** @param {string} kind @param {number} bytes about */
function payloadOf(kind, bytes) {
  if (kind === "binary") return randomBytes(bytes);
  if (kind === "text") return "x".repeat(bytes);
  /** @type {object[]} */
  const users = [];
  for (let id = 0; JSON.stringify(users).length < bytes; id++)
    users.push({
      id,
      name: `user ${(id * 7919) % 1000}`,
      at: 1_700_000_000_000 + id * 86_413,
      online: id % 3 > 0,
    });
  return users;
}

async function createRedisAdapter() {
  const { createAdapter, createShardedAdapter } = require(adapterModule);
  const pub = require("redis").createClient({ url });
  const sub = pub.duplicate();
  for (const client of [pub, sub])
    client.on("error", (/** @type {Error} */ err) => console.error(`${adapterModule}: ${err.message}`));
  await Promise.all([pub.connect(), sub.connect()]);
  if (family === "streams")
    return createAdapter(pub, { ...options, channelPrefix: key, streamName: key, maxLen: 1_000_000 });
  return family === "sharded"
    ? createShardedAdapter(pub, sub, { ...options, channelPrefix: key, subscriptionMode: "static" })
    : createAdapter(pub, sub, { ...options, key });
}
