// @ts-check
"use strict";

/**
 * A script that emits and has nothing more to do; how is said in JSON in its first argument:
 * `{ port, key, clients, transport, mode, count }`. It exits by itself, or the test fails.
 */

const { Emitter } = require("../../emitter");

/** What sets the script apart from others on the same Redis. @type {Record<string, (key: string) => object>} */
const OPTIONS = {
  classic: (key) => ({ key }),
  sharded: (channelPrefix) => ({ channelPrefix }),
  streams: (key) => ({ channelPrefix: key, streamName: key, maxLen: 1_000_000 }),
};

const { port, clients, transport, mode, count, key } = JSON.parse(process.argv[2]);

process.on("unhandledRejection", (error) => {
  console.error("unhandled rejection:", error);
  process.exitCode = 3;
});

/** @returns {Promise<any>} */
async function connect() {
  if (clients === "ioredis") {
    const { Redis } = require("ioredis");
    return new Redis(port);
  }
  const { createClient } = require("redis");
  const client = createClient({ socket: { host: "127.0.0.1", port } });
  return client.on("error", () => {}).connect();
}

async function main() {
  const client = clients === "url" ? null : await connect();
  const emitter = new Emitter(client ?? `redis://127.0.0.1:${port}`, {
    mode,
    transport,
    ...OPTIONS[mode](key),
  });
  for (let i = 0; i < count; i++) emitter.emit("n", `${i} of many`);
  // quit() is the graceful one of ioredis, close() that of node-redis.
  if (client) await (clients === "ioredis" ? client.quit() : client.close());
}

main();
