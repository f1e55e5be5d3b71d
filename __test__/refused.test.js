// @ts-check
"use strict";

/** Redis refuses what thousands of namespaces publish: the operator hears of it once. */

const assert = require("node:assert");
const http = require("node:http");
const { Server } = require("socket.io");
const { Node } = require("./fixtures/nodes");
const { connectClient, families } = require("./runtimes/parts");
const { startRedis } = require("./support/redis");
const { callsOf } = require("./support/streams");
const { waitFor } = require("./support/wait");

/** What may be done by one who only listens, and what he is refused. */
const LISTENERS = /** @type {const} */ ({
  classic: ["-publish", "publish"],
  sharded: ["-spublish", "spublish"],
  streams: ["-publish -xadd", "publish"],
});

describe("a server that may only listen", () => {
  for (const transport of /** @type {const} */ (["native", "client"])) {
    for (const [family, [rule, command]] of Object.entries(LISTENERS)) {
      it(`is told once that the others do not know of it: ${family}, ${transport}`, async () => {
        const redis = await startRedis({ users: { app: `on >app ~* &* +@all ${rule}` } });
        const url = `redis://app:app@127.0.0.1:${redis.port}`;
        const clients = [await connectClient(url), await connectClient(url)];
        /** @type {string[]} */
        const errors = [];
        const adapter = families[family](clients[0], clients[1], { transport, key: "listener" });
        const io = new Server(http.createServer().listen(0, "127.0.0.1"), { adapter });
        try {
          const namespaces = Array.from({ length: 10 }, (_, i) => io.of(`/${i}`));
          const adapters = [io.of("/"), ...namespaces].map(({ adapter }) => /** @type {any} */ (adapter));
          for (const one of adapters)
            one.on("error", (/** @type {Error} */ { message }) => errors.push(message));
          const isOver = () => errors.length > 0 && adapters[0].stats().refused === adapters.length;
          await waitFor(isOver, { what: "all to be refused" });
          assert.strictEqual(errors.length, 1, errors.join("\n"));
          assert.match(
            errors[0],
            new RegExp(`^publish: NOPERM .*'${command}'.*, so the others are not told`),
          );
          // What it emits all the same is another matter.
          io.emit("x");
          await waitFor(() => errors.length > 1, { what: "another error" });
          assert.match(errors[1], /^publish: NOPERM /);
          assert.doesNotMatch(errors[1], /not told/);
        } finally {
          await io.close();
          for (const client of clients) client.disconnect();
          await redis.stop();
        }
      });
    }
  }
});

describe("what Redis refuses", () => {
  for (const transport of ["native", "client"]) {
    for (const what of ["publish", "subscribe"]) {
      it(`is an error of one namespace, now and then: ${what}, ${transport}`, async () => {
        const redis = await startRedis({ users: { app: "on >app ~* &* +@all" } });
        const node = new Node({
          redis: { port: redis.port, username: "app", password: "app" },
          options: { transport },
        });
        /** @type {string[]} */
        const errors = [];
        try {
          const namespaces = Array.from({ length: 50 }, (_, i) => node.io.of(`/${i}`));
          await Promise.all(namespaces.map(({ adapter }) => /** @type {any} */ (adapter).ready));
          // The first one has no listener.
          for (const { adapter } of namespaces.slice(1))
            adapter.on("error", ({ message }) => errors.push(message));
          await redis.cli("ACL", "SETUSER", "app", `-${what}`, "-psubscribe");
          if (what === "publish") {
            const before = node.adapter.stats().refused;
            for (let i = 0; i < 100; i++) node.io.of(`/${i % 50}`).emit("event");
            await waitFor(() => node.adapter.stats().refused - before >= 100, { what: "100 refusals" });
          } else {
            // Each of these subscribes, and is refused.
            for (let i = 0; i < 50; i++) node.io.of(`/late-${i}`);
          }
          // At once, and a while later for those that came after it.
          await waitFor(() => errors.length >= 2, { what: "the errors" });
          assert.strictEqual(errors.length, 2);
          for (const message of errors) assert.match(message, new RegExp(`^${what}: .*NOPERM`));
        } finally {
          await node.close();
          await redis.stop();
        }
      });
    }
  }
});

describe("a stream that a server may not read", () => {
  for (const transport of /** @type {const} */ (["native", "client"])) {
    it(`leaves it degraded, says so once, and is tried ever more seldom, ${transport}`, async function () {
      this.timeout(30_000);
      const redis = await startRedis({ users: { app: "on >app ~* &* +@all -xread" } });
      const client = await connectClient(`redis://app:app@127.0.0.1:${redis.port}`);
      const adapter = families.streams(client, null, { transport, key: "forbidden" });
      const io = new Server(http.createServer().listen(0, "127.0.0.1"), { adapter });
      /** @type {string[]} */
      const events = [];
      try {
        const adapter = /** @type {any} */ (io.of("/").adapter);
        for (const event of ["ready", "degraded", "error"])
          adapter.on(
            event,
            (/** @type {Error} */ error) => void events.push(`${event} ${error?.message ?? ""}`),
          );
        /** Waits until it was tried some times more. */
        const tried = async () => {
          const before = await callsOf(redis, "xread");
          const isTried = async () => (await callsOf(redis, "xread")) - before > 4;
          await waitFor(isTried, { timeout: 10_000, what: "five attempts" });
        };
        const isOver = () => events[events.length - 1].startsWith("ready");
        await tried();
        assert.strictEqual(events.length, 2, events.join("\n"));
        assert.match(events[0], /^degraded the stream forbidden-stream cannot be read: NOPERM .*xread/);
        assert.match(events[1], /^error the stream forbidden-stream cannot be read: NOPERM .*xread/);
        assert.strictEqual(adapter._isReady, false);
        await redis.cli("ACL", "SETUSER", "app", "+xread");
        await waitFor(isOver, { timeout: 10_000, what: "it to be ready" });
        assert.strictEqual(events.length, 3, events.join("\n"));
        // Revoked: what is under way ends with an entry.
        await redis.cli("ACL", "SETUSER", "app", "-xread");
        io.emit("event");
        await waitFor(() => events.length > 3, { what: "it to be told" });
        await tried();
        assert.strictEqual(events.length, 5, events.join("\n"));
        assert.match(events[3], /^degraded the stream forbidden-stream cannot be read: NOPERM .*xread/);
        await redis.cli("ACL", "SETUSER", "app", "+xread");
        await waitFor(isOver, { timeout: 10_000, what: "it to be ready again" });
      } finally {
        await io.close();
        client.disconnect();
        await redis.stop();
      }
    });
  }
});
