// @ts-check
"use strict";

/**
 * Each example of docs/PROTOCOL.md: on which ring it is looked at, what publishes it, and what receivers do.
 */

const assert = require("node:assert");
const { PROBE } = require("../../lib/link/channel-prober");
const { waitFor } = require("../support/wait");
const {
  answers,
  answersOld,
  answersSix,
  byBoth,
  byEmitters,
  byOurs,
  bySix,
  clientsAnswer,
  describeSockets,
  disconnected,
  event,
  hello,
  loses,
  nothing,
  oneSocket,
  restored,
  rooms,
  serverEvent,
  serversAnswer,
  takesAck,
  takesRooms,
  takesServerAnswer,
  takesSockets,
  EMITTERS,
} = require("./actions");
const { SENDER, SOCKET } = require("./page");

/**
 * @typedef {import("../support/wire-examples").Example} Example
 * @typedef {import("./rig").Rig} Rig
 *
 * @typedef {object} Case
 * @property {string} ring
 * @property {(rig: Rig, example: Example) => any} published
 * @property {(rig: Rig, example: Example) => any} received
 */

const ROOM_EVENT = event(["hello"], { room: "room" });

/** What all families with envelopes have. @param {string} family @param {string} ring @returns {Record<string, Case>} */
function envelopes(family, ring) {
  const of = (/** @type {string} */ name) => `${family}/${name}`;
  const fetches = answers(of("fetch"), of("fetch-response"), describeSockets);
  const notes = answers(of("server-emit-ack"), of("server-emit-response"), serversAnswer);
  const counts = answers(of("ask"), of("count"), clientsAnswer);
  const acks = answers(of("ask"), of("ack"), clientsAnswer);
  const takes = takesAck(of("count"), of("ack"));
  return {
    [of("emit")]: { ring, published: byBoth, received: event(["hello", 1, "a"]) },
    [of("emit-room")]: { ring, published: byBoth, received: ROOM_EVENT },
    [of("emit-binary")]: {
      ring,
      published: byBoth,
      received: event(["file", Buffer.from([1, 2, 255])]),
    },
    [of("join")]: { ring, published: byBoth, received: rooms(["room", "a", "b"]) },
    [of("leave")]: { ring, published: byBoth, received: rooms(["room"], ["room", "a"]) },
    [of("disconnect")]: { ring, published: byBoth, received: disconnected },
    [of("fetch")]: { ring, published: byBoth, received: fetches },
    [of("fetch-response")]: { ring, published: fetches, received: takesSockets },
    [of("server-emit")]: { ring, published: byBoth, received: serverEvent([{ a: 1 }]) },
    [of("server-emit-ack")]: { ring, published: byBoth, received: notes },
    [of("server-emit-response")]: { ring, published: notes, received: takesServerAnswer },
    [of("ask")]: { ring, published: byBoth, received: acks },
    [of("count")]: { ring, published: counts, received: takes },
    [of("ack")]: { ring, published: acks, received: takes },
    [of("hello")]: { ring, published: byOurs, received: hello },
  };
}

const ring = "classic";
const fetches = answers("classic/fetch", "classic/fetch-response", describeSockets);
const allRooms = answers("classic/rooms", "classic/rooms-response", () => {});
const ids = answers("classic/sockets", "classic/sockets-response", (rig) => rig.join("room"));
const notes = answers("classic/server-emit-ack", "classic/server-emit-response", serversAnswer);
const counts = answers("classic/ask", "classic/count", clientsAnswer);
const acks = answers("classic/ask", "classic/ack", clientsAnswer);
const takes = takesAck("classic/count", "classic/ack");
const own = answers("classic/rooms", "classic/own-response", () => {});

