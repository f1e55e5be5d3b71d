// @ts-check
"use strict";

/**
 * The examples of docs/PROTOCOL.md: each is sent to Redis as it stands there, to one server with this package and one
 * with the reference, and both do what the page says, also if it is written in another form that receivers take; and both
 * publish exactly these bytes for what the page names.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { MessageType } = /** @type {any} */ (require("socket.io-adapter"));
const { PROBE } = require("../lib/link/doubt");
const { streamOf } = require("../lib/base/native");
const { REQUEST: REQUEST_TYPES } = require("../lib/messages/requests");
const { captureCommands } = require("./support/monitor");
const { startRedis } = require("./support/redis");
const { Ring } = require("./support/ring");
const { hashOf, streamOf: referenceStreamOf } = require("./support/streams");
const { once, waitFor } = require("./support/wait");
const { commandOf, findExamples, otherForms, printPayload } = require("./support/wire-examples");

/**
 * @typedef {import("./support/ring").Node} Node
 * @typedef {import("./support/wire-examples").Example} Example
 * @typedef {Record<string, string>} Places what is put in for what stands in the page
 *
 * @typedef {object} Case
 * @property {string} ring
 * @property {(rig: Rig, example: Example) => any} published
 * @property {(rig: Rig, example: Example) => any} received
 */

const PAGE = fs.readFileSync(path.join(__dirname, "..", "docs", "PROTOCOL.md"), "utf8");
const { examples, tables, others } = findExamples(PAGE);

/** What stands in the page for what is random: who asks or sends, who answers, a request, a socket, its private id. */
const SENDER = { classic: "UIDUID", cluster: "0123456789abcdef" };
const ANSWERER = "fedcba9876543210";
const REQUEST = { classic: "REQREQ", cluster: "00112233aabbccdd" };
const SOCKET = "aSocketIdHas20Chars-";
const PRIVATE_ID = "aPrivateIdHas20Chars";
const ENTRY = "1700000000000-0";

/** Where the id of a request is, in JSON and in msgpack. */
const REQUEST_ID = /(requestId(?:":"|\xa6|\xb0))([\w-]{16}|[\w-]{6})/;

/** As the options are by default: the page says what is on Redis then. @type {Record<string, any>} */
const RINGS = {
  classic: { adapter: "classic", namespaces: ["/", "/chat"] },
  "classic, own channels": { adapter: "classic", opts: { publishOnSpecificResponseChannel: true } },
  "sharded, dynamic": { adapter: "sharded", mode: "dynamic" },
  "sharded, dynamic-private": { adapter: "sharded", mode: "dynamic-private" },
  "sharded, static": { adapter: "sharded", mode: "static" },
  streams: { adapter: "streams" },
  "streams, sharded pub/sub": { adapter: "streams", useShardedPubSub: true },
  "streams, recovery": {
    adapter: "streams",
    serverOpts: { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } },
  },
};

/** A ring, and all that its servers tell Redis. */
class Rig {
  /** @type {Ring} */
  ring;
  /** By command. @type {Record<string, any>} */
  #sent = {};
  #redis;

  /** @param {import("./support/redis").RedisServer} redis @param {object} options */
  constructor(redis, options) {
    this.#redis = redis;
    const opts = { streamName: "socket.io", sessionKeyPrefix: "sio:session:" };
    const nodes = /** @type {import("./support/ring").Kind[]} */ (["ours", "reference"]);
    const isOfStreams = "adapter" in options && options.adapter === "streams";
    this.ring = new Ring({
      redis,
      nodes,
      sockets: 1,
      key: "socket.io",
      ...(isOfStreams && { opts }),
      ...options,
    });
    this.ring.streamName = "socket.io";
  }

  async start() {
    await this.ring.start();
    for (const command of ["publish", "spublish", "xadd", "set"])
      this.#sent[command] = await captureCommands(this.#redis, { [command]: "" });
  }

