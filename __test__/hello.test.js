// @ts-check
"use strict";

/**
 * What a server says when it has joined: the others of this package wait for it at the end of an outage from then on,
 * and those of the reference do nothing about it.
 */

const assert = require("node:assert");
const { decode } = require("../lib/msgpack");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

const NSP = "/late";

/** @type {Record<"classic" | "sharded" | "streams", (uid: string) => any>} */
const HELLO = {
  classic: (uid) => ({ uid, type: 100 }),
  sharded: (uid) => ({ type: 2, uid, nsp: NSP }),
  streams: (uid) => ({ type: 2, uid, nsp: NSP }),
};

describe("the hello of a server that has joined", () => {
  /** @type {any} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const family of /** @type {const} */ (["classic", "sharded", "streams"])) {
    for (const transport of ["native", "client"]) {
      it(`is said once, and passed over by the reference: ${family}, ${transport}`, async () => {
        const ring = await startRing({
          redis,
          adapter: family,
          transport,
          nodes: ["ours", "reference", "reference"],
          sockets: 0,
          key: `hello-${family}-${transport}`,
        });
        /** @type {any} */
        let messages;
        try {
          const [ours, ...references] = ring.nodes;
          for (const { io } of references) io.of(NSP);
          await ring.subscribed(NSP, 2);
          messages = await ring.capture();
          const nsp = ours.io.of(NSP);
          await nsp.adapter.ready;
          // They answer this behind what they have made of the hello.
          assert.deepStrictEqual(await nsp.fetchSockets(), []);
          const of = () => messages.filter((/** @type {any} */ { channel }) => channel.includes(`#${NSP}#`));
          await waitFor(() => of().length >= 4, { what: "the hello, the question and two answers" });
          const [hello] = of();
          assert.deepStrictEqual(read(hello.bytes), HELLO[family](nsp.adapter.uid));
          assert.strictEqual(
            of().length,
            4,
            of()
              .map(({ bytes }) => String(bytes))
              .join("\n"),
          );
          for (const { io } of references) assert.strictEqual((await io.of(NSP).fetchSockets()).length, 0);
        } finally {
          await messages?.stop();
          await ring.close();
        }
      });
    }
  }
});

/** @param {Buffer} bytes */
function read(bytes) {
  return bytes[0] === 0x7b ? JSON.parse(String(bytes)) : decode(bytes);
}
