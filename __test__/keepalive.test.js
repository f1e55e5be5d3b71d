// @ts-check
"use strict";

/** When the connection that has all global channels is taken for mute, and since when. The clock is the test's own. */

const assert = require("node:assert");
const { Carrier } = require("../lib/link/carrier");
const { KIND } = require("../lib/link/inbox");
const { Keepalive } = require("../lib/link/keepalive");
const { Looks, byLooks } = require("./support/looks");
const { waitFor } = require("./support/wait");

/** So many looks lie between an answer and the next question, and so many an answer may take. */
const [PERIOD, PATIENCE] = [4, 16];

class World extends Looks {
  /** What is on its way. @type {{ at: number, answer: () => void, fail: () => void }[]} */
  questions = [];
  hasConnection = true;
  mute = 0;

  /** Is to be called once the clock is this one's. */
  begin() {
    this.life = new Keepalive({ ask: () => this.#ask(), onMute: () => this.mute++ });
    this.life.begin(this.now);
    return this.life;
  }

  #ask() {
    if (!this.hasConnection) return null;
    return new Promise((resolve, reject) =>
      this.questions.push({
        at: this.now,
        answer: () => resolve("PONG"),
        fail: () => reject(new Error("closed")),
      }),
    );
  }
}

/** @param {(world: World) => Promise<void>} test */
const timeless = (test) => byLooks(() => new World(), test);

describe("whether the connection lives that has all global channels", () => {
  it(
    "it is asked a while after each answer, and the silence begins when it was asked",
    timeless(async (world) => {
      const life = world.begin();
      await world.looks(PERIOD);
      assert.strictEqual(world.questions.length, 1);
      await world.looks(PATIENCE - 1);
      assert.strictEqual(world.questions.length, 1);
      world.questions[0].answer();
      await world.looks(1);
      assert.strictEqual(life.silence, world.now - world.questions[0].at);
      await world.looks(PERIOD);
      assert.strictEqual(world.questions.length, 2);
      assert.strictEqual(world.mute, 0);
    }),
  );

  it(
    "it is mute without an answer, and what comes too late proves nothing",
    timeless(async (world) => {
      const life = world.begin();
      await world.looks(PERIOD + PATIENCE);
      assert.strictEqual(world.mute, 0);
      await world.looks(1);
      assert.strictEqual(world.mute, 1);
      world.questions[0].answer();
      await world.looks(1);
      assert.strictEqual(life.silence, world.now - 1000);
    }),
  );

  it(
    "the silence of one that replaces it begins when that was asked to subscribe",
    timeless(async (world) => {
      const life = world.begin();
      await world.looks(PERIOD + PATIENCE + 1);
      assert.strictEqual(world.mute, 1);
      const askedAt = world.now;
      await world.looks(1);
      life.begin(askedAt);
      assert.strictEqual(life.silence, world.now - askedAt);
      // What the former one was asked says nothing of it.
      world.questions[0].answer();
      await world.looks(1);
      assert.strictEqual(life.silence, world.now - askedAt);
    }),
  );

  it(
    "an event loop that was blocked says nothing of it",
    timeless(async (world) => {
      world.begin();
      await world.looks(PERIOD);
      world.now += 60_000;
      await world.looks(1);
      assert.strictEqual(world.mute, 0);
    }),
  );

  it(
    "one that is lost, or not there yet, is not mute",
    timeless(async (world) => {
      world.begin();
      await world.looks(PERIOD);
      world.hasConnection = false;
      world.questions[0].fail();
      await world.looks(2 * PATIENCE);
      assert.strictEqual(world.mute, 0);
      world.hasConnection = true;
      await world.looks(1);
      assert.strictEqual(world.questions.length, 2);
    }),
  );

  it(
    "nothing is asked after the end",
    timeless(async (world) => {
      const life = world.begin();
      life.stop();
      await world.looks(PERIOD + PATIENCE);
      assert.strictEqual(world.questions.length, 0);
    }),
  );
});

/** What a carrier needs of the clients of a cluster by which it listens to global channels. */
const CLIENTS = {
  ...{ channelKind: "global", needsProof: true },
  begin() {},
  stop() {},
  look() {},
  onTrouble() {},
  onLost() {},
  isReady: () => true,
  subscribe: async () => {},
  unsubscribe: async () => {},
};

/** @type {Carrier[]} */
const carriers = [];
afterEach(() => carriers.splice(0).forEach((carrier) => carrier.stop()));

/** A carrier that is told to subscribe to a channel. @param {object} clients @param {object} native */
function carrierOf(clients, native) {
  const events = { onRefused() {}, drain() {}, onHold() {}, onHandedOver() {}, isOwn: () => false };
  const carrier = new Carrier(/** @type {any} */ (clients), /** @type {any} */ (native), events);
  carriers.push(carrier);
  tell(carrier, KIND.SUBSCRIBE);
  return carrier;
}

/** Tells a carrier what Rust wants of a channel. @param {Carrier} carrier @param {number} kind of the record */
function tell(carrier, kind) {
  carrier.onRecord(/** @type {any} */ ({ kind, n: 0, text: () => "channel" }));
}

describe("a client of a cluster by which nothing is received any more", () => {
  it("is asked nothing: it may be about to close the connection", async () => {
    const asked = { first: 0, second: 0 };
    const native = { clientUp() {}, clientSubscribed() {} };
    const [first, second] = /** @type {const} */ (["first", "second"]).map((name) =>
      carrierOf({ ...CLIENTS, askListening: async () => void asked[name]++ }, native),
    );
    await new Promise((resolve) => setImmediate(resolve));
    tell(first, KIND.UNSUBSCRIBE);
    await waitFor(() => asked.second > 1, { what: "the other one to be asked" });
    assert.strictEqual(asked.first, 0);
    tell(second, KIND.UNSUBSCRIBE);
  });
});

describe("a subscription that is made when nobody wants it any more", () => {
  /** What is asked of the clients, and what settles the subscriptions. */
  function recorder() {
    /** @type {string[]} */
    const asked = [];
    /** @type {{ resolve: () => void, reject: (error: Error) => void }[]} */
    const pending = [];
    const clients = {
      ...CLIENTS,
      subscribe: () => {
        asked.push("subscribe");
        return new Promise((resolve, reject) => pending.push({ resolve: () => resolve(null), reject }));
      },
      unsubscribe: async () => void asked.push("unsubscribe"),
    };
    return { asked, pending, clients };
  }

  const native = { clientUp() {}, clientSubscribed() {}, clientSubscribeFailed() {} };
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  for (const outcome of /** @type {const} */ (["resolve", "reject"]))
    it(`is ended: ${outcome}`, async () => {
      const { asked, pending, clients } = recorder();
      const carrier = carrierOf(clients, native);
      tell(carrier, KIND.UNSUBSCRIBE);
      pending[0][outcome](new Error("too late"));
      await settled();
      assert.deepStrictEqual(asked, ["subscribe", "unsubscribe", "unsubscribe"]);
    });

  it("is left alone if others have the clients by then", async () => {
    const { asked, pending, clients } = recorder();
    carrierOf(clients, native).stop();
    carrierOf(clients, native);
    for (const { resolve } of pending) resolve();
    await settled();
    assert.deepStrictEqual(asked, ["subscribe", "subscribe"]);
  });
});

describe("a client of a cluster that is not connected any more", () => {
  it("has lost its global channels since it was last known to live, not since that is seen", async () => {
    /** @type {(kind: number, name: string) => void} */
    let lose = () => {};
    /** @type {[string, number?][]} */
    const told = [];
    const clients = {
      ...{ ...CLIENTS, ready: true },
      onLost: (/** @type {typeof lose} */ listener) => void (lose = listener),
      look: () => clients.ready || lose(0, "channel"),
      isReady: () => clients.ready,
    };
    const subscribed = new Promise((resolve) => {
      carrierOf(clients, {
        clientUp() {},
        clientSubscribed: resolve,
        clientDown: () => told.push(["down"]),
        clientLost: (/** @type {any[]} */ ...[, , , silence]) => told.push(["lost", silence]),
      });
    });
    const askedAt = performance.now();
    await subscribed;
    await new Promise((resolve) => setTimeout(resolve, 20));
    clients.ready = false;
    carriers[0].clientsChanged();
    const least = performance.now() - askedAt;
    const [[first, silence = 0], second] = told;
    assert.deepStrictEqual([first, second], ["lost", ["down"]]);
    assert.ok(silence >= Math.floor(least), `${silence} ms of ${least}`);
  });
});