  async stop() {
    for (const messages of Object.values(this.#sent)) await messages.stop();
    await this.ring.close();
  }

  get isClassic() {
    return this.ring.family === "classic";
  }

  get sender() {
    return this.isClassic ? SENDER.classic : SENDER.cluster;
  }

  get request() {
    return this.isClassic ? REQUEST.classic : REQUEST.cluster;
  }

  /** What was sent by a command so far. @param {string} command @returns {{ channel: string, bytes: Buffer }[]} */
  sent(command) {
    return this.#sent[command.toLowerCase()];
  }

  /**
   * Resolves to what was sent by a command, all that Redis has got by now.
   *
   * @param {string} command
   */
  async allSent(command) {
    const list = this.sent(command);
    const end = `end ${list.length}`;
    await this.ring.raw.sendCommand([command, end, ""]);
    const all = await waitFor(() => {
      const at = list.findIndex(({ channel }) => channel === end);
      return at < 0 ? null : list.slice(0, at);
    });
    return all.filter(({ channel }) => !channel.startsWith("end "));
  }

  /** Sends an example to Redis as it stands in the page. @param {Example} example @param {Places} [places] */
  async send(example, places = {}) {
    const put = (/** @type {Buffer} */ bytes) => replaced(bytes, places);
    const command = commandOf({
      ...example,
      words: example.words.map((word) => put(Buffer.from(word)).toString()),
      payload: put(example.payload),
    });
    return this.ring.raw.sendCommand(command);
  }

  /**
   * What stands in the page for what a node has made up.
   *
   * @param {Node} node
   * @param {string} uid what stands for the node's own
   * @returns {Places}
   */
  standIns(node, uid) {
    /** @type {Places} */
    const places = {};
    for (const { adapter } of node.io._nsps.values()) places[/** @type {any} */ (adapter).uid] = uid;
    for (const peer of node.peers) {
      if (!peer.id) continue;
      places[peer.id] = SOCKET;
      const { pid } = peer.socket ?? {};
      if (pid) places[pid] = PRIVATE_ID;
    }
    return places;
  }

  /**
   * Resolves when each of the nodes has sent what an example says.
   *
   * @param {Example} example
   * @param {Node[]} nodes
   * @param {() => any} act
   * @param {{ uid?: string, request?: string }} [stand] for the uid of a node, and for the id of a request that it makes
   */
  async expect(example, nodes, act, { uid = this.sender, request = this.request } = {}) {
    const list = this.sent(example.words[0]);
    const start = list.length;
    // Sockets may be gone by then, and namespaces may have come.
    const before = nodes.map((node) => this.standIns(node, uid));
    const placesOf = () => nodes.map((node, index) => ({ ...before[index], ...this.standIns(node, uid) }));
    const wanted = comparable(example, commandOf(example).slice(1));
    const sentBy = (/** @type {Places} */ known) =>
      list.slice(start).map(({ channel, bytes }) => {
        const rest = example.words.length === 3 ? [bytes] : split(bytes);
        return comparable(example, [Buffer.from(channel), ...rest], known, request);
      });
    await act();
    const isComplete = () => {
      const matches = placesOf().map((known) =>
        sentBy(known).flatMap((text, at) => (text === wanted ? [at] : [])),
      );
      return matches.every((of) => of.length > 0) && new Set(matches.flat()).size >= nodes.length;
    };
    await waitFor(isComplete, { what: example.name }).catch((error) => {
      for (const known of placesOf()) {
        const texts = sentBy(known);
        if (!texts.includes(wanted)) assert.deepStrictEqual(texts, [wanted], `${example.name} was not sent`);
      }
      throw error;
    });
  }

  /** Runs what an example names. @param {Example} example @param {Node} node */
  async run({ notes }, node) {
    const { io } = node;
    const run = new Function("io", "callback", `return (${notes[0]});`);
    const result = run(io, () => {});
    // It waits for answers, which are not what this is about.
    if (typeof result?.catch === "function") result.catch(() => {});
  }

  /**
   * Has somebody else listen to what servers of the ring listen to: he is one of those that are asked. Returns what
   * ends it.
   */
  async listen() {
    const { ring } = this;
    const stranger = ring.raw.duplicate();
    stranger.on("error", () => {});
    await stranger.connect();
    if (ring.sharded) await stranger.sSubscribe(ring.channel(), () => {});
    else if (this.isClassic)
      await stranger.subscribe([ring.requestChannel(), ring.responseChannel()], () => {});
    else await stranger.subscribe(ring.channel(), () => {});
    await ring.subscribed("/", 3);
    return async () => {
      await stranger.close();
      await ring.subscribed("/", 2);
    };
  }

  /**
   * Has each node ask, answers with examples in the place of another server, and resolves to what the nodes make of it.
   *
   * @param {Example[]} answers
   * @param {(node: Node) => any} ask
   */
  async answer(answers, ask) {
    const { ring } = this;
    const leave = await this.listen();
    const results = [];
    try {
      for (const node of ring.nodes) {
        const list = this.sent(ring.sharded ? "spublish" : "publish");
        const start = list.length;
        const { uid } = node.adapter();
        const result = ask(node);
        const id = await waitFor(
          () => {
            const asked = list.slice(start).find(({ channel, bytes }) => {
              return channel === ring.requestChannel() && bytes.includes(uid) && bytes.includes("requestId");
            });
            return asked && REQUEST_ID.exec(asked.bytes.toString("latin1"))?.[2];
          },
          { what: `the request of ${node.name}` },
        );
        for (const answer of answers) await this.send(answer, { [this.request]: id, [this.sender]: uid });
        results.push(await result);
      }
    } finally {
      await leave();
    }
    return results;
  }

  /** Connects one more client to each node. */
  connect() {
    return Promise.all(this.ring.nodes.map((node) => node.connect()));
  }

  /** Has all clients of a namespace join a room. @param {string} room @param {string} [nsp] */
  async join(room, nsp = "/") {
    for (const { socket } of this.ring.peers(nsp)) socket.join(room);
    await this.ring.joined();
  }
}

/** @param {Buffer} bytes @param {Places} places */
function replaced(bytes, places) {
  // One byte a character, so that nothing moves.
  let text = bytes.toString("latin1");
  for (const [from, to] of Object.entries(places)) text = text.replaceAll(from, to);
  return Buffer.from(text, "latin1");
}

/** The arguments of a command as one text, with what is base64 decoded. @param {Example} example @param {Buffer[]} args @param {Places} [places] @param {string} [request] */
function comparable({ words, isBase64 }, args, places = {}, request = "") {
  const at = words.indexOf("PAYLOAD") - 1;
  const parts = args.map((arg, index) => {
    let bytes = arg;
    if (isBase64 && index === at) {
      bytes = Buffer.from(arg.toString(), "base64");
      // There are several ways to write the same bytes, and this is another one.
      if (bytes.toString("base64") !== arg.toString()) return arg.toString();
    }
    const text = replaced(bytes, places)
      .toString("latin1")
      .replace(REQUEST_ID, `$1${request || "$2"}`);
    const plain = text.replace(/\d{13}-\d/g, ENTRY);
    return index === at ? Buffer.from(plain, "latin1").toString("hex") : plain;
  });
  return parts.join(" ");
}

/** The words that MONITOR has shown. @param {Buffer} bytes */
function split(bytes) {
  return bytes
    .toString("latin1")
    .split("\0")
    .slice(0, -1)
    .map((word) => Buffer.from(word, "latin1"));
}

/** Whether it is one of the classic family, which are not JSON. @param {Example} example */
function isBroadcast({ payload }) {
  return payload[0] === 0x93;
}

/** @param {string} name @returns {Example} */
function exampleOf(name) {
  const example = examples.find((one) => one.name === name);
  assert.ok(example, `docs/PROTOCOL.md has no example ${name}`);
  return example;
}

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

const EMITTERS = ["../emitter", "@socket.io/redis-emitter"];

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

// --- all of them ------------------------------------------------------------------------------------------

const ROOM_EVENT = event(["hello"], { room: "room" });

/** What all families with envelopes have. @param {string} family @param {string} ring @returns {Record<string, Case>} */
function envelopes(family, ring) {
  const of = (/** @type {string} */ name) => `${family}/${name}`;
  const fetches = answers(of("fetch"), of("fetch-response"), describeSockets);
  const notes = answers(of("server-emit-ack"), of("server-emit-response"), serversAnswer);
  const counts = answers(of("ask"), of("count"), clientsAnswer);
  const acks = answers(of("ask"), of("ack"), clientsAnswer);
  const takes = takesAck(of("count"), of("ack"));
  return {
    [of("emit")]: { ring, published: byBoth, received: event(["hello", 1, "a"]) },
    [of("emit-room")]: { ring, published: byBoth, received: ROOM_EVENT },
    [of("emit-binary")]: {
      ring,
      published: byBoth,
      received: event(["file", Buffer.from([1, 2, 255])]),
    },
    [of("join")]: { ring, published: byBoth, received: rooms(["room", "a", "b"]) },
    [of("leave")]: { ring, published: byBoth, received: rooms(["room"], ["room", "a"]) },
    [of("disconnect")]: { ring, published: byBoth, received: disconnected },
    [of("fetch")]: { ring, published: byBoth, received: fetches },
    [of("fetch-response")]: { ring, published: fetches, received: takesSockets },
    [of("server-emit")]: { ring, published: byBoth, received: serverEvent([{ a: 1 }]) },
    [of("server-emit-ack")]: { ring, published: byBoth, received: notes },
    [of("server-emit-response")]: { ring, published: notes, received: takesServerAnswer },
    [of("ask")]: { ring, published: byBoth, received: acks },
    [of("count")]: { ring, published: counts, received: takes },
    [of("ack")]: { ring, published: acks, received: takes },
    [of("hello")]: { ring, published: byOurs, received: hello },
  };
}

const ring = "classic";
const fetches = answers("classic/fetch", "classic/fetch-response", describeSockets);
const allRooms = answers("classic/rooms", "classic/rooms-response", () => {});
const ids = answers("classic/sockets", "classic/sockets-response", (rig) => rig.join("room"));
const notes = answers("classic/server-emit-ack", "classic/server-emit-response", serversAnswer);
const counts = answers("classic/ask", "classic/count", clientsAnswer);
const acks = answers("classic/ask", "classic/ack", clientsAnswer);
const takes = takesAck("classic/count", "classic/ack");
const own = answers("classic/rooms", "classic/own-response", () => {});

/** @param {Rig} rig @param {Example} example */
async function takesRooms(rig, example) {
  const lists = await rig.answer([example], (node) => node.adapter().allRooms());
  for (const list of lists) {
    assert.ok(list.has(SOCKET));
    assert.strictEqual(list.size, 3);
  }
}

/** @type {Record<string, Case>} */
const CASES = {
  "classic/emit": { ring, published: byBoth, received: event(["hello", 1, "a"]) },
  "classic/emit-room": { ring, published: byBoth, received: ROOM_EVENT },
  "classic/emit-rooms": { ring, published: byBoth, received: event(["hello"], { room: "a", nsp: "/chat" }) },
  "classic/join": { ring, published: byBoth, received: rooms(["room", "a", "b"]) },
  "classic/leave": { ring, published: byBoth, received: rooms(["room"], ["room", "a"]) },
  "classic/disconnect": { ring, published: byBoth, received: disconnected },
  "classic/fetch": { ring, published: byBoth, received: fetches },
  "classic/fetch-response": { ring, published: fetches, received: takesSockets },
  "classic/rooms": { ring, published: byBoth, received: allRooms },
  "classic/rooms-response": { ring, published: allRooms, received: takesRooms },
  "classic/own-response": { ring: "classic, own channels", published: own, received: takesRooms },
  "classic/sockets": { ring, published: byOurs, received: ids },
  "classic/sockets-response": {
    ring,
    published: ids,
    async received(rig, example) {
      // The reference asks nobody.
      const { nodes } = rig.ring;
      rig.ring.nodes = rig.ring.ours;
      const [found] = await rig
        .answer([example], (node) => node.adapter().sockets(new Set()))
        .finally(() => (rig.ring.nodes = nodes));
      assert.ok(found.has(SOCKET));
    },
  },
  "classic/server-emit": { ring, published: byBoth, received: serverEvent([{ a: 1 }]) },
  "classic/server-emit-ack": { ring, published: byBoth, received: notes },
  "classic/server-emit-response": { ring, published: notes, received: takesServerAnswer },
  "classic/ask": { ring, published: byBoth, received: acks },
  "classic/count": { ring, published: counts, received: takes },
  "classic/ack": { ring, published: acks, received: takes },
  "classic/hello": { ring, published: byOurs, received: hello },
  "classic/old-join": { ring, published: bySix, received: oneSocket((peer) => peer.rooms.includes("room")) },
  "classic/old-leave": {
    ring,
    published: bySix,
    received: oneSocket((peer) => !peer.rooms.includes("room"), ["room"]),
  },
  "classic/old-disconnect": { ring, published: bySix, received: oneSocket((peer) => !peer.client.connected) },
  "classic/old-response": { ring, published: answersOld, received: answersSix },

  "emitter/emit": { ring, published: byEmitters({}, EMITTERS), received: ROOM_EVENT },
  "emitter/join": { ring, published: byEmitters({}, EMITTERS), received: rooms(["room", "a", "b"]) },
  "emitter/leave": { ring, published: byEmitters({}, EMITTERS), received: rooms(["room"], ["room", "a"]) },
  "emitter/disconnect": { ring, published: byEmitters({}, EMITTERS), received: disconnected },
  "emitter/server-emit": { ring, published: byEmitters({}, EMITTERS), received: serverEvent([{ a: 1 }]) },
  "emitter/sharded": {
    ring: "sharded, dynamic",
    published: byEmitters({ mode: "sharded" }, EMITTERS.slice(0, 1)),
    received: ROOM_EVENT,
  },
  "emitter/streams": {
    ring: "streams",
    published: byEmitters({ mode: "streams" }, EMITTERS.slice(0, 1)),
    received: ROOM_EVENT,
  },

  ...envelopes("sharded", "sharded, dynamic"),
  "sharded/emit-id": {
    ring: "sharded, dynamic",
    published: byBoth,
    received: event(["hello"], { room: SOCKET }),
  },
  "sharded/emit-private": {
    ring: "sharded, dynamic-private",
    published: byBoth,
    received: event(["hello"], { room: SOCKET }),
  },
  "sharded/emit-static": { ring: "sharded, static", published: byBoth, received: ROOM_EVENT },
  "sharded/probe": {
    ring: "sharded, dynamic",
    published: (_, { payload }) => assert.strictEqual(payload.toString(), PROBE),
    received: nothing,
  },

  ...envelopes("streams", "streams"),
  "streams/fetch-sharded": {
    ring: "streams, sharded pub/sub",
    published: byBoth,
    async received(rig, example) {
      const list = rig.sent("spublish");
      const start = list.length;
      await rig.send(example);
      const answers = () =>
        list.slice(start).filter(({ channel }) => channel.endsWith(`#${SENDER.cluster}#`));
      await waitFor(() => answers().length === 2, { what: "two answers" });
    },
  },
  "streams/session": {
    ring: "streams, recovery",
    async published(rig, example) {
      for (const node of rig.ring.nodes) await loses(rig, example, node, false);
    },
    received: restored,
  },
  "streams/session-progress": {
    ring: "streams, recovery",
    published: (rig, example) => loses(rig, example, rig.ring.ours[0], true),
    received: restored,
  },
};

/** The tables, which are looked at below. */
const TABLES = ["msgpack/values", "streams/names"];

/** @param {string} name */
function tableOf(name) {
  return tables.find((one) => one.name === name)?.rows ?? [];
}

/** @param {[string, string][]} rows */
function namesStreams(rows) {
  for (const [stream, place] of rows) {
    const match = /^"(.*)", (-?\d+), of (\d+)(?: \((.*) in the reference\))?$/.exec(place);
    assert.ok(match, place);
    const [, nsp, hash, count, reference = stream] = match;
    assert.strictEqual(hashOf(nsp), Number(hash), place);
    assert.strictEqual(streamOf("socket.io", Number(count), nsp), stream, place);
    assert.strictEqual(referenceStreamOf("socket.io", Number(count), nsp), reference, place);
  }
}

/** What stands around the argument of `io.emit("value", …)`. */
const AROUND = [
  "93a6554944554944 83a47479706502 a464617461 92a576616c7565",
  "a36e7370a12f 83a5726f6f6d7390a665786365707490a5666c61677380",
];

/** Each value is sent as its row says, and arrives. @param {Rig} rig @param {[string, string][]} rows */
async function carriesValues(rig, rows) {
  const [before, after] = AROUND.map((hex) => hex.replaceAll(" ", ""));
  for (const [hex, code] of rows) {
    const value = new Function(`return (${code});`)();
    const payload = Buffer.from(before + hex.replaceAll(" ", "") + after, "hex");
    const example = {
      name: code,
      notes: [],
      words: ["PUBLISH", "socket.io#/#", "PAYLOAD"],
      payload,
      isBase64: false,
      text: "",
    };
    for (const node of rig.ring.nodes)
      await rig.expect(example, [node], () => void node.io.emit("value", value));
    for (const node of rig.ring.nodes) await rig.ring.mark(node);
    for (const peer of rig.ring.peers()) peer.log = [];
    // Binary stays what it is.
    const arrived = Buffer.isBuffer(value) ? value : (JSON.parse(JSON.stringify({ value })).value ?? null);
    await event(["value", arrived])(rig, example);
    await rig.ring.reset();
  }
}

describe("the examples of docs/PROTOCOL.md", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("all have a case here, and each case has its example", () => {
    assert.deepStrictEqual(examples.map(({ name }) => name).sort(), Object.keys(CASES).sort());
    assert.deepStrictEqual(
      tables.map(({ name }) => name),
      TABLES,
    );
    assert.deepStrictEqual(others, [], "blocks that nobody checks");
    const fences = PAGE.match(/^.*(```|~~~).*$/gm) ?? [];
    assert.strictEqual(fences.length, 2 * (examples.length + tables.length), "blocks that are not found");
  });

  it("say what their bytes mean", () => {
    for (const { text, payload, isBase64 } of examples)
      assert.strictEqual(text, printPayload(payload, isBase64));
  });

  it("have the text that the page says for what is random", () => {
    const rows = Array.from(
      PAGE.matchAll(/^\| `([^`]+)` +\| .* \| `([0-9a-f]+)` +\|$/gm),
      ([, text, hex]) => [text, hex],
    );
    const texts = [
      SENDER.classic,
      SENDER.cluster,
      ANSWERER,
      REQUEST.classic,
      REQUEST.cluster,
      SOCKET,
      PRIVATE_ID,
      ENTRY,
    ];
    assert.deepStrictEqual(
      rows,
      texts.map((text) => [text, Buffer.from(text).toString("hex")]),
    );
  });

  it("stand beside tables that have the numbers of all types", () => {
    const rows = Array.from(PAGE.matchAll(/^\| (\d+) +\| `([A-Z_]+)` /gm), ([, number, name]) => [
      name,
      Number(number),
    ]);
    const { BROADCAST_CLIENT_COUNT: _count, BROADCAST_ACK: _ack, ...requests } = REQUEST_TYPES;
    const messages = Object.entries(MessageType).filter(([name]) => Number.isNaN(Number(name)));
    assert.deepStrictEqual(rows, [...Object.entries(requests), ...messages]);
  });

  it("name the streams of namespaces", () => namesStreams(tableOf("streams/names")));

  for (const transport of ["native", "client"])
    for (const name of Object.keys(RINGS)) describe(`${name}, ${transport}`, () => declare(name, transport));

  /** @param {string} name @param {string} transport of ours */
  function declare(name, transport) {
    /** @type {Rig} */
    let rig;
    before(async () => {
      rig = new Rig(redis, { ...RINGS[name], transport });
      await rig.start();
    });
    afterEach(async () => {
      // What was published comes to the clients before this does.
      for (const node of rig.ring.nodes) await rig.ring.mark(node);
      await rig.ring.reset();
    });
    after(() => rig?.stop());

    it("uids have the form that the page says", () => {
      const form = rig.isClassic ? /^[\w-]{6}$/ : /^[0-9a-f]{16}$/;
      for (const node of rig.ring.nodes) assert.match(node.adapter().uid, form);
    });

    if (name === "classic")
      it("msgpack/values is what is published, and understood", () =>
        carriesValues(rig, tableOf("msgpack/values")));

    for (const example of examples) {
      const test = CASES[example.name];
      if (test?.ring !== name) continue;
      it(`${example.name} is what is published`, () => test.published(rig, example));
      it(`${example.name} is understood`, () => test.received(rig, example));
      if (transport !== "native" || test.received === answersSix) continue;
      const takesBoth = /^(classic|sharded)$/.test(RINGS[name].adapter) && !isBroadcast(example);
      for (const { how, example: other } of otherForms(example, takesBoth))
        it(`${example.name} is understood ${how}`, () => test.received(rig, other));
    }
  }
});
