// @ts-check
"use strict";

/**
 * What listeners and callbacks of the user's throw when they are called for another server: it is told, and ends neither
 * the process nor what comes behind.
 */

const assert = require("node:assert");
const { expectExceptions, expectRejections } = require("./support/hooks");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { once, waitFor } = require("./support/wait");

describe("what a listener or a callback throws", function () {
  this.timeout(30_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const fail = () => {
    throw new Error("by the user");
  };

  for (const adapter of /** @type {const} */ (["classic", "sharded", "streams"])) {
    for (const transport of /** @type {const} */ (["native", "client"])) {
      describe(`${adapter}, transport ${transport}`, () => {
        /** @type {import("./support/ring").Ring} */
        let ring;
        /** @type {any} */
        let here;
        /** @type {any} */
        let there;
        /** @type {Error[]} */
        let errors;
        const listener = (/** @type {Error} */ error) => void errors.push(error);

        before(async () => {
          const opts = { requestsTimeout: 300 };
          ring = await startRing({ redis, adapter, transport, opts, nodes: ["ours", "ours"], sockets: 1 });
          [here, there] = ring.nodes;
          for (const node of ring.nodes) node.adapter().on("error", listener);
        });
        beforeEach(() => {
          errors = [];
        });
        after(() => ring.close());

        /** @param {() => void} act */
        async function tells(act) {
          const thrown = [expectRejections(), expectExceptions()];
          act();
          await waitFor(() => errors.length > 0, { what: "the error" });
          const heard = once(here.io, "fine");
          there.io.serverSideEmit("fine", 1);
          assert.deepStrictEqual(await heard, [1]);
          assert.deepStrictEqual(errors.map(String), ["Error: by the user"]);
          assert.deepStrictEqual(thrown.flat(), []);
        }

        it("a listener for serverSideEmit()", () =>
          tells(() => {
            here.io.once("bad", fail);
            there.io.serverSideEmit("bad");
          }));

        it("its callback, with answers", () =>
          tells(() => {
            here.io.once("ask", (/** @type {any} */ answer) => answer("yes"));
            there.io.serverSideEmit("ask", fail);
          }));

        it("its callback, without", () =>
          tells(() => {
            here.io.once("silent", () => {});
            there.io.serverSideEmit("silent", fail);
          }));

        it("an outgoing listener", () =>
          tells(() => {
            const { socket } = here.peers[0];
            socket.onAnyOutgoing(() => {
              socket.offAnyOutgoing();
              fail();
            });
            there.io.emit("news");
          }));

        it("is printed if nobody listens to errors", async () => {
          const { error } = console;
          /** @type {string[]} */
          const printed = [];
          console.error = (...args) => void printed.push(args.join(" "));
          here.adapter().removeListener("error", listener);
          try {
            here.io.once("bad", fail);
            there.io.serverSideEmit("bad");
            await waitFor(() => printed.length > 0, { what: "what is printed" });
          } finally {
            console.error = error;
            here.adapter().on("error", listener);
          }
          const text = "socket.io-redis: a listener or a callback has thrown: Error: by the user";
          assert.deepStrictEqual(printed, [text]);
        });

        it("what the listener to errors throws is an uncaught exception, and keeps nothing from others", async () => {
          const rejections = expectRejections();
          const exceptions = expectExceptions();
          const second = new Error("by the listener to errors");
          here.adapter().prependListener("error", () => {
            throw second;
          });
          /** @type {string[]} */
          const followed = [];
          here
            .adapter()
            ._follow({ onError: (/** @type {Error} */ { message }) => followed.push(message) > 0 });
          try {
            here.io.once("bad", fail);
            there.io.serverSideEmit("bad");
            await waitFor(() => exceptions.length > 0 || rejections.length > 0, { what: "what is thrown" });
            const heard = once(here.io, "fine");
            there.io.serverSideEmit("fine", 1);
            assert.deepStrictEqual(await heard, [1]);
            assert.deepStrictEqual([rejections, exceptions], [[], [second]]);
            assert.deepStrictEqual(followed, ["by the user"]);
          } finally {
            here.adapter().removeAllListeners("error");
            here.adapter().on("error", listener);
          }
        });
      });
    }
  }
});
