// @ts-check
"use strict";

/**
 * Many clients that come back at once, as after the restart of a server or of a proxy: each receives what it has
 * missed, while other traffic goes on. How long it takes and how often the stream is read is said beside the
 * reference's.
 */

const assert = require("node:assert");
const { OURS, REFERENCE } = require("./fixtures/rings");
const { startRedis } = require("./support/redis");
const { Returning } = require("./support/returning");
const { startRing } = require("./support/ring");
const { callsOf } = require("./support/streams");
const { waitFor } = require("./support/wait");

/** @typedef {import("./support/ring").Ring} Ring */
/** @typedef {import("./support/ring-node").Kind} Kind */

const CLIENTS = 200;
const MISSED = 2000;
const SHARED_ROOMS = 40;

/** What each event carries, in characters. */
const SIZE = 400;

/** How long the reference may take, in milliseconds. */
const PATIENCE = 60_000;

/** By how much the resident set may grow, in MiB, with all that the clients receive. */
const GROWTH = 250;

/** @typedef {{ calls: number, ms: number, rss: number }} Cost */

describe(`${CLIENTS} clients that come back at once after ${MISSED} missed entries`, function () {
  this.timeout(90_000);

  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  /** @type {Ring | null} */
  let ring = null;
  /** @type {Returning[]} */
  let clients = [];
  afterEach(async () => {
    for (const client of clients) client.close();
    clients = [];
    await ring?.close();
    ring = null;
  });

  /** What the reference takes. @type {Cost | null} */
  let reference = null;

  it("to a node of the reference", async function () {
    reference = await measure([REFERENCE, REFERENCE], false);
    /** @type {any} */ (this.test).title += `: ${describeCost(reference)}`;
  });

  for (const isFresh of [false, true]) {
    const where = isFresh ? "a node that was started since" : "a node that was up all the time";
    it(`to ${where}: all of it, once and in order`, async function () {
      const cost = await measure([OURS, OURS], isFresh);
      /** @type {any} */ (this.test).title += `: ${describeCost(cost)}`;
      assert.ok(cost.rss < GROWTH, `${cost.rss} MiB`);
      if (reference) assert.ok(cost.calls < reference.calls / 2, `${cost.calls} XRANGE`);
    });
  }

  /** @param {Cost} cost */
  function describeCost({ calls, ms, rss }) {
    return `${calls} XRANGE, ${ms} ms, ${rss} MiB more`;
  }

  /**
   * Resolves with what it took.
   *
   * @param {Kind[]} nodes
   * @param {boolean} isFresh
   * @returns {Promise<Cost>}
   */
  async function measure(nodes, isFresh) {
    const serverOpts = { connectionStateRecovery: {} };
    ring = await startRing({ redis, adapter: "streams", nodes, sockets: 0, serverOpts });
    const [first, second] = ring.nodes;
    const isOurs = nodes[0] === OURS;
    /** @param {any[]} args name, number, text, offset */
    const keep = ([name, n, , offset]) => [name, n, offset];
    for (let i = 0; i < CLIENTS; i++) clients.push(new Returning(ring, first, "/", keep));
    await Promise.all(clients.map((client) => client.connected()));
    const ids = clients.map(({ id }) => id);
    for (const [i, client] of clients.entries()) client.socket.join(roomOf(i));
    const text = "x".repeat(SIZE);
    second.io.emit("greeting", -1, text);
    await waitFor(() => clients.every(({ log }) => log.length === 1), { what: "the greetings" });
    for (const client of clients) client.take();
    await Promise.all(clients.map((client) => client.leave()));

    /** What each is to receive. @type {number[][]} */
    const wanted = clients.map(() => []);
    for (let n = 0; n < MISSED; n++) {
      const i = n % CLIENTS;
      if (n % 4 === 0) {
        second.io.emit("n", n, text);
        for (const list of wanted) list.push(n);
      } else if (n % 4 === 1) {
        second.io.to(roomOf(i)).except(ids[i]).emit("n", n, text);
        for (const [j, list] of wanted.entries()) if (roomOf(j) === roomOf(i) && j !== i) list.push(n);
      } else {
        second.io.to(ids[i]).emit("n", n, text);
        wanted[i].push(n);
      }
    }
    await waitFor(async () => (await ring?.raw.xLen(ring.streamName)) >= MISSED, { what: "all entries" });
    const target = isFresh ? await ring.join(nodes[0]) : second;
    const steady = await new Returning(ring, target, "/", keep).connected();
    clients.push(steady);

    let sent = 0;
    const traffic = setInterval(() => first.io.emit("t", sent++, text), 5);
    const before = { calls: await callsOf(redis, "xrange"), rss: process.memoryUsage().rss };
    const begin = performance.now();
    let most = before.rss;
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 10);
    try {
      const returning = clients.slice(0, CLIENTS);
      const recovered = await Promise.all(returning.map((client) => client.come(target, PATIENCE)));
      assert.ok(recovered.every(Boolean), `${recovered.filter(Boolean).length} were recovered`);
      await waitFor(
        () =>
          returning.every(({ log }, i) => log.filter(([name]) => name === "n").length >= wanted[i].length),
        { timeout: PATIENCE, what: "what they have missed" },
      );
    } finally {
      clearInterval(watch);
      // Some more, for those who are back.
      await new Promise((resolve) => setTimeout(resolve, 50));
      clearInterval(traffic);
    }
    const cost = {
      calls: (await callsOf(redis, "xrange")) - before.calls,
      ms: Math.round(performance.now() - begin),
      rss: Math.round((most - before.rss) / 2 ** 20),
    };
    if (isOurs) {
      const isAll = () => clients.every(({ log }) => log.some(([name, n]) => name === "t" && n === sent - 1));
      await waitFor(isAll, { timeout: 10_000, what: "the last of the traffic" });
      for (const [i, client] of clients.entries()) {
        const got = client.take();
        const of = (/** @type {string} */ name) => got.filter((args) => args[0] === name).map(([, n]) => n);
        if (client !== steady) assert.deepStrictEqual(of("n"), wanted[i], `client ${i}`);
        assert.deepStrictEqual(
          of("t"),
          Array.from({ length: sent }, (_, n) => n),
          `traffic of client ${i}`,
        );
      }
    }
    return cost;
  }

  /** @param {number} client */
  function roomOf(client) {
    return `room ${client % SHARED_ROOMS}`;
  }
});
