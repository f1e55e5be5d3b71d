// @ts-check
"use strict";

/**
 * A master behind sentinels is replaced, under load: messages are lost while there is none at the worst, never after.
 */

const assert = require("node:assert");
const { Setup, fault, isNative, kindOf } = require("./fixtures/faults");
const { countSubscribers } = require("./support/connect");
const { startSentinel } = require("./support/sentinel");
const { waitFor } = require("./support/wait");

/** @typedef {import("./fixtures/faults").Kind} Kind */

const KINDS = [
  kindOf("classic", "ioredis", "native", { rate: 1000 }),
  kindOf("sharded", "ioredis", "native"),
  kindOf("classic", "redis", "native"),
  kindOf("classic", "redis", "client"),
  kindOf("sharded", "redis", "client"),
  kindOf("classic", "ioredis", "client"),
  kindOf("sharded", "ioredis", "client"),
];

/** @type {Awaited<ReturnType<typeof startSentinel>>} */
let sentinel;
/** @type {Map<Kind, Setup>} */
const setups = new Map();

before(async function () {
  this.timeout(30_000);
  sentinel = await startSentinel();
  for (const kind of KINDS) setups.set(kind, await Setup.start(kind, { redis: sentinel }, "room"));
});

after(async function () {
  this.timeout(30_000);
  await Promise.all([...setups.values()].map((setup) => setup.close()));
  await sentinel?.stop();
});

/** Resolves once the master has a subscriber per node for the channel of a setup. @param {Setup} setup */
async function subscribed({ ring, channel, kind }) {
  await waitFor(
    async () => {
      const [count] = await countSubscribers(await sentinel.master(), [channel], { sharded: ring.sharded });
      return count === ring.nodes.length;
    },
    { timeout: 15_000, what: `the subscriptions of ${kind.name}` },
  );
}

describe("sentinels", () => {
  it("are found in the clients", () => {
    const carriers = KINDS.map((kind) => setups.get(kind)?.ring.nodes[0].adapter().transport.carrier);
    assert.deepStrictEqual(
      carriers,
      KINDS.map(({ transport }) => transport),
    );
  });

  fault("replace a master that lives", setups, KINDS, {
    befall: () => sentinel.failover(),
    subscribed,
    gap: isNative,
  });

  fault("replace a master that was killed", setups, KINDS, {
    befall: async () => sentinel.replaced(await sentinel.killMaster()),
    subscribed,
    gap: () => true,
  });
});
