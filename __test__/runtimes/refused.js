// @ts-check
"use strict";

/**
 * A program for any runtime: it prints the first error of an adapter that Redis refuses. Arguments: the URL of Redis,
 * the family, the transport.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { connectClient, families } = require("./parts");

const [url, family, transport] = process.argv.slice(2);

async function main() {
  const clients = [await connectClient(url), await connectClient(url)];
  const io = new Server(http.createServer().listen(0, "127.0.0.1"), {
    adapter: families[family](clients[0], clients[1], { key: "refused", transport }),
  });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  const error = await new Promise((resolve) => adapter.once("error", resolve));
  adapter.on("error", () => {});
  console.log(error.message);
  await io.close();
  for (const client of clients) client.disconnect();
}

main();
