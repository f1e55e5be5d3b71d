// @ts-check
"use strict";

/**
 * One cell of the matrix: two servers of ours with clients of one kind, and one of the reference, over one Redis, and
 * whether they are one cluster.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const reference = require("@socket.io/redis-adapter");
const { Cluster, Redis } = require("ioredis");
const { createClient, createCluster } = require("redis");
const ours = /** @type {any} */ (require("../.."));
const { once, waitFor } = require("../support/wait");

/**
 * @typedef {import("./places").Place} Place
 * @typedef {import("./variants").Variant} Variant
 * @typedef {"classic" | "sharded"} Kind of the adapter
 * @typedef {"auto" | "native" | "client"} Transport
 *
 * @typedef {object} Node
 * @property {Server} io
 * @property {import("node:http").Server} http
 * @property {any} adapter of the main namespace
 * @property {any} socket a client's
 * @property {any[]} log what it received
 */

/** How long a step may take, in milliseconds. */
const PATIENCE = 15_000;

/** What makes a payload hard to carry: no text, and text that is no ASCII. */
const BYTES = Buffer.from([0xff, 0x00, 0x7b, 0xfe, 0x0a]);
const TEXT = "grüße 🚀";

let cells = 0;

/** Makes the adapters and the servers, and ends them. */
class Cell {
  /** @type {Node[]} */
  nodes = [];
  /** What ends the clients. @type {(() => any)[]} */
  #ends = [];
  #name = `matrix-${++cells}`;
  /** What it is about, for who waits in vain. */
  step = "";

  /**
   * @param {Variant} variant
   * @param {Place} place
   * @param {Kind} kind
   * @param {Transport} transport
   */
  constructor(variant, place, kind, transport) {
    this.variant = variant;
    this.place = place;
    this.kind = kind;
    this.transport = transport;
  }

