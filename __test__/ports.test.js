// @ts-check
"use strict";

/** The ports of the tests' servers: what still looks for a server that is gone finds no other one in its place. */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { freePort, take } = require("./support/ports");

/** Takes a port, says whether it could, and lives until its input ends. */
const OTHER = `
  const { take } = require(${JSON.stringify(require.resolve("./support/ports"))});
  console.log(take(Number(process.argv[1])));
  process.stdin.resume();
`;

/** @param {number} port */
async function takenByOther(port) {
  const child = spawn(process.execPath, ["-e", OTHER, String(port)], { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = await once(child.stdout, "data");
  return {
    took: String(said).trim() === "true",
    /** @param {NodeJS.Signals} [signal] */
    async end(signal) {
      if (signal) child.kill(signal);
      else child.stdin.end();
      await once(child, "exit");
    },
  };
}

describe("a port for a test", () => {
  it("is given once, to whatever process", async () => {
    const port = await freePort();
    assert.strictEqual(take(port), false);
    const other = await takenByOther(port);
    assert.strictEqual(other.took, false);
    await other.end();
  });

  for (const [title, signal] of /** @type {[string, NodeJS.Signals | undefined][]} */ ([
    ["has ended", undefined],
    ["was killed", "SIGKILL"],
  ])) {
    it(`can be given again when the process ${title} that had it`, async () => {
      // Out of the range of the others, and nobody listens to it.
      const port = process.pid + (signal ? 10_000_000 : 20_000_000);
      const other = await takenByOther(port);
      assert.deepStrictEqual([other.took, take(port)], [true, false]);
      await other.end(signal);
      assert.strictEqual(take(port), true);
    });
  }
});
