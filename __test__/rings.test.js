// @ts-check
"use strict";

/**
 * Every operation, sent by every node of a ring, in rings of this package's nodes and the reference's: whoever
 * sends and whoever receives, the outcome is that of a ring of references.
 */

const assert = require("node:assert");
const notepack = require("notepack.io");
const { startRedis } = require("./support/redis");
const { broadcasts } = require("./fixtures/broadcasts");
const { acknowledgements, commands, questions, silences } = require("./fixtures/requests");
const { BINARY, OURS, PATIENCE, REFERENCE } = require("./fixtures/rings");
const { answering, describeRing, expected, fakeSocket, settled, view } = require("./fixtures/rings");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring").Node} Node */

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(async () => {
  await redis.stop();
});

/** @param {() => Ring} ring @param {import("./support/ring").Kind[]} kinds */
function everything(ring, kinds) {
  describe("a broadcast", () => broadcasts(ring, kinds));
  describe("a broadcast with acknowledgements", () => acknowledgements(ring, kinds));
  describe("a question", () => questions(ring, kinds));
  describe("a command", () => commands(ring, kinds));
  describe("a silence", () => silences(ring, kinds));
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
          () => ({ redis, nodes, clients, transport }),
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
      describeRing(
        `${title}, ${transport}`,
        () => ({ redis, nodes: mixed, transport, opts }),
        (ring) => {
          acknowledgements(ring, mixed);
          questions(ring, mixed);
          commands(ring, mixed);
          silences(ring, mixed);

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
        },
      );
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
          await ring.reset();
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
        await ring.reset();
      }
    });

    for (const nsp of ["/tenant[1]", "/a*b", "/what?", "/back\\slash", "/é漢🦀", "/a,b", "/#hash#"]) {
      it(`may be named ${nsp}`, async () => {
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

  describe("two servers that share their Redis clients", () => {
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

  describe("older nodes and emitters", () => {
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
