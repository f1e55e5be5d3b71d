// @ts-check
"use strict";

/** What a reviewer broke once: each of these ended the process, or left the node deaf. */

const assert = require("node:assert");
const { createAdapter } = require("..");
const { encode } = require("../lib/msgpack");
const { expectExceptions, expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

describe("robust", () => {
  /** @type {any} */
  let redis;
  /** @type {any} */
  let ring;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());
  beforeEach(async () => {
    ring = await startRing({ redis, nodes: ["ours", "reference"], sockets: 1 });
  });
  afterEach(() => ring.close());

  /** What the reference node sends arrives at the client of ours. */
  async function hears() {
    const [ours, reference] = ring.nodes;
    const got = await ring.collect(reference, () => reference.io.emit("good"));
    assert.deepStrictEqual(got[ours.index], [[["good"]]]);
  }

  it("against rooms that are no names", async () => {
    const adapter = ring.nodes[0].adapter();
    const { malformed } = adapter.stats();
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    for (const room of ['{"toString":1}', deep, "null"]) {
      const request = `{"type":2,"opts":{"rooms":[],"except":[]},"rooms":[${room}]}`;
      await ring.raw.publish(ring.requestChannel(), request);
    }
    await hears();
    assert.strictEqual(adapter.stats().malformed, malformed + 3);
  });

  it("against options with keys that are no text", async () => {
    const plain = encode(["foreign", { type: 2, data: ["bad"], nsp: "/" }]);
    // {"except": ["x"], "extra": {{"toString": nil}: 1}}
    const options = Buffer.concat([
      Buffer.from([0x82]),
      encode("except"),
      encode(["x"]),
      encode("extra"),
      Buffer.from([0x81]),
      encode({ toString: null }),
      encode(1),
    ]);
    const bytes = Buffer.concat([Buffer.from([0x93]), plain.subarray(1), options]);
    await ring.raw.publish(`${ring.key}#/#`, bytes);
    await hears();
  });

  it("against a serverSideEmit of an error that nobody listens to", async () => {
    expectRejections(); // of the reference
    await ring.raw.publish(ring.requestChannel(), '{"type":6,"data":["error"]}');
    await hears();
  });

  it("against acknowledged broadcasts that no client would take", async () => {
    for (const packet of [{ type: 99, data: ["x"] }, { data: ["x"] }, { type: 2, data: ["connect"] }]) {
      const request = { uid: "foreign", requestId: "r", type: 7, packet, opts: { rooms: [], except: [] } };
      await ring.raw.publish(ring.requestChannel(), encode(request));
    }
    await hears();
  });

  it("against listeners that throw", async () => {
    const [ours] = ring.nodes;
    const exceptions = expectExceptions();
    ours.adapter().once("degraded", () => {
      throw new Error("of a listener");
    });
    await redis.restart();
    await waitFor(() => exceptions.length === 1, { what: "the exception", timeout: 10_000 });
    await ring.ready();
    await hears();
  });

  it("against a listener for rooms that throws at the first socket", async () => {
    const [ours] = ring.nodes;
    const adapter = ours.adapter();
    for (const { socket } of ours.peers) socket.leave(socket.id);
    adapter.delAll(ours.peers[0].socket.id);
    adapter.once("create-room", () => {
      throw new Error("of a listener");
    });
    assert.throws(() => adapter.addAll(ours.peers[0].socket.id, new Set(["room"])), /of a listener/);
    await hears();
  });

  it("against an adapter that is replaced before it is ready", async () => {
    const [ours] = ring.nodes;
    const { pub, sub } = ours;
    const make = () => createAdapter(pub, sub, { key: ring.key });
    ours.io.emit("unproven");
    ours.io.adapter(make());
    ours.io.emit("unproven");
    ours.io.adapter(make());
    await ours.adapter().ready;
    await ring.subscribed("/", 2);
    // The sockets of ours were in the rooms of the adapter that was replaced.
    const [, reference] = ring.nodes;
    const heard = new Promise((resolve) => reference.peers[0].client.once("good", resolve));
    ours.io.emit("good");
    await heard;
  });

  it("against a request whose id waits already", async () => {
    const [ours] = ring.nodes;
    const adapter = ours.adapter();
    const ids = ["first!", "first!", "first!", "second"];
    adapter._newRequestId = () => ids.shift() ?? "third!";
    const [some, others] = await Promise.all([ours.io.fetchSockets(), ours.io.fetchSockets()]);
    assert.deepStrictEqual([some.length, others.length, ids], [2, 2, []]);
    assert.strictEqual(adapter.requests.size, 0);
  });

  it("against timeouts of other kinds", async () => {
    const [ours, reference] = ring.nodes;
    const adapter = ours.adapter();
    for (const timeout of ["1000", Infinity]) {
      adapter.requestsTimeout = timeout;
      assert.strictEqual((await ours.io.fetchSockets()).length, 2);
    }
    assert.strictEqual((await ours.io.timeout(0).fetchSockets()).length, 2);
    reference.io.on("question", (/** @type {any} */ ack) => ack(1));
    assert.deepStrictEqual(await ours.io.serverSideEmitWithAck("question"), [1]);
    // A millisecond, as with any timer: an answer may or may not come in time.
    adapter.requestsTimeout = NaN;
    await ours.io.fetchSockets().catch(() => {});
    assert.strictEqual(adapter.requests.size, 0);
    // Once this is answered the reference does not answer the one before any more: it would reject without its client.
    adapter.requestsTimeout = 5000;
    assert.strictEqual((await ours.io.fetchSockets()).length, 2);
  });

  it("against half a surrogate pair in what is asked", async () => {
    const [ours, reference] = ring.nodes;
    const [{ socket }] = reference.peers;
    socket.join("cut\ud83d");
    assert.strictEqual((await ours.adapter().allRooms()).size, 3);
    reference.io.serverSideEmit("cut", "\ud83d");
    await new Promise((resolve) => ours.io.once("cut", resolve));
  });
});
