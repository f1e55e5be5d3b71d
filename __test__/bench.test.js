// @ts-check
"use strict";

/** The bench runs from end to end and writes what it measured. How fast anything is, no test can tell. */

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");
const { sideBySide } = require("./fixtures/suite");

const run = promisify(execFile);
const SCRIPT = path.join(__dirname, "..", "scripts", "bench.js");

describe("bench", function () {
  this.timeout(120_000);

  /** @type {string} */
  let dir;
  before(() => (dir = fs.mkdtempSync(path.join(os.tmpdir(), "bench-test-"))));
  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  let files = 0;
  const newFile = () => path.join(dir, `bench-${++files}.json`);

  /** @type {{ name: string, run: () => Promise<void> }[]} */
  const measurements = [];
  const measures = (/** @type {string} */ name, /** @type {() => Promise<void>} */ run) =>
    void measurements.push({ name: `measures ${name}`, run });

  /**
   * One round of few messages, ours beside the reference; all rows are measured and in the table.
   *
   * @param {string[]} args
   */
  async function measure(...args) {
    const file = newFile();
    const given = ["--no-setup", "--rounds", "1", "--subjects", "ours+redis,reference+redis", "--json", file];
    const { stdout } = await run(process.execPath, [SCRIPT, ...given, ...args]);
    const results = JSON.parse(fs.readFileSync(file, "utf8"));
    for (const row of results.rows) {
      const name = `${row.section}: ${row.name}, ${row.payload}`;
      assert.deepEqual(Object.keys(row.subjects), ["ours+redis", "reference+redis"], name);
      for (const outcome of Object.values(row.subjects)) assertMeasured(row, outcome, name);
      assert.ok(stdout.includes(row.name), `${name} is in the table`);
    }
    return { results, stdout };
  }

  measures("ours beside the reference and writes well-formed JSON", async () => {
    const { results, stdout } = await measure("--quick", "--messages", "100");
    assert.ok(!Number.isNaN(Date.parse(results.date)));
    assert.equal(results.rounds, 1);
    assert.ok(results.machine.cpus > 0);
    for (const name of [
      "node",
      "redisServer",
      "socket.io-redis-native",
      "@socket.io/redis-adapter",
      "redis",
      "ioredis",
    ]) {
      assert.match(results.versions[name], /\d+\.\d+/, name);
    }

    assert.deepEqual(
      [...new Set(results.rows.map((/** @type {any} */ row) => row.section))],
      ["publish", "receive", "latency"],
    );
    const rowsOf = (/** @type {string} */ family) =>
      results.rows
        .filter((/** @type {any} */ row) => isOf(row, family))
        .map((/** @type {any} */ { name, payload, mode }) => [name, payload, mode]);
    assert.deepEqual(rowsOf("sharded"), [
      ["sharded: 16 per tick, to all", "small", "static"],
      ["sharded: 16 per tick, to a room", "small", "dynamic"],
      ["sharded: full speed, no socket", "small", "static"],
      ["sharded: full speed, 10 sockets", "small", "static"],
    ]);
    assert.deepEqual(rowsOf("streams"), [
      ["streams: 16 per tick, to all", "small", "streams"],
      ["streams: 16 per tick, to a room", "small", "streams"],
      ["streams: full speed, no socket", "small", "streams"],
      ["streams: full speed, 10 sockets", "small", "streams"],
    ]);
    assert.match(stdout, /^ {2}publish, 16 per tick: small .*medium .*large/m);
    assert.match(stdout, /^ {2}receive, no local socket: small .*medium .*large/m);
  });

  for (const [family, name] of [
    ["sharded", "ours+redis sharded static"],
    ["streams", "ours+redis streams"],
  ])
    measures(`the ${family} adapter`, async () => {
      const { results, stdout } = await measure("--only", family, "--messages", "50");

      assert.ok(results.rows.every((/** @type {any} */ row) => isOf(row, family)));
      for (const section of ["publish", "receive"]) {
        const rows = results.rows.filter((/** @type {any} */ row) => row.section === section);
        const payloads = new Set(rows.map((/** @type {any} */ { payload }) => payload));
        assert.deepEqual([...payloads], ["small", "medium", "large", "binary"], section);
      }
      assert.ok(results.rows.some((/** @type {any} */ { section }) => section === "latency"));
      assert.equal(results.transports[name].carrier, "native");
      assert.match(stdout, new RegExp(`${family} publish, 16 per tick: small .*medium .*large`));
      assert.match(stdout, new RegExp(`${family} receive, no local socket: small .*medium .*large`));
    });

  measures("what grows with what stands still", async () => {
    const file = newFile();
    const few = ["--rounds", "1", "--messages", "20", "--sizes", "2,8"];
    const given = ["--no-setup", "--only", "scale", "--json", file, ...few];
    const { stdout } = await run(process.execPath, [SCRIPT, ...given]);
    const { scale } = JSON.parse(fs.readFileSync(file, "utf8"));
    const standing = new Set(scale.rows.map((/** @type {any} */ { what }) => what));
    assert.deepEqual([...standing], ["rooms", "namespaces", "requests", "sockets", "sessions"]);
    for (const { what, family, act, sizes, exponent } of scale.rows) {
      const name = `${what}, ${family}: ${act}`;
      assert.deepEqual(
        sizes.map((/** @type {any} */ { size }) => size),
        [2, 8],
        name,
      );
      for (const { processNs, longestStepMs } of sizes) {
        assert.ok(processNs > 0, name);
        assert.ok(longestStepMs > 0, name);
      }
      assert.ok(Number.isFinite(exponent), name);
      assert.ok(stdout.includes(`${what}, ${family}: `), name);
    }
  });

  for (const family of ["classic", "sharded", "streams"])
    measures(`what it costs to ask all servers for their sockets, ${family}`, async () => {
      const file = newFile();
      const few = ["--rounds", "1", "--messages", "2", "--sizes", "3,2"];
      const given = ["--no-setup", "--only", "fetch", "--families", family, "--json", file, ...few];
      const { stdout } = await run(process.execPath, [SCRIPT, ...given]);
      assert.match(stdout, /^Asks 5 servers \(a process each, with 2, 3 sockets each\)/);
      const { fetch } = JSON.parse(fs.readFileSync(file, "utf8"));
      const asked = fetch.rows.map((/** @type {any} */ { family, act, size }) => `${family} ${act} ${size}`);
      const acts = ["fetchSockets", "allRooms", "allSockets", "join", "leave", "nothing"];
      assert.deepEqual(
        asked,
        [2, 3].flatMap((size) => acts.map((act) => `${family} ${act} ${size}`)),
      );
      for (const { act, size, subjects, ratios } of fetch.rows) {
        const inReference = act === "allRooms" ? family === "classic" : act !== "allSockets";
        const name = `${act}, ${size} sockets`;
        assert.deepEqual(
          Object.keys(subjects),
          inReference ? ["ours+redis", "reference+redis"] : ["ours+redis"],
          name,
        );
        for (const { failed, rounds, median } of Object.values(subjects)) {
          assert.equal(failed, undefined, name);
          assert.equal(rounds.length, 1, name);
          for (const used of [median.asker, median.answerer]) {
            assert.ok(used.threadMs === null || used.threadMs > 0, name);
            assert.ok(used.processMs > 0 && used.longestWallMs > 0, name);
          }
          const isAnswered = ["fetchSockets", "allRooms", "allSockets"].includes(act);
          assert.equal(median.answerMs > 0, isAnswered, name);
        }
        assert.equal(ratios.askerProcessMs > 0, inReference, name);
      }
      assert.match(stdout, new RegExp(`^${family}: io\\.fetchSockets\\(\\)$`, "m"));
      assert.match(stdout, /^ +2: ours +reference +x +3: ours +reference +x$/m);
      assert.match(stdout, /^ {2}answerer: longest turn, wall( +[\d.]+){6}$/m);
    });

  // Most of the time they wait for a process that starts.
  sideBySide(measurements, ({ run }) => run(), { atOnce: 2 });

  it("measures what it costs to deliver to real clients", async function () {
    // The clients are built first.
    this.timeout(300_000);
    const file = path.join(dir, "bench.json");
    const few = ["--rounds", "1", "--messages", "16", "--sizes", "1,3"];
    const given = ["--no-setup", "--only", "delivery", "--json", file, ...few];
    const { stdout } = await run(process.execPath, [SCRIPT, ...given]);
    const { delivery } = JSON.parse(fs.readFileSync(file, "utf8"));
    const payloads = ["small text (100 B)", "large text (16 KB)", "binary (100 B)"];
    assert.deepEqual(
      delivery.rows.map((/** @type {any} */ row) => [row.sockets, row.payload, row.perTick]),
      [1, 3].flatMap((sockets) => [
        ...payloads.flatMap((payload) => [1, 16].map((n) => [sockets, payload, n])),
        [sockets, "compressed JSON (4 KB)", 1],
      ]),
    );
    for (const { subjects, payload } of delivery.rows) {
      assert.deepEqual(Object.keys(subjects), [
        "ours+redis",
        "ours+redis, fanOut",
        "reference+redis",
        "memory",
      ]);
      for (const { failed, median } of Object.values(subjects)) {
        assert.equal(failed, undefined, payload);
        assert.ok(median.processUs > 0 && median.longestWallMs > 0 && median.lastMs > 0, payload);
        assert.ok(median.threadUs === null || median.threadUs > 0, payload);
      }
    }
    assert.match(stdout, /^ {2}classic +binary \(100 B\) +16 +3( +[\d.]+){8}$/m);
  });

  it("refuses what it does not know", async () => {
    await assert.rejects(
      run(process.execPath, [SCRIPT, "--no-setup", "--only", "publsh"]),
      (/** @type {any} */ err) => {
        assert.equal(err.code, 1);
        assert.match(
          err.stderr,
          /--only knows publish, receive, latency, sharded, streams, emitter, scale, fetch, delivery, not "publsh"/,
        );
        return true;
      },
    );
  });
});

/** @param {any} row @param {string} family */
function isOf({ name, mode }, family) {
  return name.startsWith(`${family}: `) && mode !== null;
}

/**
 * @param {any} row
 * @param {any} outcome
 * @param {string} name
 */
function assertMeasured(row, outcome, name) {
  assert.equal(outcome.failed, undefined, name);
  if (row.section === "latency") {
    assert.equal(outcome.latenciesNs.length, 1, name);
    assert.equal(outcome.latenciesNs[0].length, row.messages, name);
    assert.ok(Number.isFinite(outcome.latency.p50Ns) && Number.isFinite(outcome.latency.p99Ns), name);
    return;
  }
  assert.equal(outcome.rounds.length, 1, name);
  const [round] = outcome.rounds;
  assert.ok(round.threadNs === null || Number.isFinite(round.threadNs), name);
  assert.ok(Number.isFinite(round.processNs) && Number.isFinite(round.elapsedMs), name);
  assert.deepEqual(outcome.median, { threadNs: round.threadNs, processNs: round.processNs }, name);
}
