// @ts-check
"use strict";

/**
 * A program that lends a connection, and has nothing to do then: it has to end by itself.
 */

const assert = require("node:assert");
const net = require("node:net");
const { FanOut } = require("../../binding");

// Kept as long as the process.
const fanOut = new FanOut(() => {}, 1e6, 1e6);

const server = net.createServer((socket) => {
  assert.strictEqual(fanOut.adopt(/** @type {any} */ (socket)._handle.fd), 0);
  socket.destroy();
  server.close();
  process.disconnect?.();
});

server.listen(0, "127.0.0.1", () => {
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  // The connection stays open until the process ends, since the duplicate does.
  net.connect(port, "127.0.0.1").unref();
});

process.on("exit", () => assert.strictEqual(fanOut.stats().lent, 1));