/** @type {Record<string, Case>} */
const CASES = {
  "classic/emit": { ring, published: byBoth, received: event(["hello", 1, "a"]) },
  "classic/emit-room": { ring, published: byBoth, received: ROOM_EVENT },
  "classic/emit-rooms": { ring, published: byBoth, received: event(["hello"], { room: "a", nsp: "/chat" }) },
  "classic/join": { ring, published: byBoth, received: rooms(["room", "a", "b"]) },
  "classic/leave": { ring, published: byBoth, received: rooms(["room"], ["room", "a"]) },
  "classic/disconnect": { ring, published: byBoth, received: disconnected },
  "classic/fetch": { ring, published: byBoth, received: fetches },
  "classic/fetch-response": { ring, published: fetches, received: takesSockets },
  "classic/rooms": { ring, published: byBoth, received: allRooms },
  "classic/rooms-response": { ring, published: allRooms, received: takesRooms },
  "classic/own-response": { ring: "classic, own channels", published: own, received: takesRooms },
  "classic/sockets": { ring, published: byOurs, received: ids },
  "classic/sockets-response": {
    ring,
    published: ids,
    async received(rig, example) {
      // The reference asks nobody.
      const { nodes } = rig.ring;
      rig.ring.nodes = rig.ring.ours;
      const [found] = await rig
        .answer([example], (node) => node.adapter().sockets(new Set()))
        .finally(() => (rig.ring.nodes = nodes));
      assert.ok(found.has(SOCKET));
    },
  },
  "classic/server-emit": { ring, published: byBoth, received: serverEvent([{ a: 1 }]) },
  "classic/server-emit-ack": { ring, published: byBoth, received: notes },
  "classic/server-emit-response": { ring, published: notes, received: takesServerAnswer },
  "classic/ask": { ring, published: byBoth, received: acks },
  "classic/count": { ring, published: counts, received: takes },
  "classic/ack": { ring, published: acks, received: takes },
  "classic/hello": { ring, published: byOurs, received: hello },
  "classic/old-join": { ring, published: bySix, received: oneSocket((peer) => peer.rooms.includes("room")) },
  "classic/old-leave": {
    ring,
    published: bySix,
    received: oneSocket((peer) => !peer.rooms.includes("room"), ["room"]),
  },
  "classic/old-disconnect": { ring, published: bySix, received: oneSocket((peer) => !peer.client.connected) },
  "classic/old-response": { ring, published: answersOld, received: answersSix },

  "emitter/emit": { ring, published: byEmitters({}, EMITTERS), received: ROOM_EVENT },
  "emitter/join": { ring, published: byEmitters({}, EMITTERS), received: rooms(["room", "a", "b"]) },
  "emitter/leave": { ring, published: byEmitters({}, EMITTERS), received: rooms(["room"], ["room", "a"]) },
  "emitter/disconnect": { ring, published: byEmitters({}, EMITTERS), received: disconnected },
  "emitter/server-emit": { ring, published: byEmitters({}, EMITTERS), received: serverEvent([{ a: 1 }]) },
  "emitter/sharded": {
    ring: "sharded, dynamic",
    published: byEmitters({ mode: "sharded" }, EMITTERS.slice(0, 1)),
    received: ROOM_EVENT,
  },
  "emitter/streams": {
    ring: "streams",
    published: byEmitters({ mode: "streams" }, EMITTERS.slice(0, 1)),
    received: ROOM_EVENT,
  },

  ...envelopes("sharded", "sharded, dynamic"),
  "sharded/emit-id": {
    ring: "sharded, dynamic",
    published: byBoth,
    received: event(["hello"], { room: SOCKET }),
  },
  "sharded/emit-private": {
    ring: "sharded, dynamic-private",
    published: byBoth,
    received: event(["hello"], { room: SOCKET }),
  },
  "sharded/emit-static": { ring: "sharded, static", published: byBoth, received: ROOM_EVENT },
  "sharded/probe": {
    ring: "sharded, dynamic",
    published: (_, { payload }) => assert.strictEqual(payload.toString(), PROBE),
    received: nothing,
  },

  ...envelopes("streams", "streams"),
  "streams/fetch-sharded": {
    ring: "streams, sharded pub/sub",
    published: byBoth,
    async received(rig, example) {
      const list = rig.sent("spublish");
      const start = list.length;
      await rig.send(example);
      const answers = () =>
        list.slice(start).filter(({ channel }) => channel.endsWith(`#${SENDER.cluster}#`));
      await waitFor(() => answers().length === 2, { what: "two answers" });
    },
  },
  "streams/session": {
    ring: "streams, recovery",
    async published(rig, example) {
      for (const node of rig.ring.nodes) await loses(rig, example, node, false);
    },
    received: restored,
  },
  "streams/session-progress": {
    ring: "streams, recovery",
    published: (rig, example) => loses(rig, example, rig.ring.ours[0], true),
    received: restored,
  },
};

module.exports = { CASES };
