// @ts-check
"use strict";

/**
 * The native half of fan-out, with real connections: who gets what, what is handed over, and that nothing of it outlives
 * its environment. The rest stands in src/fanout/tests.
 */

const assert = require("node:assert");
const { fork } = require("node:child_process");
const net = require("node:net");
const path = require("node:path");
const { Worker } = require("node:worker_threads");
const { FanOut } = require("../binding");
const { skip } = require("./support/hooks");
const { once, waitFor } = require("./support/wait");

/** As in src/fanout/hub.rs: native may hold something for a slot with this flag. */
const HELD = 1 << 16;

/** More than the kernel takes for a client that does not read. */
const LARGE = 24 << 20;

/** How long anything may take, in milliseconds. */
const PATIENCE = 60_000;

/**
 * In a worker: lends the file descriptor that it is given, and says which slot that is.
 */
const LENDING = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { FanOut } = require(workerData.binding);
  global.fanOut = new FanOut(() => {}, 1e6, 1e6);
  parentPort.postMessage(global.fanOut.adopt(workerData.fd));
  parentPort.on("message", () => {});
`;

describe("the hub of fan-out", function () {
  this.timeout(2 * PATIENCE);

  /** @type {net.Server} */
  let server;
  /** @type {net.Socket[]} */
  let open = [];

  before(async function () {
    if (process.platform === "win32") skip(this, "no connection is lent on Windows");
    server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
  });

  afterEach(() => {
    for (const socket of open) socket.destroy();
    open = [];
  });

  after(() => {
    server?.close();
  });

  /** @returns {Promise<{ client: net.Socket, socket: net.Socket, fd: number }>} */
  async function connect() {
    const { port } = /** @type {net.AddressInfo} */ (server.address());
    const client = net.connect(port, "127.0.0.1");
    const [[socket]] = await Promise.all([once(server, "connection"), once(client, "connect")]);
    for (const end of [client, socket]) end.on("error", () => {});
    open.push(client, socket);
    return { client, socket, fd: socket._handle.fd };
  }

  /** Reads so many bytes. @param {net.Socket} client @param {number} count */
  async function read(client, count) {
    /** @type {Buffer[]} */
    const chunks = [];
    let length = 0;
    const add = (/** @type {Buffer} */ chunk) => {
      chunks.push(chunk);
      length += chunk.length;
    };
    client.on("data", add);
    client.resume();
    await waitFor(() => length >= count, { timeout: PATIENCE });
    client.off("data", add);
    client.pause();
    return Buffer.concat(chunks);
  }

  it("writes to all that are to be had, and Node behind it", async () => {
    const fanOut = new FanOut(() => {}, 1e6, 1e6);
    const all = [await connect(), await connect(), await connect()];
    const slots = Int32Array.from(all, ({ fd }) => fanOut.adopt(fd));
    assert.deepStrictEqual([...slots], [0, 1, 2]);
    const flags = Int32Array.of(0, 1, HELD);
    const refused = new Int32Array(4);
    fanOut.load(Buffer.from("frame"));
    assert.strictEqual(fanOut.push(slots, 3, flags, refused, 1, false), 2);
    assert.strictEqual(refused[1], 1);
    assert.deepStrictEqual([...flags], [HELD, 1, HELD]);
    for (const [slot, { socket, client }] of all.entries()) {
      const own = Buffer.from("own");
      /** @type {any} */
      let settled;
      // 2: the writer is in its system call.
      await waitFor(() => (settled = fanOut.settle(slot, own)) !== 2);
      if (settled === 0) socket.write(own);
      assert.ok([0, 1].includes(settled), String(settled));
      const expected = slot === 1 ? "own" : "frameown";
      assert.strictEqual(String(await read(client, expected.length)), expected);
    }
    assert.strictEqual(fanOut.stats().pushed, 2);
  });

  it("hands over what a slow client has no room for", async () => {
    const { client, socket, fd } = await connect();
    client.pause();
    let reports = 0;
    const fanOut = new FanOut(() => reports++, 2 * LARGE, 1e6);
    const slot = fanOut.adopt(fd);
    const flags = new Int32Array(1);
    const refused = new Int32Array(1);
    const sent = Buffer.alloc(LARGE, "frames in order, ");
    fanOut.load(sent);
    assert.strictEqual(fanOut.push(Int32Array.of(slot), 1, flags, refused, 0, false), 0);
    fanOut.unload();
    await waitFor(() => reports > 0, { timeout: PATIENCE });
    assert.strictEqual(reports, 1);
    const out = new Int32Array(8);
    assert.strictEqual(fanOut.takeReports(out), 1);
    assert.strictEqual(out[0], slot);
    assert.strictEqual(fanOut.errorOf(slot), 0);
    const rest = fanOut.settle(slot, Buffer.from("own"));
    assert.ok(Buffer.isBuffer(rest) && rest.length > 3);
    socket.write(rest);
    const expected = Buffer.concat([sent, Buffer.from("own")]);
    assert.ok((await read(client, expected.length)).equals(expected));
    assert.strictEqual(fanOut.stats().spilled, 1);
  });

  it("reports a connection that is broken", async () => {
    const { client, socket, fd } = await connect();
    let reports = 0;
    const fanOut = new FanOut(() => reports++, 1e6, 1e6);
    const slot = fanOut.adopt(fd);
    const closed = once(socket, "close");
    client.resetAndDestroy();
    await closed;
    fanOut.load(Buffer.from("frame"));
    const [flags, refused] = [new Int32Array(1), new Int32Array(1)];
    assert.strictEqual(fanOut.push(Int32Array.of(slot), 1, flags, refused, 0, false), 0);
    await waitFor(() => reports > 0, { timeout: PATIENCE });
    assert.strictEqual(fanOut.takeReports(new Int32Array(1)), 1);
    assert.ok(fanOut.errorOf(slot) > 0);
    assert.strictEqual(fanOut.errorOf(slot), 0);
    assert.strictEqual(fanOut.stats().failed, 1);
  });

  it("closes what is hung up, and gives its number to another one", async () => {
    const fanOut = new FanOut(() => {}, 1e6, 1e6);
    const { client, socket, fd } = await connect();
    const slot = fanOut.adopt(fd);
    const ended = once(client, "end");
    client.resume();
    socket.destroy();
    fanOut.hangUp(slot);
    await ended;
    assert.strictEqual(fanOut.adopt((await connect()).fd), 1);
    fanOut.release(slot);
    assert.strictEqual(fanOut.adopt((await connect()).fd), slot);
    assert.strictEqual(fanOut.stats().lent, 2);
  });

  it("ends with its worker, and closes what was lent", async () => {
    const { client, socket, fd } = await connect();
    const workerData = { binding: require.resolve("../binding"), fd };
    const worker = new Worker(LENDING, { eval: true, workerData });
    assert.deepStrictEqual(await once(worker, "message", PATIENCE), [0]);
    const ended = once(client, "end");
    client.resume();
    socket.destroy();
    await worker.terminate();
    await ended;
  });

  it("keeps no process alive", async () => {
    const child = fork(path.join(__dirname, "support", "child-lend.js"));
    const [code] = await once(child, "exit", PATIENCE);
    assert.strictEqual(code, 0);
  });
});
