// @ts-check
"use strict";

/**
 * Loaded before a snippet of the docs (`node --require`): sees the servers that it makes, waits until they hear each
 * other and do what the snippet has them do, says who carries their bytes, and ends the process.
 *
 * SNIPPET says in JSON what to wait for.
 */

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

/** @type {{ server: boolean, fragment: boolean, listens: boolean, connects: boolean, client: string }} */
const expected = JSON.parse(process.env.SNIPPET ?? "{}");

const ofProject = createRequire(path.join(process.cwd(), "package.json"));
const { Server } = ofProject("socket.io");

/** @type {Set<any>} */
const servers = new Set();
/** @type {(value: any) => void} */
let made = () => {};
const someServer = new Promise((resolve) => (made = resolve));
/** @type {(value: any) => void} */
let listening = () => {};
const listens = new Promise((resolve) => (listening = resolve));

const { adapter: setAdapter, listen } = Server.prototype;
Server.prototype.adapter = function (/** @type {any[]} */ ...args) {
  servers.add(this);
  const result = setAdapter.apply(this, args);
  // Once its constructor is done.
  setImmediate(made, this);
  return result;
};
Server.prototype.listen = function (/** @type {any[]} */ ...args) {
  const result = listen.apply(this, args);
  if (this.httpServer.listening) listening(this);
  else this.httpServer.once("listening", () => listening(this));
  return result;
};

/**
 * What a snippet leaves behind: an adapter that no server has yet, a client that no adapter has, functions that nobody
 * has called.
 *
 * @param {{ adapter?: any, pubClient?: any, functions: (() => any)[] }} left
 */
async function end({ adapter, pubClient, functions }) {
  await Promise.all(functions.map((call) => call()));
  if (servers.size === 0 && typeof adapter === "function") new Server({ adapter });
  if (servers.size === 0 && pubClient) {
    const { createAdapter } = ofProject("socket.io-redis-native");
    const clients = [pubClient, pubClient.duplicate()];
    await Promise.all(clients.map((client) => client.isOpen === false && client.connect()));
    new Server({ adapter: createAdapter(clients[0], clients[1]) });
  }
  if (!expected.server && servers.size === 0) {
    // What a fragment continues is still there; a program ends by itself.
    if (expected.fragment) process.exit(0);
    return;
  }
  await someServer;
  if (expected.listens) await listens;
  const report = [];
  for (const io of servers) {
    const { adapter } = io.of("/");
    await adapter.ready;
    report.push({ adapter: adapter.constructor.name, ...adapter.transport });
    if (expected.connects) await connect(io);
  }
  fs.writeSync(1, `\nSNIPPET ${JSON.stringify(report)}\n`);
  process.exit(0);
}

/** Has a client connect, and waits for what the server has to say to it. @param {any} io */
async function connect(io) {
  if (!io.httpServer?.listening) {
    io.listen(0);
    await listens;
  }
  const socket = require(expected.client)(`http://127.0.0.1:${io.httpServer.address().port}`);
  await new Promise((resolve) => socket.onAny(resolve));
  socket.close();
}

/** @type {any} */ (globalThis).snippet = { end };
