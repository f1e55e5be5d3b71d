// @ts-check
"use strict";

/**
 * What is done for an example of docs/PROTOCOL.md: what makes servers publish it, and what they do when they receive it.
 */

const assert = require("node:assert");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { once, waitFor } = require("../support/wait");
const { ANSWERER, PRIVATE_ID, SOCKET, exampleOf } = require("./page");

/**
 * @typedef {import("../support/ring").Node} Node
 * @typedef {import("../support/wire-examples").Example} Example
 * @typedef {import("./rig").Rig} Rig
 */

// --- what is published ------------------------------------------------------------------------------------

/** By all nodes, for what the example names. @param {Rig} rig @param {Example} example */
async function byBoth(rig, example) {
  for (const node of rig.ring.nodes) await rig.expect(example, [node], () => rig.run(example, node));
}

/** By ours. @param {Rig} rig @param {Example} example */
async function byOurs(rig, example) {
  const [node] = rig.ring.ours;
  await rig.expect(example, [node], () => rig.run(example, node));
}

/** By the emitters of these packages. @param {object} options @param {string[]} packages */
function byEmitters(options, packages) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ example) => {
    for (const name of packages) {
      const { Emitter } = require(name);
      const emitter = new Emitter(rig.ring.raw, options);
      const run = new Function("emitter", `return (${example.notes[0]});`);
      await rig.expect(example, [rig.ring.nodes[0]], () => run(emitter));
      await emitter.close?.();
    }
  };
}

const EMITTERS = ["../../emitter", "@socket.io/redis-emitter"];

/**
 * Each node answers one example with another.
 *
 * @param {string} request
 * @param {string} response
 * @param {(rig: Rig, example: Example) => any} prepare what is there when it is asked; returns what ends it
 */
function answers(request, response, prepare) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ given) => {
    const wanted = exampleOf(response);
    const end = await prepare(rig, wanted);
    const ask = () => rig.send(given.name === request ? given : exampleOf(request));
    // The id of the request is repeated as it is.
    await rig.expect(wanted, rig.ring.nodes, ask, {
      uid: rig.isClassic ? rig.sender : ANSWERER,
      request: "",
    });
    end?.();
  };
}

/** All clients are in a room, and answer. @param {Rig} rig */
async function clientsAnswer(rig) {
  await rig.join("room");
  const peers = rig.ring.peers();
  for (const { client } of peers) client.on("ask", (/** @type {any} */ answer) => answer("pong"));
  return () => peers.forEach(({ client }) => client.off("ask"));
}

/** The listener that the page names, or one with another answer. @param {Rig} rig @param {any} [value] */
function serversAnswer(rig, value) {
  const servers = rig.ring.nodes.map(({ io }) => io);
  for (const io of servers) io.on("note", (_, answer) => answer(typeof value === "string" ? value : "pong"));
  return () => servers.forEach((io) => io.removeAllListeners("note"));
}

/** What the page says of a socket. */
const DESCRIBED = {
  id: SOCKET,
  handshake: {
    headers: { host: "example.com" },
    time: "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)",
    address: "192.0.2.1",
    xdomain: false,
    secure: false,
    issued: 1_700_000_000_000,
    url: "/socket.io/?EIO=4&transport=websocket",
    query: { EIO: "4", transport: "websocket" },
    auth: {},
  },
  rooms: [SOCKET, "room"],
  data: { name: "ada" },
};

/** Each client is that. @param {Rig} rig */
async function describeSockets(rig) {
  await rig.join("room");
  for (const { socket } of rig.ring.peers()) {
    // It has these fields anyway.
    assert.deepStrictEqual(Object.keys(socket.handshake), Object.keys(DESCRIBED.handshake));
    socket.handshake = { ...DESCRIBED.handshake };
    socket.data = { ...DESCRIBED.data };
  }
}

// --- what is received -------------------------------------------------------------------------------------

/** All clients get an event. @param {any[]} event @param {{ room?: string, nsp?: string }} [where] */
function event(event, { room, nsp = "/" } = {}) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ example) => {
    if (room !== undefined) await rig.join(room, nsp);
    await rig.send(example);
    const peers = rig.ring.peers(nsp);
    await waitFor(() => peers.every(({ log }) => log.length > 0), { what: "the event" });
    for (const node of rig.ring.nodes) await rig.ring.mark(node, nsp);
    for (const peer of peers) assert.deepStrictEqual(peer.log, [event], peer.node.name);
  };
}

