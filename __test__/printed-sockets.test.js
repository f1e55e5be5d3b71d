// @ts-check
"use strict";

/** What others were told of a server's sockets is printed again when it has changed, and only then. */

const assert = require("node:assert");
const { inspect } = require("node:util");
const { PrintedSockets } = require("../lib/messages/printed-sockets");

/** @param {PrintedSockets} printed @param {any} socket */
const numberIn = (printed, socket) => printed.of(socket)?.number ?? 0;

const HANDSHAKE = { headers: { host: "h" }, auth: { token: "t", list: [1, { two: 2 }] }, é: "ü" };

describe("handshakes that were printed", () => {
  const print = (/** @type {object} */ handshake) => Buffer.from(JSON.stringify(handshake));

  it("are printed again when something in them is different", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    /** @type {any} */
    const socket = { id: "a", handshake: { ...structuredClone(HANDSHAKE), sessionStore: {} } };
    /** @type {(() => void)[]} */
    const changes = [
      () => (socket.handshake.auth.token = "u"),
      () => (socket.handshake.auth.list[1].two = "2"),
      () => socket.handshake.auth.list.push(3),
      () => (socket.handshake.auth.list = { 0: 1, 1: { two: "2" }, 2: 3 }),
      () => (socket.handshake.auth.more = undefined),
      () => (socket.handshake.auth.more = null),
      () => (socket.handshake.auth.more = {}),
      () => (socket.handshake.auth.more = []),
      () => delete socket.handshake.auth.more,
      () => (socket.handshake.query = {}),
      () => (socket.handshake = { ...socket.handshake, url: "/" }),
      () => (socket.handshake.headers = Object.fromEntries([["host", "g"]])),
    ];
    assert.notStrictEqual(numberIn(printed, socket), 0);
    for (const [n, change] of changes.entries()) {
      change();
      assert.notStrictEqual(numberIn(printed, socket), 0);
      assert.strictEqual(prints, n + 2, String(change));
      const number = numberIn(printed, socket);
      socket.handshake.sessionStore.now = n;
      socket.handshake.headers = { ...socket.handshake.headers };
      assert.strictEqual(numberIn(printed, socket), number, "nothing is different");
      assert.strictEqual(prints, n + 2);
    }
    printed.forget("a");
    assert.notStrictEqual(numberIn(printed, socket), 0);
    assert.strictEqual(prints, changes.length + 2);
    printed.clear();
  });

  it("are printed each time if what is printed may be different though they are not", () => {
    const printed = new PrintedSockets(print, () => true);
    const cyclic = /** @type {any} */ ({});
    cyclic.self = cyclic;
    const odd = [
      { at: new Date() },
      { toJSON: () => "now" },
      { auth: { toJSON: () => "now" } },
      { call() {} },
      { bytes: Buffer.from("b") },
      { bytes: new ArrayBuffer(1) },
      { text: new String("s") },
      { big: 1n },
      { list: [1, , 3] },
      { list: Object.assign([1], { more: 2 }) },
      { map: new Map() },
      Object.create({ inherited: 1 }),
      { many: Array.from({ length: 500 }, (_, n) => n) },
      { a: { b: { c: { d: { e: {} } } } } },
      cyclic,
      null,
      "text",
      undefined,
    ];
    for (const handshake of odd)
      assert.strictEqual(numberIn(printed, { id: "a", handshake }), 0, inspect(handshake));
    // Nor if they become so.
    const auth = /** @type {any} */ ({});
    const socket = { id: "b", handshake: { auth } };
    for (const value of [{}, new Date(), {}, new ArrayBuffer(1), {}, new String(""), {}, Buffer.alloc(0)]) {
      auth.value = value;
      const isPlain = Object.getPrototypeOf(value) === Object.prototype;
      assert.strictEqual(numberIn(printed, socket) !== 0, isPlain, inspect(value));
    }
    printed.clear();
  });

  it("are printed each time while a getter throws", () => {
    const printed = new PrintedSockets(print, () => true);
    let throws = false;
    const auth = {
      get token() {
        if (throws) throw new Error("a getter of the user's");
        return 1;
      },
    };
    const socket = { id: "a", handshake: { auth } };
    assert.notStrictEqual(numberIn(printed, socket), 0);
    throws = true;
    assert.strictEqual(numberIn(printed, socket), 0);
    throws = false;
    assert.notStrictEqual(numberIn(printed, socket), 0);
    printed.clear();
  });

  it("are printed again when a number is another one, and only then", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    const socket = { id: "a", handshake: { n: /** @type {any} */ (0) } };
    for (const value of [NaN, -0, 0, 1n, "0", true, null, undefined, "", Symbol("s")]) {
      socket.handshake.n = value;
      const before = prints;
      const isKept = typeof value !== "bigint";
      assert.strictEqual(numberIn(printed, socket) !== 0, isKept, inspect(value));
      assert.strictEqual(prints, before + Number(isKept), inspect(value));
      numberIn(printed, socket);
      assert.strictEqual(prints, before + Number(isKept), inspect(value));
    }
    printed.clear();
  });

  it("are printed again when an object has fewer keys, or ends where another one did", () => {
    let prints = 0;
    const printed = new PrintedSockets(
      (handshake) => (prints++, print(handshake)),
      () => true,
    );
    const shapes = [
      { a: { b: 1, c: 2 }, d: 3 },
      { a: { b: 1 }, c: 2, d: 3 },
      { a: { b: 1 }, c: 2 },
      { a: {}, b: 1, c: 2 },
      { a: [], b: 1, c: 2 },
      { a: undefined, b: 1, c: 2 },
      {},
      [],
    ];
    for (const [n, handshake] of shapes.entries()) {
      numberIn(printed, { id: "a", handshake });
      numberIn(printed, { id: "a", handshake: structuredClone(handshake) });
      assert.strictEqual(prints, n + 1, inspect(handshake));
    }
    printed.clear();
  });

  it("are not kept for a socket that leaves while its own is read", () => {
    const here = new Set(["a"]);
    const printed = new PrintedSockets(print, (id) => here.has(id));
    const auth = {
      get token() {
        here.delete("a");
        printed.forget("a");
        return 1;
      },
    };
    assert.strictEqual(numberIn(printed, { id: "a", handshake: { auth } }), 0);
  });

  it("are not kept for a socket that has left", () => {
    const here = new Set(["a"]);
    const printed = new PrintedSockets(print, (id) => here.has(id));
    const socket = { id: "a", handshake: { auth: {} } };
    assert.notStrictEqual(numberIn(printed, socket), 0);
    here.delete("a");
    printed.forget("a");
    assert.strictEqual(numberIn(printed, socket), 0);
  });
});

