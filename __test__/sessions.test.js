// @ts-check
"use strict";

/**
 * Sessions of clients that come back: what their sockets are made with, and that nothing is lost or doubled until they
 * are connected.
 */

const assert = require("node:assert");
const { Restores } = require("../lib/link/restores");
const { encodeAsIs } = require("../lib/msgpack");
const { LastSent } = require("../lib/recovery/last-sent");
const { Sessions } = require("../lib/recovery/sessions");

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
