// @ts-check
"use strict";

/**
 * The process that is measured where it is an emitter: nothing else happens in it.
 *
 * Arguments: emitter module, "redis" | "ioredis", Redis URL, key.
 */

const { answerOrders } = require("./child.js");
const { burstOrders } = require("./burst.js");
const { threadClock } = require("./cpu.js");

const [emitterModule, clientName, url, key] = process.argv.slice(2);

/** @type {any} */
let client;
/** @type {any} */
let emitter;

answerOrders({
  /** Answers once the client is connected. */
  async open() {
    client =
      clientName === "redis" ? require("redis").createClient({ url }) : new (require("ioredis").Redis)(url);
    client.on("error", (/** @type {Error} */ err) =>
      console.error(`${emitterModule} with ${clientName}: ${err.message}`),
    );
    if (clientName === "redis") await client.connect();
    emitter = new (require(emitterModule).Emitter)(client, { key });
    // Ours finds out who carries its messages.
    await emitter.flush?.();
    return { port: 0, threadClock: { name: threadClock.name, reason: threadClock.reason } };
  },

  /** What carries the messages, as far as the emitter tells. */
  transport: () => emitter.transport ?? null,

  /** Answers once Redis has answered for everything. */
  async settled() {
    await emitter.flush?.();
    await client.ping();
  },

  ...burstOrders(() => emitter),
});
