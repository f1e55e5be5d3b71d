// @ts-check
"use strict";

/**
 * Every operation, sent by every node of a ring, in rings of this package's nodes and the reference's: whoever
 * sends and whoever receives, the outcome is that of a ring of references.
 */

const assert = require("node:assert");
const notepack = require("notepack.io");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring").Node} Node */

const OURS = "ours";
const REFERENCE = "reference";

/** For what is to happen. In milliseconds. */
const PATIENCE = 5000;
/** For what is to time out. In milliseconds. */
const IMPATIENCE = 500;

const BINARY = Buffer.from([0, 1, 0x7b, 0xff, 0x80]);
const UNICODE = 'é ü 漢字 🦀 \u2028 \u0000 \\ " \u007f \ud83d\ude00';

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(async () => {
  await redis.stop();
});

/**
 * Declares a suite over one ring, started once for all of its tests.
 *
 * @param {string} title
 * @param {Omit<import("./support/ring").RingOptions, "redis">} options
 * @param {(ring: () => Ring) => void} declare
 */
function describeRing(title, options, declare) {
  describe(title, () => {
    /** @type {Ring} */
    let ring;
    before(async () => {
      ring = await startRing({ redis, ...options });
    });
    afterEach(() => ring.reset());
    after(() => ring?.close());
    it("is carried as it is meant to be", () => {
      for (const node of ring.ours) {
        assert.strictEqual(node.adapter(ring.namespaces[0]).transport.carrier, options.transport ?? "native");
      }
    });
    declare(() => ring);
  });
}

/**
 * Declares a test for each node of a ring as the sender.
 *
 * @param {() => Ring} ring
 * @param {import("./support/ring").Kind[]} kinds
 * @param {string} title
 * @param {(ring: Ring, sender: Node) => Promise<void>} test
 */
function fromEach(ring, kinds, title, test) {
  for (const [index, kind] of kinds.entries()) {
    it(`${title}, from node ${index} (${kind})`, () => test(ring(), ring().nodes[index]));
  }
}

/**
 * What each client of a ring is to receive: `log` where `test` says so, nothing elsewhere.
 *
 * @param {Ring} ring
 * @param {any[][]} log
 * @param {(peer: import("./support/ring").Peer) => boolean} [test]
 * @param {string} [nsp]
 */
function expected(ring, log, test = () => true, nsp = "/") {
  return ring.nodes.map((node) =>
    ring
      .peers(nsp)
      .filter((peer) => peer.node === node)
      .map((peer) => (test(peer) ? log : [])),
  );
}

/**
 * Resolves when no request of our nodes waits any more. The reference keeps its own until their timeout (FAULTS
 * D24).
 *
 * @param {Ring} ring
 * @param {string} [nsp]
 */
async function settled(ring, nsp = "/") {
  const adapters = ring.ours.map((node) => node.adapter(nsp));
  await waitFor(() => adapters.every(({ requests, ackRequests }) => requests.size + ackRequests.size === 0), {
    what: "requests and ackRequests to be empty",
  });
}

/** Has the clients answer events named `name`. @param {Ring} ring @param {string} name @param {(peer: any, args: any[]) => any} answer */
function answering(ring, name, answer, nsp = "/") {
  for (const peer of ring.peers(nsp)) {
    peer.client.off(name);
    peer.client.on(name, (/** @type {any[]} */ ...args) => {
      const ack = args.pop();
      const value = answer(peer, args);
      if (value !== undefined) ack(value);
    });
  }
}

