// @ts-check
"use strict";

/** The example of the old tutorials: three servers in processes of their own, joined by Redis. */

const assert = require("node:assert");
const { fork } = require("node:child_process");
const path = require("node:path");
const { io: connect } = require("socket.io-client");
const { countSubscribers } = require("./fixtures/nodes");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const SERVERS = [0, 1, 2];

/** @type {Record<string, string[]>} */
const EXAMPLES = {
  "{ host, port }": SERVERS.map(() => "host and port"),
  "{ pubClient, subClient } of redis 3": SERVERS.map(() => "clients of redis 3"),
  "{ pubClient, subClient } of redis 6": SERVERS.map(() => "clients of redis 6"),
  "one of each": ["host and port", "clients of redis 3", "clients of redis 6"],
};

describe("three servers of an old tutorial", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {import("node:child_process").ChildProcess[]} */
  let children = [];
  /** @type {any[]} */
  let sockets = [];

  beforeEach(async () => {
    redis = await startRedis();
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.disconnect();
    const gone = children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit"));
    for (const child of children.splice(0)) child.kill();
    await Promise.all(gone);
    await redis.stop();
  });

  /** Resolves with the port of a server that listens. @param {string} form @returns {Promise<number>} */
  async function start(form) {
    const env = { ...process.env, REDIS_PORT: String(redis.port), FORM: form };
    const child = fork(path.join(__dirname, "fixtures", "three-servers.js"), { env });
    children.push(child);
    const [address] = await once(child, "message", 10_000);
    return address.port;
  }

  for (const [name, forms] of Object.entries(EXAMPLES)) {
    it(name, async () => {
      const ports = await Promise.all(forms.map(start));
      await waitFor(async () => (await countSubscribers(redis, "socket.io-request#/#")) === 3, {
        what: "three servers at Redis",
      });
      /** @type {string[][]} */
      const heard = SERVERS.map(() => []);
      sockets = ports.map((port) => connect(`http://127.0.0.1:${port}`, { transports: ["websocket"] }));
      for (const [index, socket] of sockets.entries()) {
        socket.on("message", (/** @type {string} */ text) => heard[index].push(text));
      }
      await Promise.all(sockets.map((socket) => socket.connected || once(socket, "connect")));
      await Promise.all([0, 2].map((index) => sockets[index].emitWithAck("join", "cats")));

      for (const index of SERVERS) {
        sockets[index].emit("message to room", "cats", `to cats from ${index}`);
        sockets[index].emit("message to all", `to all from ${index}`);
      }
      // What a server sends comes in order: who has the last of each has what there was.
      const isLast = (/** @type {string} */ text) => text.startsWith("to all");
      await waitFor(() => heard.every((texts) => texts.filter(isLast).length === 3), {
        what: "every message to all",
      });
      const all = SERVERS.map((index) => `to all from ${index}`);
      const cats = SERVERS.map((index) => `to cats from ${index}`);
      assert.deepStrictEqual(
        heard.map((texts) => texts.sort()),
        [[...all, ...cats], all, [...all, ...cats]],
      );
    });
  }
});
