// @ts-check
"use strict";

/**
 * A node in a process of its own (with --expose-gc), told by its parent what to do: `port`, `transport` and
 * `parser` come as JSON in the first argument. Answers "look" with its memory, its counters and what it received.
 */

const { Node } = require("../fixtures/nodes");

const { port, kind, transport, parser } = JSON.parse(process.argv[2]);

/** A parser of the user's that does not bear what it cannot read. */
const throwing = {
  encode: (/** @type {any} */ value) => Buffer.from(`#${JSON.stringify(value)}`),
  decode(/** @type {Buffer} */ bytes) {
    if (bytes[0] !== 0x23) throw new Error("this parser throws");
    return JSON.parse(bytes.toString("utf8", 1));
  },
};

/** @type {string[]} */
const errors = [];
process.on("uncaughtException", (error) => {
  // The client runs in this process too, and does not bear everything.
  if (!/socket\.io-client|component-emitter/.test(String(error.stack)))
    errors.push(`exception: ${error.stack}`);
});
process.on("unhandledRejection", (error) =>
  errors.push(`rejection: ${error instanceof Error ? error.stack : error}`),
);

async function main() {
  const node = new Node({
    kind,
    redis: { port },
    options: { transport, ...(parser === "throwing" && { parser: throwing }) },
  });
  await node.ready();
  const socket = await node.connect();
  /** @type {any[]} */
  const good = [];
  socket.on("good", (/** @type {any} */ value) => good.push(value));
  node.io.on("good", (/** @type {any} */ value) => good.push(`server ${value}`));
  for (const one of node.io.of("/").sockets.values()) one.join("room");

  process.on("message", async (message) => {
    if (message === "look") {
      // Twice: what the first pass finalizes, the second one frees.
      for (let i = 0; i < 2; i++) {
        /** @type {any} */ (globalThis).gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      process.send?.({
        rss: process.memoryUsage().rss,
        stats: node.adapter.stats(),
        connected: socket.connected,
        good,
        errors,
      });
    } else if (message === "end") {
      await node.close();
      process.disconnect();
    }
  });
  process.send?.({ uid: node.adapter.uid });
}

main();
