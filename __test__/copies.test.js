// @ts-check
"use strict";

/**
 * Two copies of the package in one process, as two packages that depend on it may bring them along: what the one has
 * made the other knows.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { io: connectSocket } = require("socket.io-client");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const ROOT = path.join(__dirname, "..");

/** The parts of the package: what it is made of, whether it was built here or installed. */
const PARTS = [
  ...["lib", "index.js", "streams.js", "emitter.js", "binding.js", "package.json"],
  ...fs.readdirSync(ROOT).filter((name) => name.endsWith(".node")),
];

/** @typedef {{ index: any, streams: any, emitter: any }} Copy */

/** @param {string} root @returns {Copy} */
function load(root) {
  return {
    index: require(root),
    streams: require(path.join(root, "streams.js")),
    emitter: require(path.join(root, "emitter.js")),
  };
}

const FAMILIES = /** @type {const} */ ({
  classic: (/** @type {Copy} */ { index }, /** @type {string} */ url) => index.createAdapter(url),
  sharded: (/** @type {Copy} */ { index }, /** @type {string} */ url) => index.createShardedAdapter(url),
  streams: (/** @type {Copy} */ { streams }, /** @type {string} */ url) => streams.createAdapter(url),
});

describe("two copies of the package in one process", function () {
  this.timeout(20_000);

  /** @type {string} */
  let dir;
  /** @type {Copy[]} */
  let copies;
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {string} */
  let url;
  /** @type {(() => unknown)[]} */
  let ends = [];

  before(async () => {
    redis = await startRedis();
    url = `redis://127.0.0.1:${redis.port}`;
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "copies-"));
    for (const name of PARTS) fs.cpSync(path.join(ROOT, name), path.join(dir, name), { recursive: true });
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(dir, "node_modules"), "junction");
    copies = [load(ROOT), load(dir)];
    assert.notStrictEqual(copies[0].index.RedisAdapter, copies[1].index.RedisAdapter);
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  after(async () => {
    await redis?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  leavesNoRejection();

  /** @param {any} adapter @returns {Promise<Server>} */
  async function serve(adapter) {
    const io = new Server(0, { adapter });
    ends.push(() => io.close());
    await adapterOf(io).ready;
    return io;
  }

  /** @param {Server} io @returns {any} */
  const adapterOf = (io) => io.of("/").adapter;

  /** A client of a server, and what it hears. @param {Server} io */
  async function connect(io) {
    const { port } = /** @type {import("node:net").AddressInfo} */ (
      /** @type {any} */ (io).httpServer.address()
    );
    const socket = connectSocket(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
    ends.push(() => socket.disconnect());
    /** @type {any[][]} */
    const heard = [];
    socket.onAny((...args) => void heard.push(args));
    await once(socket, "connect");
    return { socket, heard };
  }

  for (const [family, adapterFrom] of Object.entries(FAMILIES)) {
    for (const [first, second] of [
      [0, 1],
      [1, 0],
    ]) {
      it(`${family}: an adapter of copy ${second} takes the place of one of copy ${first}`, async () => {
        const io = await serve(adapterFrom(copies[first], url));
        const other = await serve(adapterFrom(copies[first], url));
        const replaced = adapterOf(io);
        io.adapter(adapterFrom(copies[second], url));
        assert.notStrictEqual(adapterOf(io), replaced);
        await adapterOf(io).ready;
        for (const server of [io, other]) {
          await waitFor(async () => (await adapterOf(server).serverCount()) === 2, {
            what: "the adapter that was replaced to be counted no more",
          });
        }
        const { heard } = await connect(io);
        other.emit("to all", 1);
        other.emit("last");
        await waitFor(() => heard.some(([name]) => name === "last"), { what: "the last event" });
        assert.deepStrictEqual(heard, [["to all", 1], ["last"]]);
      });
    }
  }

  it("an operator of the one sends by what an emitter of the other has", async () => {
    const io = await serve(FAMILIES.classic(copies[0], url));
    const { heard } = await connect(io);
    const client = new Redis(url);
    ends.push(() => client.disconnect());
    const options = { key: "socket.io" };
    const emitters = copies.map(({ emitter }) => new emitter.Emitter(client, options));
    ends.push(() => Promise.all(emitters.map((emitter) => emitter.close())));
    for (const [index, emitter] of emitters.entries()) {
      const { BroadcastOperator } = copies[1 - index].emitter;
      new BroadcastOperator(emitter.redisClient, emitter.broadcastOptions).emit("by hand", index);
      await waitFor(() => heard.length === index + 1, { what: "what the operator sends" });
    }
    assert.deepStrictEqual(heard, [
      ["by hand", 0],
      ["by hand", 1],
    ]);
  });
});
