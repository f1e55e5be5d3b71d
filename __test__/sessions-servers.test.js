// @ts-check
"use strict";

/**
 * Connection state recovery of whole servers: what becomes of it where the adapter has none, and of sessions that are hostile
 * or cannot be kept.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { encodeAsIs } = require("../lib/msgpack");
const { LastSent } = require("../lib/recovery/last-sent");
const { Sessions } = require("../lib/recovery/sessions");
const streams = require("../streams");
const ours = /** @type {any} */ (require(".."));
const { endClient, makeClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** A session as it is kept. @param {object} session */
function keptAs(session) {
  return Buffer.from(encodeAsIs(session).toString("base64"));
}

/** Servers on a Redis, and what ends them. */
class Servers {
  /** @type {(() => any)[]} */
  #endings = [];

  /**
   * @param {import("./support/redis").RedisServer} redis
   * @param {(client: any) => any} makeAdapter
   * @param {object} [opts]
   */
  async add(redis, makeAdapter, opts) {
    const client = makeClient("node-redis", { port: redis.port });
    const server = http.createServer();
    const io = new Server(server, { adapter: makeAdapter(client), connectionStateRecovery: {}, ...opts });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    await /** @type {any} */ (io.of("/").adapter).ready;
    this.#endings.push(async () => {
      await io.close();
      await endClient(client);
    });
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    return { io, url: `http://127.0.0.1:${port}` };
  }

  /** @param {string} url */
  client(url) {
    const options = {
      transports: ["websocket"],
      reconnectionDelay: 10,
      reconnectionDelayMax: 20,
      forceNew: true,
    };
    const client = /** @type {any} */ (connect(url, options));
    client.log = [];
    client.onAny((/** @type {any[]} */ ...args) => client.log.push(args));
    this.#endings.push(() => client.close());
    return client;
  }

  async end() {
    for (const end of this.#endings.splice(0).reverse()) await end();
  }
}

describe("connection state recovery over pub/sub", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  const servers = new Servers();
  before(async () => {
    redis = await startRedis();
  });
  afterEach(() => servers.end());
  after(() => redis.stop());

  for (const kind of ["createAdapter", "createShardedAdapter"]) {
    for (const transport of ["native", "client"]) {
      it(`${kind}, ${transport}: there is none, and that is said once (D4)`, async () => {
        /** @type {string[]} */
        const warnings = [];
        const { warn } = console;
        console.warn = (text) => void warnings.push(String(text));
        const nsp = `/${kind}-${transport}`;
        /** @type {any[]} */
        const subs = [];
        try {
          const make = (/** @type {any} */ client) => {
            const sub = client.duplicate();
            subs.push(sub.on("error", () => {}));
            sub.connect().catch(() => {});
            return ours[kind](client, sub, { transport, key: nsp, channelPrefix: nsp });
          };
          const [a, b] = [await servers.add(redis, make), await servers.add(redis, make)];
          for (const { io } of [a, b]) await /** @type {any} */ (io.of(nsp).adapter).ready;
          const mine = warnings.filter((text) => text.includes(`no effect in ${nsp}:`));
          assert.strictEqual(mine.length, 1, warnings.join("\n"));
          assert.match(mine[0], /socket\.io-redis-native\/streams/);

          const client = servers.client(a.url + nsp);
          await once(client, "connect");
          const { id } = client;
          a.io.of(nsp).emit("event", 1);
          b.io.of(nsp).emit("event", "2");
          a.io.of(nsp).sockets.get(id)?.emit("own", 3);
          await waitFor(() => client.log.length === 3);
          assert.deepStrictEqual(
            [...client.log].sort(),
            [
              ["event", "2"],
              ["event", 1],
              ["own", 3],
            ].sort(),
          );
          client.log.length = 0;

          client.io.engine.close();
          await once(client, "connect");
          assert.strictEqual(client.recovered, false);
          assert.notStrictEqual(client.id, id);
          b.io.of(nsp).emit("after", 4);
          await waitFor(() => client.log.length === 1);
          assert.deepStrictEqual(client.log, [["after", 4]]);
        } finally {
          console.warn = warn;
          await servers.end();
          for (const sub of subs) await endClient(sub);
        }
      });
    }
  }

  it("the reference crashes or adds an argument, there (D4)", async () => {
    const { createShardedAdapter } = require("@socket.io/redis-adapter");
    /** @type {any[]} */
    const subs = [];
    const make = (/** @type {any} */ client) => {
      const sub = client.duplicate();
      subs.push(sub.on("error", () => {}));
      sub.connect().catch(() => {});
      return createShardedAdapter(client, sub);
    };
    const { io, url } = await servers.add(redis, make);
    const client = servers.client(url);
    await once(client, "connect");
    io.emit("event", 1);
    await waitFor(() => client.log.length === 1);
    assert.notDeepStrictEqual(client.log, [["event", 1]]);
    await servers.end();
    for (const sub of subs) await endClient(sub);
  });

  leavesNoRejection();
});