  /**
   * Resolves once the servers have shown that they are one cluster; rejects if they are none, with the TypeError of
   * ours too, if the clients will not do.
   *
   * @param {{ carrier: "native" | "client" }} expected
   */
  async run({ carrier }) {
    try {
      this.step = "to start";
      await this.#start();
      this.step = "to count each other";
      await this.#beginsAsOne();
      this.step = "to broadcast";
      await this.#broadcasts();
      this.step = "to reach rooms";
      await this.#reachesRooms();
      this.step = "to answer";
      await this.#answers();
      this.step = "to prove the carrier";
      for (const { adapter } of this.ours) {
        await waitFor(() => adapter.transport.proven, { timeout: PATIENCE, what: "the proof" });
        assert.strictEqual(adapter.transport.carrier, carrier, adapter.transport.reason);
        const { malformed, refused, dropped, lostInFlight } = adapter.stats();
        assert.deepStrictEqual([malformed, refused, dropped, lostInFlight], [0, 0, 0, 0]);
      }
    } finally {
      this.step += ", or then to close the servers";
      for (const { socket } of this.nodes) socket?.disconnect();
      await Promise.all(this.nodes.map(({ io }) => io.close()));
      this.step += ", or then to end the clients";
      // What a close() has sent is to be answered before the connection is.
      await Promise.allSettled(this.#ends.map(async (end) => end()));
    }
  }

  get ours() {
    return this.nodes.slice(0, 2);
  }

  async #start() {
    const { variant, place } = this;
    /** @type {(() => Promise<void>)[]} */
    const connects = [];
    const make = (/** @type {"pub" | "sub"} */ role) => {
      const client = variant.make(place, role);
      client.on("error", () => {});
      this.#ends.push(() => variant.end(client));
      connects.push(() => variant.connect(client));
      return client;
    };
    const pairs = [1, 2].map(() => [make("pub"), make("sub")]);
    if (variant.connects === "before") await Promise.all(connects.map((connect) => connect()));
    for (const [pub, sub] of pairs) await this.#listen(this.#adapterOf(ours, pub, sub));
    await this.#listen(
      this.#adapterOf(reference, await this.#referenceClient(), await this.#referenceClient()),
    );
    if (variant.connects === "after") await Promise.all(connects.map((connect) => connect()));
    await Promise.all(this.ours.map(({ adapter }) => adapter.ready));
  }

  /** @param {any} from the package @param {any} pub @param {any} sub */
  #adapterOf(from, pub, sub) {
    const transport = from === ours && { transport: this.transport };
    return this.kind === "sharded"
      ? from.createShardedAdapter(pub, sub, { channelPrefix: this.#name, ...transport })
      : from.createAdapter(pub, sub, { key: this.#name, ...transport });
  }

  /** A client of the reference, of a kind that it is at home with. */
  async #referenceClient() {
    const { nodes, sentinel, port, path, tls, username, password } = this.place;
    const login = { username, password };
    // In a cluster the other kind would not see those who listen to replicas.
    if (sentinel || (nodes && this.variant.listensToReplicas)) {
      const client = sentinel
        ? new Redis({ sentinels: sentinel.nodes, name: sentinel.name })
        : new Cluster(nodes ?? [], { redisOptions: { ...login, tls }, shardedSubscribers: true });
      client.on("error", () => {});
      this.#ends.push(() => client.quit());
      await once(client, "ready");
      return client;
    }
    const socket = /** @type {any} */ (tls ? { ...tls, tls: true } : {});
    const client = /** @type {any} */ (
      nodes
        ? createCluster({
            rootNodes: nodes.map(({ host, port }) => ({ socket: { ...socket, host, port } })),
            defaults: { ...login, socket },
          })
        : createClient({
            socket: { ...socket, ...(path ? { path } : { host: "127.0.0.1", port }) },
            ...login,
          })
    );
    client.on("error", () => {});
    this.#ends.push(() => client.close());
    await client.connect();
    return client;
  }

  /** @param {any} adapter */
  async #listen(adapter) {
    const server = http.createServer();
    const io = new Server(server, { adapter, transports: ["websocket"] });
    io.on("connection", (socket) => void socket.join("room"));
    const node = { io, http: server, adapter: io.of("/").adapter, socket: null, log: [] };
    this.nodes.push(/** @type {any} */ (node));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  }

  async #beginsAsOne() {
    await Promise.all(
      this.nodes.map(async (node) => {
        const { port } = /** @type {import("node:net").AddressInfo} */ (node.http.address());
        node.socket = connectSocket(`http://127.0.0.1:${port}`, {
          transports: ["websocket"],
          forceNew: true,
        });
        node.socket.onAny((/** @type {any[]} */ ...args) => {
          if (args[0] === "ask") args.at(-1)(TEXT);
          else node.log.push(args);
        });
        await once(node.socket, "connect", PATIENCE);
      }),
    );
    await Promise.all(
      this.nodes.map(({ adapter }, index) =>
        waitFor(async () => (await adapter.serverCount()) === this.nodes.length, {
          timeout: PATIENCE,
          what: `node ${index} to count ${this.nodes.length} servers`,
        }),
      ),
    );
  }

  async #broadcasts() {
    for (const [index, { io }] of this.nodes.entries()) {
      for (let n = 0; n < 5; n++) io.emit("all", index, n, TEXT, BYTES);
    }
    const wanted = this.nodes.flatMap((_, index) =>
      Array.from({ length: 5 }, (_, n) => ["all", index, n, TEXT, BYTES]),
    );
    for (const { log } of this.nodes) {
      await waitFor(() => log.length >= wanted.length, { timeout: PATIENCE, what: "the broadcasts" });
      const got = log.splice(0).sort((a, b) => a[1] - b[1]);
      // Each of our servers' in its order. The reference has another node publish each message.
      const isFree = this.place.nodes !== undefined;
      const inOrder = got.filter((args) => args[1] < 2);
      assert.deepStrictEqual(
        isFree ? [...inOrder, ...got.slice(inOrder.length).sort((a, b) => a[2] - b[2])] : got,
        wanted,
      );
    }
  }

  async #reachesRooms() {
    // That the servers listen to a room's own channel is not to be seen from without.
    for (const [index, { io }] of this.nodes.entries()) {
      let n = 0;
      await waitFor(
        () => {
          io.to("room").emit("room", index, n++);
          return this.nodes.every(({ log }) => log.some((args) => args[1] === index));
        },
        { timeout: PATIENCE, what: `a message of node ${index} to the room` },
      );
      io.to("room").emit("room", index, "end");
      for (const { log } of this.nodes) {
        await waitFor(() => log.some((args) => args[2] === "end"), {
          timeout: PATIENCE,
          what: "the last one",
        });
        const numbers = log.splice(0).map((args) => args[2]);
        assert.strictEqual(new Set(numbers).size, numbers.length, `twice: ${numbers}`);
      }
    }
  }

  async #answers() {
    await Promise.all(
      this.nodes.map(async ({ io }, index) => {
        const sockets = await io.fetchSockets();
        assert.strictEqual(sockets.length, this.nodes.length, `fetchSockets() of node ${index}`);
        const answers = await io.timeout(PATIENCE).emitWithAck("ask");
        assert.deepStrictEqual(answers, [TEXT, TEXT, TEXT], `acks of node ${index}`);
      }),
    );
  }
}

module.exports = { Cell };
