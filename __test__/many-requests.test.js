// @ts-check
"use strict";

/** As many requests wait as may: one more says so, rather than that the adapter was closed. */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { freePort } = require("./support/ports");

/** As `MAX_PENDING` in src/core/requests/mod.rs. */
const MOST = 65_536;

describe("too many requests", function () {
  this.timeout(60_000);

  for (const [family, make] of /** @type {[string, any][]} */ ([
    ["classic", createAdapter],
    ["sharded", createShardedAdapter],
  ])) {
    it(`${family}: one more fails at once, and says why`, async () => {
      const options = { requestsTimeout: 600_000, onError: () => {} };
      const io = new Server({ adapter: make(`redis://127.0.0.1:${await freePort()}`, options) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      const reasons = Array.from({ length: MOST }, () => io.fetchSockets().then(String, reasonOf));
      assert.strictEqual(
        await io.fetchSockets().then(String, reasonOf),
        "too many requests wait for answers",
      );
      assert.strictEqual(adapter.stats().pendingRequests, MOST);
      assert.strictEqual(
        await io.serverSideEmitWithAck("question").then(String, reasonOf),
        "too many requests wait for answers",
      );
      adapter.close();
      assert.deepStrictEqual(new Set(await Promise.all(reasons)), new Set(["the adapter was closed"]));
    });
  }
});

/** @param {Error} error */
function reasonOf({ message }) {
  return message;
}
