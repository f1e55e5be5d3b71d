// @ts-check
"use strict";

/** A fault in the native part of a link is no end of the server: it is told, counted and mended. */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { PROFILE_STAMP } = require("../scripts/addon");
const { countSubscribers } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

describe("a link that fails", function () {
  this.timeout(30_000);

  // Only a debug build can be made to panic; of another one the news of it are made up.
  const real = fs.existsSync(PROFILE_STAMP) && fs.readFileSync(PROFILE_STAMP, "utf8").trim() === "debug";

  for (const family of /** @type {const} */ (["classic", "sharded", "streams"])) {
    it(`is made anew, and says what is lost: ${family}`, async () => {
      const redis = await startRedis();
      const script = path.join(__dirname, "support", "child-fault.js");
      const given = JSON.stringify({ port: redis.port, family, real });
      const env = { ...process.env, RUST_BACKTRACE: "0" };
      const child = spawn(process.execPath, [script, given], { env });
      let output = "";
      let errors = "";
      child.stdout.on("data", (text) => (output += text));
      child.stderr.on("data", (text) => (errors += text));
      try {
        await waitFor(() => output.split("\n").length === 3, {
          what: "the child to be through",
          timeout: 15_000,
        }).catch((error) => {
          error.message += `: ${output} ${errors}`;
          throw error;
        });
        const [results, links] = output
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line));
        const { dropped, ...rest } = results;
        const reason = "the link to Redis has failed: a test wants it to";
        assert.deepStrictEqual(rest, {
          degraded: reason,
          unanswered: "the link to Redis has failed",
          there: 1,
          back: 2,
          servers: 2,
          reason,
          published: true,
        });
        assert.strictEqual(links, 3, "one of each server, and a new one");
        if (real) assert.strictEqual(dropped, 3, errors);
        if (real) assert.match(errors, /panicked at .*\n.*a test wants it to/);
        if (family === "sharded") {
          const [count] = await countSubscribers(redis, ["socket.io#/#room#"], { sharded: true });
          assert.strictEqual(count, 1, "the room");
        }
      } finally {
        child.stdin.end("\n");
        child.kill();
        await redis.stop();
      }
    });
  }
});