describe("connection state recovery over streams", function () {
  this.timeout(20_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  const servers = new Servers();
  let streamName = "";
  let made = 0;
  before(async () => {
    redis = await startRedis();
  });
  beforeEach(() => void (streamName = `stream-${++made}`));
  afterEach(() => servers.end());
  after(() => redis.stop());

  /** @param {object} [opts] */
  const add = (opts) =>
    servers.add(redis, (client) => streams.createAdapter(client, { transport: "client", streamName }), opts);

  it("gives back what is kept when the connection ends before the socket is connected, and the next one gets it", async () => {
    const { io, url } = await add({ connectionStateRecovery: { skipMiddlewares: false } });
    const client = servers.client(url);
    await once(client, "connect");
    const { id } = client;
    io.emit("first");
    await waitFor(() => client.log.length === 1);
    client.io.reconnection(false);
    io.sockets.sockets.get(id)?.conn.close();
    await once(client, "disconnect");
    // The middleware holds it until its connection is gone, once.
    let held = 0;
    io.use(async (socket, next) => {
      if (held++ > 0) return next();
      socket.conn.close();
      io.emit("meanwhile");
      await waitFor(() => socket.conn.readyState === "closed");
      next();
    });
    const again = servers.client(url);
    again.auth = { pid: client._pid, offset: client._lastOffset };
    await once(again, "connect");
    assert.ok(held >= 2);
    assert.strictEqual(again.id, id);
    await waitFor(() => again.log.length >= 1);
    io.emit("after");
    await waitFor(() => again.log.some((/** @type {any[]} */ [name]) => name === "after"));
    assert.deepStrictEqual(
      again.log.map((/** @type {any[]} */ [name]) => name),
      ["meanwhile", "after"],
    );
  });

  it("does not keep a session that cannot be encoded, nor throws: a warning says so", async () => {
    const { io, url } = await add();
    /** @type {string[]} */
    const warnings = [];
    const { warn } = console;
    console.warn = (text) => void warnings.push(String(text));
    try {
      io.on("connection", (socket) => void (socket.data.self = socket.data));
      const client = servers.client(url);
      await once(client, "connect");
      io.emit("event");
      await waitFor(() => client.log.length === 1);
      const { id } = client;
      client.io.engine.close();
      await once(client, "connect");
      assert.strictEqual(client.recovered, false);
      assert.notStrictEqual(client.id, id);
      assert.ok(warnings.some((text) => /a session could not be kept/.test(text)));
    } finally {
      console.warn = warn;
    }
  });

  it("refuses offsets and ids that are none", async () => {
    const { io } = await add();
    const adapter = /** @type {any} */ (io.of("/").adapter);
    for (const [pid, offset] of [
      ["p", "abc"],
      ["p", "1-"],
      ["p", "1-0\n"],
      ["p", undefined],
      [undefined, "1-0"],
      [{}, "1-0"],
    ])
      await assert.rejects(adapter.restoreSession(pid, offset), /invalid offset/);
    await assert.rejects(adapter.restoreSession("nobody", "1-0"), /not found/);
  });

  it("takes back hostile sessions without harm", async () => {
    const { io } = await add();
    const adapter = /** @type {any} */ (io.of("/").adapter);
    io.emit("an entry");
    const [[offset]] = await waitFor(async () => {
      const list = /** @type {any} */ (await redis.cli("XRANGE", streamName, "-", "+"));
      return list.length === 1 && list;
    });
    for (const text of ["", "%%%", "gA==", encodeAsIs({ sid: 1, pid: "p", rooms: {} }).toString("base64")]) {
      await redis.cli("SET", "sio:session:p", text);
      await assert.rejects(adapter.restoreSession("p", offset));
    }
    await redis.cli("SET", "sio:session:p", keptAs({ sid: "s", pid: "p", rooms: ["s"], data: 1 }).toString());
    const { missedPackets, ...rest } = await adapter.restoreSession("p", offset);
    assert.deepStrictEqual(rest, { sid: "s", pid: "p", rooms: ["s"], data: 1 });
    assert.deepStrictEqual(missedPackets, []);
  });

  leavesNoRejection();

  it("that are being restored are looked at for what is for their rooms alone", () => {
    const msgpack = require("../lib/msgpack");
    const { Sessions } = require("../lib/recovery/sessions");
    /** @type {string[]} */
    let looked = [];
    /** @type {Map<string, Set<string>>} */
    const joined = new Map();
    /** @type {Map<string, any>} */
    const connected = new Map();
    const sessions = new Sessions({
      rooms: (sid) => {
        looked.push(sid);
        return joined.get(sid);
      },
      socket: (sid) => connected.get(sid),
      drop: () => {},
      persist: () => {},
      sent: new LastSent(),
    });
    const take = (/** @type {string} */ sid, /** @type {string[]} */ rooms) => {
      const session = msgpack.encodeAsIs({ sid, pid: `pid-${sid}`, rooms, data: {} });
      const raw = Buffer.from(session.toString("base64"));
      const record = /** @type {any} */ ({ n: 0, part: () => raw, list: () => [], text: () => "1-0" });
      sessions.take(record, `pid-${sid}`, () => {});
    };
    const emit = (/** @type {string[]} */ rooms, /** @type {string} */ word) => {
      looked = [];
      sessions.keep({ type: 2, data: [word] }, { rooms: new Set(rooms), except: new Set() });
      return looked;
    };
    for (let i = 0; i < 100; i++) take(`s${i}`, ["crowd", `room${i}`]);
    assert.deepStrictEqual(emit(["elsewhere"], "to nobody"), []);
    assert.deepStrictEqual(emit(["room7", "s7"], "to one"), ["s7"]);
    assert.strictEqual(emit(["crowd"], "to a hundred").length, 100);
    assert.strictEqual(emit([], "to all").length, 100);
    // A middleware lets it join one room, and leave another, before it is connected.
    joined.set("s7", new Set(["s7", "late"]));
    sessions.joined("s7");
    assert.deepStrictEqual(emit(["late"], "to a late one"), ["s7"]);
    emit(["room7"], "to a room that it has left");
    /** @type {any[]} */
    const got = [];
    connected.set("s7", { packet: (/** @type {any} */ { data }) => got.push(...data) });
    sessions.joined("s7");
    assert.deepStrictEqual(got, ["to one", "to a hundred", "to all", "to a late one"]);
    assert.deepStrictEqual(emit(["late"], "to nobody"), []);
    for (let i = 0; i < 100; i++) sessions.left(`s${i}`);
    assert.deepStrictEqual(emit(["crowd"], "to nobody"), []);
  });
});
