// @ts-check
"use strict";

/**
 * What this package shows of itself against what the packages do that it stands in for: exports, classes, members and
 * how many arguments they take, properties and their defaults, events, what calls return, error texts. What differs
 * stands in one list, with the place in the docs that says why (fixtures/differences.js): a difference that is not in
 * it fails, and so does one in it that is gone.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const { EventEmitter } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const { Server } = require("socket.io");
const socketIoAdapter = /** @type {any} */ (require("socket.io-adapter"));
const { DIFFERENCES } = require("./fixtures/differences");
const { endClient, makeClient } = require("./fixtures/nodes");
const { expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
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

// --- how things look ---------------------------------------------------------------------------------------

/** The objects from which it inherits, nearest first. @param {any} object */
function* prototypesOf(object) {
  for (
    let one = Object.getPrototypeOf(object);
    one && one !== Object.prototype;
    one = Object.getPrototypeOf(one)
  )
    yield one;
}

/** What can be called on it, with how many arguments it takes, or is a getter. @param {any} object @returns {Record<string, string>} */
function membersOf(object) {
  /** @type {Record<string, string>} */
  const members = {};
  for (const one of [object, ...prototypesOf(object)]) {
    for (const name of Reflect.ownKeys(one)) {
      const { value, get } = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(one, name));
      if (isPrivate(name) || name === "constructor" || (typeof value !== "function" && get === undefined))
        continue;
      members[String(name)] ??= get ? "a getter" : `(${value.length})`;
    }
  }
  return members;
}

/** Its properties that are no methods, as they look. @param {any} object @returns {Record<string, string>} */
function propertiesOf(object) {
  const names = Reflect.ownKeys(object).filter(
    (name) => !isPrivate(name) && typeof object[name] !== "function",
  );
  return Object.fromEntries(names.map((name) => [String(name), lookOf(object[name], object.uid)]));
}

/** @param {string | symbol} name */
function isPrivate(name) {
  return typeof name === "string" && name.startsWith("_");
}

/** @param {any} value @param {string} [uid] that may stand in it */
function lookOf(value, uid) {
  if (typeof value === "function") return "a function";
  if (typeof value === "string")
    return JSON.stringify(uid ? value.replace(uid, uid.replace(/./g, "x")) : value);
  if (value === null || typeof value !== "object") return String(value);
  if (value instanceof Set || value instanceof Map) return `${value.constructor.name}(${value.size})`;
  const name = value.constructor?.name ?? "Object";
  if (name !== "Object")
    return name === "Namespace" || name === "ParentNamespace" ? "the namespace" : `a ${name}`;
  const fields = Object.entries(value).map(
    ([key, field]) => `${key}: ${typeof field === "object" ? "{}" : lookOf(field)}`,
  );
  return `{ ${fields.sort().join(", ")} }`;
}

/** How what was returned looks, once it is there. @param {any} returned */
async function outcomeOf(returned) {
  const isPromise = typeof returned?.then === "function";
  const value = await returned;
  const look = Array.isArray(value) ? `an array of ${value.length}` : lookOf(value);
  return isPromise ? `a promise of ${look}` : look;
}

/** How a call fails, or what it returns. @param {() => any} call */
async function endOf(call) {
  let returned;
  try {
    returned = call();
  } catch (error) {
    return `throws ${textOf(error)}`;
  }
  try {
    return await outcomeOf(returned);
  } catch (error) {
    return `rejects with ${textOf(error)}`;
  }
}

/** @param {any} error */
function textOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error);
}

/**
 * What differs between two records, in words.
 *
 * @param {Record<string, string>} theirs
 * @param {Record<string, string>} ours
 * @param {string} what they are of
 */
function compare(theirs, ours, what) {
  const differences = [];
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const [their, our] = [theirs[name], ours[name]];
    if (their === our) continue;
    if (our === undefined) differences.push(`${what} ${name}: theirs alone`);
    else if (their === undefined) differences.push(`${what} ${name}: ours alone`);
    else differences.push(`${what} ${name}: ${their} there, ${our} here`);
  }
  return differences;
}

