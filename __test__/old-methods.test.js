// @ts-check
"use strict";

/**
 * The methods of socket.io-redis 5 and 6, in rings of ours and the reference's servers.
 */

const assert = require("node:assert");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");

/** Resolves to what a callback of old is called with. @param {(callback: any) => any} call @returns {Promise<any[]>} */
function called(call) {
  return new Promise((resolve) => {
    const returned = call((/** @type {any[]} */ ...args) => resolve(args));
    assert.strictEqual(returned, undefined);
  });
}

describe("old methods", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {import("./support/ring").Ring} */
  let ring;
  /** Ours, which asks. @type {any} */
  let adapter;
  /** One client on each server: of ours which asks, the reference's, and ours again. @type {any[]} */
  let peers;

  before(async () => {
    redis = await startRedis();
    const opts = { requestsTimeout: 4000 };
    ring = await startRing({ redis, nodes: ["ours", "reference", "ours"], sockets: 1, opts });
    adapter = ring.nodes[0].adapter();
    peers = ring.nodes.map((node) => node.peers[0]);
  });

  afterEach(() => ring.reset());

  after(async () => {
    await ring.close();
    await redis.stop();
  });

  const PLACES = ["here", "on a server of the reference", "on another server of ours"];
  for (const [index, where] of PLACES.entries()) {
    it(`remoteJoin and remoteLeave have happened when they resolve (${where})`, async () => {
      const peer = peers[index];
      assert.strictEqual(await adapter.remoteJoin(peer.id, "r"), undefined);
      assert.deepStrictEqual(peer.rooms, ["r"]);
      assert.strictEqual(await adapter.remoteLeave(peer.id, "r"), undefined);
      assert.deepStrictEqual(peer.rooms, []);
    });

    it(`the same with callbacks (${where})`, async () => {
      const peer = peers[index];
      assert.deepStrictEqual(await called((done) => adapter.remoteJoin(peer.id, "r", done)), [
        null,
        undefined,
      ]);
      assert.deepStrictEqual(peer.rooms, ["r"]);
      assert.deepStrictEqual(await called((done) => adapter.clientRooms(peer.id, done)), [
        null,
        [peer.id, "r"],
      ]);
      assert.deepStrictEqual(await called((done) => adapter.remoteLeave(peer.id, "r", done)), [
        null,
        undefined,
      ]);
      assert.deepStrictEqual(peer.rooms, []);
    });

    for (const close of [false, true, undefined]) {
      it(`remoteDisconnect(id, ${close}) has happened when it resolves (${where})`, async () => {
        const peer = await ring.nodes[index].connect();
        const { socket } = peer;
        const { disconnect } = socket;
        /** @type {any[]} */
        const closed = [];
        socket.disconnect = (/** @type {any} */ value) => {
          closed.push(value);
          return disconnect.call(socket, value);
        };
        await adapter.remoteDisconnect(peer.id, close);
        assert.strictEqual(socket.connected, false);
        assert.strictEqual(closed[0], close === true);
        peer.client.disconnect();
      });
    }
  }

  it("touch the one socket, even if others are in a room of its name", async () => {
    const [here, reference, there] = peers;
    for (const peer of [here, reference]) peer.socket.join(there.id);
    await adapter.remoteJoin(there.id, "r");
    assert.deepStrictEqual(
      peers.map((peer) => peer.rooms.filter((/** @type {string} */ room) => room === "r")),
      [[], [], ["r"]],
    );
    const own = await ring.nodes[2].connect();
    for (const peer of [here, reference]) peer.socket.join(own.id);
    await adapter.remoteDisconnect(own.id, true);
    assert.ok(here.socket.connected && reference.socket.connected);
  });

  it("reject in the words of old, and say why, if there is no such socket", async () => {
    for (const name of ["remoteJoin", "remoteLeave", "remoteDisconnect"]) {
      await assert.rejects(adapter[name]("nobody", "r"), (/** @type {any} */ error) => {
        assert.strictEqual(error.message, `timeout reached while waiting for ${name} response`);
        assert.match(error.cause.message, /no server has a socket with the id nobody/);
        return true;
      });
    }
    const [error] = await called((done) => adapter.clientRooms("nobody", done));
    assert.strictEqual(error.message, "timeout reached while waiting for rooms response");
  });

  it("do what they are to do though one server does not answer", async () => {
    const silent = await ring.raw.duplicate().connect();
    await silent.subscribe(ring.requestChannel(), () => {});
    await silent.subscribe(ring.responseChannel(), () => {});
    const { requestsTimeout } = adapter;
    try {
      adapter.requestsTimeout = 600;
      await adapter.remoteJoin(peers[1].id, "r");
      assert.deepStrictEqual(peers[1].rooms, ["r"]);
      await assert.rejects(adapter.remoteJoin("nobody", "r"), /timeout reached while waiting for remoteJoin/);
      const [error] = await called((done) => adapter.clients(done));
      assert.strictEqual(error.message, "timeout reached while waiting for clients response");
    } finally {
      adapter.requestsTimeout = requestsTimeout;
      await silent.close();
    }
  });

  it("sockets, clients and allRooms are those of all servers", async () => {
    const ids = peers.map(({ id }) => id).sort();
    peers[1].socket.join("a");
    peers[2].socket.join("b");
    const sorted = (/** @type {Iterable<any>} */ list) => [...list].sort();
    const all = await adapter.sockets();
    assert.ok(all instanceof Set);
    assert.deepStrictEqual(sorted(all), ids);
    assert.deepStrictEqual(await adapter.sockets(new Set(["a"])), new Set([peers[1].id]));
    assert.deepStrictEqual(sorted((await called((done) => adapter.clients(done)))[1]), ids);
    assert.deepStrictEqual(await called((done) => adapter.clients(["b"], done)), [null, [peers[2].id]]);
    assert.deepStrictEqual(await adapter.clients(["b"]), [peers[2].id]);
    assert.deepStrictEqual(sorted(await adapter.clientRooms(peers[1].id)), sorted([peers[1].id, "a"]));
    const rooms = await adapter.allRooms();
    assert.ok(rooms instanceof Set);
    assert.deepStrictEqual(sorted(rooms), sorted([...ids, "a", "b"]));
    const [error, names] = await called((done) => adapter.allRooms(done));
    assert.strictEqual(error, null);
    assert.deepStrictEqual(sorted(names), sorted([...ids, "a", "b"]));
  });

  it("customRequest says what to use", () => {
    assert.throws(() => adapter.customRequest({}), /serverSideEmit/);
  });

  it("a callback that throws is the caller's to hear of", async () => {
    const { expectExceptions } = require("./support/hooks");
    const seen = expectExceptions();
    adapter.allRooms(() => {
      throw new Error("in a callback");
    });
    const { waitFor } = require("./support/wait");
    await waitFor(() => seen.length > 0);
    assert.match(String(seen[0]), /in a callback/);
  });

  it("a closed adapter has no others", async () => {
    const { io } = ring.nodes[2];
    const other = /** @type {any} */ (io.of("/closed").adapter);
    await other.ready;
    other.close();
    await assert.rejects(other.remoteJoin("nobody", "r"), /timeout reached while waiting for remoteJoin/);
    assert.deepStrictEqual(await other.allRooms(), new Set());
  });

  leavesNoRejection();
});