/** What a node tells of sockets, as plain data, sorted. @param {any[]} sockets */
function view(sockets) {
  const plain = sockets.map(({ id, handshake, rooms, data }) => {
    const { sessionStore: _, ...rest } = handshake;
    return JSON.parse(JSON.stringify({ id, handshake: rest, rooms: [...rooms].sort(), data }));
  });
  return plain.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function broadcasts(ring, kinds) {
  fromEach(ring, kinds, "reaches all", async (ring, sender) => {
    const got = await ring.collect(sender, () => sender.io.emit("hello", 1, "a", { b: [null, true] }));
    assert.deepStrictEqual(got, expected(ring, [["hello", 1, "a", { b: [null, true] }]]));
  });

  fromEach(ring, kinds, "keeps the order", async (ring, sender) => {
    const log = Array.from({ length: 50 }, (_, n) => ["n", n]);
    const got = await ring.collect(sender, () =>
      log.forEach((args) => sender.io.emit(.../** @type {[any]} */ (args))),
    );
    assert.deepStrictEqual(got, expected(ring, log));
  });

  fromEach(ring, kinds, "reaches a room", async (ring, sender) => {
    const members = ring.nodes.map((node) => node.peers[0]);
    for (const { socket } of members) socket.join("room");
    const got = await ring.collect(sender, () => sender.io.to("room").emit("in", "room"));
    assert.deepStrictEqual(
      got,
      expected(ring, [["in", "room"]], (peer) => members.includes(peer)),
    );
  });

  fromEach(ring, kinds, "reaches several rooms, each socket once", async (ring, sender) => {
    for (const { peers } of ring.nodes) {
      peers[0].socket.join(["a", "b"]);
      peers[1].socket.join("b");
    }
    const got = await ring.collect(sender, () => sender.io.to("a").to("b").to("empty").emit("once"));
    assert.deepStrictEqual(got, expected(ring, [["once"]]));
  });

  fromEach(ring, kinds, "leaves out those to be left out", async (ring, sender) => {
    for (const { peers } of ring.nodes) {
      peers[0].socket.join(["a", "not"]);
      peers[1].socket.join("a");
    }
    const got = await ring.collect(sender, () => {
      sender.io.except("not").emit("one");
      sender.io.to("a").except("not").emit("two");
      sender.io.to("a").except(ring.nodes[2].peers[1].id).except("not").emit("three");
    });
    assert.deepStrictEqual(
      got,
      ring.nodes.map(({ index }) => [[], index === 2 ? [["one"], ["two"]] : [["one"], ["two"], ["three"]]]),
    );
  });

  fromEach(ring, kinds, "reaches a socket by its id", async (ring, sender) => {
    for (const peer of ring.peers()) {
      const got = await ring.collect(sender, () => sender.io.to(peer.id).emit("you", peer.id));
      assert.deepStrictEqual(
        got,
        expected(ring, [["you", peer.id]], (other) => other === peer),
      );
    }
  });

  fromEach(ring, kinds, "reaches a room with a number for a name", async (ring, sender) => {
    for (const { peers } of ring.nodes) peers[1].socket.join(/** @type {any} */ (123));
    const got = await ring.collect(sender, () => sender.io.to(/** @type {any} */ (123)).emit("number"));
    assert.deepStrictEqual(
      got,
      expected(ring, [["number"]], (peer) => peer === peer.node.peers[1]),
    );
    const both = await ring.collect(sender, () => {
      sender.io
        .to(/** @type {any} */ (123))
        .to("nobody")
        .emit("two rooms");
      sender.io.except(/** @type {any} */ (123)).emit("except");
    });
    assert.deepStrictEqual(
      both,
      ring.nodes.map(() => [[["except"]], [["two rooms"]]]),
    );
  });

  fromEach(ring, kinds, "reaches rooms with odd names", async (ring, sender) => {
    for (const name of ["#", "a#b", "*", "[x]", "é漢🦀", " ", "__proto__", "1e3", "0x10", "a\nb"]) {
      for (const { peers } of ring.nodes) peers[0].socket.join(name);
      const got = await ring.collect(sender, () => sender.io.to(name).emit("odd", name));
      assert.deepStrictEqual(
        got,
        expected(ring, [["odd", name]], (peer) => peer === peer.node.peers[0]),
        JSON.stringify(name),
      );
    }
  });

  fromEach(ring, kinds, "of a socket reaches all but itself", async (ring, sender) => {
    const self = sender.peers[0];
    for (const { peers } of ring.nodes) peers[0].socket.join("room");
    const got = await ring.collect(sender, () => {
      self.socket.broadcast.emit("others");
      self.socket.to("room").emit("room");
    });
    assert.deepStrictEqual(
      got,
      ring.nodes.map(({ peers }) =>
        peers.map((peer) => (peer === self ? [] : peer === peers[0] ? [["others"], ["room"]] : [["others"]])),
      ),
    );
  });

  fromEach(
    ring,
    kinds,
    "is dropped, when volatile, by a connection that cannot be written to",
    async (ring, sender) => {
      const idle = () => ring.peers().every((peer) => peer.socket.conn.transport.writable);
      await waitFor(idle, { what: "all connections to be idle" });
      const busy = ring.nodes.map(({ peers }) => peers[0].socket.conn);
      for (const conn of busy) conn.transport.writable = false;
      const got = ring.collect(sender, () => {
        sender.io.volatile.emit("volatile", 1);
        sender.io.emit("solid", 1);
      });
      // The solid one and the marker, but not the volatile one.
      await waitFor(() => busy.every((conn) => conn.writeBuffer.length >= 2), {
        what: "two messages to wait",
      });
      for (const conn of busy) {
        conn.transport.writable = true;
        conn.flush();
      }
      assert.deepStrictEqual(
        await got,
        ring.nodes.map(() => [
          [["solid", 1]],
          [
            ["volatile", 1],
            ["solid", 1],
          ],
        ]),
      );
    },
  );

  fromEach(ring, kinds, "keeps compress(false)", async (ring, sender) => {
    /** @type {Map<any, any[]>} */
    const seen = new Map();
    const listeners = ring.peers().map((peer) => {
      const list = /** @type {any[]} */ ([]);
      seen.set(peer, list);
      const listener = (/** @type {any} */ packet) => void list.push(packet.options.compress);
      const { conn } = peer.socket;
      conn.on("packetCreate", listener);
      return () => conn.off("packetCreate", listener);
    });
    await ring.collect(sender, () => {
      sender.io.compress(false).emit("plain");
      sender.io.compress(true).emit("pressed");
    });
    listeners.forEach((off) => off());
    // The last one is the marker.
    for (const [, list] of seen) assert.deepStrictEqual(list, [false, true, true]);
  });

  fromEach(ring, kinds, "stays here, when local", async (ring, sender) => {
    const got = await ring.collect(sender, () => sender.io.local.emit("local"));
    assert.deepStrictEqual(
      got,
      expected(ring, [["local"]], (peer) => peer.node === sender),
    );
  });

  fromEach(ring, kinds, "carries binary", async (ring, sender) => {
    const bytes = new Uint8Array([9, 8, 7, 6]);
    const got = await ring.collect(sender, () => {
      sender.io.emit("binary", BINARY, { deep: [bytes.subarray(1, 3), "text"] }, Buffer.alloc(0));
      sender.io.to(ring.nodes[1].peers[0].id).emit("one", bytes.buffer);
    });
    const log = [["binary", BINARY, { deep: [Buffer.from([8, 7]), "text"] }, Buffer.alloc(0)]];
    const wanted = expected(ring, log);
    wanted[1][0] = [...log, ["one", Buffer.from([9, 8, 7, 6])]];
    assert.deepStrictEqual(got, wanted);
  });

  fromEach(ring, kinds, "carries any text", async (ring, sender) => {
    const got = await ring.collect(sender, () => sender.io.emit(UNICODE, UNICODE, { [UNICODE]: UNICODE }));
    assert.deepStrictEqual(got, expected(ring, [[UNICODE, UNICODE, { [UNICODE]: UNICODE }]]));
  });

  fromEach(ring, kinds, "leaves the arguments as they are", async (ring, sender) => {
    const argument = { date: new Date(0), bytes: BINARY, gone: undefined, list: [1, { a: 1 }] };
    const before = { ...argument };
    await ring.collect(sender, () => sender.io.emit("mine", argument));
    assert.deepStrictEqual(argument, before);
  });
}

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function acknowledgements(ring, kinds) {
  fromEach(ring, kinds, "gathers the answers of all", async (ring, sender) => {
    answering(ring, "ask", (peer, [n]) => ({ id: peer.id, n }));
    const answers = await sender.io.timeout(PATIENCE).emitWithAck("ask", 7);
    assert.deepStrictEqual(
      answers.map((/** @type {any} */ answer) => answer.id).sort(),
      ring
        .peers()
        .map((peer) => peer.id)
        .sort(),
    );
    assert.ok(answers.every((/** @type {any} */ answer) => answer.n === 7));
  });

  fromEach(ring, kinds, "gathers the answers of a room", async (ring, sender) => {
    answering(ring, "ask", (peer) => peer.id);
    const members = [ring.nodes[0].peers[1], ring.nodes[2].peers[0]];
    for (const { socket } of members) socket.join("few");
    const answers = await sender.io.to("few").timeout(PATIENCE).emitWithAck("ask");
    assert.deepStrictEqual(answers.sort(), members.map((peer) => peer.id).sort());
  });

  fromEach(ring, kinds, "has no answers from an empty room, at once", async (ring, sender) => {
    assert.deepStrictEqual(await sender.io.to("nobody").timeout(PATIENCE).emitWithAck("ask"), []);
  });

  fromEach(ring, kinds, "hands on the answers that came before the timeout", async (ring, sender) => {
    const silent = ring.nodes[(sender.index + 1) % ring.nodes.length].peers[0];
    answering(ring, "ask", (peer) => (peer === silent ? undefined : peer.id));
    await assert.rejects(sender.io.timeout(IMPATIENCE).emitWithAck("ask"), (/** @type {any} */ error) => {
      assert.strictEqual(error.message, "operation has timed out");
      assert.deepStrictEqual(
        error.responses.sort(),
        ring
          .peers()
          .filter((peer) => peer !== silent)
          .map((peer) => peer.id)
          .sort(),
      );
      return true;
    });
    await settled(ring);
  });

  fromEach(ring, kinds, "carries binary both ways", async (ring, sender) => {
    answering(ring, "ask", (_, [bytes]) => ({ echo: bytes, more: BINARY }));
    const answers = await sender.io.timeout(PATIENCE).emitWithAck("ask", BINARY);
    assert.deepStrictEqual(
      answers,
      ring.peers().map(() => ({ echo: BINARY, more: BINARY })),
    );
  });

  fromEach(ring, kinds, "carries dates", async (ring, sender) => {
    answering(ring, "ask", (_, args) => args);
    const dates = [0, 5, -5, 8.64e15].map((time) => new Date(time));
    const answers = await sender.io.timeout(PATIENCE).emitWithAck("ask", ...dates);
    const wanted = dates.map((date) => date.toISOString());
    assert.deepStrictEqual(
      answers,
      ring.peers().map(() => wanted),
    );
  });

  fromEach(ring, kinds, "takes falsy answers for what they are", async (ring, sender) => {
    for (const value of [null, 0, false, ""]) {
      answering(ring, "ask", () => value);
      const answers = await sender.io.timeout(PATIENCE).emitWithAck("ask");
      assert.deepStrictEqual(
        answers,
        ring.peers().map(() => value),
      );
    }
  });

  fromEach(ring, kinds, "asks one remote socket", async (ring, sender) => {
    answering(ring, "ask", (peer, [n]) => `${peer.id} ${n}`);
    for (const { peers } of ring.nodes) {
      const [remote] = await sender.io.in(peers[0].id).fetchSockets();
      const answer = await /** @type {any} */ (remote).timeout(PATIENCE).emitWithAck("ask", 3);
      assert.strictEqual(answer, `${peers[0].id} 3`);
    }
  });

  fromEach(ring, kinds, "gives up on one remote socket that is silent", async (ring, sender) => {
    answering(ring, "ask", () => undefined);
    const { peers } = ring.nodes[(sender.index + 1) % ring.nodes.length];
    const [remote] = await sender.io.in(peers[0].id).fetchSockets();
    const asked = /** @type {any} */ (remote).timeout(IMPATIENCE).emitWithAck("ask");
    await assert.rejects(asked, { message: "operation has timed out" });
    await settled(ring);
  });

  fromEach(ring, kinds, "keeps nothing once all is answered", async (ring, sender) => {
    answering(ring, "ask", () => 1);
    await sender.io.timeout(sender.kind === OURS ? 60_000 : PATIENCE).emitWithAck("ask");
    await settled(ring);
  });
}

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function questions(ring, kinds) {
  fromEach(ring, kinds, "fetches all sockets, as the others see them", async (ring, sender) => {
    for (const [index, peer] of ring.peers().entries()) {
      peer.socket.data = { index, name: UNICODE, list: [1, null], when: new Date(0) };
      peer.socket.join(["room", `own-${index}`]);
    }
    const sockets = await sender.io.fetchSockets();
    assert.strictEqual(sockets.length, ring.peers().length);
    assert.deepStrictEqual(view(sockets), view(ring.peers().map((peer) => peer.socket)));
    for (const socket of sockets) {
      const isLocal = sender.peers.some((peer) => peer.id === socket.id);
      if (!isLocal) assert.strictEqual("sessionStore" in socket.handshake, false);
    }
    const others = ring.nodes.filter((node) => node !== sender);
    for (const node of others) assert.deepStrictEqual(view(await node.io.fetchSockets()), view(sockets));
    await settled(ring);
  });

  fromEach(ring, kinds, "fetches the sockets of rooms", async (ring, sender) => {
    for (const { peers } of ring.nodes) {
      peers[0].socket.join("a");
      peers[1].socket.join("b");
    }
    const ids = async (/** @type {any} */ operator) =>
      (await operator.fetchSockets()).map((/** @type {any} */ { id }) => id).sort();
    const first = ring.nodes.map(({ peers }) => peers[0].id).sort();
    assert.deepStrictEqual(await ids(sender.io.in("a")), first);
    assert.deepStrictEqual(await ids(sender.io.except("b")), first);
    assert.deepStrictEqual(
      await ids(sender.io.in("a").in("b").except(first)),
      ring.nodes.map(({ peers }) => peers[1].id).sort(),
    );
    assert.deepStrictEqual(await ids(sender.io.in("nobody")), []);
    assert.deepStrictEqual(await ids(sender.io.local), sender.peers.map(({ id }) => id).sort());
  });

  fromEach(ring, kinds, "knows all rooms", async (ring, sender) => {
    for (const { index, peers } of ring.nodes) peers[0].socket.join([`of-${index}`, "shared"]);
    const rooms = await sender.adapter().allRooms();
    const wanted = [
      "shared",
      ...ring.nodes.map(({ index }) => `of-${index}`),
      ...ring.peers().map(({ id }) => id),
    ];
    assert.ok(rooms instanceof Set);
    assert.deepStrictEqual([...rooms].sort(), wanted.sort());
    await settled(ring);
  });

  fromEach(ring, kinds, "knows the ids of all sockets", async (ring, sender) => {
    for (const { peers } of ring.nodes) peers[0].socket.join("a");
    // The reference answers for its own sockets only (FAULTS D12), but answers when asked.
    const mine = (/** @type {any} */ peer) => sender.kind === OURS || peer.node === sender;
    const all = ring.peers().filter(mine);
    assert.deepStrictEqual(
      [...(await sender.adapter().sockets(new Set()))].sort(),
      all.map(({ id }) => id).sort(),
    );
    const few = all.filter((peer) => peer === peer.node.peers[0]);
    assert.deepStrictEqual(
      [...(await sender.adapter().sockets(new Set(["a"])))].sort(),
      few.map(({ id }) => id).sort(),
    );
    await settled(ring);
  });

  fromEach(ring, kinds, "counts the servers", async (ring, sender) => {
    assert.strictEqual(await sender.adapter().serverCount(), ring.nodes.length);
  });
}

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function commands(ring, kinds) {
  fromEach(ring, kinds, "has all join and leave", async (ring, sender) => {
    sender.io.socketsJoin(["a", "b"]);
    await waitFor(() => ring.peers().every((peer) => peer.rooms.join() === "a,b"), {
      what: "all to be in a and b",
    });
    sender.io.socketsLeave("a");
    await waitFor(() => ring.peers().every((peer) => peer.rooms.join() === "b"), { what: "all to be in b" });
  });

  fromEach(ring, kinds, "has the members of a room join and leave", async (ring, sender) => {
    for (const { peers } of ring.nodes) peers[0].socket.join("a");
    sender.io.in("a").except(ring.nodes[0].peers[0].id).socketsJoin("b");
    await ring.markRequests(sender);
    assert.deepStrictEqual(
      ring.nodes.map(({ peers }) => peers.map(({ rooms }) => rooms)),
      ring.nodes.map(({ index }) => [index === 0 ? ["a"] : ["a", "b"], []]),
    );
    sender.io.in("b").socketsLeave(["a", "never"]);
    await ring.markRequests(sender);
    assert.deepStrictEqual(
      ring.nodes.map(({ peers }) => peers.map(({ rooms }) => rooms)),
      ring.nodes.map(({ index }) => [index === 0 ? ["a"] : ["b"], []]),
    );
  });

  fromEach(ring, kinds, "has one socket join and leave", async (ring, sender) => {
    for (const { peers } of ring.nodes) {
      const [remote] = await sender.io.in(peers[1].id).fetchSockets();
      remote.join("mine");
      await waitFor(() => peers[1].rooms.includes("mine"), { what: "the socket to join" });
      remote.leave("mine");
      await waitFor(() => !peers[1].rooms.includes("mine"), { what: "the socket to leave" });
      assert.ok(ring.peers().every((peer) => peer.rooms.length === 0));
    }
  });

  fromEach(ring, kinds, "keeps to itself what is local", async (ring, sender) => {
    sender.io.local.socketsJoin("here");
    await ring.markRequests(sender);
    assert.ok(ring.peers().every((peer) => peer.rooms.includes("here") === (peer.node === sender)));
    sender.io.socketsJoin("everywhere");
    sender.io.local.socketsLeave("everywhere");
    await ring.markRequests(sender);
    const others = ring.peers().filter((peer) => peer.node !== sender);
    assert.ok(others.every((peer) => peer.rooms.includes("everywhere")));
  });

  fromEach(ring, kinds, "reaches those that it had join in the same tick", async (ring, sender) => {
    const joining = ring.nodes.map(({ peers }) => peers[0]);
    const got = await ring.collect(sender, () => {
      for (const { id } of joining) sender.io.in(id).socketsJoin("fresh");
      sender.io.to("fresh").emit("welcome");
      for (const { id } of joining) sender.io.in(id).socketsLeave("fresh");
      sender.io.to("fresh").emit("too late");
    });
    // The reference joins its own sockets by its echo only (FAULTS F8).
    const wanted = (/** @type {any} */ peer) =>
      joining.includes(peer) && (sender.kind === OURS || peer.node !== sender);
    assert.deepStrictEqual(got, expected(ring, [["welcome"]], wanted));
    await ring.markRequests(sender);
  });

  fromEach(ring, kinds, "disconnects sockets", async (ring, sender) => {
    const extra = await Promise.all(ring.nodes.map((node) => node.connect()));
    for (const { socket } of extra.slice(1)) socket.join("out");
    const reasons = extra.map((peer) => once(peer.client, "disconnect"));
    sender.io.to("out").emit("farewell");
    sender.io.in("out").disconnectSockets();
    for (const [reason] of await Promise.all(reasons.slice(1))) {
      assert.strictEqual(reason, "io server disconnect");
    }
    assert.ok(extra.slice(1).every((peer) => peer.log.length === 1 && peer.log[0][0] === "farewell"));
    await ring.mark(sender);
    assert.ok(extra[0].client.connected);
    const [remote] = await sender.io.in(extra[0].id).fetchSockets();
    remote.disconnect(true);
    assert.deepStrictEqual((await reasons[0])[0], "io server disconnect");
    assert.strictEqual(ring.peers().length, ring.nodes.length * 2);
  });

  fromEach(ring, kinds, "disconnects its own sockets only, when local", async (ring, sender) => {
    const extra = await Promise.all(ring.nodes.map((node) => node.connect()));
    for (const { socket } of extra) socket.join("out");
    const gone = once(extra[sender.index].client, "disconnect");
    sender.io.local.in("out").disconnectSockets(true);
    await gone;
    await ring.markRequests(sender);
    assert.deepStrictEqual(
      extra.map((peer) => peer.client.connected),
      ring.nodes.map((node) => node !== sender),
    );
    for (const peer of extra) if (peer.client.connected) await peer.close();
  });

  fromEach(ring, kinds, "emits to the other servers", async (ring, sender) => {
    const others = ring.nodes.filter((node) => node !== sender);
    const args = [1, "a", { b: [null, UNICODE] }];
    const heard = others.map((node) => once(node.io, "note"));
    sender.io.once("note", () => assert.fail("heard itself"));
    sender.io.serverSideEmit("note", ...args);
    for (const got of await Promise.all(heard)) assert.deepStrictEqual(got, args);
    await ring.mark(sender);
    sender.io.removeAllListeners("note");
  });

  fromEach(ring, kinds, "emits to the other servers and gathers their answers", async (ring, sender) => {
    const others = ring.nodes.filter((node) => node !== sender);
    for (const { io, index } of others) {
      io.once("question", (n, ack) => {
        ack({ index, n });
        ack("only one is taken");
      });
    }
    const answers = await sender.io.serverSideEmitWithAck("question", 5);
    assert.deepStrictEqual(
      answers.sort((a, b) => a.index - b.index),
      others.map(({ index }) => ({ index, n: 5 })),
    );
    await settled(ring);
  });

  fromEach(ring, kinds, "says how many servers have not answered in time", async (ring, sender) => {
    const [first, second] = ring.nodes.filter((node) => node !== sender);
    first.io.once("question", (ack) => ack(first.index));
    second.io.once("question", () => {});
    const adapter = sender.adapter();
    const [error, answers] = await withTimeout(adapter, IMPATIENCE, () => {
      return new Promise((resolve) => sender.io.serverSideEmit("question", (...args) => resolve(args)));
    });
    assert.strictEqual(error.message, "timeout reached: only 1 responses received out of 2");
    assert.deepStrictEqual(answers, [first.index]);
    await settled(ring);
  });
}

/**
 * @template T
 * @param {any} adapter
 * @param {number} timeout in milliseconds
 * @param {() => Promise<T>} act
 */
async function withTimeout(adapter, timeout, act) {
  const before = adapter.requestsTimeout;
  adapter.requestsTimeout = timeout;
  try {
    return await act();
  } finally {
    adapter.requestsTimeout = before;
  }
}

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function everything(ring, kinds) {
  describe("a broadcast", () => broadcasts(ring, kinds));
  describe("a broadcast with acknowledgements", () => acknowledgements(ring, kinds));
  describe("a question", () => questions(ring, kinds));
  describe("a command", () => commands(ring, kinds));
}

/** @type {import("./support/ring").Kind[][]} */
const MEMBERS = [
  [OURS, OURS, OURS],
  [OURS, REFERENCE, OURS],
  [REFERENCE, OURS, REFERENCE],
];

describe("rings", () => {
  for (const nodes of MEMBERS) {
    for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
      for (const transport of /** @type {const} */ (["native", "client"])) {
        describeRing(
          `of ${nodes.join(", ")} over ${clients}, ${transport}`,
          { nodes, clients, transport },
          (ring) => everything(ring, nodes),
        );
      }
    }
  }

  const mixed = MEMBERS[1];

  for (const [specificOfOurs, specificOfReference] of [
    [true, false],
    [false, true],
    [true, true],
  ]) {
    for (const transport of /** @type {const} */ (["native", "client"])) {
      const title = `with a response channel of one's own: ours ${specificOfOurs}, reference ${specificOfReference}`;
      const opts = (/** @type {number} */ index) => ({
        publishOnSpecificResponseChannel: mixed[index] === OURS ? specificOfOurs : specificOfReference,
      });
      describeRing(`${title}, ${transport}`, { nodes: mixed, transport, opts }, (ring) => {
        acknowledgements(ring, mixed);
        questions(ring, mixed);
        commands(ring, mixed);

        for (const index of [0, 1]) {
          it(`are answered there or not by node ${index} (${mixed[index]})`, async () => {
            const { nodes } = ring();
            const asking = nodes[index];
            answering(ring(), "ask", (peer) => peer.id);
            const messages = await ring().capture();
            const responses = () =>
              messages.map(({ channel }) => channel).filter((name) => name.includes("-response"));
            await asking.io.fetchSockets();
            await asking.io.timeout(PATIENCE).emitWithAck("ask");
            const own = ring().responseChannel("/", asking.adapter().uid);
            const wanted = nodes.filter((node) => node !== asking);
            /** @type {Record<string, number>} */
            const counts = { [own]: 0, [ring().responseChannel()]: 0 };
            /** @type {Record<string, number>} */
            const right = { [own]: 0, [ring().responseChannel()]: 0 };
            for (const node of wanted) {
              const specific = node.kind === OURS ? specificOfOurs : specificOfReference;
              // One for the sockets, one for the count, one for each client's answer.
              right[specific ? own : ring().responseChannel()] += 4;
            }
            await waitFor(() => responses().length === 8, { what: "eight responses" });
            await messages.stop();
            for (const channel of responses()) counts[channel]++;
            assert.deepStrictEqual(counts, right);
          });
        }
      });
    }
  }

  for (const transport of /** @type {const} */ (["native", "client"])) {
    describe(transport, () => others(transport));
  }
});

