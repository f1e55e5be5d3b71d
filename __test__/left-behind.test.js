// @ts-check
"use strict";

/**
 * Servers that a program has left behind without closing them go on, whether somebody refers to them or not; what is
 * closed leaves no connection.
 */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const ours = require("..");
const streams = require("../streams");
const { KINDS, endClient, isConnected, makeClient } = require("./fixtures/nodes");
const { leavesNoRejection } = require("./fixtures/suite");
const { collectGarbage } = require("./support/garbage");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

/** @type {Record<string, (pub: any, sub: any) => any>} */
const ADAPTERS = {
  classic: (pub, sub) => ours.createAdapter(pub, sub),
  sharded: (pub, sub) => ours.createShardedAdapter(pub, sub),
  streams: (pub) => streams.createAdapter(pub),
};

/** How often a program is loaded anew. */
const TIMES = 20;

describe("a server that is left behind", function () {
  this.timeout(60_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {any[]} */
  let clients;

  before(async () => {
    redis = await startRedis();
    clients = KINDS.flatMap((kind) => [1, 2].map(() => makeClient(kind, { port: redis.port })));
    await waitFor(() => clients.every(isConnected), { what: "the clients", timeout: 30_000 });
  });

  after(async () => {
    await Promise.all(clients.map(endClient));
    await redis.stop();
  });

  async function connections() {
    return Number((await redis.info("clients")).connected_clients);
  }

  for (const [family, adapterOf] of Object.entries(ADAPTERS)) {
    it(`goes on though nobody refers to it: ${family}`, async () => {
      const [pub, sub] = clients;
      const asker = new Server({ adapter: adapterOf(clients[2], clients[3]) });
      /** @type {string[]} */
      const heard = [];
      const before = await connections();
      (() => {
        const listener = new Server({ adapter: adapterOf(pub, sub) });
        listener.on("tell", (text) => heard.push(text));
        const answerer = new Server({ adapter: adapterOf(pub, sub) });
        answerer.of("/ask").on("ask", (answer) => answer("it is here"));
        void asker.of("/ask");
      })();
      const adapter = /** @type {any} */ (asker.of("/").adapter);
      await waitFor(async () => (await adapter.serverCount()) === 3, {
        what: "three servers",
        timeout: 30_000,
      });
      const ask = /** @type {any} */ (asker.of("/ask").adapter);
      await waitFor(async () => (await ask.serverCount()) === 2, {
        what: "two with the namespace",
        timeout: 30_000,
      });
      for (let turn = 0; turn < 10; turn++) {
        await new Promise(setImmediate);
        collectGarbage();
      }
      asker.serverSideEmit("tell", "something");
      const answers = await /** @type {any} */ (asker.of("/ask")).serverSideEmitWithAck("ask");
      assert.deepStrictEqual(answers, ["it is here"]);
      await waitFor(() => heard.length > 0, { what: "the listener to be called", timeout: 30_000 });
      assert.deepStrictEqual(heard, ["something"]);
      assert.strictEqual(await adapter.serverCount(), 3);
      assert.ok((await connections()) > before);
    });

    for (const [index, kind] of KINDS.entries()) {
      it(`leaves no connection once it is closed, ${TIMES} times: ${family}, ${kind}`, async () => {
        const [pub, sub] = clients.slice(2 * index);
        const before = await connections();
        for (let n = 0; n < TIMES; n++) {
          const io = new Server(http.createServer(), { adapter: adapterOf(pub, sub) });
          await /** @type {any} */ (io.of("/").adapter).ready;
          assert.ok((await connections()) > before);
          await io.close();
        }
        await waitFor(async () => (await connections()) <= before, {
          what: "the connections to end",
          timeout: 30_000,
        });
      });
    }
  }

  for (const [index, kind] of KINDS.entries()) {
    it(`leaves no connection though something waits while it is closed: ${kind}`, async () => {
      const pub = clients[2 * index];
      const before = await connections();
      const io = new Server({ adapter: streams.createAdapter(pub, { transport: "client" }) });
      const adapter = /** @type {any} */ (io.of("/").adapter);
      await adapter.ready;
      assert.ok((await connections()) > before);
      // Its duplicates of the client are followed until all is written.
      redis.pause();
      try {
        await waitFor(
          () => {
            io.emit("something");
            return adapter.stats().backlog > 0;
          },
          { what: "something to wait", timeout: 30_000 },
        );
        adapter.close();
        await new Promise((resolve) => setTimeout(resolve, 1500));
      } finally {
        redis.resume();
      }
      await waitFor(async () => (await connections()) <= before, {
        what: "the connections to end",
        timeout: 30_000,
      });
    });
  }

  leavesNoRejection();
});
