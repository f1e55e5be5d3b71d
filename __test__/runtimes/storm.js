// @ts-check
"use strict";

/**
 * A program for any runtime: emits of every shape, as often as told, by a server without sockets. It ends by itself,
 * with 0 if all was published. Arguments: the URL of Redis, the family, the transport, how many of each shape.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { connectClient, families } = require("./parts");

const [url, family, transport, count] = process.argv.slice(2);

/** How many emits there are between two looks at what has left. */
const AT_ONCE = 1000;

/** How many may be on their way to Redis. */
const IN_FLIGHT = 20_000;

/** @type {Record<string, (io: any, n: number) => void>} */
const SHAPES = {
  "no room": (io, n) => io.emit("x", n),
  "no arguments": (io) => io.emit("x"),
  "a room": (io, n) => io.to("r").emit("x", n),
  rooms: (io, n) => io.to(["r", "s"]).emit("x", n),
  except: (io, n) => io.except("s").emit("x", n),
  "a room, except": (io, n) => io.to("r").except(["s", "t"]).emit("x", n),
  volatile: (io, n) => io.volatile.emit("x", n),
  compressed: (io, n) => io.compress(true).to("r").emit("x", n),
  binary: (io, n) => io.emit("x", Buffer.from([n & 255, 0xff])),
  "binary to a room": (io, n) =>
    io.to("r").emit("x", { of: new Uint8Array([n & 255]), more: [new ArrayBuffer(3)] }),
  "a date": (io, n) => io.emit("x", new Date(n)),
  "null and undefined": (io) => io.emit("x", null, undefined),
  "a long room": (io, n) => io.to("r".repeat(300)).emit("x", n),
  "no ASCII": (io, n) => io.to("grüße 🚀").emit("x", "grüße 🚀\ud800", n),
  "a number for a room": (io, n) => io.to(/** @type {any} */ (1)).emit("x", n),
  "between servers": (io, n) => io.serverSideEmit("x", n),
};

/** @param {any} stats @returns {number} how many messages did not get to Redis */
function lost({ dropped, refused, unencodable, lostInFlight }) {
  return dropped + refused + unencodable + lostInFlight;
}

/** @param {any} stats @returns {number} of how many messages it is known what has become of them */
function settled(stats) {
  return stats.acknowledged + lost(stats);
}

async function main() {
  const client = await connectClient(url);
  const subscriber = family === "streams" ? null : await connectClient(url);
  const server = http.createServer().listen(0, "127.0.0.1");
  const io = new Server(server, {
    adapter: families[family](client, subscriber, { key: "storm", transport }),
  });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  await adapter.ready;
  let emitted = 0;
  for (const [shape, emit] of Object.entries(SHAPES)) {
    for (let n = 0; n < Number(count); n++) {
      emit(io, n);
      if (++emitted % AT_ONCE !== 0) continue;
      // What waits for Redis is bounded, and what is beyond that is dropped.
      while (emitted - settled(adapter.stats()) > IN_FLIGHT)
        await new Promise((resolve) => setImmediate(resolve));
    }
    const stats = adapter.stats();
    if (lost(stats) > 0) throw new Error(`${shape}: not all was published: ${JSON.stringify(stats)}`);
  }
  while (emitted > settled(adapter.stats())) await new Promise((resolve) => setImmediate(resolve));
  if (lost(adapter.stats()) > 0) throw new Error(`not all was published: ${JSON.stringify(adapter.stats())}`);
  await io.close();
  client.disconnect();
  subscriber?.disconnect();
  console.log(`${Object.keys(SHAPES).length} shapes, ${count} of each`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
