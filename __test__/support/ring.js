// @ts-check
"use strict";

/**
 * Rings of Socket.IO servers for tests: several nodes in this process, each with this package's adapter or the
 * reference's, each with clients, over one Redis. What is under test is that nobody can tell the nodes apart.
 */

const http = require("node:http");
const { createClient } = require("redis");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const ours = require("../..");
const reference = require("@socket.io/redis-adapter");
const { once, waitFor } = require("./wait");

/** The events that tests use to know that all before it has come. */
const MARKER = "marker";

let rings = 0;
let markers = 0;

/**
 * @typedef {"ours" | "reference"} Kind
 *
 * @typedef {object} RingOptions
 * @property {{ port: number }} redis as `startRedis` gives it
 * @property {Kind[]} nodes
 * @property {"redis" | "ioredis"} [clients] which package's Redis clients; "redis" unless given
 * @property {"native" | "client" | "auto"} [transport] of ours; "native" unless given
 * @property {object | ((index: number) => object)} [opts] more options of the adapters
 * @property {object | ((index: number) => object)} [serverOpts] options of the Socket.IO servers
 * @property {number} [sockets] clients per node in each namespace; 2 unless given
 * @property {string[]} [namespaces] `["/"]` unless given
 * @property {object} [socketOpts] options of the Socket.IO clients
 * @property {boolean} [shared] whether all nodes share one pair of Redis clients
 * @property {string} [key] prefix of the channels; one of the ring's own unless given
 * @property {number} [elsewhere] how many subscribers Redis counts already, if the key is used by others
 * @property {(io: import("socket.io").Server, index: number) => void} [setUp] run before anything connects
 *
 * @typedef {any[][]} Log what a client received, oldest first, markers left out
 */

/** A Socket.IO client, what it received, and its other end. */
class Peer {
  /** @type {Log} */
  log = [];
  /** @type {Set<number>} */
  markers = new Set();

  /**
   * @param {Node} node
   * @param {string} nsp
   * @param {object} [options]
   */
  constructor(node, nsp, options) {
    this.node = node;
    this.nsp = nsp;
    /** @type {any} */
    this.client = connectSocket(`http://127.0.0.1:${node.port}${nsp}`, {
      transports: ["websocket"],
      forceNew: true,
      reconnection: false,
      ...options,
    });
    this.client.onAny((/** @type {any[]} */ ...args) => {
      if (args[0] === MARKER) this.markers.add(args[1]);
      else this.log.push(args.filter((arg) => typeof arg !== "function"));
    });
  }

  /** @type {string} */
  get id() {
    return this.client.id;
  }

  /** The server's side of it. @type {any} */
  get socket() {
    return this.node.io.of(this.nsp).sockets.get(this.id);
  }

  /** The rooms that it is in, its own left out. */
  get rooms() {
    return [...(this.socket?.rooms ?? [])].filter((room) => room !== this.id);
  }

  /** Resolves once both ends know that they are connected. */
  async connected() {
    if (!this.client.connected) {
      const failed = new Promise((_, reject) => this.client.once("connect_error", reject));
      await Promise.race([once(this.client, "connect"), failed]);
    }
    return this;
  }

  async close() {
    const { id } = this;
    const sockets = this.node.io.of(this.nsp).sockets;
    this.client.disconnect();
    await waitFor(() => !sockets.has(id), { what: "the server to see the client go" });
  }
}

/** One Socket.IO server with its Redis clients. */
class Node {
  /** @type {import("socket.io").Server} */
  io = /** @type {any} */ (null);
  /** @type {Peer[]} */
  peers = [];
  port = 0;
  /** @type {import("node:http").Server} */
  #http = http.createServer();
  #closed = false;

  /**
   * @param {number} index
   * @param {Kind} kind
   * @param {{ pub: any, sub: any }} clients
   */
  constructor(index, kind, { pub, sub }) {
    this.index = index;
    this.kind = kind;
    this.pub = pub;
    this.sub = sub;
  }

  /** For the title of a test. */
  get name() {
    return `node ${this.index} (${this.kind})`;
  }