/** Fails unless these are the differences of the list. @param {string} subject @param {string[]} differences */
function check(subject, differences) {
  const listed = DIFFERENCES.filter(({ of }) => of.includes(subject)).flatMap(({ what }) => what);
  assert.deepStrictEqual(differences.sort(), listed.sort());
}

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

  describe("emitter", () => {
    /** @type {[string, (its: any) => any][]} */
    const objects = [
      ["Emitter", (its) => new its.Emitter({ publish() {} })],
      ["Emitter with options", (its) => new its.Emitter({ publish() {} }, { key: "k" }, "/nsp")],
      ["BroadcastOperator", (its) => new its.Emitter({ publish() {} }).to("room").except("x").volatile],
    ];
    for (const [name, make] of objects) {
      it(name, () => {
        const [theirs, ours] = PACKAGES.emitter.map(make);
        assert.strictEqual(ours.constructor.name, theirs.constructor.name);
        assert.strictEqual(ours.constructor.length, theirs.constructor.length);
        check(`members of ${name}`, [
          ...compare(membersOf(theirs), membersOf(ours), "member"),
          ...compare(propertiesOf(theirs), propertiesOf(ours), "property"),
        ]);
      });
    }

    it("what calls return, and how they fail", async () => {
      const [theirs, ours] = await Promise.all(
        PACKAGES.emitter.map(async ({ Emitter, RESERVED_EVENTS }) => {
          const emitter = new Emitter({ publish() {} });
          /** @type {Record<string, () => any>} */
          const calls = {};
          for (const [name, target] of Object.entries({ emitter, operator: emitter.to("room") })) {
            for (const event of RESERVED_EVENTS) calls[`${name}.emit("${event}")`] = () => target.emit(event);
            calls[`${name}.emit("event")`] = () => target.emit("event", 1);
            calls[`${name}.emit("event", callback)`] = () => target.emit("event", () => {});
            calls[`${name}.socketsJoin()`] = () => target.socketsJoin("room");
            calls[`${name}.socketsLeave()`] = () => target.socketsLeave(["room"]);
            calls[`${name}.disconnectSockets()`] = () => target.disconnectSockets();
          }
          calls['serverSideEmit("event")'] = () => emitter.serverSideEmit("event");
          calls["serverSideEmit(callback)"] = () => emitter.serverSideEmit("event", () => {});
          for (const nothing of [undefined, null, {}])
            Object.assign(calls, {
              [`new Emitter(${JSON.stringify(nothing)})`]: () => new Emitter(nothing).redisClient === nothing,
              [`new Emitter(${JSON.stringify(nothing)}).emit()`]: () => new Emitter(nothing).emit("event"),
            });
          /** @type {Record<string, string>} */
          const ends = {};
          for (const [name, call] of Object.entries(calls)) ends[name] = await endOf(call);
          return ends;
        }),
      );
      check("calls of Emitter", compare(theirs, ours, "call"));
    });

    it("operators that were made by hand", () => {
      const [theirs, ours] = PACKAGES.emitter.map(({ BroadcastOperator }) => {
        /** @type {any[]} */
        const published = [];
        const redisClient = { publish: (/** @type {any[]} */ ...args) => published.push(args.map(String)) };
        const options = {
          nsp: "/nsp",
          broadcastChannel: "k#/nsp#",
          requestChannel: "k-request#/nsp#",
          parser: { encode: JSON.stringify },
        };
        new BroadcastOperator(redisClient, options).emit("event", 1);
        const target = new BroadcastOperator(redisClient, options, new Set(["a"]), new Set(["b"]), {
          volatile: true,
        });
        target.to("c").emit("event", 2);
        target.socketsJoin("d");
        // Another client, the same options; and what is put into its rooms is its own alone.
        const other = {
          publish: (/** @type {any[]} */ ...args) => published.push(["other", ...args].map(String)),
        };
        new BroadcastOperator(other, options).emit("event", 3);
        const mine = new BroadcastOperator(redisClient, options);
        mine.rooms.add("mine");
        new BroadcastOperator(redisClient, options).emit("event", 4);
        return published;
      });
      assert.strictEqual(ours.length, 5);
      assert.deepStrictEqual(ours, theirs);
    });

    it("DEBUG", () => {
      const [theirs, ours] = ["@socket.io/redis-emitter", "./emitter"].map((name) => {
        const script = `
          const { Emitter } = require(${JSON.stringify(name)});
          const emitter = new Emitter({ publish() {} });
          emitter.emit("event");
          emitter.of("nsp").to("room").emit("event");
        `;
        const env = { ...process.env, DEBUG: "socket.io-emitter", DEBUG_HIDE_DATE: "1" };
        const { stderr } = spawnSync(process.execPath, ["-e", script], { cwd: ROOT, env, encoding: "utf8" });
        return stderr.trim().split("\n");
      });
      assert.strictEqual(theirs.length, 2);
      assert.deepStrictEqual(ours, theirs);
    });
  });

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
