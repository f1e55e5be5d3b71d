// @ts-check
"use strict";

/**
 * A node of a ring: a Socket.IO server with an adapter, the Redis clients behind it and the clients before it.
 */

const http = require("node:http");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const ours = require("../..");
const reference = require("@socket.io/redis-adapter");
const { once, waitFor } = require("./wait");

/** The events that tests use to know that all before it has come. */
const MARKER = "marker";

/** What the rooms are called that only markers go to. */
const MARKER_ROOM = "room of markers ";

/**
 * @typedef {"ours" | "reference"} Kind
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
   * @param {{ pub: any, sub: any }} clients
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
   * @param {"createAdapter" | "createShardedAdapter"} create
   * @param {object} adapterOpts
   * @param {object} serverOpts
   */
  async start(create, adapterOpts, serverOpts) {
    /** @type {any} */
    const exported = this.kind === "ours" ? ours : reference;
    const adapter = exported[create](this.pub, this.sub, adapterOpts);
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

module.exports = { MARKER, MARKER_ROOM, Node, Peer };
