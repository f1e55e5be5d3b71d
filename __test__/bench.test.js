// @ts-check
"use strict";

/** The bench runs from end to end and writes what it measured. How fast anything is, no test can tell. */

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");

const run = promisify(execFile);
const SCRIPT = path.join(__dirname, "..", "scripts", "bench.js");

describe("bench", function () {
  this.timeout(60_000);

  /** @type {string} */
  let dir;
  beforeEach(() => (dir = fs.mkdtempSync(path.join(os.tmpdir(), "bench-test-"))));
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  it("measures ours beside the reference and writes well-formed JSON", async () => {
    const file = path.join(dir, "bench.json");
    const args = ["--no-setup", "--quick", "--rounds", "1", "--messages", "100", "--json", file];
    const { stdout } = await run(process.execPath, [
      SCRIPT,
      ...args,
      "--subjects",
      "ours+redis,reference+redis",
    ]);

    const results = JSON.parse(fs.readFileSync(file, "utf8"));
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
    for (const row of results.rows) {
      const name = `${row.section}: ${row.name}, ${row.payload}`;
      assert.deepEqual(Object.keys(row.subjects), ["ours+redis", "reference+redis"], name);
      for (const outcome of Object.values(row.subjects)) assertMeasured(row, outcome, name);
      assert.ok(stdout.includes(row.name), `${name} is in the table`);
    }
    assert.match(stdout, /publish, 16 per tick: small .*medium .*large/);
    assert.match(stdout, /receive, no local socket: small .*medium .*large/);
  });

  it("refuses what it does not know", async () => {
    await assert.rejects(
      run(process.execPath, [SCRIPT, "--no-setup", "--only", "publsh"]),
      (/** @type {any} */ err) => {
        assert.equal(err.code, 1);
        assert.match(err.stderr, /--only knows publish, receive, latency, not "publsh"/);
        return true;
      },
    );
  });
});

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
