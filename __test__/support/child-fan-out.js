// @ts-check
"use strict";

/**
 * A server with `fanOut` that broadcasts when one of its clients says "go". The environment says how: REDIS_URL, MESSAGES, and MODE:
 * "exit" right behind it, "stay" and print what `stats()` says, the same in a thread ("worker") that is terminated then, or in two
 * processes ("cluster"). The first line of the output is the port.
 */

const cluster = /** @type {import("node:cluster").Cluster} */ (/** @type {any} */ (require("node:cluster")));
const http = require("node:http");
const { Worker, isMainThread, parentPort } = require("node:worker_threads");
const { Server } = require("socket.io");
const { createAdapter } = require("../..");

const { REDIS_URL = "", MESSAGES, MODE } = process.env;

/** @param {string} text */
function say(text) {
  if (parentPort !== null) parentPort.postMessage(text);
  else console.log(text);
}

async function serve() {
  const server = http.createServer();
  const io = new Server(server, {
    adapter: createAdapter(REDIS_URL, { fanOut: true, key: `fan-out ${MODE}` }),
    transports: ["websocket"],
  });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  io.on("connection", (socket) =>
    socket.on("go", () => {
      for (let n = 0; n < Number(MESSAGES); n++) io.emit("n", n);
      if (MODE === "exit") process.exit();
      say(JSON.stringify(adapter.stats().fanOut));
    }),
  );
  await adapter.ready;
  // In a cluster all processes are given the same one.
  server.listen(0, "127.0.0.1", () => {
    say(String(/** @type {import("node:net").AddressInfo} */ (server.address()).port));
  });
}

if (MODE === "cluster" && cluster.isPrimary) {
  for (let n = 0; n < 2; n++) cluster.fork();
} else if (MODE === "worker" && isMainThread) {
  const worker = new Worker(__filename);
  worker.on("message", async (text) => {
    console.log(text);
    if (!text.startsWith("{")) return;
    await worker.terminate();
    console.log("terminated");
  });
} else {
  void serve();
}
