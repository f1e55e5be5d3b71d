// @ts-check
"use strict";

/**
 * A way to a Redis that can be shut, and that can break at a message.
 */

const net = require("node:net");

class Gate {
  /** @type {net.Server} */
  #server;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  /** Where it leads to; null while it is shut. @type {number | null} */
  #target = null;
  /** What it breaks at, and how often yet. @type {{ text: string, times: number }} */
  #breaks = { text: "", times: 0 };
  /** How many have come. */
  attempts = 0;

  constructor() {
    this.#server = net.createServer((socket) => this.#connect(socket));
  }

  /** The port that it listens on. */
  get port() {
    return /** @type {net.AddressInfo} */ (this.#server.address()).port;
  }

  /** How often it will still break. */
  get breaks() {
    return this.#breaks.times;
  }

  /** Resolves with a gate that is shut: it ends what connects to it. @returns {Promise<Gate>} */
  static async shut() {
    const gate = new Gate();
    await new Promise((resolve) => gate.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return gate;
  }

  /** Lets all through, to a port. @param {number} port */
  open(port) {
    this.#target = port;
  }

  /** Ends what is connected, and what will connect. */
  close() {
    this.#target = null;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Ends a connection at what Redis says there, so many times. @param {string} text @param {number} times */
  breakAt(text, times) {
    this.#breaks = { text, times };
  }

  /** Resolves when it is gone. */
  async stop() {
    this.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** @param {net.Socket} socket */
  #connect(socket) {
    this.attempts++;
    socket.on("error", () => {});
    if (this.#target === null) return void socket.destroy();
    const redis = net.connect(this.#target, "127.0.0.1");
    redis.on("error", () => {});
    for (const one of [socket, redis]) {
      one.setNoDelay(true);
      this.#sockets.add(one);
      one.on("close", () => {
        this.#sockets.delete(one);
        (one === socket ? redis : socket).destroy();
      });
    }
    socket.pipe(redis);
    redis.on("data", (bytes) => {
      const { text, times } = this.#breaks;
      if (times > 0 && bytes.includes(text)) {
        this.#breaks.times--;
        return void redis.destroy();
      }
      socket.write(bytes);
    });
  }
}

module.exports = { Gate };