/**
 * What takes a ring of its own.
 *
 * @param {"native" | "client"} transport
 */
function others(transport) {
  /** @type {Ring} */
  let ring;
  /** @param {Omit<import("./support/ring").RingOptions, "redis" | "transport">} options */
  const start = async (options) => (ring = await startRing({ redis, transport, ...options }));
  afterEach(() => ring?.close());

  describe("namespaces", () => {
    it("are kept apart", async () => {
      await start({ nodes: MEMBERS[1], namespaces: ["/", "/chat", "/chat/deep", "/cha"], sockets: 1 });
      for (const sender of ring.nodes) {
        for (const nsp of ring.namespaces) {
          const others = ring.namespaces.filter((other) => other !== nsp);
          ring.reset();
          const got = await ring.collect(sender, () => sender.io.of(nsp).emit("in", nsp), nsp);
          assert.deepStrictEqual(got, expected(ring, [["in", nsp]], undefined, nsp));
          for (const other of others) {
            await ring.mark(sender, other);
            assert.ok(ring.peers(other).every((peer) => peer.log.length === 0));
          }
          assert.strictEqual((await sender.io.of(nsp).fetchSockets()).length, 3);
          assert.strictEqual(await sender.adapter(nsp).serverCount(), 3);
          answering(ring, "ask", (peer) => peer.id, nsp);
          const answers = await sender.io.of(nsp).timeout(PATIENCE).emitWithAck("ask");
          assert.strictEqual(answers.length, 3);
        }
      }
    });

    it("that a pattern makes work like others", async () => {
      await start({ nodes: MEMBERS[1], sockets: 0, setUp: (io) => void io.of(/^\/dynamic-\d+$/) });
      const nsp = "/dynamic-7";
      for (const node of ring.nodes.slice(0, 2)) await node.connect(nsp);
      await ring.subscribed(nsp, 2);
      await ring.nodes[2].connect(nsp);
      await ring.ready(nsp);
      for (const sender of ring.nodes) {
        const got = await ring.collect(sender, () => sender.io.of(nsp).emit("in", nsp), nsp);
        assert.deepStrictEqual(got, expected(ring, [["in", nsp]], undefined, nsp));
        assert.strictEqual((await sender.io.of(nsp).fetchSockets()).length, 3);
        sender.io.of(nsp).socketsJoin("room");
        await ring.markRequests(sender, nsp);
        assert.ok(ring.peers(nsp).every((peer) => peer.rooms.includes("room")));
        ring.reset();
      }
    });

    for (const nsp of ["/tenant[1]", "/a*b", "/what?", "/back\\slash", "/é漢🦀", "/a,b", "/#hash#"]) {
      it(`may be named ${nsp} (FAULTS D11)`, async () => {
        await start({ nodes: [OURS, REFERENCE, OURS], sockets: 0, namespaces: [nsp] });
        // A client cannot ask for each of these names; what matters is what the adapters deliver.
        const heard = ring.nodes.map((node) => fakeSocket(node, nsp));
        for (const sender of ring.nodes) {
          sender.io.of(nsp).emit("in", nsp);
          for (const node of ring.ours) await waitFor(() => heard[node.index].length === 1);
          sender.io.of(nsp).to("room").emit("room");
          for (const node of ring.ours) await waitFor(() => heard[node.index].length === 2);
          for (const node of ring.ours) {
            assert.deepStrictEqual(heard[node.index].splice(0), [["in", nsp], ["room"]]);
          }
          assert.strictEqual(await sender.adapter(nsp).serverCount(), 3);
          assert.ok((await sender.adapter(nsp).allRooms()).has("room"));
        }
      });
    }

    it("whose name is a pattern hear nothing of those it matches", async () => {
      await start({ nodes: [OURS, OURS], sockets: 0, namespaces: ["/a*", "/ab"] });
      const star = fakeSocket(ring.nodes[1], "/a*");
      const plain = fakeSocket(ring.nodes[1], "/ab");
      ring.nodes[0].io.of("/ab").emit("plain");
      ring.nodes[0].io.of("/a*").emit("star");
      await waitFor(() => star.length === 1 && plain.length === 1);
      assert.deepStrictEqual([star, plain], [[["star"]], [["plain"]]]);
    });
  });

  describe("a node that closes", () => {
    for (const nodes of [MEMBERS[0], MEMBERS[1], MEMBERS[2]]) {
      for (const leaving of [0, 1]) {
        it(`leaves the others a ring: node ${leaving} of ${nodes.join(", ")}`, async () => {
          await start({ nodes });
          await ring.nodes[leaving].close();
          await ring.subscribed("/", 2);
          const rest = ring.nodes.filter(({ index }) => index !== leaving);
          for (const sender of rest) {
            assert.strictEqual(await sender.adapter().serverCount(), 2);
            const got = await ring.collect(sender, () => sender.io.emit("still", "here"));
            assert.deepStrictEqual(
              rest.map(({ index }) => got[index]),
              rest.map(() => [[["still", "here"]], [["still", "here"]]]),
            );
            assert.strictEqual((await sender.io.fetchSockets()).length, 4);
            const [other] = rest.filter((node) => node !== sender);
            other.io.once("question", (ack) => ack("yes"));
            assert.deepStrictEqual(await sender.io.serverSideEmitWithAck("question"), ["yes"]);
          }
        });
      }
    }
  });

  describe("a single node", () => {
    it("answers itself", async () => {
      await start({ nodes: [OURS] });
      const [node] = ring.nodes;
      assert.strictEqual(await node.adapter().serverCount(), 1);
      assert.strictEqual((await node.io.fetchSockets()).length, 2);
      assert.strictEqual((await node.adapter().allRooms()).size, 2);
      assert.strictEqual((await node.adapter().sockets(new Set())).size, 2);
      assert.deepStrictEqual(await node.io.serverSideEmitWithAck("question"), []);
      answering(ring, "ask", (peer) => peer.id);
      assert.strictEqual((await node.io.timeout(PATIENCE).emitWithAck("ask")).length, 2);
      node.io.socketsJoin("room");
      const got = await ring.collect(node, () => node.io.to("room").emit("hi"));
      assert.deepStrictEqual(got, expected(ring, [["hi"]]));
      await settled(ring);
    });
  });

  describe("two nodes", () => {
    for (const nodes of /** @type {import("./support/ring").Kind[][]} */ ([
      [OURS, OURS],
      [OURS, REFERENCE],
    ])) {
      it(`answer each other: ${nodes.join(", ")}`, async () => {
        await start({ nodes });
        for (const sender of ring.nodes) {
          const [other] = ring.nodes.filter((node) => node !== sender);
          other.io.once("question", (ack) => ack({ from: other.index }));
          assert.deepStrictEqual(await sender.io.serverSideEmitWithAck("question"), [{ from: other.index }]);
          // Nothing to say is said all the same.
          other.io.once("question", (ack) => ack());
          assert.deepStrictEqual(await sender.io.serverSideEmitWithAck("question"), [undefined]);
        }
      });
    }
  });

  describe("two servers that share their Redis clients (FAULTS F5)", () => {
    /** @type {Ring | null} */
    let outer = null;
    afterEach(async () => {
      await outer?.close();
      outer = null;
    });

    for (const clients of /** @type {const} */ (["redis", "ioredis"])) {
      it(`are a member each, over ${clients}`, async () => {
        await start({ nodes: [OURS, OURS], shared: true, clients });
        const elsewhere = transport === "native" ? 2 : 1;
        outer = await startRing({ redis, transport, clients, key: ring.key, nodes: [REFERENCE], elsewhere });
        // The user's client subscribes once, whatever the number of servers behind it: that is all Redis counts.
        assert.strictEqual(await outer.nodes[0].adapter().serverCount(), elsewhere + 1);
        const everyone = [...ring.nodes, ...outer.nodes];
        for (const sender of ring.nodes) {
          assert.strictEqual(await sender.adapter().serverCount(), 3);
          assert.strictEqual((await sender.io.fetchSockets()).length, 6);
          assert.strictEqual((await sender.adapter().allRooms()).size, 6);
          const others = everyone.filter((node) => node !== sender);
          for (const { io, index } of others) io.once("question", (ack) => ack(index));
          assert.strictEqual((await sender.io.serverSideEmitWithAck("question")).length, 2);
          answering(ring, "ask", (peer) => peer.id);
          answering(outer, "ask", (peer) => peer.id);
          assert.strictEqual((await sender.io.timeout(PATIENCE).emitWithAck("ask")).length, 6);
        }
        for (const sender of everyone) {
          const got = await ring.collect(sender, () => sender.io.emit("from", sender.name));
          assert.deepStrictEqual(got, expected(ring, [["from", sender.name]]));
        }
        ring.nodes[0].io.socketsJoin("room");
        await waitFor(() => [...ring.peers(), ...outer.peers()].every((peer) => peer.rooms.includes("room")));
      });

      it(`do not take the subscriptions along when one closes, over ${clients}`, async () => {
        await start({ nodes: [OURS, OURS, OURS], shared: true, clients });
        const [leaving, a, b] = ring.nodes;
        await leaving.close();
        for (const sender of [a, b]) {
          const got = await ring.collect(sender, () => sender.io.emit("still"));
          assert.deepStrictEqual(got, expected(ring, [["still"]]));
          assert.strictEqual(await sender.adapter().serverCount(), 2);
          assert.strictEqual((await sender.io.fetchSockets()).length, 4);
        }
      });
    }
  });

  describe("older nodes and emitters (WIRE.md 1 and 4)", () => {
    beforeEach(async () => {
      await start({ nodes: [OURS, REFERENCE] });
    });

    /**
     * Publishes a request as an older node would, and resolves to the responses.
     *
     * @param {object} request
     * @param {number} count of responses
     */
    async function legacy(request, count) {
      const messages = await ring.capture();
      await ring.raw.publish(ring.requestChannel(), JSON.stringify({ requestId: "legacy", ...request }));
      const responses = () => messages.filter(({ channel }) => channel.includes("-response"));
      await waitFor(() => responses().length === count, {
        what: `${count} responses to ${JSON.stringify(request)}`,
      });
      await messages.stop();
      assert.ok(responses().every(({ channel }) => channel === ring.responseChannel()));
      return responses().map(({ bytes }) => bytes.toString());
    }

    it("ask for sockets", async () => {
      for (const { peers } of ring.nodes) peers[0].socket.join("a");
      const all = await legacy({ type: 0, rooms: [] }, 2);
      const wanted = ring.nodes.map(({ peers }) =>
        JSON.stringify({ requestId: "legacy", sockets: peers.map(({ socket }) => socket.id) }),
      );
      assert.deepStrictEqual(sameSockets(all), sameSockets(wanted));
      const few = await legacy({ type: 0, rooms: ["a"] }, 2);
      const members = ring.nodes.map(({ peers }) =>
        JSON.stringify({ requestId: "legacy", sockets: [peers[0].id] }),
      );
      assert.deepStrictEqual(few.sort(), members.sort());
    });

    it("ask for rooms", async () => {
      const responses = (await legacy({ type: 1 }, 2)).map((text) => JSON.parse(text));
      assert.deepStrictEqual(
        responses.flatMap(({ rooms }) => rooms).sort(),
        ring
          .peers()
          .map(({ id }) => id)
          .sort(),
      );
      for (const response of responses) assert.deepStrictEqual(Object.keys(response), ["requestId", "rooms"]);
    });

    it("fetch sockets", async () => {
      const responses = await legacy({ type: 5, opts: { rooms: [], except: [] } }, 2);
      const sockets = responses.flatMap((text) => JSON.parse(text).sockets);
      assert.deepStrictEqual(view(sockets), view(ring.peers().map(({ socket }) => socket)));
      for (const socket of sockets)
        assert.deepStrictEqual(Object.keys(socket), ["id", "handshake", "rooms", "data"]);
    });

    for (const index of [0, 1]) {
      it(`have one socket join, leave and go, at node ${index} (${[OURS, REFERENCE][index]})`, async () => {
        const [peer, other] = ring.nodes[index].peers;
        const done = [JSON.stringify({ requestId: "legacy" })];
        assert.deepStrictEqual(await legacy({ type: 2, sid: peer.id, room: "r" }, 1), done);
        assert.deepStrictEqual([peer.rooms, other.rooms], [["r"], []]);
        assert.deepStrictEqual(await legacy({ type: 3, sid: peer.id, room: "r" }, 1), done);
        assert.deepStrictEqual(peer.rooms, []);
        const gone = once(peer.client, "disconnect");
        assert.deepStrictEqual(await legacy({ type: 4, sid: peer.id, close: true }, 1), done);
        await gone;
        assert.ok(other.client.connected);
      });
    }

    it("are told nothing of a socket that nobody has", async () => {
      const responses = await legacy({ type: 2, sid: "nobody", room: "r" }, 0);
      assert.deepStrictEqual(responses, []);
      // What comes behind it does get its answers, and these alone.
      assert.strictEqual((await legacy({ type: 0, rooms: [] }, 2)).length, 2);
    });

    it("broadcast without all of the options", async () => {
      const { raw } = ring;
      for (const { peers } of ring.nodes) peers[0].socket.join("a");
      const events = [
        [ring.channel(), { type: 2, data: ["one"], nsp: "/" }, { rooms: [], flags: {}, except: [] }],
        [ring.channel(), { type: 2, data: ["two"] }, { rooms: [], flags: {}, except: [] }],
        [
          ring.channel("/", "a"),
          { type: 2, data: ["three", BINARY], nsp: "/" },
          { rooms: ["a"], flags: {}, except: [] },
        ],
        [
          ring.channel(),
          { type: 2, data: ["four"], nsp: "/" },
          { rooms: ["a", "b"], flags: { volatile: false }, except: [] },
        ],
        [ring.channel(), { type: 2, data: ["five"], nsp: "/" }, { rooms: [], flags: {}, except: ["a"] }],
        [ring.channel(), { type: 2, data: ["six"], nsp: "/" }, {}],
        [
          ring.channel(),
          { data: ["seven"], nsp: "/", type: 2, more: { a: 1 } },
          { more: 1, except: [], rooms: ["a"] },
        ],
        [
          ring.channel(),
          { type: 2, data: ["elsewhere"], nsp: "/other" },
          { rooms: [], flags: {}, except: [] },
        ],
      ];
      const got = await ring.collect(ring.nodes[0], async () => {
        for (const [channel, packet, opts] of events) {
          await raw.publish(channel, notepack.encode(["emitter", packet, opts]));
        }
        await waitFor(() => ring.nodes.every(({ peers }) => peers[0].log.length === 6));
      });
      const wanted = [
        [["one"], ["two"], ["three", BINARY], ["four"], ["six"], ["seven"]],
        [["one"], ["two"], ["five"], ["six"]],
      ];
      assert.deepStrictEqual(got, [wanted, wanted]);
    });

    it("send commands without a uid", async () => {
      const send = (/** @type {object} */ request) =>
        ring.raw.publish(ring.requestChannel(), JSON.stringify(request));
      const all = { rooms: [], except: [] };
      await send({ type: 2, opts: all, rooms: ["a", "b"] });
      await waitFor(() => ring.peers().every((peer) => peer.rooms.join() === "a,b"));
      await send({ type: 3, opts: { rooms: ["a"], except: [ring.nodes[0].peers[0].id] }, rooms: ["a"] });
      await waitFor(() => ring.nodes.every(({ peers }) => peers[1].rooms.join() === "b"));
      assert.deepStrictEqual(ring.nodes[0].peers[0].rooms, ["a", "b"]);
      const heard = ring.nodes.map(({ io }) => once(io, "note"));
      await send({ uid: "emitter", type: 6, data: ["note", 1, { a: null }] });
      assert.deepStrictEqual(await Promise.all(heard), [
        [1, { a: null }],
        [1, { a: null }],
      ]);
      const gone = ring.nodes.map(({ peers }) => once(peers[1].client, "disconnect"));
      await send({
        type: 4,
        opts: { rooms: ring.nodes.map(({ peers }) => peers[1].id), except: [] },
        close: true,
      });
      await Promise.all(gone);
      await ring.mark(ring.nodes[0]);
      assert.ok(ring.nodes.every(({ peers }) => peers[0].client.connected));
    });

    it("ask in msgpack what is asked in JSON", async () => {
      const send = (/** @type {object} */ request) =>
        ring.raw.publish(ring.requestChannel(), notepack.encode(request));
      await send({ type: 2, opts: { rooms: [], except: [] }, rooms: ["a"] });
      await waitFor(() => ring.peers().every((peer) => peer.rooms.join() === "a"));
      const heard = ring.nodes.map(({ io }) => once(io, "note"));
      await send({ uid: "emitter", type: 6, data: ["note", BINARY] });
      for (const [bytes] of await Promise.all(heard)) assert.deepStrictEqual(bytes, BINARY);
    });
  });
}

/** The ids in SOCKETS responses, in no order. @param {string[]} responses */
function sameSockets(responses) {
  return responses.map((text) => JSON.parse(text).sockets.sort().join()).sort();
}

/**
 * Puts a socket into a namespace and "room" without a client, and returns what it is sent: arrays of arguments.
 *
 * @param {Node} node
 * @param {string} nsp
 */
function fakeSocket(node, nsp) {
  /** @type {any[][]} */
  const heard = [];
  const id = `fake-${node.index}`;
  const socket = {
    id,
    acks: new Map(),
    notifyOutgoingListeners: (/** @type {any} */ packet) => void heard.push(packet.data),
    client: { writeToEngine: () => {} },
  };
  node.io.of(nsp).sockets.set(id, /** @type {any} */ (socket));
  node.adapter(nsp).addAll(id, new Set([id, "room"]));
  return heard;
}