  /**
   * @param {object} adapterOpts
   * @param {object} serverOpts
   */
  async start(adapterOpts, serverOpts) {
    const { createAdapter } = this.kind === "ours" ? ours : reference;
    const adapter = /** @type {any} */ (createAdapter)(this.pub, this.sub, adapterOpts);
    this.io = new Server(this.#http, { adapter, ...serverOpts });
    this.#http.listen(0, "127.0.0.1");
    await once(this.#http, "listening");
    this.port = /** @type {import("node:net").AddressInfo} */ (this.#http.address()).port;
  }

  /** The adapter of a namespace. @returns {any} */
  adapter(nsp = "/") {
    return this.io.of(nsp).adapter;
  }

  /**
   * Connects one more client. `close()` of the ring closes it, if the test has not.
   *
   * @param {string} [nsp]
   * @param {object} [options]
   */
  async connect(nsp = "/", options = undefined) {
    const peer = new Peer(this, nsp, options);
    this.peers.push(peer);
    return peer.connected();
  }

  /** Closes the server and its clients; the Redis clients stay. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    for (const peer of this.peers) peer.client.disconnect();
    await this.io.close();
  }
}

/** Made by `startRing`. */
class Ring {
  /** @type {Node[]} */
  nodes = [];
  /** @type {RingOptions} */
  #options;
  /** @type {Set<any>} */
  #redisClients = new Set();
  /** Connected to the same Redis, for what the test itself asks and publishes. @type {any} */
  raw = null;

  /** @param {RingOptions} options */
  constructor(options) {
    this.#options = options;
    this.key = options.key ?? `ring-${++rings}`;
    this.namespaces = options.namespaces ?? ["/"];
  }

  get ours() {
    return this.nodes.filter((node) => node.kind === "ours");
  }

  get references() {
    return this.nodes.filter((node) => node.kind === "reference");
  }

  /** All clients of a namespace. */
  peers(nsp = "/") {
    return this.nodes
      .flatMap((node) => node.peers)
      .filter((peer) => peer.nsp === nsp && peer.client.connected);
  }

  /** Names of channels, as WIRE.md has them. */
  channel(nsp = "/", room = "") {
    return `${this.key}#${nsp}#${room === "" ? "" : `${room}#`}`;
  }
  requestChannel(nsp = "/") {
    return `${this.key}-request#${nsp}#`;
  }
  responseChannel(nsp = "/", uid = "") {
    return `${this.key}-response#${nsp}#${uid === "" ? "" : `${uid}#`}`;
  }

  /**
   * Resolves once Redis has this many subscribers for the requests of a namespace.
   *
   * @param {string} nsp
   * @param {number} count
   */
  async subscribed(nsp, count) {
    await waitFor(
      async () =>
        Object.values(await this.raw.pubSubNumSub([this.requestChannel(nsp)])).map(Number)[0] === count,
      { what: `${count} subscribers in ${nsp}` },
    );
  }

  /** Resolves once each node hears the others in a namespace. */
  async ready(nsp = "/", count = this.nodes.length) {
    for (const node of this.nodes) {
      if (node.kind === "ours" && node.io._nsps.has(nsp)) await node.adapter(nsp).ready;
    }
    // The pattern comes before the channels, on the same connection.
    if (!this.#options.shared) await this.subscribed(nsp, count + (this.#options.elsewhere ?? 0));
  }

  async start() {
    const {
      nodes,
      opts,
      serverOpts,
      transport = "native",
      sockets = 2,
      socketOpts,
      shared,
      setUp,
    } = this.#options;
    this.raw = await this.#redisClient("redis");
    const pair = shared ? await this.#pair() : null;
    for (const [index, kind] of nodes.entries()) {
      const node = new Node(index, kind, pair ?? (await this.#pair()));
      this.nodes.push(node);
      await node.start(
        {
          key: this.key,
          ...(kind === "ours" && { transport }),
          ...(typeof opts === "function" ? opts(index) : opts),
        },
        typeof serverOpts === "function" ? serverOpts(index) : (serverOpts ?? {}),
      );
      setUp?.(node.io, index);
      for (const nsp of this.namespaces) node.io.of(nsp);
    }
    for (const nsp of this.namespaces) await this.ready(nsp);
    await Promise.all(
      this.nodes.flatMap((node) =>
        this.namespaces.flatMap((nsp) =>
          Array.from({ length: sockets }, () => node.connect(nsp, socketOpts)),
        ),
      ),
    );
    return this;
  }

  /**
   * Runs `act`, has the same node send a marker behind it, and resolves, when the marker has come everywhere, to
   * what each client received: a list per node, in it a log per client.
   *
   * @param {Node} sender
   * @param {() => any} act
   * @param {string} [nsp]
   * @returns {Promise<Log[][]>}
   */
  async collect(sender, act, nsp = "/") {
    const peers = this.peers(nsp);
    for (const peer of peers) peer.log = [];
    await act();
    await this.mark(sender, nsp);
    return this.nodes.map((node) => peers.filter((peer) => peer.node === node).map((peer) => peer.log));
  }

  /**
   * Resolves when a marker that a node sends now has come to every client.
   *
   * @param {Node} sender
   * @param {string} [nsp]
   */
  async mark(sender, nsp = "/") {
    const peers = this.peers(nsp);
    const marker = ++markers;
    sender.io.of(nsp).emit(MARKER, marker);
    await waitFor(() => peers.every((peer) => peer.markers.has(marker) || !peer.client.connected), {
      what: `marker ${marker} of ${sender.name}`,
    });
  }

  /**
   * Resolves when a request that a node sends now has been obeyed everywhere, itself included: what it sent
   * before has been, too.
   *
   * @param {Node} sender
   * @param {string} [nsp]
   */
  async markRequests(sender, nsp = "/") {
    const room = `requests-marker-${++markers}`;
    const peers = this.peers(nsp);
    sender.io.of(nsp).socketsJoin(room);
    await waitFor(() => peers.every((peer) => !peer.client.connected || peer.rooms.includes(room)), {
      what: `all to join ${room}, as ${sender.name} says`,
    });
    for (const peer of peers) peer.socket?.leave(room);
  }

  /** Has every client leave its rooms, and forgets what it received. */
  reset() {
    for (const node of this.nodes) {
      for (const peer of node.peers) {
        peer.log = [];
        for (const room of peer.rooms) peer.socket.leave(room);
      }
    }
  }

  /** A list of what is published with this ring's prefix, filled from now on; `stop()` ends it. */
  async capture() {
    const subscriber = await this.#redisClient("redis");
    /** @type {{ channel: string, bytes: Buffer }[]} */
    const messages = [];
    const listener = (/** @type {Buffer} */ bytes, /** @type {any} */ channel) =>
      void messages.push({ channel: String(channel), bytes });
    await subscriber.pSubscribe(`${this.key}*`, listener, true);
    return Object.assign(messages, {
      stop: async () => {
        this.#redisClients.delete(subscriber);
        await subscriber.close();
      },
    });
  }

  /** Closes servers, clients and Redis clients. */
  async close() {
    await Promise.all(this.nodes.map((node) => node.close()));
    for (const client of this.#redisClients) {
      // What an adapter's close() has sent is answered first.
      if (typeof client.close === "function") await client.close();
      else await client.quit();
    }
    this.#redisClients.clear();
  }

  async #pair() {
    const kind = this.#options.clients ?? "redis";
    return { pub: await this.#redisClient(kind), sub: await this.#redisClient(kind) };
  }

  /** @param {"redis" | "ioredis"} kind @returns {Promise<any>} */
  async #redisClient(kind) {
    const { port } = this.#options.redis;
    /** @type {any} */
    let client;
    if (kind === "redis") {
      client = createClient({ socket: { host: "127.0.0.1", port } });
      // So that the reference does not warn.
      client.on("error", () => {});
      await client.connect();
    } else {
      client = new Redis(port, "127.0.0.1");
      client.on("error", () => {});
      await once(client, "ready");
    }
    this.#redisClients.add(client);
    return client;
  }
}

/**
 * Resolves with a ring whose nodes hear one another and whose clients are connected.
 *
 * @param {RingOptions} options
 * @returns {Promise<Ring>}
 */
async function startRing(options) {
  const ring = new Ring(options);
  try {
    return await ring.start();
  } catch (error) {
    await ring.close().catch(() => {});
    throw error;
  }
}

module.exports = { startRing, Ring, Node, Peer };
