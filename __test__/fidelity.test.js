// @ts-check
"use strict";

/**
 * What this package shows of itself against what the packages do that it stands in for: exports, classes, members and
 * how many arguments they take, properties and their defaults, events, what calls return, error texts. What differs
 * stands in one list, with the place in the docs that says why (fixtures/differences.js): a difference that is not in
 * it fails, and so does one in it that is gone.
 */

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const { Server } = require("socket.io");
const socketIoAdapter = /** @type {any} */ (require("socket.io-adapter"));
const { DIFFERENCES, check } = require("./fixtures/differences");
const { endClient, makeClient } = require("./fixtures/nodes");
const { expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { compare, endOf, lookOf, membersOf, propertiesOf } = require("./support/shapes");
const { waitFor } = require("./support/wait");

const ROOT = path.join(__dirname, "..");

/** The packages, the reference first. @type {Record<string, [any, any]>} */
const PACKAGES = {
  main: [require("@socket.io/redis-adapter"), require("..")],
  streams: [require("@socket.io/redis-streams-adapter"), require("../streams")],
  emitter: [require("@socket.io/redis-emitter"), require("../emitter")],
};

/** How an adapter of each family is made. @type {Record<string, { of: [any, any], name: string, clients: number, given: any }>} */
const FAMILIES = {
  classic: {
    of: PACKAGES.main,
    name: "createAdapter",
    clients: 2,
    given: {
      key: "k",
      requestsTimeout: 250,
      publishOnSpecificResponseChannel: true,
      parser: { encode: JSON.stringify, decode: JSON.parse },
    },
  },
  sharded: {
    of: PACKAGES.main,
    name: "createShardedAdapter",
    clients: 2,
    given: { channelPrefix: "k", subscriptionMode: "static" },
  },
  streams: {
    of: PACKAGES.streams,
    name: "createAdapter",
    clients: 1,
    given: { streamName: "s", channelPrefix: "k", maxLen: 7 },
  },
};

/** How long requests are waited for, in milliseconds; the reference has 5 seconds of its own for some. */
const TIMEOUT = 250;

describe("what shows, against the reference", function () {
  this.timeout(30_000);

  /** One for each, since they would hear each other. @type {import("./support/redis").RedisServer[]} */
  let servers;
  /** @type {(() => any)[]} */
  const cleanup = [];

  before(async () => {
    servers = await Promise.all([startRedis(), startRedis()]);
  });

  afterEach(async () => {
    for (const end of cleanup.splice(0).reverse()) await end();
  });

  after(() => Promise.all(servers.map((server) => server.stop())));

  /** @param {number} index of the package @returns {Promise<any>} */
  async function client(index) {
    const made = makeClient("node-redis", { port: servers[index].port });
    await waitFor(() => made.isReady);
    cleanup.push(() => endClient(made));
    return made;
  }

  /**
   * The adapters of the reference and of ours, which hear the others.
   *
   * @param {string} family
   * @param {any} [options]
   * @param {any} [serverOptions]
   * @returns {Promise<any[]>}
   */
  function adapters(family, options, serverOptions) {
    const { of, name, clients } = FAMILIES[family];
    return Promise.all(
      of.map(async (/** @type {any} */ its, index) => {
        const given = await Promise.all(Array.from({ length: clients }, () => client(index)));
        const io = new Server({ adapter: its[name](...given, options), ...serverOptions });
        const adapter = /** @type {any} */ (io.of("/").adapter);
        cleanup.push(() => adapter.close());
        await waitFor(async () => (await adapter.serverCount()) === 1, { what: "the adapter to be counted" });
        await adapter.ready;
        return adapter;
      }),
    );
  }

  describe("exports", () => {
    for (const [name, both] of Object.entries(PACKAGES)) {
      it(name, () => {
        const [theirs, ours] = both.map((its) => {
          const names = Reflect.ownKeys(its).filter(
            (key) => !["length", "name", "prototype"].includes(String(key)),
          );
          const look = (/** @type {any} */ value) =>
            typeof value === "function" ? `${value.name}(${value.length})` : lookOf(value);
          const exports = Object.fromEntries(names.map((key) => [String(key), look(its[key])]));
          return { ...exports, "(itself)": look(its) };
        });
        if (name !== "main")
          delete (/** @type {any} */ (theirs["(itself)"], /** @type {any} */ (ours)["(itself)"]));
        check(`exports of ${name}`, compare(theirs, ours, "export"));
      });
    }
  });

  for (const [family, { of, name, clients, given }] of Object.entries(FAMILIES)) {
    describe(family, () => {
      it("classes", async () => {
        const [theirs, ours] = await adapters(family);
        assert.strictEqual(ours.constructor.name, theirs.constructor.name);
        const known = Object.values(socketIoAdapter).concat(
          require("node:events"),
          PACKAGES.main[0].RedisAdapter,
        );
        for (const type of known.filter((one) => typeof one === "function")) {
          const its = type === PACKAGES.main[0].RedisAdapter ? PACKAGES.main[1].RedisAdapter : type;
          assert.strictEqual(ours instanceof its, theirs instanceof type, `instanceof ${type.name}`);
        }
      });

      it("members", async () => {
        const [theirs, ours] = (await adapters(family)).map(membersOf);
        check(`members of ${family}`, compare(theirs, ours, "member"));
      });

      it("properties, and the defaults in them", async () => {
        const [theirs, ours] = (await adapters(family)).map(propertiesOf);
        check(`properties of ${family}`, compare(theirs, ours, "property"));
      });

      it("properties, where options are given", async () => {
        const [theirs, ours] = (await adapters(family, given)).map(propertiesOf);
        // Ours alone were looked at above.
        const both = Object.fromEntries(
          Object.entries(ours).filter(([key]) => key in theirs || key in given),
        );
        check(`given properties of ${family}`, compare(theirs, both, "property"));
      });

      it("listeners", async () => {
        const [theirs, ours] = (await adapters(family)).map((adapter) =>
          Object.fromEntries(
            adapter.eventNames().map((/** @type {any} */ event) => [String(event), "listened to"]),
          ),
        );
        check(`listeners of ${family}`, compare(theirs, ours, "event"));
      });

      it("events of rooms", async () => {
        const [theirs, ours] = (await adapters(family)).map((adapter) => {
          /** @type {any[]} */
          const seen = [];
          for (const event of ["create-room", "join-room", "leave-room", "delete-room"])
            adapter.on(event, (/** @type {any[]} */ ...args) => seen.push([event, ...args]));
          adapter.addAll("sid", new Set(["sid", "a", 5]));
          adapter.addAll("other", new Set(["a"]));
          adapter.del("sid", "a");
          adapter.delAll("sid");
          adapter.delAll("other");
          return seen;
        });
        assert.ok(ours.length > 10);
        assert.deepStrictEqual(ours, theirs);
      });

      it("events of an outage", async () => {
        // One after the other: both are heard by the same means.
        // Subscriptions that Redis has not answered for yet are rejections of the reference's.
        const rejections = expectRejections();
        const theirs = await eventsOf(of[0][name], clients);
        const before = rejections.length;
        const ours = await eventsOf(of[1][name], clients);
        assert.deepStrictEqual(rejections.slice(before), []);
        check(`events of ${family}`, compare(theirs, ours, "event"));
      });

      it("what calls return", async () => {
        const serverOptions = family === "streams" ? { connectionStateRecovery: {} } : {};
        const [theirs, ours] = await Promise.all(
          (await adapters(family, undefined, serverOptions)).map(returnsOf),
        );
        check(`returns of ${family}`, compare(theirs, ours, "call"));
      });

      it("how calls fail when nobody answers", async function () {
        const options = family === "classic" ? { requestsTimeout: TIMEOUT } : undefined;
        const both = await adapters(family, options);
        const [theirs, ours] = await Promise.all(
          both.map((adapter, index) => failuresOf(family, adapter, index)),
        );
        check(`failures of ${family}`, compare(theirs, ours, "call"));
      });

      it("how wrong arguments fail", async () => {
        /** @type {Record<string, any[]>} */
        const wrong = {
          "no arguments": [],
          "undefined clients": Array(clients).fill(undefined),
          "null for clients": Array(clients).fill(null),
          "clients that are none": Array(clients).fill({}),
        };
        const [theirs, ours] = await Promise.all(
          of.map(async (its) => {
            /** @type {Record<string, string>} */
            const ends = {};
            for (const [what, args] of Object.entries(wrong)) {
              // What the reference does of it goes on without anybody, and ends the process.
              if (its === PACKAGES.streams[0]) continue;
              ends[`${what}, the factory`] = await endOf(() => its[name](...args));
              ends[`${what}, its namespace`] = await endOf(() => new Server({ adapter: its[name](...args) }));
            }
            return ends;
          }),
        );
        check(`arguments of ${family}`, family === "streams" ? [] : compare(theirs, ours, "with"));
      });
    });
  }

  /**
   * The events that an adapter emits while its Redis is there, away and back, by the arguments that they have.
   *
   * @param {any} createAdapter
   * @param {number} clients
   * @returns {Promise<Record<string, string>>}
   */
  async function eventsOf(createAdapter, clients) {
    const redis = await startRedis();
    cleanup.push(() => redis.stop());
    const given = Array.from({ length: clients }, () => makeClient("node-redis", { port: redis.port }));
    cleanup.push(() => Promise.all(given.map(endClient)));
    await waitFor(() => given.every(({ isReady }) => isReady));
    /** @type {any[]} */
    const emitted = [];
    const { emit } = EventEmitter.prototype;
    /** @type {any} */ (EventEmitter.prototype).emit = function (/** @type {any[]} */ ...args) {
      emitted.push([this, ...args]);
      return /** @type {any} */ (emit).apply(this, args);
    };
    try {
      const adapter = /** @type {any} */ (new Server({ adapter: createAdapter(...given) }).of("/").adapter);
      cleanup.push(() => adapter.close());
      // An `error` that nobody listens to is none.
      adapter.on("error", () => {});
      await waitFor(async () => (await adapter.serverCount()) === 1, { what: "the adapter to be counted" });
      await adapter.ready;
      await redis.kill();
      await waitFor(() => given.every(({ isReady }) => !isReady), { what: "the clients to notice" });
      if (adapter.ready)
        await waitFor(() => emitted.some(([one, event]) => one === adapter && event === "degraded"));
      await redis.restart();
      await waitFor(() => given.every(({ isReady }) => isReady), { what: "the clients to be back" });
      if (adapter.ready)
        await waitFor(() => emitted.some(([one, event]) => one === adapter && event === "gap"));
      return Object.fromEntries(
        emitted
          .filter(([one]) => one === adapter)
          .map(([, event, ...args]) => [event, args.map((arg) => typeof arg).join()]),
      );
    } finally {
      EventEmitter.prototype.emit = emit;
    }
  }

  /** @param {any} adapter @returns {Promise<Record<string, string>>} */
  async function returnsOf(adapter) {
    const packet = () => ({ type: 2, data: ["event"] });
    const target = (flags = {}) => ({ rooms: new Set(), except: new Set(), flags });
    const session = { sid: "s", pid: "p", rooms: [], data: {} };
    /** @type {Record<string, () => any>} */
    const calls = {
      "addAll()": () => adapter.addAll("sid", new Set(["room"])),
      "broadcast()": () => adapter.broadcast(packet(), target()),
      "broadcast(), local": () => adapter.broadcast(packet(), target({ local: true })),
      "broadcastWithAck()": () =>
        adapter.broadcastWithAck(
          packet(),
          target({ timeout: 1 }),
          () => {},
          () => {},
        ),
      "addSockets()": () => adapter.addSockets(target(), ["room"]),
      "addSockets(), local": () => adapter.addSockets(target({ local: true }), ["room"]),
      "delSockets()": () => adapter.delSockets(target(), ["room"]),
      "delSockets(), local": () => adapter.delSockets(target({ local: true }), ["room"]),
      "disconnectSockets()": () => adapter.disconnectSockets(target(), false),
      "disconnectSockets(), local": () => adapter.disconnectSockets(target({ local: true }), false),
      "fetchSockets()": () => adapter.fetchSockets(target()),
      "fetchSockets(), local": () => adapter.fetchSockets(target({ local: true })),
      "sockets()": () => adapter.sockets(new Set()),
      "serverSideEmit()": () => adapter.serverSideEmit(["event"]),
      "serverSideEmit(), with a callback": () => adapter.serverSideEmit(["event", () => {}]),
      "serverCount()": () => adapter.serverCount(),
      "socketRooms()": () => adapter.socketRooms("sid"),
      "persistSession()": () => adapter.persistSession(session),
      "restoreSession()": () => adapter.restoreSession("nobody", "0-1"),
      "restoreSession(), no offset": () => adapter.restoreSession("nobody", "never"),
      "del()": () => adapter.del("sid", "room"),
      "delAll()": () => adapter.delAll("sid"),
      "init()": () => adapter.init(),
      // Of nothing, as the types have it.
      "close()": () => adapter.close()?.then(() => {}),
    };
    /** @type {Record<string, string>} */
    const ends = {};
    for (const [name, call] of Object.entries(calls)) ends[name] = await endOf(call);
    return ends;
  }

  /**
   * What becomes of requests while there is another server that answers nothing.
   *
   * @param {string} family
   * @param {any} adapter
   * @param {number} index
   * @returns {Promise<Record<string, string>>}
   */
  async function failuresOf(family, adapter, index) {
    const mute = await client(index);
    if (family === "classic")
      await mute.subscribe(["socket.io-request#/#", "socket.io-response#/#"], () => {});
    else if (family === "sharded") await mute.sSubscribe("socket.io#/#", () => {});
    else await mute.subscribe("socket.io#/#", () => {});
    await waitFor(async () => (await adapter.serverCount()) === 2, { what: "the mute server to be counted" });
    const { server: io } = adapter.nsp;
    /** @type {Record<string, () => any>} */
    const calls = {
      "fetchSockets()": () => io.timeout(TIMEOUT).fetchSockets(),
      "serverSideEmit()": () =>
        new Promise((resolve, reject) =>
          io.serverSideEmit("event", (/** @type {any} */ error, /** @type {any} */ answers) =>
            error ? reject(error) : resolve(answers),
          ),
        ),
      "serverSideEmitWithAck()": () => io.serverSideEmitWithAck("event"),
      "emitWithAck()": () => io.timeout(TIMEOUT).emitWithAck("event"),
      "serverSideEmit() of a reserved name": () => io.serverSideEmit("connect"),
      ...(family === "classic" && { "allRooms()": () => adapter.allRooms() }),
    };
    const ends = Object.entries(calls).map(async ([name, call]) => [name, await endOf(call)]);
    return Object.fromEntries(await Promise.all(ends));
  }

  it("is listed for what is looked at alone", () => {
    const ofAdapters = [
      "events",
      "members",
      "properties",
      "given properties",
      "listeners",
      "returns",
      "failures",
      "arguments",
    ];
    const subjects = [
      ...Object.keys(PACKAGES).map((name) => `exports of ${name}`),
      ...Object.keys(FAMILIES).flatMap((family) => ofAdapters.map((what) => `${what} of ${family}`)),
      ...["members of Emitter", "members of Emitter with options", "members of BroadcastOperator"],
      "calls of Emitter",
    ];
    const listed = DIFFERENCES.flatMap(({ of }) => of);
    assert.deepStrictEqual(
      listed.filter((subject) => !subjects.includes(subject)),
      [],
    );
  });

  for (const { why, what } of DIFFERENCES) {
    it(`${what[0]}${what.length > 1 ? ` and ${what.length - 1} more` : ""}: ${why[0]} says why`, () => {
      const [file, text] = why;
      const squeezed = (/** @type {string} */ it) => it.replace(/\s+/g, " ");
      assert.ok(squeezed(fs.readFileSync(path.join(ROOT, file), "utf8")).includes(squeezed(text)), text);
    });
  }
});
