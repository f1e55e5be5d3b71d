// @ts-check
"use strict";

/**
 * A node of a ring: a Socket.IO server with an adapter, the Redis clients behind it and the clients before it.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const { once, waitFor } = require("./wait");

/** The events that tests use to know that all before it has come. */
const MARKER = "marker";

/** What the rooms are called that only markers go to. */
const MARKER_ROOM = "room of markers ";

/**
 * What makes an adapter of two Redis clients, or for streams of one. They are loaded when they are used.
 *
 * @type {Record<Adapter, Record<Kind, (pub: any, sub: any, opts: any) => any>>}
 */
const ADAPTERS = {
  classic: {
    ours: (pub, sub, opts) => require("../..").createAdapter(pub, sub, opts),
    reference: (pub, sub, opts) => require("@socket.io/redis-adapter").createAdapter(pub, sub, opts),
  },
  sharded: {
    ours: (pub, sub, opts) => require("../..").createShardedAdapter(pub, sub, opts),
    reference: (pub, sub, opts) => require("@socket.io/redis-adapter").createShardedAdapter(pub, sub, opts),
  },
  streams: {
    ours: (client, _, opts) => require("../../streams").createAdapter(client, opts),
    reference: (client, _, opts) =>
      require("@socket.io/redis-streams-adapter").createAdapter(duplicates.watch(client), opts),
  },
};

/** The Redis clients that the reference makes of the one that it is given. */
const duplicates = {
  /** @type {WeakMap<object, any[]>} */
  made: new WeakMap(),

  /** Returns the client. @param {any} client */
  watch(client) {
    if (this.made.has(client)) return client;
    /** @type {any[]} */
    const list = [];
    this.made.set(client, list);
    const duplicate = client.duplicate.bind(client);
    client.duplicate = (/** @type {any[]} */ ...args) => {
      const copy = duplicate(...args);
      list.push(copy);
      return copy;
    };
    return client;
  },

  /** Whether all that were made of a client have ended. @param {any} client */
  ended(client) {
    const list = this.made.get(client) ?? [];
    // "close": of a cluster.
    return list.every(({ status, isOpen }) =>
      status === undefined ? !isOpen : status === "end" || status === "close",
    );
  },
};

/**
 * @typedef {"ours" | "reference"} Kind
 * @typedef {"classic" | "sharded" | "streams"} Adapter
 * @typedef {any[][]} Log what a client received, oldest first, markers left out
 */

/** A Socket.IO client, what it received, and its other end. */
class Peer {
  /** @type {Log} */
  log = [];
  /** How often each marker came. @type {Map<number, number>} */
  markers = new Map();

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
      if (args[0] === MARKER) this.markers.set(args[1], (this.markers.get(args[1]) ?? 0) + 1);
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

  /** The rooms that it is in, its own and those of the markers left out. */
  get rooms() {
    return [...(this.socket?.rooms ?? [])].filter(
      (room) => room !== this.id && !String(room).startsWith(MARKER_ROOM),
    );
  }

  /** Resolves once both ends know that they are connected. */
  async connected() {
    if (!this.client.connected) {
      const failed = new Promise((_, reject) => this.client.once("connect_error", reject));
      await Promise.race([once(this.client, "connect"), failed]);
    }
    this.socket.join(this.node.markerRooms(this.nsp));
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
   * @param {{ pub: any, sub: any }} clients for streams the same
   * @param {(nsp: string) => string[]} markerRooms what every client joins
   */
  constructor(index, kind, { pub, sub }, markerRooms) {
    this.index = index;
    this.kind = kind;
    this.pub = pub;
    this.sub = sub;
    this.markerRooms = markerRooms;
  }

  /** For the title of a test. */
  get name() {
    return `node ${this.index} (${this.kind})`;
  }

  /**
   * @param {Adapter} name
   * @param {object} adapterOpts
   * @param {object} serverOpts
   */
  async start(name, adapterOpts, serverOpts) {
    const adapter = ADAPTERS[name][this.kind](this.pub, this.sub, adapterOpts);
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
    // The readers of the reference end when they have nothing to wait for.
    await waitFor(() => duplicates.ended(this.pub), { what: `the Redis clients of ${this.name} to end` });
  }
}

module.exports = { MARKER, MARKER_ROOM, Node, Peer };
