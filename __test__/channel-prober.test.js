// @ts-check
"use strict";

/**
 * How it is found that a channel is not heard: what is asked when, and what follows from which answer. The clock is the
 * test's own.
 */

const assert = require("node:assert");
const { PROBE } = require("../lib/link/channel-prober");
const { World } = require("./support/prober-world");
const { LOOK, byLooks, settled } = require("./support/looks");

/** So many looks an answered probe may take at first, and at most. */
const PATIENCE = { first: 16, most: 240 };

const CHANNEL = "a#/#room#";

/** @param {(world: World) => Promise<void>} test */
const timeless = (test) => byLooks(() => new World(), test);

describe("whether channels are heard", () => {
  it(
    "a channel that is silent is proven by a probe",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      const heardAt = world.now - LOOK;
      const looks = await world.looksUntilAsked(100);
      assert.ok(Math.abs(world.now - heardAt - 15_000) <= 2 * LOOK, `asked after ${looks} looks`);
      assert.ok(Math.abs((await world.looksUntilAsked(100)) - looks) <= 1);
      await world.looks(500);
      assert.deepStrictEqual(world.deaf, []);
    }),
  );

  it(
    "a probe is told from what is for others",
    timeless(async (world) => {
      world.prober.listens(CHANNEL);
      assert.strictEqual(world.hears(CHANNEL, PROBE), true);
      assert.strictEqual(world.hears(CHANNEL, `${PROBE} `), false);
      assert.strictEqual(world.hears("a#/#unknown#", PROBE), true);
    }),
  );

  it(
    "what others say spares the probe",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      for (let n = 0; n < 20; n++) {
        await world.looks(20);
        world.hears(CHANNEL);
      }
      assert.deepStrictEqual(world.probes, []);
    }),
  );

  it(
    "after trouble a channel is asked sooner, for a while",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.prober.probeSoon();
      assert.ok((await world.looksUntilAsked(10)) >= 4);
      await world.looks(15_000 / LOOK);
      assert.ok((await world.looksUntilAsked(100)) > 40);
    }),
  );

  it(
    "a probe that is answered and does not come in is a verdict",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      await world.looksUntilAsked(100);
      await world.looks(PATIENCE.first);
      assert.deepStrictEqual(world.deaf, []);
      await world.looks(1);
      assert.deepStrictEqual(world.deaf, [CHANNEL]);
    }),
  );

  it(
    "a probe without an answer is no verdict, and goes out again",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.answer = () => new Promise(() => {});
      await world.looksUntilAsked(100);
      assert.strictEqual(await world.looksUntilAsked(1000), PATIENCE.most + 1);
      await world.looks(1000);
      assert.deepStrictEqual(world.deaf, []);
    }),
  );

  it(
    "an answer that comes late says nothing of what was asked since",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      /** @type {(receivers: number) => void} */
      let answer = () => {};
      world.answer = () => new Promise((resolve) => void (answer = resolve));
      await world.looksUntilAsked(100);
      const late = answer;
      world.hears(CHANNEL);
      await world.looksUntilAsked(100);
      late(1);
      await world.looks(2 * PATIENCE.first);
      assert.deepStrictEqual(world.deaf, []);
      answer(1);
      await settled();
      await world.looks(PATIENCE.first + 1);
      assert.deepStrictEqual(world.deaf, [CHANNEL]);
    }),
  );

  it(
    "that nobody listens is not believed when it is said once",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      const answers = [0, 1, 0, 1];
      world.answer = async () => answers.shift() ?? 1;
      await world.looksUntilAsked(100);
      assert.strictEqual(await world.looksUntilAsked(1), 1);
      await world.looksUntilAsked(100);
      assert.strictEqual(await world.looksUntilAsked(1), 1);
      await world.looks(PATIENCE.most);
      assert.deepStrictEqual([world.deaf, answers], [[], []]);
    }),
  );

  it(
    "that nobody listens is looked into before all others are asked",
    timeless(async (world) => {
      await world.listens(CHANNEL, ...Array.from({ length: 500 }, (_, n) => `a#/#room-${n}#`));
      world.answer = async (channel) => (channel === CHANNEL ? 0 : 1);
      await world.looksUntilAsked(100);
      await world.looks(2);
      assert.deepStrictEqual(world.deaf, [CHANNEL]);
    }),
  );

  it(
    "that nobody listens is not believed when somebody has in between",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      const answers = [0, 1, 0, 1];
      world.answer = async () => answers.shift() ?? 1;
      await world.looksUntilAsked(100);
      await world.looks(1);
      world.prober.listens(CHANNEL);
      await world.looks(4);
      assert.deepStrictEqual([world.deaf, answers], [[], []]);
    }),
  );

  it(
    "that nobody listens is believed when it is said twice in a row",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.answer = async () => 0;
      await world.looksUntilAsked(100);
      await world.looks(1);
      assert.deepStrictEqual(world.deaf, []);
      await world.looks(1);
      assert.deepStrictEqual(world.deaf, [CHANNEL]);
    }),
  );

  it(
    "probes that cannot be published keep all others back, twice as long each time, up to a bound",
    timeless(async (world) => {
      await world.listens(CHANNEL, "a#/#other#");
      world.answer = async () => Promise.reject(new Error("CLUSTERDOWN"));
      await world.looks(200);
      const times = [...new Set(world.probes.map(({ at }) => at))];
      const pauses = times.slice(1).map((at, index) => at - times[index]);
      assert.deepStrictEqual(pauses.slice(0, 5), [250, 500, 1000, 1000, 1000]);
      assert.ok(pauses.slice(5).every((pause) => pause === 1000));
      assert.deepStrictEqual(world.deaf, []);
      // One that goes out ends that.
      world.answer = async () => 1;
      await world.looks(4);
      world.answer = async () => Promise.reject(new Error("CLUSTERDOWN"));
      await world.looksUntilAsked(100);
      assert.strictEqual(await world.looksUntilAsked(1), 1);
    }),
  );

  it(
    "nothing more is asked when that is not allowed",
    timeless(async (world) => {
      await world.listens(CHANNEL, "a#/#other#");
      world.answer = async () => Promise.reject(new Error("NOPERM No permissions to access a channel"));
      await world.looksUntilAsked(100);
      const asked = world.probes.length;
      world.prober.probeSoon();
      await world.looks(10_000);
      assert.deepStrictEqual([world.probes.length, world.deaf], [asked, []]);
    }),
  );

  it(
    "an event loop that is blocked is no silence",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      await world.looksUntilAsked(100);
      world.now += 600_000;
      await world.looks(1);
      assert.deepStrictEqual(world.deaf, []);
      // What has come in meanwhile is read.
      world.hears(CHANNEL, PROBE);
      await world.looks(PATIENCE.first + 1);
      assert.deepStrictEqual(world.deaf, []);
    }),
  );

  it(
    "the patience with a channel doubles with each verdict, up to a bound, until it is heard",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      const patience = async () => {
        await world.looksUntilAsked(100);
        const verdicts = world.deaf.length;
        for (let looks = 1; ; looks++) {
          await world.looks(1);
          if (world.deaf.length === verdicts) continue;
          world.prober.listens(CHANNEL);
          return looks - 1;
        }
      };
      for (const looks of [16, 32, 64, 128, 240, 240]) assert.strictEqual(await patience(), looks);
      world.hears(CHANNEL);
      await world.looks(1);
      assert.strictEqual(await patience(), PATIENCE.first);
    }),
  );

  it(
    "clients that have never heard each other may reach different clusters: that is no verdict",
    timeless(async (world) => {
      world.echoes = () => false;
      world.prober.listens(CHANNEL);
      await world.looks(1);
      assert.strictEqual(world.probes.length, 1);
      await world.looks(1000);
      assert.deepStrictEqual(world.deaf, []);
    }),
  );

  it(
    "nothing is asked, and nothing follows, while the clients are not connected",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      world.echoes = () => false;
      await world.looksUntilAsked(100);
      world.isUp = false;
      await world.looks(1000);
      assert.deepStrictEqual([world.probes.length, world.deaf], [1, []]);
      world.isUp = true;
      await world.looks(1);
      assert.strictEqual(world.probes.length, 2);
    }),
  );

  it(
    "a channel that is lost is not asked until it is subscribed to again",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      assert.strictEqual(world.prober.loses(CHANNEL), 0);
      await world.looks(100);
      assert.deepStrictEqual(world.probes, []);
      world.prober.listens(CHANNEL);
      await world.looks(1);
      assert.strictEqual(world.probes.length, 1);
    }),
  );

  it(
    "for how long nothing may have come in is known while a probe has not",
    timeless(async (world) => {
      await world.listens(CHANNEL);
      const heardAt = world.now - LOOK;
      world.echoes = () => false;
      await world.looksUntilAsked(100);
      await world.looks(4);
      const silence = world.prober.loses(CHANNEL);
      assert.ok(silence >= world.now - heardAt - LOOK && silence <= world.now - heardAt + LOOK);
      // It is not heard of any more, and was not meanwhile.
      assert.strictEqual(world.prober.loses(CHANNEL), 0);
    }),
  );

  it(
    "what is not wanted any more is not asked",
    timeless(async (world) => {
      await world.listens(CHANNEL, "a#/#other#");
      world.prober.forget(CHANNEL);
      await world.looks(100);
      assert.ok(world.probes.length > 0);
      assert.ok(world.probes.every(({ channel }) => channel !== CHANNEL));
      world.prober.stop();
      await world.looks(100);
    }),
  );

  it(
    "as many go out with a look as Redis bears, and all have their turn",
    timeless(async (world) => {
      const channels = Array.from({ length: 120 }, (_, n) => `a#/#room-${n}#`);
      await world.listens(...channels);
      await world.looksUntilAsked(100);
      assert.strictEqual(world.probes.length, 50);
      await world.looks(2);
      assert.deepStrictEqual(world.probes.map(({ channel }) => channel).sort(), [...channels].sort());
    }),
  );

  it(
    "after trouble one channel of each slot is asked first",
    timeless(async (world) => {
      const busy = Array.from({ length: 200 }, (_, n) => `a{1}#/#room-${n}#`);
      const others = ["a{2}#/#room#", "a{3}#/#room#", "a{4}#/#room#"];
      for (let trouble = 1; trouble <= 2; trouble++) {
        await world.listens(...busy);
        // They are due a look later: many wait already.
        await world.listens(...others);
        world.probes = [];
        world.prober.probeSoon();
        await world.looksUntilAsked(10);
        assert.strictEqual(world.probes.length, 50);
        await world.looks(1);
        const asked = () => world.probes.map(({ channel }) => channel);
        assert.deepStrictEqual(asked().slice(50, 53), others);
        await world.looks(3);
        assert.deepStrictEqual(new Set(asked()), new Set([...busy, ...others]));
        // Until it is over.
        await world.looks(15_000 / LOOK);
      }
    }),
  );

  it(
    "when a channel is not heard, the others of its slot are asked next",
    timeless(async (world) => {
      const lost = ["a{2}#/#room-1#", "a{2}#/#room-2#", "a{2}#/#room-3#"];
      // Of one slot, and of as many.
      const alike = Array.from({ length: 2000 }, (_, n) => `a{1}#/#room-${n}#`);
      const scattered = Array.from({ length: 2000 }, (_, n) => `a#/#room-${n}#`);
      await world.listens(...alike, ...lost, ...scattered);
      world.echoes = (channel) => !lost.includes(channel);
      world.prober.probeSoon();
      await world.looksUntilAsked(10);
      const askedAt = () => world.probes.filter(({ channel }) => lost.includes(channel)).map(({ at }) => at);
      const [first] = askedAt();
      await world.looks(PATIENCE.first + 1);
      assert.deepStrictEqual(world.deaf, lost.slice(0, 1));
      const verdictAt = first + (PATIENCE.first + 1) * LOOK;
      assert.deepStrictEqual(askedAt(), [first, verdictAt, verdictAt]);
    }),
  );

  describe("of a connection", () => {
    const [ONE, OTHER] = ["one", "other"].map((name) =>
      Array.from({ length: 1000 }, (_, n) => `${name}#/#room-${n}#`),
    );

    /** Subscribes to channels at two nodes, and has none at the first one be heard after trouble. @param {World} world */
    async function lose(world) {
      world.place = (channel) => channel.slice(0, channel.indexOf("#"));
      await world.listens(...ONE, ...OTHER);
      world.echoes = (channel) => !ONE.includes(channel);
      world.prober.probeSoon();
      await world.looksUntilAsked(10);
    }

    it(
      "that is deaf all channels are given up at once",
      timeless(async (world) => {
        await lose(world);
        await world.looks(PATIENCE.first);
        assert.deepStrictEqual(world.deaf, []);
        await world.looks(1);
        assert.deepStrictEqual([...world.deaf].sort(), [...ONE].sort());
        // Those that were not asked yet may have missed something, too.
        assert.ok(world.silences.every((silence) => silence > PATIENCE.first * LOOK));
        await world.looks(100);
        assert.strictEqual(world.deaf.length, ONE.length);
      }),
    );

    it(
      "is not given up for a slot that moves",
      timeless(async (world) => {
        world.place = () => "node";
        const moving = Array.from({ length: 20 }, (_, n) => `a{1}#/#room-${n}#`);
        await world.listens(...moving);
        await world.looks(8);
        // They are not asked yet when nobody is found to listen to the slot.
        await world.listens(...OTHER);
        world.answer = async (channel) => (moving.includes(channel) ? 0 : 1);
        world.prober.probeSoon();
        await world.looksUntilAsked(1);
        await world.looks(2);
        assert.deepStrictEqual([...world.deaf].sort(), [...moving].sort());
        await world.looks(200);
        assert.strictEqual(world.deaf.length, moving.length);
      }),
    );

    it(
      "is not given up for a few of its channels",
      timeless(async (world) => {
        world.place = () => "node";
        const [few, others] = [ONE.slice(0, 9), OTHER.slice(0, 9)];
        await world.listens(...few);
        await world.looks(30);
        await world.listens(...others);
        world.echoes = (channel) => others.includes(channel);
        await world.looksUntilAsked(100);
        await world.looks(PATIENCE.first + 1);
        assert.deepStrictEqual([...world.deaf].sort(), few);
        await world.looks(100);
        assert.strictEqual(world.deaf.length, few.length);
      }),
    );

    it(
      "by which something is heard only those are given up that are not",
      timeless(async (world) => {
        await lose(world);
        await world.looks(PATIENCE.first);
        world.hears(ONE[ONE.length - 1]);
        for (let looks = 0; looks < 4; looks++) {
          const before = world.deaf.length;
          await world.looks(1);
          world.hears(ONE[ONE.length - 1]);
          const found = world.deaf.slice(before);
          assert.ok(found.every((channel) => world.probes.some((probe) => probe.channel === channel)));
        }
      }),
    );
  });
});
