// @ts-check
"use strict";

/**
 * A user's client of a cluster carries sharded messages: those who are slow to listen again after a node was lost are not
 * missed in silence.
 */

const assert = require("node:assert");
const { ShardPublisher } = require("../lib/clients/shard-publisher");
const { Carrier } = require("../lib/link/carrier");

/** A carrier with clients that answer what they are told to. @param {"shard" | "global"} channelKind */
function make(channelKind) {
  const clients = {
    ...{ channelKind, hearsAll: false, ready: true, receivers: 3 },
    needsProof: true,
    /** @type {() => void} */
    tell() {},
    begin() {},
    onLost() {},
    onTrouble: (/** @type {() => void} */ tell) => void (clients.tell = tell),
    placeOf: () => null,
    look() {},
    askListening: () => null,
    rediscover() {},
    queues: () => false,
    isReady: () => clients.ready,
    publish: async () => clients.receivers,
  };
  const native = { clientUp() {}, clientDown() {}, clientCarries() {} };
  const events = { onRefused() {}, drain() {}, onHold() {}, onHandedOver() {} };
  const carrier = new Carrier(/** @type {any} */ (clients), /** @type {any} */ (native), events);
  return {
    carrier,
    trouble: () => clients.tell(),
    breaks() {
      clients.ready = false;
      carrier.clientsFailed();
      clients.ready = true;
      carrier.clientsChanged();
    },
    /** @param {number} receivers @param {string} [channel] */
    async publish(receivers, channel = "a#/#room#") {
      clients.receivers = receivers;
      carrier.publish(1, channel, "bytes");
      await carrier.answered();
    },
  };
}

describe("the audience of what a client of a cluster carries", () => {
  it("is counted short until all are back", async () => {
    const { carrier, breaks, publish } = make("shard");
    await publish(3);
    breaks();
    await publish(1);
    await publish(2);
    assert.strictEqual(carrier.counts.early, 2);
    await publish(3);
    await publish(4);
    await publish(1, "a#/#unknown#");
    assert.strictEqual(carrier.counts.early, 2);
    assert.strictEqual(carrier.counts.acknowledged, 6);
  });

  it("is counted short when there is none any more", async () => {
    const { carrier, breaks, publish } = make("shard");
    await publish(3);
    await publish(0);
    assert.strictEqual(carrier.counts.early, 0, "all have left the room");
    await publish(3);
    breaks();
    await publish(0);
    await publish(0);
    assert.strictEqual(carrier.counts.early, 2);
    await publish(3);
    await publish(0, "a#/#unknown#");
    assert.strictEqual(carrier.counts.early, 2);
  });

  it("is counted short when the client publishes to another node than before", async () => {
    let address = "a:1";
    let moves = 0;
    const masters = { use() {}, isMaster: async () => true };
    const publisher = new ShardPublisher(
      () => address,
      async () => 1,
      /** @type {any} */ (masters),
      () => void moves++,
    );
    for (const [next, expected] of /** @type {[string, number][]} */ ([
      ["a:1", 0],
      ["a:1", 0],
      ["b:2", 1],
      ["b:2", 1],
      ["a:1", 2],
    ])) {
      address = next;
      await publisher.publish("a#/#room#", "bytes");
      assert.strictEqual(moves, expected);
    }
    // What the client tells then.
    const { carrier, trouble, publish } = make("shard");
    await publish(3);
    trouble();
    await publish(0);
    assert.strictEqual(carrier.counts.early, 1);
  });

  it("may grow smaller when nothing was lost", async () => {
    const { carrier, breaks, publish } = make("shard");
    await publish(3);
    await publish(2);
    breaks();
    await publish(2);
    assert.strictEqual(carrier.counts.early, 0);
  });

  it("is not known where the answer is of one node among others", async () => {
    const { carrier, breaks, publish } = make("global");
    await publish(3);
    breaks();
    await publish(1);
    assert.strictEqual(carrier.counts.early, 0);
  });
});