/** All clients are in these rooms then. @param {string[]} wanted @param {string[]} [before] where they are in before */
function rooms(wanted, before = ["room"]) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ example) => {
    for (const room of before) await rig.join(room);
    await rig.send(example);
    for (const peer of rig.ring.peers())
      await waitFor(() => String(peer.rooms) === String(wanted), { what: `${peer.node.name} to move` });
  };
}

/** Those in the room are disconnected. @param {Rig} rig @param {Example} example */
async function disconnected(rig, example) {
  const peers = await rig.connect();
  for (const { socket } of peers) socket.join("room");
  await rig.ring.joined();
  await rig.send(example);
  for (const { client } of peers)
    await waitFor(() => !client.connected, { what: "the clients to be disconnected" });
  for (const node of rig.ring.nodes) assert.strictEqual(node.io.of("/").sockets.size, 1, node.name);
}

/** All servers get an event. @param {any[]} wanted */
function serverEvent(wanted) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ example) => {
    const events = rig.ring.nodes.map(({ io }) => once(io, "note"));
    await rig.send(example);
    for (const args of await Promise.all(events)) assert.deepStrictEqual(args, wanted);
  };
}

/** Each node asks for sockets, and takes an answer. @param {Rig} rig @param {Example} example */
async function takesSockets(rig, example) {
  const lists = await rig.answer([example], ({ io }) => io.fetchSockets());
  for (const sockets of lists) {
    assert.strictEqual(sockets.length, 3);
    const socket = sockets.find((/** @type {any} */ { id }) => id === SOCKET);
    assert.deepStrictEqual(
      { id: socket.id, handshake: socket.handshake, rooms: [...socket.rooms], data: socket.data },
      DESCRIBED,
    );
  }
}

/** Each node asks the servers, and takes an answer. @param {Rig} rig @param {Example} example */
async function takesServerAnswer(rig, example) {
  const end = serversAnswer(rig, "other");
  const lists = await rig.answer([example], ({ io }) => io.serverSideEmitWithAck("note", { a: 1 }));
  for (const list of lists) assert.deepStrictEqual(list.sort(), ["other", "pong"]);
  end();
}

/** Each node asks clients, and takes a count and an answer. @param {string} count @param {string} ack */
function takesAck(count, ack) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ given) => {
    const sent = [count, ack].map((name) => (given.name === name ? given : exampleOf(name)));
    const ask = (/** @type {Node} */ { io }) => io.to("nobody").timeout(5000).emitWithAck("ask");
    const lists = await rig.answer(sent, ask);
    for (const list of lists) assert.deepStrictEqual(list, ["pong"]);
  };
}

/** Nobody does anything. @param {Rig} rig @param {Example} example */
async function nothing(rig, example) {
  const { ring } = rig;
  await rig.join("room");
  const command = ring.sharded ? "spublish" : "publish";
  const start = (await rig.allSent(command)).length;
  await rig.send(example);
  // Whoever answers this is through with what came before it.
  for (const { io } of ring.nodes) assert.strictEqual((await io.fetchSockets()).length, 2);
  assert.strictEqual(
    (await rig.allSent(command)).length - start,
    5,
    "the example, two requests and two answers",
  );
  for (const { log, rooms } of ring.peers()) assert.deepStrictEqual([log, rooms], [[], ["room"]]);
}

/** The hello of a new namespace is heard by all who are there. @param {Rig} rig @param {Example} example */
async function hello(rig, example) {
  const { ring } = rig;
  for (const { io } of ring.nodes) io.of("/new");
  await ring.ready("/new");
  const command = ring.sharded ? "spublish" : "publish";
  const of = async () => (await rig.allSent(command)).filter(({ channel }) => channel.includes("#/new#"));
  // Ours has said it.
  await waitFor(async () => (await of()).length > 0, { what: "the hello" });
  const start = (await of()).length;
  await rig.send(example);
  for (const { io } of ring.nodes) assert.deepStrictEqual(await io.of("/new").fetchSockets(), []);
  assert.strictEqual((await of()).length - start, 5, "the example, two requests and two answers");
}

// --- what is older ----------------------------------------------------------------------------------------

/** A request of socket.io-redis 6: it names one socket. @param {(peer: any) => boolean} isDone @param {string[]} [before] */
function oneSocket(isDone, before = []) {
  return async (/** @type {Rig} */ rig, /** @type {Example} */ example) => {
    const response = exampleOf("classic/old-response");
    for (const peer of await rig.connect()) {
      for (const room of before) peer.socket.join(room);
      const list = rig.sent("publish");
      const start = list.length;
      await rig.send(example, { [SOCKET]: peer.id });
      await waitFor(() => isDone(peer), { what: `the socket at ${peer.node.name}` });
      const [, channel] = response.words;
      await waitFor(
        () =>
          list.slice(start).some((sent) => sent.channel === channel && sent.bytes.equals(response.payload)),
        { what: `the answer of ${peer.node.name}` },
      );
      if (peer.client.connected) await peer.close();
    }
  };
}

