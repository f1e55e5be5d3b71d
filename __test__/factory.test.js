// @ts-check
"use strict";

/**
 * What a factory returns can be listened to, for all the namespaces that it has made adapters of; and the `onError`
 * option.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const redisAdapter = /** @type {any} */ (require(".."));
const streams = /** @type {any} */ (require("../streams"));
const { leavesNoRejection } = require("./fixtures/suite");
const { expectExceptions } = require("./support/hooks");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

/** @type {Record<string, (...args: any[]) => any>} */
const FACTORIES = {
  classic: redisAdapter,
  sharded: redisAdapter.createShardedAdapter,
  streams: streams.createAdapter,
};

describe("a factory", function () {
  this.timeout(20_000);

  /** @type {(() => any)[]} */
  const cleanup = [];

  afterEach(async () => {
    for (const end of cleanup.splice(0).reverse()) await end();
  });

  /** A server with three namespaces; resolves to its adapters. @param {any} factory @returns {any[]} */
  function serve(factory) {
    const io = new Server();
    io.adapter(factory);
    const adapters = ["/", "/a", "/b"].map((name) => /** @type {any} */ (io.of(name).adapter));
    cleanup.push(() => adapters.forEach((adapter) => adapter.close()));
    return adapters;
  }

  for (const [family, make] of Object.entries(FACTORIES)) {
    it(`${family}: tells of connect, error and disconnect once, whatever the number of namespaces`, async () => {
      const redis = await startRedis();
      cleanup.push(() => redis.stop());
      const factory = make({ host: "127.0.0.1", port: redis.port });
      /** @type {string[]} */
      const seen = [];
      for (const event of ["connect", "disconnect", "error"]) {
        const returned = factory.on(event, (/** @type {any} */ error) => {
          seen.push(event);
          assert.strictEqual(error instanceof Error, event !== "connect");
        });
        assert.strictEqual(returned, factory);
      }
      const connected = once(factory, "connect");
      const adapters = serve(factory);
      await connected;
      await Promise.all(adapters.map(({ ready }) => ready));
      assert.deepStrictEqual(seen, ["connect"]);
      const down = adapters.map((adapter) => once(adapter, "degraded"));
      await redis.kill();
      await Promise.all(down);
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepStrictEqual(seen.sort(), ["connect", "disconnect", "error"]);
      const back = adapters.map((adapter) => once(adapter, "ready"));
      await redis.restart();
      await Promise.all(back);
      assert.deepStrictEqual(seen.sort(), ["connect", "connect", "disconnect", "error"]);
    });

    it(`${family}: once and off`, async () => {
      const redis = await startRedis();
      cleanup.push(() => redis.stop());
      const factory = make(redis.url);
      let [first, second] = [0, 0];
      const removed = () => void second++;
      factory.once("connect", () => void first++);
      factory.on("connect", removed).off("connect", removed);
      await Promise.all(serve(factory).map(({ ready }) => ready));
      await Promise.all(serve(factory).map(({ ready }) => ready));
      assert.deepStrictEqual([first, second], [1, 0]);
      assert.strictEqual(factory.listenerCount("connect"), 0);
    });

    it(`${family}: tells of connect again, once all adapters were closed and there is a new one`, async () => {
      const redis = await startRedis();
      cleanup.push(() => redis.stop());
      const factory = make(redis.url);
      let count = 0;
      factory.on("connect", () => count++);
      for (const times of [1, 2, 3]) {
        const adapters = serve(factory);
        await Promise.all(adapters.map(({ ready }) => ready));
        await waitFor(() => count === times);
        for (const adapter of adapters) adapter.close();
      }
    });

    it(`${family}: an error that nobody listens to is none`, async () => {
      const adapters = serve(make(`redis://127.0.0.1:${await freePort()}`));
      const [error] = await once(adapters[0], "degraded");
      assert.match(error.message, /connect/);
    });

    it(`${family}: onError is called for what the error event tells`, async () => {
      /** @type {Error[]} */
      const errors = [];
      const onError = (/** @type {Error} */ error) => void errors.push(error);
      const factory = make({ host: "127.0.0.1", port: await freePort(), onError });
      /** @type {Error[]} */
      const told = [];
      factory.on("error", (/** @type {Error} */ error) => void told.push(error));
      const adapters = serve(factory);
      await waitFor(() => told.length > 0, { what: "the error" });
      await Promise.all(adapters.map((adapter) => adapter.stats()));
      assert.match(errors[0].message, /connect/);
      assert.deepStrictEqual(errors, told);
      assert.strictEqual(errors.length, 1);
    });
  }

  it("onError of an adapter that its constructor made", async () => {
    /** @type {Error[]} */
    const errors = [];
    const onError = (/** @type {Error} */ error) => void errors.push(error);
    const url = `redis://127.0.0.1:${await freePort()}`;
    serve(
      class extends redisAdapter.RedisAdapter {
        /** @param {any} nsp */
        constructor(nsp) {
          super(nsp, url, { onError });
        }
      },
    );
    // One for each namespace: nothing else knows of the others.
    await waitFor(() => errors.length === 3, { what: "the errors" });
  });

  it("onError is told what Redis refuses", async () => {
    const redis = await startRedis({
      users: { app: "on >secret ~* &* +@all -publish", default: "on nopass ~* &* +@all" },
    });
    cleanup.push(() => redis.stop());
    /** @type {Error[]} */
    const errors = [];
    const onError = (/** @type {Error} */ error) => void errors.push(error);
    const [adapter] = serve(redisAdapter(`redis://app:secret@127.0.0.1:${redis.port}`, { onError }));
    await adapter.ready;
    adapter.broadcast({ type: 2, data: ["x"] }, { rooms: new Set(), except: new Set() });
    await waitFor(() => errors.length > 0, { what: "the refusal" });
    assert.match(errors[0].message, /publish.*NOPERM/);
  });

  it("what a listener throws is an uncaught exception, and keeps nothing from the other namespaces", async () => {
    const exceptions = expectExceptions();
    const redis = await startRedis();
    cleanup.push(() => redis.stop());
    const onError = () => {
      throw new Error("of onError");
    };
    const factory = redisAdapter(redis.url, { onError });
    const adapters = serve(factory);
    adapters[0].on("degraded", () => {
      throw new Error("of a listener");
    });
    await Promise.all(adapters.map(({ ready }) => ready));
    const down = adapters.slice(1).map((adapter) => once(adapter, "degraded"));
    await redis.kill();
    await Promise.all(down);
    await waitFor(() => exceptions.length >= 2, { what: "the exceptions" });
    const texts = exceptions.map((error) => /** @type {Error} */ (error).message);
    assert.deepStrictEqual([...new Set(texts)].sort(), ["of a listener", "of onError"]);
    const back = adapters.map((adapter) => once(adapter, "ready"));
    await redis.restart();
    await Promise.all(back);
  });

  it("what a listener throws keeps nothing of the same moment from others", async () => {
    const exceptions = expectExceptions();
    const redis = await startRedis();
    cleanup.push(() => redis.stop());
    /** @type {string[]} */
    const told = [];
    const note = (/** @type {string} */ what) => () => void told.push(what);
    const factory = redisAdapter(redis.url, { onError: note("onError") });
    const [adapter] = serve(factory);
    for (const event of ["connect", "disconnect", "gap"]) adapter.on(event, note(event));
    /** @type {any} */
    let gap;
    adapter.on("gap", (/** @type {any} */ it) => (gap = it));
    for (const event of ["connect", "disconnect"]) factory.on(event, note(`factory: ${event}`));
    for (const event of ["ready", "degraded"])
      adapter.on(event, () => {
        throw new Error(`of ${event}`);
      });
    await adapter.ready;
    await waitFor(() => told.length >= 2, { what: "the connection to be told of" });
    assert.deepStrictEqual(told.splice(0).sort(), ["connect", "factory: connect"]);
    await redis.kill();
    await waitFor(() => told.includes("onError"), { what: "the outage to be told of" });
    assert.deepStrictEqual([...new Set(told.splice(0))].sort(), [
      "disconnect",
      "factory: disconnect",
      "onError",
    ]);
    await redis.restart();
    await waitFor(() => told.includes("gap"), { what: "the gap to be told of" });
    assert.deepStrictEqual(
      told.filter((what) => what !== "onError"),
      ["factory: connect", "connect", "gap"],
    );
    assert.ok(Number.isInteger(gap.milliseconds), `${gap.milliseconds} ms`);
    await waitFor(() => exceptions.length >= 3, { what: "what was thrown" });
    const texts = exceptions.map((error) => /** @type {Error} */ (error).message);
    assert.deepStrictEqual([...new Set(texts)].sort(), ["of degraded", "of ready"]);
  });

  it("onError stays when the listeners of a factory are removed", async () => {
    /** @type {Error[]} */
    const errors = [];
    const onError = (/** @type {Error} */ error) => void errors.push(error);
    for (const [family, make] of Object.entries(FACTORIES)) {
      const factory = make(`redis://127.0.0.1:${await freePort()}`, { onError });
      factory.on("error", () => assert.fail("it was removed"));
      factory.removeAllListeners("error");
      assert.strictEqual(factory.listenerCount("error"), 0, family);
      factory.removeAllListeners();
      serve(factory);
      await waitFor(() => errors.splice(0).length > 0, { what: `the error of ${family}` });
    }
  });

  it("onError has to be a function", () => {
    for (const make of Object.values(FACTORIES))
      assert.throws(() => make("redis://localhost:1", { onError: "log" }), {
        name: "TypeError",
        message: 'opts.onError must be a function, got "log"',
      });
  });

  leavesNoRejection();
});
