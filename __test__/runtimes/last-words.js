// @ts-check
"use strict";

/**
 * A program for any runtime: it publishes and has nothing more to do. It ends by itself, after all that it published
 * has gone out. Arguments: the URL of Redis, the family, the transport, how many messages, and the prefix of channels
 * and streams.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { connectClient, families } = require("./parts");

const [url, family, transport, count, key] = process.argv.slice(2);

async function main() {
  const client = await connectClient(url);
  const subscriber = family === "streams" ? null : await connectClient(url);
  const adapter = families[family](client, subscriber, { key, transport });
  const io = new Server(http.createServer(), { adapter });
  for (let n = 0; n < Number(count); n++) io.emit("last words", n);
  /** @type {any} */ (io.of("/").adapter).close();
  client.quit();
  subscriber?.disconnect();
}

main();
