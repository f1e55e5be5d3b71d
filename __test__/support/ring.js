// @ts-check
"use strict";

/**
 * Rings of Socket.IO servers for tests: several nodes in this process, each with this package's adapter or the
 * reference's, each with clients, over one Redis. What is under test is that nobody can tell the nodes apart.
 */

const { RedisCluster, slotOf } = require("./cluster");
const { connectClient, countSubscribers, endClient } = require("./connect");
const { captureCommands } = require("./monitor");
const { MARKER, MARKER_ROOM, Node } = require("./ring-node");
const { hearStreams, streamOf } = require("./streams");
const { waitFor } = require("./wait");

let rings = 0;
let markers = 0;

/**
 * @typedef {import("./ring-node").Kind} Kind
 * @typedef {import("./ring-node").Peer} Peer
 *
 * @typedef {object} RingOptions
 * @property {import("./connect").Topology} redis as `startRedis`, `startCluster` or `startSentinel` gives it
 * @property {Kind[]} nodes
 * @property {import("./ring-node").Adapter} [adapter] "classic" unless given
 * @property {"static" | "dynamic" | "dynamic-private"} [mode] of the sharded adapter; "dynamic" unless given
 * @property {number} [streamCount] of the streams adapter; 1 unless given
 * @property {boolean} [useShardedPubSub] of the streams adapter
 * @property {import("./connect").Clients} [clients] which package's Redis clients; "redis" unless given
 * @property {import("./connect").Credentials} [credentials] of the Redis clients
 * @property {"native" | "client" | "auto"} [transport] of ours; "native" unless given
 * @property {object | ((index: number) => object)} [opts] more options of the adapters
 * @property {object | ((index: number) => object)} [serverOpts] options of the Socket.IO servers
 * @property {number} [sockets] clients per node in each namespace; 2 unless given
 * @property {string[]} [namespaces] `["/"]` unless given
 * @property {object} [socketOpts] options of the Socket.IO clients
 * @property {boolean} [shared] whether all nodes share their Redis clients
 * @property {string} [key] prefix of the channels; one of the ring's own unless given
 * @property {number} [elsewhere] how many subscribers Redis counts already, if the key is used by others
 * @property {(io: import("socket.io").Server, index: number) => void} [setUp] run before anything connects
 *
 * @typedef {import("./ring-node").Log} Log
 */

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
  /** Rooms that were left, and may still be subscribed to. @type {Set<string>} */
  #left = new Set();
  /** @type {Map<string, string[]>} by namespace */
  #markerRooms = new Map();
  /** In a cluster. @type {import("./cluster").SlotRange[] | null} */
  #slots = null;

  /** @param {RingOptions} options */
  constructor(options) {
    this.#options = options;
    this.key = options.key ?? `ring-${++rings}`;
    this.namespaces = options.namespaces ?? ["/"];
    this.family = options.adapter ?? "classic";
    this.mode = this.family === "sharded" ? (options.mode ?? "dynamic") : null;
    this.streamCount = options.streamCount ?? 1;
    /** Whether by SSUBSCRIBE. */
    this.sharded = this.family === "sharded" || options.useShardedPubSub === true;
    /** Of the streams adapter. */
    this.streamName = `${this.key}-stream`;
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

  /** Names of channels, as the reference makes them. */
  channel(nsp = "/", room = "") {
    return `${this.key}#${nsp}#${room === "" ? "" : `${room}#`}`;
  }
  requestChannel(nsp = "/") {
    return this.family === "classic" ? `${this.key}-request#${nsp}#` : this.channel(nsp);
  }
  responseChannel(nsp = "/", uid = "") {
    return `${this.key}-response#${nsp}#${uid === "" ? "" : `${uid}#`}`;
  }

  /** The stream to which the reference adds what concerns a namespace. */
  stream(nsp = "/") {
    return streamOf(this.streamName, this.streamCount, nsp);
  }

  /**
   * Resolves once Redis has this many subscribers for the requests of a namespace.
   *
   * @param {string} nsp
   * @param {number} count
   */
  async subscribed(nsp, count) {
    await this.#counted([this.requestChannel(nsp)], ([n]) => n === count, `${count} subscribers in ${nsp}`);
  }

  /** Resolves once each node hears the others in a namespace. */
  async ready(nsp = "/", count = this.nodes.length) {
    const members = this.nodes.filter((node) => node.io._nsps.has(nsp));
    for (const node of members) if (node.kind === "ours") await node.adapter(nsp).ready;
    // The pattern comes before the channels, on the same connection.
    if (!this.#options.shared) await this.subscribed(nsp, count + (this.#options.elsewhere ?? 0));
    if (this.family === "classic") return;
    const own = members.map((node) => this.channel(nsp, node.adapter(nsp).uid));
    await this.#counted(own, (counts) => counts.every((n) => n > 0), "the nodes to hear responses");
    if (this.family !== "streams") return;
    const references = members.filter((node) => node.kind === "reference").map((node) => node.io);
    await hearStreams(this.raw, this, references, nsp);
  }

  /**
   * Resolves once every node hears those rooms in which it has sockets: in the dynamic modes of the sharded adapter
   * they have channels of their own, and subscriptions take their time.
   */
  async joined() {
    if (this.mode === null || this.mode === "static") return;
    /** @type {Map<string, number>} */
    const wanted = new Map([...this.#left].map((channel) => [channel, 0]));
    this.#left.clear();
    for (const node of this.nodes) {
      for (const [nsp, { adapter }] of node.io._nsps) {
        for (const room of adapter.rooms.keys()) {
          if (!this.#hasChannel(node, nsp, room)) continue;
          const channel = this.channel(nsp, String(room));
          wanted.set(channel, (wanted.get(channel) ?? 0) + 1);
        }
      }
    }
    if (wanted.size === 0) return;
    const right = [...wanted.values()];
    await this.#counted(
      [...wanted.keys()],
      (counts) => counts.every((n, i) => n === right[i]),
      `the subscriptions to ${JSON.stringify([...wanted])}`,
    );
  }

  /** Whether a node listens to the channel of a room that it has. @param {Node} node @param {string} nsp @param {any} room */
  #hasChannel(node, nsp, room) {
    if (this.mode === "dynamic-private") return true;
    if (typeof room === "string" && room.length === 20) return false;
    // The reference takes what is a socket's id for private; no publisher does.
    return node.kind === "ours" || !node.adapter(nsp).sids.has(room);
  }

  /** @param {string[]} channels @param {(counts: number[]) => boolean} test @param {string} what */
  async #counted(channels, test, what) {
    const { redis } = this.#options;
    const { sharded } = this;
    /** @type {number[]} */
    let counts = [];
    await waitFor(async () => test((counts = await countSubscribers(redis, channels, { sharded }))), {
      what,
    }).catch((error) => {
      error.message += `; there are ${counts}`;
      throw error;
    });
  }

  /**
   * The rooms of markers of a namespace. What goes through the nodes of a cluster has no common order: there is one
   * such room at each master, so that a marker goes the way of every message.
   *
   * @param {string} nsp
   * @returns {string[]}
   */
  #markersOf(nsp) {
    if (!this.#slots) return [];
    let rooms = this.#markerRooms.get(nsp);
    if (!rooms) {
      const missing = new Set(this.#slots.map(({ node }) => node));
      rooms = [];
      for (let n = 0; missing.size > 0; n++) {
        const room = `${MARKER_ROOM}${n}`;
        const slot = slotOf(this.channel(nsp, room));
        const owner = this.#slots.find(({ start, end }) => start <= slot && slot <= end)?.node;
        if (owner && missing.delete(owner)) rooms.push(room);
      }
      this.#markerRooms.set(nsp, rooms);
    }
    return rooms;
  }

  async start() {
    const { redis, nodes, sockets = 2, socketOpts, shared } = this.#options;
    this.raw = await this.#redisClient("redis");
    if (redis instanceof RedisCluster && this.mode !== null && this.mode !== "static") {
      this.#slots = await redis.slots();
    }
    const pair = shared ? await this.#pair() : null;
    for (const kind of nodes) await this.#startNode(kind, pair ?? (await this.#pair()));
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

  /** Resolves with one more node, once it hears the others and they hear it. @param {Kind} kind */
  async join(kind) {
    const node = await this.#startNode(kind, await this.#pair());
    for (const nsp of this.namespaces) await this.ready(nsp);
    return node;
  }

  /** @param {Kind} kind @param {{ pub: any, sub: any }} clients */
  async #startNode(kind, clients) {
    const { opts, serverOpts, transport = "native", setUp } = this.#options;
    const index = this.nodes.length;
    const node = new Node(index, kind, clients, (nsp) => this.#markersOf(nsp));
    this.nodes.push(node);
    await node.start(
      this.family,
      {
        ...this.#ownOpts(kind),
        ...(kind === "ours" && { transport }),
        ...(typeof opts === "function" ? opts(index) : opts),
      },
      typeof serverOpts === "function" ? serverOpts(index) : (serverOpts ?? {}),
    );
    setUp?.(node.io, index);
    for (const nsp of this.namespaces) node.io.of(nsp);
    return node;
  }

  /** What sets the ring apart from others on the same Redis. @param {Kind} kind */
  #ownOpts(kind) {
    if (this.family === "classic") return { key: this.key };
    if (this.family === "sharded") return { channelPrefix: this.key, subscriptionMode: this.mode };
    const { key: channelPrefix, streamName, streamCount } = this;
    const sessionKeyPrefix = `${this.key}-session:`;
    // A reader of the reference's ends when its command does.
    const block = kind === "reference" ? { blockTimeInMs: 100 } : {};
    return {
      channelPrefix,
      streamName,
      streamCount,
      sessionKeyPrefix,
      useShardedPubSub: this.sharded,
      ...block,
    };
  }

  /** The key of the session of a client. @param {string} pid */
  sessionKey(pid) {
    return `${this.key}-session:${pid}`;
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
    await this.joined();
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
    const rooms = this.#markersOf(nsp);
    sender.io.of(nsp).emit(MARKER, marker);
    for (const room of rooms) sender.io.of(nsp).to(room).emit(MARKER, marker);
    const all = 1 + rooms.length;
    await waitFor(() => peers.every((peer) => peer.markers.get(marker) === all || !peer.client.connected), {
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

  /**
   * Has every client leave its rooms, and forgets what it received; resolves when the subscriptions have ended. Those
   * of the reference over node-redis are lost if a room is joined before.
   */
  async reset() {
    for (const node of this.nodes) {
      for (const peer of node.peers) {
        peer.log = [];
        for (const room of peer.rooms) {
          if (this.#hasChannel(node, peer.nsp, room)) this.#left.add(this.channel(peer.nsp, String(room)));
          peer.socket.leave(room);
        }
      }
    }
    await this.joined();
  }

  /**
   * A list of what is published with this ring's prefix, or added to its streams, filled from now on; `stop()` ends
   * it.
   */
  async capture() {
    const { redis } = this.#options;
    if (this.family === "streams") {
      const publish = this.sharded ? "spublish" : "publish";
      const stream = this.streamName;
      return captureCommands(redis, { [publish]: `${this.key}#`, xadd: stream });
    }
    if (this.sharded) return captureCommands(redis, { spublish: `${this.key}#` });
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
    if (this.#options.redis instanceof RedisCluster && this.family !== "streams") {
      // To unsubscribe leaves rejections behind, over a cluster client of redis 5. The connections end anyway.
      for (const { io } of this.references) {
        for (const { adapter } of io._nsps.values()) {
          adapter.close = () => {};
          adapter.removeAllListeners("delete-room");
        }
      }
    }
    await Promise.all(this.nodes.map((node) => node.close()));
    // What an adapter's close() has sent is answered first.
    for (const client of this.#redisClients) await endClient(client);
    this.#redisClients.clear();
  }

  async #pair() {
    const kind = this.#options.clients ?? "redis";
    if (this.family === "streams") {
      const client = await this.#redisClient(kind);
      return { pub: client, sub: client };
    }
    return { pub: await this.#redisClient(kind), sub: await this.#redisClient(kind) };
  }

  /** @param {import("./connect").Clients} clients @returns {Promise<any>} */
  async #redisClient(clients) {
    const client = await connectClient(clients, this.#options.redis, this.#options.credentials);
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

module.exports = { startRing, Ring, Node };
