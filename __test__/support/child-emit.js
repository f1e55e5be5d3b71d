// @ts-check
"use strict";

/**
 * A script that emits and has nothing more to do; how is said in JSON in its first argument:
 * `{ port, key, clients, transport, count, when, end }`. It exits by itself, or the test fails.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { createAdapter } = require("../..");

const { port, clients, transport, count = 1, when = "tick", end = "", key } = JSON.parse(process.argv[2]);

process.on("unhandledRejection", (error) => {
  console.error("unhandled rejection:", error);
  process.exitCode = 3;
});

/** @returns {Promise<any[]>} */
async function makeClients() {
  if (clients === "url") return [];
  if (clients === "ioredis") {
    const { Redis } = require("ioredis");
    return [new Redis(port), new Redis(port)];
  }
  const { createClient } = require("redis");
  const both = [1, 2].map(() => createClient({ socket: { host: "127.0.0.1", port } }));
  for (const client of both) client.on("error", () => {});
  await Promise.all(both.map((client) => client.connect()));
  return both;
}

async function main() {
  const given = await makeClients();
  const [pub, sub] = given;
  const options = { transport, key };
  const adapter =
    clients === "url"
      ? createAdapter(`redis://127.0.0.1:${port}`, options)
      : createAdapter(pub, sub, options);
  const io = new Server(http.createServer(), { adapter });
  const main = /** @type {any} */ (io.of("/").adapter);
  if (when === "ready") await main.ready;
  for (let i = 0; i < count; i++) io.emit("n", i);
  if (end === "process.exit") process.exit(0);
  if (end === "server") await io.close();
  if (end === "adapter") main.close();
  for (const client of given) {
    // quit() is the graceful one of ioredis, close() that of node-redis.
    if (end === "clients") (clients === "ioredis" ? client.quit() : client.close()).catch(() => {});
    if (end === "clients at once") clients === "ioredis" ? client.disconnect() : client.destroy();
  }
}

main();
