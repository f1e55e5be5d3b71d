// @ts-check
"use strict";

/** Redis refuses for now what a user's client has given it: how long it is left alone until it is asked again. */

const assert = require("node:assert");
const { Carrier } = require("../lib/link/carrier");
const { waitFor } = require("./support/wait");

class ReplyError extends Error {}

/** A carrier whose client is refused as long as `busy` is, and what its links are told. */
function make() {
  const busy = () => Promise.reject(new ReplyError("BUSY Redis is busy running a script."));
  const redis = { isBusy: false, ups: 0 };
  const clients = {
    ...{ channelKind: "global", hearsAll: false },
    ...{ begin() {}, onLost() {}, stop() {} },
    queues: () => false,
    isReady: () => true,
    publish: () => (redis.isBusy ? busy() : Promise.resolve(1)),
    command: () => (redis.isBusy ? busy() : Promise.resolve("1-0")),
    count: async () => [1],
  };
  const native = {
    ...{ clientDown() {}, clientCarries() {}, clientHeld() {}, publishAgain() {} },
    clientUp: () => void redis.ups++,
  };
  const events = { onRefused() {}, drain() {}, onHold() {}, onHandedOver() {} };
  return { redis, carrier: new Carrier(/** @type {any} */ (clients), /** @type {any} */ (native), events) };
}

/** What a link gives its carrier. @type {Record<string, (carrier: Carrier) => void>} */
const GIVES = {
  publishes: (carrier) => carrier.publish(1, "a#/#", "bytes"),
  "what is added to a stream": (carrier) => carrier.add("stream", [Buffer.from("XADD")], () => {}),
};

describe("a client that Redis refuses for now", () => {
  const { setTimeout } = globalThis;
  /** After how many milliseconds Redis was to be asked. @type {number[]} */
  let delays = [];

  beforeEach(() => {
    delays = [];
    /** @type {any} */ (globalThis).setTimeout = (
      /** @type {() => void} */ act,
      /** @type {number} */ delay,
      /** @type {any[]} */ ...args
    ) => {
      if (act.constructor.name === "AsyncFunction") delays.push(delay);
      return setTimeout(act, delay, ...args);
    };
  });
  afterEach(() => void (globalThis.setTimeout = setTimeout));

  for (const [what, give] of Object.entries(GIVES)) {
    it(`is asked soon each time, if it has taken something between: ${what}`, async () => {
      const { redis, carrier } = make();
      for (let time = 1; time <= 3; time++) {
        redis.isBusy = true;
        give(carrier);
        await waitFor(() => redis.ups > time, { what: "the end of the hold" });
        redis.isBusy = false;
        give(carrier);
        await carrier.answered();
      }
      carrier.stop();
      assert.deepStrictEqual(delays, [25, 25, 25]);
    });
  }
});
