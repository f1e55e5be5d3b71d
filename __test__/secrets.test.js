// @ts-check
"use strict";

/**
 * Passwords stay where they belong: no event, error or reason repeats one, whatever Redis says.
 */

const assert = require("node:assert");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { Emitter } = require("../emitter");
const streams = require("../streams");
const { startRedis } = require("./support/redis");

const SECRET = "open-sesame";

/** All that an error says, and what it drags along. @param {any} error */
function allOf(error) {
  const own = Object.getOwnPropertyNames(error).map((name) => `${name}: ${String(error[name])}`);
  return `${error} ${own.join(" ")} ${JSON.stringify(error)}`;
}

/** Resolves with the error of the first `degraded`. @param {any} factory */
async function whyDegraded(factory) {
  const io = new Server({ adapter: factory });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  const error = await new Promise((resolve) => adapter.once("degraded", resolve));
  adapter.close();
  return error;
}

describe("a password", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {import("./support/redis").RedisServer} */
  let sentinel;

  before(async () => {
    const extra = ['rename-command AUTH ""'];
    redis = await startRedis({ extra });
    sentinel = await startRedis({ extra, sentinel: true });
  });

  after(() => Promise.all([redis.stop(), sentinel.stop()]));

  const ways = /** @type {[string, () => any][]} */ ([
    ["a URL", () => createAdapter(`redis://app:${SECRET}@127.0.0.1:${redis.port}`)],
    ["options", () => createAdapter({ host: "127.0.0.1", port: redis.port, password: SECRET })],
    [
      "a function",
      () => createAdapter({ host: "127.0.0.1", port: redis.port, password: async () => SECRET }),
    ],
    [
      "the options of a sentinel",
      () =>
        createAdapter(
          /** @type {any} */ ({
            name: "mymaster",
            sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
            sentinelPassword: SECRET,
          }),
        ),
    ],
  ]);
  for (const [what, factory] of ways) {
    it(`from ${what} is not repeated when Redis does not know AUTH and does`, async () => {
      const text = allOf(await whyDegraded(factory()));
      assert.ok(!text.includes(SECRET), text);
      assert.match(text, /does not know AUTH/);
    });
  }

  it("in arguments that make no sense is not in the error", () => {
    const url = `redis://app:${SECRET}@127.0.0.1:6379`;
    const calls = /** @type {[string, () => any][]} */ ([
      ["a scheme that is none", () => createAdapter(url.replace("redis:", "http:"))],
      ["no scheme", () => createAdapter(url.replace("redis://", ""))],
      ["a port that is none", () => createAdapter(url.replace("6379", "99999"))],
      ["a URL as options", () => createAdapter(/** @type {any} */ ({}), /** @type {any} */ (url))],
      ["two URLs", () => createAdapter(/** @type {any} */ (url), /** @type {any} */ (url), {})],
      ["sharded", () => createShardedAdapter(/** @type {any} */ (url), /** @type {any} */ (url))],
      ["sharded, half", () => createShardedAdapter(/** @type {any} */ ({}), /** @type {any} */ (url))],
      ["streams", () => streams.createAdapter(/** @type {any} */ (url.replace("redis:", "http:")))],
      ["an emitter", () => new Emitter(/** @type {any} */ (url.replace("redis:", "http:")))],
      ["an emitter's options", () => new Emitter("redis://127.0.0.1:1", /** @type {any} */ (url))],
      ["an option", () => createAdapter("redis://127.0.0.1:1", { transport: /** @type {any} */ (url) })],
      ["a host", () => createAdapter({ host: url })],
      ["a port", () => createAdapter({ host: "127.0.0.1", port: url })],
      ["a database", () => createAdapter({ host: "127.0.0.1", db: url })],
      ["a list of sentinels", () => createAdapter(/** @type {any} */ ({ name: "m", sentinels: url }))],
      ["a password that is a list", () => createAdapter({ password: /** @type {any} */ ([SECRET]) })],
    ]);
    for (const [what, call] of calls) {
      try {
        const made = call();
        if (typeof made === "function") made(new Server().of("/")).close?.();
      } catch (error) {
        assert.ok(!allOf(error).includes(SECRET), `${what}: ${allOf(error)}`);
      }
    }
  });
});