describe("what is told of sockets beside their handshakes", () => {
  /** Counts how often it prints. */
  class Prints {
    count = 0;
    printed = new PrintedSockets(
      (handshake) => Buffer.from(JSON.stringify(handshake)),
      () => true,
    );

    /** @param {any} socket */
    of(socket) {
      const known = this.printed.of(socket);
      assert.ok(known);
      const { rooms, data } = socket;
      const print = () => (this.count++, JSON.stringify({ rooms: [...rooms], data }));
      const text = this.printed.textOf(socket, known, print);
      assert.strictEqual(text, JSON.stringify({ rooms: [...rooms], data }));
      return this.count;
    }
  }

  /** @returns {any} */
  const aSocket = () => ({
    ...{ id: "a", handshake: structuredClone(HANDSHAKE), rooms: new Set(["a", "b"]) },
    data: { user: { name: "A", tags: [1, "2"] } },
  });

  it("is printed again when something is different, and only then", () => {
    const prints = new Prints();
    const socket = aSocket();
    /** @type {((socket: any) => void)[]} */
    const changes = [
      ({ rooms }) => rooms.add("c"),
      ({ rooms }) => rooms.delete("a"),
      ({ rooms }) => rooms.add("a"),
      (socket) => (socket.rooms = new Set(["b", "c"])),
      (socket) => (socket.rooms = new Set()),
      ({ data }) => data.user.tags.push(null),
      ({ data }) => (data.user.name = "B"),
      ({ data }) => (data.sessionStore = 1),
      ({ data }) => delete data.user,
      (socket) => (socket.data = {}),
      (socket) => (socket.data = []),
    ];
    assert.strictEqual(prints.of(socket), 1);
    for (const [n, change] of changes.entries()) {
      change(socket);
      assert.strictEqual(prints.of(socket), n + 2, String(change));
      socket.rooms = new Set(socket.rooms);
      socket.data = structuredClone(socket.data);
      assert.strictEqual(prints.of(socket), n + 2, "nothing is different");
    }
    // Nor may it have become what is printed otherwise.
    socket.data = { tags: [1] };
    prints.of(socket);
    socket.data.tags.length = 3;
    prints.of(socket);
    socket.data = { user: {} };
    const count = prints.of(socket);
    Object.setPrototypeOf(socket.data.user, { toJSON: () => 1 });
    prints.of(socket);
    socket.data = {};
    assert.strictEqual(prints.of(socket), count + 2);
    // The text of a handshake that is another one stands elsewhere.
    socket.handshake.auth.token = "u";
    const before = prints.count;
    assert.strictEqual(prints.of(socket), before + 1);
    prints.printed.clear();
  });

  it("is printed each time if what is printed may be different though it is not", () => {
    /** @type {((socket: any) => void)[]} */
    const odd = [
      (socket) => (socket.data = new (class Data {})()),
      (socket) => (socket.data = { at: new Date(0) }),
      (socket) => (socket.data = { toJSON: () => 1 }),
      (socket) => (socket.data = null),
      (socket) => (socket.data = "text"),
      (socket) => (socket.data = { bytes: Buffer.from("b") }),
      ({ rooms }) => rooms.add(1),
      ({ rooms }) => rooms.add({}),
    ];
    for (const change of odd) {
      const prints = new Prints();
      const socket = aSocket();
      change(socket);
      prints.of(socket);
      assert.strictEqual(prints.of(socket), 2, String(change));
      prints.printed.clear();
    }
  });

  it("throws what a getter throws, and is printed when it does no more", () => {
    const prints = new Prints();
    const socket = aSocket();
    prints.of(socket);
    const { data } = socket;
    const known = prints.printed.of(socket);
    assert.ok(known);
    Object.defineProperty(socket, "data", {
      configurable: true,
      get() {
        throw new Error("a getter of the user's");
      },
    });
    assert.throws(() => prints.printed.textOf(socket, known, () => ""), /a getter/);
    Object.defineProperty(socket, "data", { value: data });
    assert.strictEqual(prints.of(socket), 1);
    prints.printed.clear();
  });
});
