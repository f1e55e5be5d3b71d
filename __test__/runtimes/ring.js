// @ts-check
"use strict";

/**
 * A program for any runtime: a ring of two servers of ours and one of the reference, each with a client, and an emitter.
 * Whoever sends, everyone gets it. It ends by itself, with 0 if all was right. Arguments: the URL of Redis, the family,
 * the transport of ours.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const { connectClient, emitterTo, families, references } = require("./parts");
const { once, waitFor } = require("../support/wait");

const [url, family, transport] = process.argv.slice(2);
const key = `ring-${process.pid}`;

/** How long a step may take, in milliseconds. */
const PATIENCE = 15_000;

/** Which of the nodes is one of the reference. */
const REFERENCE = 1;

const BYTES = Buffer.from([0xff, 0x00, 0x7b, 0xfe, 0x0a]);
const TEXT = "grüße 🚀";

/**
 * @typedef {object} Node
 * @property {Server} io
 * @property {any} adapter
 * @property {any} socket a client's
 * @property {any[][]} log what it received
 */

/** @type {Node[]} */
const nodes = [];
/** @type {any[]} */
const clients = [];

async function connect() {
  const client = await connectClient(url);
  clients.push(client);
  return client;
}

/** @param {boolean} isOurs */
async function startNode(isOurs) {
  const client = await connect();
  const subscriber = family === "streams" ? null : await connect();
  const make = (isOurs ? families : references)[family];
  const server = http.createServer();
  const io = new Server(server, { adapter: make(client, subscriber, { key, transport }) });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  io.on("connection", (socket) => socket.join(["room", `of ${nodes.findIndex((node) => node.io === io)}`]));
  io.on("question", (/** @type {any} */ n, /** @type {any} */ answer) => answer(n + 1));
  /** @type {Node} */
  const node = { io, adapter, socket: null, log: [] };
  nodes.push(node);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  await adapter.ready;
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  node.socket = connectSocket(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
  node.socket.onAny((/** @type {any[]} */ ...args) => {
    if (args[0] === "ask") args.at(-1)(TEXT);
    else node.log.push(args);
  });
  await once(node.socket, "connect", PATIENCE);
}

/**
 * Resolves when each client has received what it should, and nothing else.
 *
 * @param {string} what
 * @param {(n: number) => any[][]} wanted of node n
 */
async function receive(what, wanted) {
  for (const [n, { log }] of nodes.entries()) {
    const right = wanted(n);
    await waitFor(() => log.length >= right.length, { timeout: PATIENCE, what: `${what} at node ${n}` });
    assert.deepStrictEqual(log.splice(0), right, `${what} at node ${n}`);
  }
}

/** @param {string} sender @param {any} io what emits: a server or an emitter */
async function broadcasts(sender, io) {
  io.emit("all", sender, TEXT);
  io.emit("all", sender, BYTES, { deep: [new Uint8Array([1, 2])] });
  io.compress(false).emit("all", sender, null);
  io.to("room").emit("all", sender, "to a room");
  io.to(["room", "nobody's"]).emit("all", sender, "to rooms");
  await receive(`what ${sender} has sent`, () => [
    ["all", sender, TEXT],
    ["all", sender, BYTES, { deep: [Buffer.from([1, 2])] }],
    ["all", sender, null],
    ["all", sender, "to a room"],
    ["all", sender, "to rooms"],
  ]);
  io.to("of 2").emit("some", sender, 2);
  io.except("of 0").emit("some", sender, "not 0");
  io.to("room").except(["of 1", "of 2"]).emit("some", sender, 0);
  io.emit("end");
  const some = [[["some", sender, 0]], [], [["some", sender, 2]]];
  const right = (/** @type {number} */ n) =>
    n === 0 ? some[0] : n === 1 ? [["some", sender, "not 0"]] : [...some[2], ["some", sender, "not 0"]];
  await receive(`what ${sender} has sent to some`, (n) => [...right(n), ["end"]]);
}

/** @param {number} n */
async function questions(n) {
  const { io } = nodes[n];
  const sockets = await io.fetchSockets();
  assert.deepStrictEqual(sockets.map(({ id }) => id).sort(), nodes.map(({ socket }) => socket.id).sort());
  // The reference keeps the process until the time is over, answered or not.
  const timeout = n === REFERENCE ? 1000 : PATIENCE;
  assert.deepStrictEqual(await io.timeout(timeout).emitWithAck("ask"), [TEXT, TEXT, TEXT]);
  assert.deepStrictEqual(await io.serverSideEmitWithAck("question", n), [n + 1, n + 1]);
  io.in("of 0").socketsJoin(`joined by ${n}`);
  await waitFor(() => nodes[0].adapter.rooms.has(`joined by ${n}`), { timeout: PATIENCE, what: "a join" });
  io.in("of 0").socketsLeave(`joined by ${n}`);
  await waitFor(() => !nodes[0].adapter.rooms.has(`joined by ${n}`), { timeout: PATIENCE, what: "a leave" });
}

async function main() {
  for (let n = 0; n < 3; n++) await startNode(n !== REFERENCE);
  for (const { adapter } of nodes) {
    await waitFor(async () => (await adapter.serverCount()) === nodes.length, {
      timeout: PATIENCE,
      what: `all ${nodes.length} servers to be counted`,
    });
  }
  // Who listens to the channel of a room, and reads the stream, is not to be seen from without.
  for (const { io } of nodes) {
    for (const room of ["room", "of 0", "of 1", "of 2"]) {
      const to = room === "room" ? nodes : [nodes[Number(room.at(-1))]];
      await waitFor(
        () => {
          io.to(room).emit("probe", room);
          return to.every(({ log }) => log.some(([event, of]) => event === "probe" && of === room));
        },
        { timeout: PATIENCE, what: `a message to ${room}` },
      );
    }
    io.emit("end of probes");
    for (const { log } of nodes) {
      await waitFor(() => log.some(([event]) => event === "end of probes"), { timeout: PATIENCE });
      log.length = 0;
    }
  }
  for (const [n, { io }] of nodes.entries()) {
    await broadcasts(`node ${n}`, io);
    await questions(n);
  }
  const emitter = emitterTo(family, transport === "native" ? url : await connect(), { key, transport });
  await broadcasts("the emitter", emitter);
  await emitter.flush();
  await emitter.close();
  for (const n of [0, 2]) {
    const { malformed, refused, dropped, lostInFlight } = nodes[n].adapter.stats();
    assert.deepStrictEqual([malformed, refused, dropped, lostInFlight], [0, 0, 0, 0]);
    const carrier = nodes[n].adapter.transport.carrier;
    assert.strictEqual(carrier, transport, nodes[n].adapter.transport.reason);
  }
  for (const { socket } of nodes) socket.disconnect();
  await Promise.all(nodes.map(({ io }) => io.close()));
  await Promise.all(clients.map((client) => client.quit()));
  console.log("one ring");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
