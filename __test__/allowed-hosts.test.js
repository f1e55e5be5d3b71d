// @ts-check
"use strict";

/**
 * Who says where the nodes are may say anything; the password goes to hosts that are allowed, and nowhere else.
 */

const assert = require("node:assert");
const net = require("node:net");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { Emitter } = require("../emitter");
const streams = require("../streams");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** The first and only words that a RESP command has, each. @param {Buffer} bytes @returns {string[][]} */
function commandsOf(bytes) {
  /** @type {string[][]} */
  const commands = [];
  const lines = bytes.toString().split("\r\n");
  for (let at = 0; lines[at]?.startsWith("*");) {
    const words = Number(lines[at].slice(1));
    commands.push(Array.from({ length: words }, (_, word) => lines[at + 2 + 2 * word]));
    at += 1 + 2 * words;
  }
  return commands;
}

/** Of those who are asked: links that are closed may ask for a while. @type {Set<net.Socket>} */
const sockets = new Set();

/** A sentinel and a node of a cluster in one, who sends everybody to another port. @param {() => number} port */
function liar(port) {
  const bulk = (/** @type {string} */ text) => `$${text.length}\r\n${text}\r\n`;
  return net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      for (const [command, sub] of commandsOf(bytes)) {
        if (command === "SENTINEL") socket.write(`*2\r\n${bulk("127.0.0.1")}${bulk(String(port()))}`);
        else if (command === "SUBSCRIBE") socket.write(`*3\r\n${bulk("subscribe")}${bulk(sub)}:1\r\n`);
        else if (sub === "INFO") socket.write(bulk("cluster_state:ok\r\n"));
        else if (sub === "SLOTS")
          socket.write(`*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n${bulk("127.0.0.1")}:${port()}\r\n`);
        else socket.write("+OK\r\n");
      }
    });
  });
}

describe("allowedHosts", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  let strangers = 0;
  let strangerPort = 0;
  const stranger = net.createServer((socket) => {
    strangers++;
    socket.destroy();
  });
  /** Who names the stranger, and who names a Redis. @type {net.Server[]} */
  const liars = [];
  /** @type {any[]} */
  const open = [];

  const portOf = (/** @type {net.Server} */ server) => /** @type {net.AddressInfo} */ (server.address()).port;

  before(async () => {
    redis = await startRedis({ password: "secret" });
    liars.push(
      liar(() => strangerPort),
      liar(() => redis.port),
    );
    for (const server of [stranger, ...liars])
      await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    strangerPort = portOf(stranger);
  });

  afterEach(() => {
    for (const one of open.splice(0)) one.close();
    strangers = 0;
  });

  after(async () => {
    for (const server of [stranger, ...liars]) server.close();
    for (const socket of sockets) socket.destroy();
    await redis.stop();
  });

  /** @param {number} which of the liars @param {string[] | string | undefined} allowedHosts */
  const sentinels = (which, allowedHosts) => ({
    ...{ name: "mymaster", sentinels: [{ host: "127.0.0.1", port: portOf(liars[which]) }] },
    ...{ password: "secret", allowedHosts },
  });
  /** @param {number} which @param {string[] | string | undefined} allowedHosts */
  const cluster = (which, allowedHosts) => ({
    ...{ cluster: [{ host: "127.0.0.1", port: portOf(liars[which]) }] },
    ...{ password: "secret", allowedHosts },
  });

  const FACTORIES = /** @type {[string, (options: any) => any][]} */ ([
    ["createAdapter", createAdapter],
    ["createShardedAdapter", createShardedAdapter],
    ["createAdapter of streams", streams.createAdapter],
  ]);
  for (const [name, factory] of FACTORIES) {
    for (const [what, place] of /** @type {[string, typeof sentinels][]} */ ([
      ["a sentinel", sentinels],
      ["a node of a cluster", cluster],
    ])) {
      it(`keeps ${name} from hosts that ${what} makes up`, async () => {
        const adapter = /** @type {any} */ (
          new Server({ adapter: factory(place(0, ["10.0.0.0/8", "*.example.com"])) }).of("/").adapter
        );
        open.push(adapter);
        const [error] = await once(adapter, "degraded");
        assert.match(error.message, /127\.0\.0\.1:\d+ is not among `allowedHosts`/);
        assert.strictEqual(strangers, 0);
      });
    }

    it(`lets ${name} go to those that are in it`, async () => {
      for (const allowed of [["127.0.0.0/8"], "10.0.0.1, 127.0.0.1", undefined]) {
        const adapter = /** @type {any} */ (
          new Server({ adapter: factory(sentinels(1, allowed)) }).of("/").adapter
        );
        open.push(adapter);
        await adapter.ready;
      }
    });
  }

  it("keeps an emitter from others, too", async () => {
    const emitter = new Emitter(/** @type {any} */ (sentinels(0, ["10.0.0.1"])));
    emitter.emit("hello");
    await emitter.close({ timeout: 1000 }).catch(() => {});
    assert.strictEqual(strangers, 0);
    // Without the option the same goes there.
    const all = new Emitter(/** @type {any} */ (sentinels(0, undefined)));
    all.emit("hello");
    await waitFor(() => strangers > 0);
    await all.close({ timeout: 1 }).catch(() => {});
  });

  it("is a TypeError if it is no list of hosts", () => {
    for (const allowedHosts of [[], "", [1], ["a b"], ["*"], ["*example.com"], 7, {}])
      assert.throws(() => createAdapter(/** @type {any} */ ({ allowedHosts })), /opts\.allowedHosts must be/);
    for (const allowedHosts of ["10.0.0.0/33", "a/8", "redis:6379"])
      assert.throws(
        () => createAdapter(/** @type {any} */ (sentinels(1, [allowedHosts])))(new Server().of("/x")),
        /opts\.allowedHosts/,
      );
  });
});
