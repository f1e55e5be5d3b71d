// @ts-check
"use strict";

/**
 * Clients of a Socket.IO server, in a process of their own: they check that each message comes once, whole and in its order, while
 * they read slowly, vanish and come back.
 *
 * Arguments: port, how many, seed. A message is `[name, g, n, payload]`: `g` grows with everything that the server emits; `n` is one
 * more than that of the message of this name before it, or null. `bye` and `end` bring what `n` stands at, by name, as payload.
 */

const { WebSocket } = require("ws");
const { mulberry32 } = require("./generated");

const [port, count, seed] = process.argv.slice(2).map(Number);
const random = mulberry32(seed);

/** How long a client stops reading at most, in milliseconds. */
const LONGEST_PAUSE = 400;

/** @param {number} n */
const below = (n) => Math.floor(random() * n);

/** @type {string[]} */
const faults = [];
const seen = { messages: 0, connections: 0, ended: 0 };

/** @type {Set<Client>} */
const clients = new Set();
let isOver = false;

class Client {
  #ws = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, {
    perMessageDeflate: false,
  });
  #last = -1;
  /** By name. @type {Map<string, number>} */
  #numbers = new Map();
  /** Whether the server has said that it ends the connection. */
  #isDismissed = false;
  /** Whether this end has ended it. */
  #isEnded = false;
  #error = "no error";
  isOpen = false;
  isDone = false;

  constructor() {
    clients.add(this);
    seen.connections++;
    this.#ws.on("message", (data) => this.#onPacket(String(data)));
    this.#ws.on("error", (error) => (this.#error = String(error)));
    this.#ws.on("close", (code) => this.#onClose(code));
  }

  /** @param {string} packet */
  #onPacket(packet) {
    if (packet === "2") return this.#ws.send("3");
    if (packet.startsWith("0")) return this.#ws.send("40");
    if (packet.startsWith("40")) this.isOpen = true;
    if (!packet.startsWith("42")) return;
    seen.messages++;
    let message;
    try {
      message = JSON.parse(packet.slice(2));
    } catch {
      return void faults.push(`torn: ${packet.slice(0, 60)}`);
    }
    const [name, g, n, payload] = message;
    // What another server has emitted is numbered by itself.
    if (name !== "remote") {
      if (g <= this.#last) faults.push(`${name} ${g} behind ${this.#last}`);
      this.#last = g;
    }
    const before = this.#numbers.get(name);
    if (n !== null && before !== undefined && n !== before + 1) faults.push(`${name} ${n} after ${before}`);
    if (n !== null) this.#numbers.set(name, n);
    if (typeof payload === "string" && !/^(.)\1*$/.test(payload) && payload !== "")
      faults.push(`${name} ${g} has another payload`);
    if (name === "bye" || name === "end") this.#compare(name, payload);
    if (name === "bye") this.#isDismissed = true;
    if (name === "end") this.isDone = true;
  }

  /** @param {string} name @param {Record<string, number>} numbers */
  #compare(name, numbers) {
    for (const [event, n] of this.#numbers)
      if (numbers[event] !== undefined && numbers[event] !== n)
        faults.push(`at ${name}: ${event} stands at ${n}, not ${numbers[event]}`);
  }

  /** @param {number} code */
  #onClose(code) {
    clients.delete(this);
    seen.ended++;
    if (!this.#isDismissed && !this.#isEnded && !isOver)
      faults.push(`a connection has ended: ${code}, ${this.#error}, behind ${this.#last}`);
    if (!isOver) new Client();
  }

  /** Does something that clients do. */
  misbehave() {
    const { _socket: socket } = /** @type {any} */ (this.#ws);
    // Who sends something before it is connected to the namespace is thrown out.
    if (this.#ws.readyState !== WebSocket.OPEN || !this.isOpen || this.isDone) return;
    switch (below(12)) {
      case 0:
        this.#isEnded = true;
        return this.#ws.close();
      case 1:
        this.#isEnded = true;
        return socket.resetAndDestroy();
      case 2:
        this.#isEnded = true;
        // It goes on reading.
        return socket.end();
      case 3:
        this.#isEnded = true;
        return this.#ws.terminate();
      case 4:
        return this.#ws.send(`42["note",${below(1000)}]`);
      default:
        socket.pause();
        setTimeout(() => socket.resume(), below(LONGEST_PAUSE));
    }
  }
}

for (let n = 0; n < count; n++) new Client();
const mischief = setInterval(() => {
  for (const client of clients) if (below(20) === 0) client.misbehave();
}, 20);

process.on("message", (order) => {
  if (order === "calm") clearInterval(mischief);
  if (order === "report") {
    const all = [...clients];
    process.send?.({
      ...seen,
      open: all.filter(({ isOpen }) => isOpen).length,
      waiting: all.filter(({ isDone }) => !isDone).length,
      faults: faults.slice(0, 20),
    });
  }
  if (order === "over") {
    isOver = true;
    process.exit();
  }
});
