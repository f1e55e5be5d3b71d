// @ts-check
"use strict";

/**
 * What is said when something is wrong: each is provoked, and has a row in docs/troubleshooting.md with the very words.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { Server } = require("socket.io");
const streams = require("../streams");
const { createAdapter, createShardedAdapter } = require("..");
const { CASES, makeBench, isHello, loseSlot, placesOf, urlWithoutCounts } = require("./fixtures/troubles");
const { sideBySide } = require("./fixtures/suite");
const { blockUntilCut, impatient } = require("./support/unread");
const { waitFor } = require("./support/wait");

const PAGE = fs
  .readFileSync(path.join(__dirname, "../docs/troubleshooting.md"), "utf8")
  .replace(/(?<=``) | (?=``)/g, "")
  .replaceAll("\\|", "¦")
  .replaceAll("|``", "| ``");

describe("what is said when something is wrong", function () {
  // The first of them wait for one that takes 40 s.
  this.timeout(80_000);

  /** For what is no case. @type {import("./fixtures/troubles").Bench} */
  let bench;
  beforeEach(() => void (bench = makeBench()));
  afterEach(() => bench.end());

  /** @param {string} text */
  function isOnPage(text) {
    const said = text
      .replace(/127\.0\.0\.1:\d+/g, "HOST:PORT")
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "…")
      .replaceAll("|", "¦")
      .trim();
    assert.ok(!said.includes("secret"), said);
    // With a code span of two backticks where the text has one.
    const asCode = said.includes("`") ? `| \`\`${said}\`\`` : `| \`${said}\``;
    assert.ok(PAGE.includes(asCode), `docs/troubleshooting.md has no row for: ${said}`);
  }

  sideBySide(
    CASES.map(({ name, ...rest }) => ({
      name: `${name}: says where, why and what to do, as the page does`,
      ...rest,
    })),
    async ({ event = "degraded", says = "", make, then, patience = 10_000 }) => {
      const bench = makeBench();
      try {
        const io = new Server({ adapter: await make(bench) });
        const adapter = /** @type {any} */ (io.of("/").adapter);
        bench.cleanUp(() => adapter.close());
        /** @type {string[]} */
        const messages = [];
        adapter.on(event, (/** @type {Error} */ { message }) => messages.push(message));
        await then?.(io, bench);
        const isIt = (/** @type {string} */ message) => message.includes(says) && !(says && isHello(message));
        await waitFor(() => messages.some(isIt), { what: "the error", timeout: patience });
        isOnPage(/** @type {string} */ (messages.find(isIt)));
      } finally {
        await bench.end();
      }
    },
    { atOnce: 4 },
  );

  it("a server that does not read in time: the gap begins when it stopped reading", async () => {
    const redis = await impatient(await bench.redis());
    const io = new Server({ adapter: createAdapter(redis.url, { maxInboxBytes: 65_536 }) });
    const adapter = /** @type {any} */ (io.of("/").adapter);
    bench.cleanUp(() => adapter.close());
    await adapter.ready;
    /** @type {Record<string, any>} */
    const told = {};
    for (const event of ["degraded", "gap"])
      adapter.once(event, (/** @type {any} */ what) => void (told[event] = what));
    const blockedAt = performance.now();
    blockUntilCut(redis);
    const cutAt = performance.now();
    await waitFor(() => told.degraded && told.gap, { what: "what is told" });
    isOnPage(told.degraded.message.replace(/\d+\.\d s/, "… s"));
    const { milliseconds } = told.gap;
    const since = performance.now() - milliseconds;
    // Nothing that was published behind the cut has come, nor what waited for being read before it.
    assert.ok(since < cutAt, `the gap begins ${since - cutAt} ms late`);
    assert.ok(since >= blockedAt, `the gap begins ${blockedAt - since} ms early`);
  });

  for (const where of /** @type {const} */ (["everywhere", "at its owner"])) {
    it(`a cluster that loses a slot ${where}: who asks the others is told so`, async () => {
      const adapter = createShardedAdapter(
        /** @type {any} */ ({ cluster: placesOf((await bench.cluster()).nodes) }),
      );
      const io = new Server({ adapter });
      bench.cleanUp(() => /** @type {any} */ (io.of("/").adapter).close());
      await loseSlot(io, bench, "socket.io#/#", where);
      let said = "";
      const ask = () =>
        io
          .timeout(50)
          .fetchSockets()
          .then(
            () => {},
            ({ message }) => void (said = message),
          );
      await waitFor(async () => (await ask(), said.includes("owns slot")), {
        what: "the reason",
        timeout: 10_000,
      });
      isOnPage(said);
    });
  }

  for (const [family, make, says] of /** @type {const} */ ([
    ["classic", createAdapter, "timeout reached while waiting for allRooms response"],
    ["sharded", createShardedAdapter, "timeout reached: only 0 responses received out of 0"],
    ["streams", streams.createAdapter, "timeout reached: only 0 responses received out of 0"],
  ])) {
    it(`nobody may be counted: who asks is told so: ${family}`, async () => {
      const io = new Server({ adapter: make(await urlWithoutCounts(bench.redis)) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      bench.cleanUp(() => adapter.close());
      /** @type {string[]} */
      const errors = [];
      adapter.on("error", (/** @type {Error} */ { message }) => errors.push(message));
      await adapter.ready;
      const refusal =
        "NOPERM this user has no permissions to run the 'pubsub|" +
        (family === "sharded" ? "shard" : "") +
        "numsub' command";
      await assert.rejects(adapter.serverCount(), { message: refusal });
      adapter.requestsTimeout = 50;
      await assert.rejects(adapter.allRooms(), {
        message: `${says}: the servers cannot be counted: ${refusal}`,
      });
      if (family === "sharded") isOnPage(`${says}: the servers cannot be counted: ${refusal}`);
      // Socket.IO counts the servers for an acknowledged broadcast, and handles no rejection.
      const rejections = /** @type {any[]} */ ([]);
      const onRejection = (/** @type {any} */ reason) => rejections.push(reason);
      process.on("unhandledRejection", onRejection);
      bench.cleanUp(() => process.off("unhandledRejection", onRejection));
      await io
        .timeout(50)
        .emitWithAck("event")
        .catch(() => {});
      assert.deepStrictEqual(rejections, []);
      assert.ok(errors.includes(`count: ${refusal}`), errors.join("\n"));
    });
  }

  it("is on a page whose rows have a cause and a way out", () => {
    const rows = PAGE.split("\n").filter((line) => line.startsWith("| `"));
    assert.ok(rows.length >= CASES.length, `${rows.length} rows, ${CASES.length} cases`);
    for (const row of rows) {
      const [, ...cells] = row.split("|").map((cell) => cell.trim());
      assert.strictEqual(cells.filter((cell) => cell !== "").length, 3, row);
    }
  });
});
