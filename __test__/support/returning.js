// @ts-check
"use strict";

/**
 * A client that loses its connection and comes back, to the same node of a ring or to another.
 */

const assert = require("node:assert");
const { io: connectSocket } = require("socket.io-client");
const { BINARY } = require("../fixtures/rings");
const { once, waitFor } = require("./wait");

/** @typedef {import("./ring").Ring} Ring */
/** @typedef {import("./ring").Node} Node */

const OFFSET = /^(\d{13})-(\d+)$/;

class Returning {
  /** What it received, offsets included. @type {any[][]} */
  log = [];
  /** The last offset that it was shown. @type {[bigint, bigint]} */
  #last = [0n, 0n];

  /**
   * @param {Ring} ring
   * @param {Node} node
   * @param {string} [nsp]
   * @param {(args: any[]) => any[]} [keep] what of an event is to be kept in the log
   */
  constructor(ring, node, nsp = "/", keep = (args) => args) {
    this.ring = ring;
    this.node = node;
    this.nsp = nsp;
    /** @type {any} */
    this.client = connectSocket(`${urlOf(node)}${nsp}`, {
      transports: ["websocket"],
      forceNew: true,
      reconnection: false,
    });
    this.client.onAny((/** @type {any[]} */ ...args) => void this.log.push(args));
  }

  /** None while it is away. @returns {string} */
  get id() {
    return this.client.id;
  }

  /** What it shows to be taken for who it was. @type {string} */
  get pid() {
    return this.client._pid;
  }

  /** The server's side of it. @type {any} */
  get socket() {
    return this.node.io.of(this.nsp).sockets.get(this.id);
  }

  /** Resolves once it is connected. @param {number} [timeout] in milliseconds */
  async connected(timeout = 5000) {
    const failed = new Promise((_, reject) => this.client.once("connect_error", reject));
    if (!this.client.connected) await Promise.race([once(this.client, "connect", timeout), failed]);
    await waitFor(() => this.socket, { what: "the server's side of a client" });
    return this;
  }

  /** Sends it an event, so that it has an offset; resolves when it has. @param {Node} [from] */
  async greet(from = this.node) {
    const before = this.log.length;
    from.io.of(this.nsp).to(this.id).emit("greeting", 0);
    await waitFor(() => this.log.length > before, { what: "the greeting" });
    const [greeting] = this.log.splice(before);
    assert.match(greeting[2], OFFSET);
    assert.deepStrictEqual(greeting.slice(0, 2), ["greeting", 0]);
    return this;
  }

  /** Closes the connection; resolves once the server knows, and its session is kept. @param {{ kept?: boolean }} [options] */
  async leave({ kept = true } = {}) {
    const { node, id, pid } = this;
    const { sockets } = node.io.of(this.nsp);
    this.client.io.engine.close();
    await waitFor(() => !sockets.has(id), { what: "the server to see a client go" });
    if (!kept) return;
    await waitFor(() => this.ring.raw.exists(this.ring.sessionKey(pid)), { what: "the session to be kept" });
  }

  /**
   * Connects to a node, and says whether it was taken for who it was.
   *
   * @param {Node} node
   * @param {number} [timeout] in milliseconds
   * @returns {Promise<boolean>}
   */
  async come(node, timeout) {
    this.to(node);
    await this.connected(timeout);
    return this.client.recovered;
  }

  /** Begins to connect to a node. @param {Node} node */
  to(node) {
    this.node = node;
    this.client.io.uri = urlOf(node);
    this.client.connect();
  }

  /** Takes what it received, without offsets; they have to grow. @returns {any[][]} */
  take() {
    return this.log.splice(0).map((args) => {
      const offset = OFFSET.exec(args.at(-1));
      if (!offset) return args;
      const next = /** @type {[bigint, bigint]} */ ([BigInt(offset[1]), BigInt(offset[2])]);
      assert.ok(isAfter(next, this.#last), `${next} after ${this.#last}: ${JSON.stringify(args)}`);
      this.#last = next;
      return args.slice(0, -1);
    });
  }

  /** Resolves with so many events, once there are as many. @param {number} count */
  async took(count) {
    await waitFor(() => this.log.length >= count, {
      what: `${count} events`,
      timeout: 10_000,
    }).catch((error) => {
      error.message += `; there are ${this.log.length}`;
      throw error;
    });
    return this.take();
  }

  /** Resolves when what every node of its ring emits arrives, once. */
  async hears() {
    for (const { io, index } of this.ring.nodes) {
      io.of(this.nsp).emit("all", index);
      io.of(this.nsp).to(this.id).emit("you", index, BINARY);
      assert.deepStrictEqual(await this.took(2), [
        ["all", index],
        ["you", index, BINARY],
      ]);
    }
  }

  close() {
    this.client.disconnect();
  }
}

/** @param {[bigint, bigint]} a @param {[bigint, bigint]} b */
function isAfter(a, b) {
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

/** @param {Node} node */
function urlOf({ port }) {
  return `http://127.0.0.1:${port}`;
}

module.exports = { Returning };
