// @ts-check
"use strict";

/**
 * The wire, byte for byte: what this package publishes is what the reference publishes for the same call, and
 * captures of the reference, kept here, are still understood.
 */

const assert = require("node:assert");
const notepack = require("notepack.io");
const { ARGUMENTS, TARGETS, bytes } = require("./fixtures/events");
const { Wire, shape } = require("./fixtures/golden");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let redis;
/** @type {Ring} */
let ring;
/** @type {import("./fixtures/golden").Messages} */
let messages;
/** @type {Wire} */
let wire;

before(async () => {
  redis = await startRedis();
});

after(() => redis.stop());

for (const transport of /** @type {const} */ (["native", "client"])) {
  describe(`the wire, ${transport}`, () => {
    before(async () => {
      ring = await startRing({
        redis,
        nodes: ["ours", "reference"],
        transport,
        sockets: 0,
        key: `golden-${transport}`,
      });
      messages = await ring.capture();
      wire = new Wire(ring, messages);
    });

    after(() => ring.close());

    describe("of an event", () => {
      for (const [what, args] of Object.entries(ARGUMENTS)) {
        it(`carries ${what}`, () => wire.same((io) => io.emit("event", ...args)));
      }
    });

    describe("of an event's target", () => {
      for (const [what, target] of Object.entries(TARGETS)) {
        it(`names ${what}`, async () => {
          await wire.same((io) => target(io).emit("event", 1, "a"));
          await wire.same((io) => target(io).emit("event", bytes(5)));
          await wire.same((io) => target(io).emit("event", new Date(5)));
        });
      }
    });

    describe("of requests", () => {
      it("is the same for a broadcast with acknowledgements", async () => {
        for (const args of [[], [1, "a"], [bytes(300), new Date(5)], [{ a: undefined, b: [undefined] }]]) {
          const targets = [
            (/** @type {any} */ io) => io,
            (/** @type {any} */ io) => io.to("room").except("other").volatile,
          ];
          for (const target of targets) {
            // The other node answers at once: with the number of its clients.
            await wire.same(
              (io) =>
                target(io)
                  .timeout(50)
                  .emit("event", ...args, () => {}),
              2,
            );
          }
        }
      });

      it("is the same for commands", async () => {
        await wire.same((io) => io.socketsJoin("a"));
        await wire.same((io) => io.in("é").except(["x", "y"]).socketsJoin(["a", "b"]));
        await wire.same((io) => io.socketsLeave("a"));
        await wire.same((io) => io.in(["a", 5]).socketsLeave(["a", 7]));
        await wire.same((io) => io.disconnectSockets());
        await wire.same((io) => io.in("a").except("b").disconnectSockets(true));
      });

      it("is the same for an event between servers", async () => {
        for (const args of [
          [],
          [1, null, "é\u2028", { a: undefined, b: [undefined] }],
          [bytes(3), new Date(5)],
        ]) {
          await wire.same((io) => io.serverSideEmit("note", ...args));
        }
      });

      it("is the same for questions", async () => {
        // With each comes the answer of the other node.
        const rooms = await wire.both((node) => node.adapter().allRooms());
        assert.deepStrictEqual(rooms[0], rooms[1]);
        const sockets = await wire.both((node) => node.io.in("é").except("x").fetchSockets());
        assert.deepStrictEqual(sockets[0], sockets[1]);
        const answers = await wire.both((node) => {
          ring.nodes[1 - node.index].io.once("note", (/** @type {any} */ _, ack) =>
            ack({ got: [undefined, 1] }, 2),
          );
          return node.io.serverSideEmitWithAck("note", { a: 1 });
        });
        assert.deepStrictEqual(answers[0], answers[1]);
        assert.strictEqual(answers[0].length, 2);
      });
    });

    describe("of responses", () => {
      it("is the same when clients answer", async () => {
        const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
        for (const value of [
          1,
          "é",
          null,
          bytes(3),
          { a: [bytes(300), 1.5] },
          [],
          "1970-01-01T00:00:00.000Z",
          undefined,
        ]) {
          const responses = [];
          for (const peer of peers) {
            peer.socket.join("here");
            peer.client.once("ask", (/** @type {any[]} */ ...args) => args.at(-1)(value));
            const start = messages.length;
            const request = {
              uid: "nobody",
              requestId: "fixed1",
              type: 7,
              packet: { type: 2, data: ["ask"], nsp: "/" },
              opts: { rooms: ["here"], except: [], flags: { timeout: 1000 } },
            };
            await ring.raw.publish(ring.requestChannel(), notepack.encode(request));
            // The request, a count from each node, the one client's answer.
            await waitFor(() => messages.length >= start + 4);
            const sorted = messages
              .splice(start, 4)
              .slice(1)
              .map(({ channel, bytes }) => `${channel} ${bytes.toString("hex")}`);
            responses.push(sorted.sort());
            peer.socket.leave("here");
          }
          assert.deepStrictEqual(responses[0], responses[1]);
        }
        await Promise.all(peers.map((peer) => peer.close()));
      });

      it("has the same shape when sockets are described", async () => {
        const peers = await Promise.all(ring.nodes.map((node) => node.connect()));
        for (const { socket } of peers) {
          socket.data = { name: "é", at: new Date(5), bytes: bytes(3), gone: undefined };
          socket.join("room");
        }
        const start = messages.length;
        const request = { requestId: "fixed2", type: 5, opts: { rooms: [], except: [] } };
        await ring.raw.publish(ring.requestChannel(), JSON.stringify(request));
        await waitFor(() => messages.length >= start + 3);
        const [a, b] = messages
          .splice(start, 3)
          .slice(1)
          .map(({ bytes }) => bytes.toString());
        for (const response of [a, b]) assert.strictEqual(JSON.stringify(JSON.parse(response)), response);
        assert.deepStrictEqual(shape(JSON.parse(a)), shape(JSON.parse(b)));
        assert.deepStrictEqual(JSON.parse(a).sockets[0].data, JSON.parse(b).sockets[0].data);
        await Promise.all(peers.map((peer) => peer.close()));
      });
    });

    describe("as it was captured of the reference", () => {
      for (const { what, room, hex, event } of require("./support/captures")) {
        it(`is understood: ${what}`, async () => {
          const [node] = ring.ours;
          const peer = await node.connect();
          if (room) peer.socket.join(room);
          await ring.raw.publish(ring.channel("/", room), Buffer.from(hex, "hex"));
          await waitFor(() => peer.log.length > 0, { what: "the event" });
          await ring.mark(ring.references[0]);
          assert.deepStrictEqual(peer.log, [event]);
          await peer.close();
        });
      }
    });
  });
}