/** By that package. @param {Rig} rig @param {Example} example */
async function bySix(rig, example) {
  await withSix(rig, async (adapter, node) => {
    const run = new Function("adapter", `return (${example.notes[0]});`);
    await rig.expect(example, [node], () => void run(adapter).catch(() => {}));
  });
}

/** The package takes the answer of each node. @param {Rig} rig */
async function answersSix(rig) {
  await withSix(rig, async (adapter) => {
    for (const peer of rig.ring.peers()) {
      await adapter.remoteJoin(peer.id, "room");
      assert.deepStrictEqual(peer.rooms, ["room"], peer.node.name);
    }
  });
}

/** Each node answers with an example. @param {Rig} rig @param {Example} example */
async function answersOld(rig, example) {
  const request = exampleOf("classic/old-join");
  for (const peer of rig.ring.peers())
    await rig.expect(example, [peer.node], () => rig.send(request, { [SOCKET]: peer.id }), { request: "" });
}

/** @param {Rig} rig @param {(adapter: any, node: Node) => any} use */
async function withSix({ ring }, use) {
  const { port } = ring.raw.options.socket;
  const clients = [new Redis(port), new Redis(port)];
  const adapter = require("socket.io-redis-6").createAdapter({
    pubClient: clients[0],
    subClient: clients[1],
    requestsTimeout: 500,
  });
  const io = /** @type {any} */ (new Server({ adapter }));
  try {
    await ring.subscribed("/", 3);
    // What its node makes up is the id of the request alone.
    await use(io.of("/").adapter, ring.nodes[0]);
  } finally {
    for (const client of clients) await client.quit();
    await ring.subscribed("/", 2);
  }
}

// --- sessions ---------------------------------------------------------------------------------------------

/** A client that is what the page says of it loses its connection. @param {Rig} rig @param {Example} example @param {Node} node @param {boolean} isSent whether it was sent something */
async function loses(rig, example, node, isSent) {
  const peer = await node.connect();
  peer.socket.join("room");
  peer.socket.data = { name: "ada" };
  if (isSent) {
    node.io.to("room").emit("hello");
    await waitFor(() => peer.log.length > 0, { what: "the event" });
  }
  await rig.expect(example, [node], () => peer.client.io.engine.close());
  await waitFor(() => !node.io.of("/").sockets.has(peer.id), { what: "the socket to be gone" });
}

/** Each node restores the session of an example. @param {Rig} rig @param {Example} example */
async function restored(rig, example) {
  const { ring } = rig;
  for (const node of ring.nodes) {
    await rig.send(example);
    const offset = String(await rig.send(exampleOf("streams/emit")));
    const missed = String(await rig.send(exampleOf("streams/emit-room")));
    for (const peer of ring.peers()) await waitFor(() => peer.log.length > 0);
    const peer = await node.connect("/", { auth: { pid: PRIVATE_ID, offset } });
    assert.strictEqual(peer.socket.recovered, true, node.name);
    assert.strictEqual(peer.id, SOCKET);
    assert.deepStrictEqual(peer.rooms, ["room"]);
    assert.deepStrictEqual(peer.socket.data, { name: "ada" });
    await waitFor(() => peer.log.length > 0, { what: "what it has missed" });
    assert.deepStrictEqual(peer.log, [["hello", missed]]);
    assert.strictEqual(await ring.raw.exists(`sio:session:${PRIVATE_ID}`), 0, "it was taken");
    await peer.close();
    await ring.reset();
  }
}

/** @param {Rig} rig @param {Example} example */
async function takesRooms(rig, example) {
  const lists = await rig.answer([example], (node) => node.adapter().allRooms());
  for (const list of lists) {
    assert.ok(list.has(SOCKET));
    assert.strictEqual(list.size, 3);
  }
}

module.exports = {
  answers,
  answersOld,
  answersSix,
  byBoth,
  byEmitters,
  byOurs,
  bySix,
  clientsAnswer,
  describeSockets,
  disconnected,
  event,
  hello,
  loses,
  nothing,
  oneSocket,
  restored,
  rooms,
  serverEvent,
  serversAnswer,
  takesAck,
  takesRooms,
  takesServerAnswer,
  takesSockets,
  EMITTERS,
};
