// @ts-check
"use strict";

/** Asks twice for a socket that cannot be described, of a server in the same thread; says what was warned of. */

const { parentPort, workerData } = require("node:worker_threads");
const { startRing } = require("./ring");

/** @type {string[]} */
const warnings = [];
console.warn = (/** @type {string} */ text) => void warnings.push(text);

async function main() {
  const port = Number(new URL(workerData).port);
  const ring = await startRing({ redis: { port }, nodes: ["ours", "ours"], sockets: 1 });
  const [asking, { peers }] = ring.nodes;
  const socket = /** @type {any} */ (peers[0].socket);
  socket.data.self = socket.data;
  socket.handshake.auth.self = socket.handshake.auth;
  for (let n = 0; n < 2; n++) await asking.io.fetchSockets();
  await ring.close();
  parentPort?.postMessage(warnings);
}

void main();