describe("notes on old methods", () => {
  it("come once for each, with a code, and name what to use", async () => {
    const { spawnSync } = require("node:child_process");
    const script = `
      const io = new (require("socket.io").Server)();
      const { createAdapter } = require(".");
      io.adapter(createAdapter("redis://127.0.0.1:1", { requestsTimeout: 1 }));
      const adapter = io.of("/").adapter;
      const seen = [];
      process.on("warning", ({ name, code, message }) => seen.push([name, code, message]));
      const ignore = () => {};
      for (let i = 0; i < 2; i++) {
        adapter.remoteJoin("a", "b").catch(ignore);
        adapter.remoteLeave("a", "b").catch(ignore);
        adapter.remoteDisconnect("a").catch(ignore);
        // Socket.IO calls adapter.sockets(), which the user never did.
        io.allSockets().catch(ignore);
        io.in("a").allSockets().catch(ignore);
        adapter.clients(ignore);
        adapter.clientRooms("a", ignore);
        adapter.allRooms(ignore);
        adapter.allRooms().catch(ignore);
      }
      setImmediate(() => { console.log(JSON.stringify(seen)); adapter.close(); });
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], {
      cwd: require("node:path").join(__dirname, ".."),
      encoding: "utf8",
      timeout: 10_000,
    });
    const seen = JSON.parse(stdout || "null");
    assert.ok(seen, stderr);
    assert.deepStrictEqual(
      seen.map((/** @type {string[]} */ [name, code]) => [name, code]),
      ["JOIN", "LEAVE", "DISCONNECT"]
        .map((what) => `REMOTE_${what}`)
        .concat("CLIENTS", "CLIENT_ROOMS", "ALL_ROOMS")
        .map((what) => ["DeprecationWarning", `SOCKET_IO_REDIS_${what}`]),
    );
    for (const [, , message] of seen) assert.match(message, /is deprecated: use \S/);
    assert.match(seen[0][2], /remoteJoin\(\).*io\.in\(id\)\.socketsJoin\(room\)/);
  });
});
