// @ts-check
"use strict";

/**
 * Sessions of clients that come back: what their sockets are made with, and that nothing is lost or doubled until they
 * are connected. And what becomes of recovery where the adapter has none.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { encodeAsIs } = require("../lib/msgpack");
const { Restores } = require("../lib/link/restores");
const { LastSent } = require("../lib/recovery/last-sent");
const { Sessions } = require("../lib/recovery/sessions");
const ours = /** @type {any} */ (require(".."));
const streams = require("../streams");
const { endClient, makeClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** A session as it is kept. @param {object} session */
function keptAs(session) {
  return Buffer.from(encodeAsIs(session).toString("base64"));
}

/** A record of Rust, with what was missed. @param {Buffer} raw @param {[string, any][]} entries @param {string} boundary */
function recordOf(raw, entries, boundary) {
  const items = entries.flatMap(([id, data]) => [Buffer.from(id), Buffer.from(data)]);
  return /** @type {any} */ ({
    n: items.length,
    part: () => raw,
    text: () => boundary,
    list: () => items,
  });
}

/** What stands in the entry of an event. @param {any[]} data */
function entryOf(...data) {
  return JSON.stringify({ packet: { type: 2, data }, opts: { rooms: [], except: [], flags: {} } });
}

const everyone = () => ({ rooms: new Set(), except: new Set(), flags: {} });

describe("sessions", () => {
  const session = { sid: "s", pid: "p", rooms: ["s", "room"], data: { name: "n" } };
  const raw = keptAs(session);

  /** @type {Map<string, Set<any>>} */
  let rooms;
  /** @type {Map<string, any>} */
  let sockets;
  /** @type {any[]} */
  let persisted;
  /** @type {string[]} */
  let dropped;
  /** @type {Sessions} */
  let sessions;
  let ended = 0;

  beforeEach(() => {
    rooms = new Map();
    sockets = new Map();
    persisted = [];
    dropped = [];
    ended = 0;
    sessions = new Sessions({
      rooms: (sid) => rooms.get(sid),
      socket: (sid) => sockets.get(sid),
      drop: (sid) => void dropped.push(sid),
      persist: (pid, bytes) => void persisted.push([pid, bytes]),
      sent: new LastSent(),
    });
  });
  afterEach(() => sessions.close());

  /** @param {[string, any][]} [entries] */
  const take = (entries = [], bytes = raw) =>
    sessions.take(recordOf(bytes, entries, "5-0"), "p", () => void ended++);
  const event = (/** @type {any[]} */ ...data) => ({ type: 2, nsp: "/", data });

  /** The socket is made: it joins its rooms, and is not connected yet. */
  const make = () => void rooms.set("s", new Set(session.rooms));

  /** It is connected. Returns what it gets. */
  const connectIt = (sid = "s") => {
    /** @type {any[]} */
    const got = [];
    sockets.set(sid, { packet: (/** @type {any} */ { data }) => void got.push(data) });
    sessions.joined(sid);
    return got;
  };

  it("are what they were, with what was missed", () => {
    const binary = encodeAsIs({ packet: { type: 2, data: ["b", Buffer.from([1])] }, opts: {} }).toString(
      "base64",
    );
    const got = take([
      ["3-0", entryOf("a", 1)],
      ["4-0", binary],
      ["4-1", "no JSON, and no msgpack"],
      ["4-2", JSON.stringify({ packet: { type: 2, data: ["disconnect"] }, opts: {} })],
      ["5-0", entryOf("c")],
    ]);
    // Its socket is made with nothing: it gets them when it is connected.
    assert.deepStrictEqual(got, { ...session, missedPackets: [] });
    make();
    assert.deepStrictEqual(connectIt(), [
      ["a", 1, "3-0"],
      ["b", Buffer.from([1]), "4-0"],
      ["c", "5-0"],
    ]);
  });

  it("decode an entry once for all who have missed it, and tell entries with the same id apart", () => {
    take([["3-0", entryOf("a", { b: 1 })]]);
    sessions.take(
      recordOf(keptAs({ ...session, sid: "t" }), [["3-0", entryOf("a", { b: 1 })]], "5-0"),
      "p",
      () => {},
    );
    assert.strictEqual(connectIt("s")[0], connectIt("t")[0]);
    sessions.take(
      recordOf(keptAs({ ...session, sid: "u" }), [["3-0", entryOf("of another stream")]], "5-0"),
      "p",
      () => {},
    );
    assert.deepStrictEqual(connectIt("u"), [["of another stream", "3-0"]]);
  });

  it("throw for what is none, and leave nothing behind", () => {
    for (const bytes of [
      Buffer.from(""),
      Buffer.from("%%%"),
      Buffer.from("{}"),
      keptAs([]),
      keptAs({ ...session, sid: 1 }),
      keptAs({ ...session, sid: "" }),
      keptAs({ ...session, pid: "another" }),
      keptAs({ ...session, rooms: "s" }),
      raw.subarray(0, 9),
    ]) {
      assert.throws(() => take([], bytes), bytes.toString());
    }
    sessions.close();
    assert.deepStrictEqual(persisted, []);
  });

  it("are in the room of their socket, and may have no data", () => {
    const { sid, pid } = session;
    assert.deepStrictEqual(take([], keptAs({ sid, pid, rooms: [7] })), {
      ...{ sid, pid, rooms: [7, "s"], data: {} },
      missedPackets: [],
    });
  });

  it("get what comes until the socket is connected, once", () => {
    take([["3-0", entryOf("a")]]);
    sessions.keep(event("b", "6-0"), everyone());
    sessions.keep(event("own, of before", "4-0"), everyone(), "4-0");
    sessions.keep(event("own", "7-0"), everyone(), "7-0");
    make();
    sessions.joined("s");
    sessions.keep(event("c", "8-0"), everyone());
    sessions.keep(event("own, of before", "5-0"), everyone(), "5-0");
    sessions.keep(event("own without"), everyone(), "");
    assert.deepStrictEqual(connectIt(), [
      ["a", "3-0"],
      ["b", "6-0"],
      ["own", "7-0"],
      ["c", "8-0"],
      ["own without"],
    ]);
    assert.strictEqual(ended, 1);
    // Now it is a socket as others are.
    sessions.keep(event("d", "9-0"), everyone());
    assert.deepStrictEqual(connectIt(), []);
  });

  it("get what is for their rooms, those of the session or those that the socket has joined", () => {
    take();
    const to = (/** @type {any[]} */ wanted, /** @type {any[]} */ except = []) => ({
      ...{ rooms: new Set(wanted), except: new Set(except), flags: {} },
    });
    const send = () => {
      sessions.keep(event("to room"), to(["room", "x"]));
      sessions.keep(event("to s"), to(["s"]));
      sessions.keep(event("to new"), to(["new"]));
      sessions.keep(event("but room"), to([], ["room"]));
      sessions.keep(event("but x"), to([], ["x"]));
      sessions.keep(event("volatile"), { ...everyone(), flags: { volatile: true } });
      sessions.keep({ ...event("acknowledged"), id: 1 }, everyone());
    };
    send();
    make();
    rooms.get("s")?.add("new");
    sessions.joined("s");
    rooms.get("s")?.delete("room");
    send();
    assert.deepStrictEqual(connectIt().flat(), [
      ...["to room", "to s", "but x"],
      ...["to s", "to new", "but room", "but x"],
    ]);
  });

  it("are left out of own packets that they have had already, also shortly after", () => {
    take();
    make();
    assert.strictEqual(sessions.served("4-0"), null);
    connectIt();
    assert.deepStrictEqual(sessions.served("4-9"), ["s"]);
    assert.strictEqual(sessions.served(""), null);
    assert.deepStrictEqual(sessions.served("5-0"), ["s"]);
    assert.strictEqual(sessions.served("5-1"), null);
    assert.strictEqual(sessions.served("5-0"), null);
  });

  it("are kept again if the socket does not get as far", () => {
    take();
    make();
    sessions.left("s");
    assert.deepStrictEqual(persisted, [["p", raw]]);
    assert.strictEqual(ended, 1);
    rooms.clear();
    take();
    sessions.close();
    assert.strictEqual(persisted.length, 2);
    // One that was connected says so itself.
    take();
    make();
    connectIt();
    sessions.left("s");
    assert.strictEqual(persisted.length, 2);
    assert.strictEqual(sessions.served("5-0"), null);
  });

  it("are not taken twice", () => {
    take();
    assert.throws(() => take(), /in use/);
    sessions.close();
    make();
    assert.throws(() => take(), /in use/);
  });

  it("are given up, for the client to try again, when too much comes for a socket that does not connect", () => {
    take();
    make();
    for (let n = 0; n < 10_000; n++) sessions.keep(event("n", n), everyone());
    assert.deepStrictEqual([persisted.length, dropped], [0, []]);
    sessions.keep(event("n", 10_000), everyone());
    assert.deepStrictEqual([persisted.length, dropped], [1, ["s"]]);
  });
});

describe("restores", () => {
  /** @type {number[]} */
  let started;
  /** @type {(string | null)[]} */
  let ended;
  /** @type {Restores} */
  let restores;
  beforeEach(() => {
    started = [];
    ended = [];
    restores = new Restores();
  });
  const add = (name = "") =>
    restores.add(
      (token) => started.push(token) > 0,
      (record) => void ended.push(record && name),
    );
  const answer = (/** @type {number} */ token) => restores.onRecord(/** @type {any} */ ({ token }));

  it("are four at a time, in order", () => {
    for (const name of ["a", "b", "c", "d", "e", "f"]) add(name);
    assert.deepStrictEqual(started, [1, 2, 3, 4]);
    answer(3);
    answer(3);
    assert.deepStrictEqual([started, ended], [[1, 2, 3, 4, 5], ["c"]]);
    answer(1);
    answer(6);
    assert.deepStrictEqual(ended, ["c", "a", "f"]);
  });

  it("do not take the place of others when they cannot be started, or throw", () => {
    for (let n = 0; n < 10; n++)
      restores.add(
        () => false,
        (record) => void ended.push(/** @type {null} */ (record)),
      );
    assert.deepStrictEqual(ended, Array(10).fill(null));
    for (let n = 0; n < 4; n++)
      restores.add(
        (token) => started.push(token) > 0,
        () => {
          throw new Error("of the user's");
        },
      );
    add("next");
    assert.throws(() => answer(started[0]), /of the user's/);
    assert.strictEqual(started.length, 5);
  });

  it("are refused where too many wait, and all fail with their link", () => {
    for (let n = 0; n < 10_004; n++) add();
    assert.deepStrictEqual(ended, []);
    add();
    assert.deepStrictEqual(ended, [null]);
    restores.fail();
    assert.strictEqual(ended.length, 10_005);
    add();
    assert.strictEqual(started.length, 5);
  });
});

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
