// @ts-check
"use strict";

/**
 * What the user's clients do when they carry the bytes: whatever that is, nothing of it ends the process or keeps the
 * local sockets from their messages.
 */

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const { Server } = require("socket.io");
const ours = /** @type {any} */ (require(".."));
const { leavesNoRejection } = require("./fixtures/suite");
const { expectExceptions } = require("./support/hooks");
const { startRedis } = require("./support/redis");

/** What a method of a client that is out of order does. @type {Record<string, () => any>} */
const MISDEEDS = {
  throws: () => {
    throw new Error("thrown");
  },
  "throws nothing": () => {
    throw undefined;
  },
  rejects: () => Promise.reject(new Error("rejected")),
  "rejects with nothing": () => Promise.reject(),
  "returns nothing": () => undefined,
  "returns nonsense": () => Promise.resolve({ toString: null }),
  hangs: () => new Promise(() => {}),
};

/** The methods of each package's clients that an adapter calls. */
const STYLES = {
  redis: ["subscribe", "unsubscribe", "pSubscribe", "pUnsubscribe", "sPublish", "sSubscribe", "sUnsubscribe"],
  ioredis: [
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "spublish",
    "ssubscribe",
    "sunsubscribe",
  ],
};

describe("a client that is out of order", () => {
  for (const [style, methods] of Object.entries(STYLES)) {
    for (const [name, misdeed] of Object.entries(MISDEEDS)) {
      for (const kind of ["createAdapter", "createShardedAdapter"]) {
        it(`${style}: ${name}, ${kind}`, async () => {
          const exceptions = expectExceptions();
          const client = Object.assign(
            new EventEmitter(),
            Object.fromEntries(
              [...methods, "publish", "sendCommand", "call"].map((method) => [method, misdeed]),
            ),
          );
          const io = new Server({ adapter: ours[kind](client, client, { requestsTimeout: 50 }) });
          const adapter = /** @type {any} */ (io.of("/").adapter);
          /** @type {any[]} */
          const local = [];
          const socket = {
            ...{ id: "s", rooms: new Set(), handshake: {}, data: {} },
            ...{ join() {}, leave() {}, notifyOutgoingListeners() {} },
            client: { writeToEngine: () => local.push(1) },
          };
          adapter.nsp.sockets.set("s", socket);
          adapter.addAll("s", new Set(["s", "room"]));
          for (let n = 0; n < 3; n++) {
            io.emit("all", n);
            io.to("room").emit("room", Buffer.from([n]));
            io.serverSideEmit("hello");
            io.socketsJoin("other");
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
          // An answer, or an error that says why there is none: within its time.
          await Promise.race([
            io.fetchSockets().catch(() => {}),
            new Promise((resolve) => setTimeout(resolve, 500)),
          ]);
          assert.ok(local.length >= 6, `${local.length} local deliveries`);
          adapter.close();
          await new Promise((resolve) => setTimeout(resolve, 100));
          assert.deepStrictEqual(exceptions, []);
        });
      }
    }
  }
  leavesNoRejection();
});

describe("clients that their user ends right behind close()", () => {
  for (const version of ["ioredis-4", "ioredis-5", "ioredis", "iovalkey"]) {
    for (const kind of ["createAdapter", "createShardedAdapter"]) {
      it(`${version}, ${kind}: quit() is answered`, async () => {
        const redis = await startRedis();
        const Redis = require(version).Redis ?? require(version);
        try {
          // A command that comes behind would have the client reject it, most of the time.
          for (let n = 0; n < 5; n++) {
            const clients = [new Redis(redis.port), new Redis(redis.port)];
            for (const client of clients) client.on("error", () => {});
            const io = new Server({ adapter: ours[kind](...clients, { transport: "client" }) });
            const adapter = /** @type {any} */ (io.of("/").adapter);
            await adapter.ready;
            io.emit("last", n);
            adapter.close();
            await Promise.all(clients.map((client) => client.quit()));
          }
        } finally {
          await redis.stop();
        }
      });
    }
  }
  leavesNoRejection();
});
