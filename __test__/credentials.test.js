// @ts-check
"use strict";

/**
 * Credentials that change: the link's own connections ask for them each time they connect.
 */

const assert = require("node:assert");
const { Link } = require("../lib/link/link");
const { Routing } = require("../lib/link/routing");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

/** @typedef {import("../lib/link/link").Link} AnyLink */

const OPTIONS = /** @type {any} */ ({
  transport: "auto",
  family: "classic",
  maxBacklogBytes: 1 << 20,
  maxInboxBytes: 1 << 20,
});

const IDENTITY = {
  uid: "aaaaaa",
  nsp: "/",
  prefix: "socket.io",
  family: "classic",
  customParser: false,
  specificResponses: false,
  frames: true,
};

describe("credentials that change", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** @type {{ link: AnyLink, member: number } | null} */
  let joined = null;

  before(async () => {
    redis = await startRedis({ users: { default: "off", app: "on >one ~* &* +@all" } });
  });

  afterEach(() => {
    joined?.link.leave(joined.member);
    joined = null;
  });

  after(() => redis.stop());

  /**
   * Joins a link and returns the events that it hears.
   *
   * @param {() => unknown} credentials
   */
  function join(credentials) {
    /** @type {import("../lib/link/link").LinkEvent[]} */
    const events = [];
    const settings = /** @type {any} */ ({ host: "127.0.0.1", port: redis.port, credentials });
    const link = new Link(null, settings, OPTIONS);
    const member = link.join(new Routing(IDENTITY), {
      onRecord() {},
      onEvent: (event) => events.push(event),
    });
    joined = { link, member };
    return events;
  }

  /** @param {import("../lib/link/link").LinkEvent[]} events @param {string} type */
  function count(events, type) {
    return events.filter((event) => event.type === type).length;
  }

  it("are asked for at each connect", async () => {
    let password = "one";
    let asked = 0;
    const events = join(async () => {
      asked++;
      return { username: "app", password };
    });
    await waitFor(() => count(events, "ready") === 1);
    // One connection for commands, one that listens.
    assert.strictEqual(asked, 2);
    await redis.cli("ACL", "SETUSER", "app", "resetpass", ">two");
    password = "two";
    await redis.cli("CLIENT", "KILL", "USER", "app");
    await waitFor(() => count(events, "ready") === 2);
    assert.ok(asked >= 4);
    assert.match(await redis.cli("ACL", "WHOAMI"), /test-support/);
  });

  for (const [what, credentials, reason] of /** @type {[string, () => unknown, RegExp][]} */ ([
    ["a function that throws", () => fail("the vault is sealed"), /no credentials.*the vault is sealed/],
    ["one that rejects", async () => fail("the vault is gone"), /no credentials.*the vault is gone/],
    ["one that rejects with anything", () => Promise.reject(Object.create(null)), /no credentials/],
    ["one that returns a number", () => ({ password: 1 }), /the password must be a string, not number/],
    ["one that returns nothing", () => undefined, /NOAUTH/],
  ])) {
    it(`are a failed attempt with ${what}, and the next may succeed`, async () => {
      await redis.cli("ACL", "SETUSER", "app", "resetpass", ">one");
      let first = true;
      const events = join(() => {
        if (!first) return { username: "app", password: "one" };
        first = false;
        return credentials();
      });
      await waitFor(() => count(events, "ready") === 1);
      const reasons = events.map((event) => event.reason ?? "");
      assert.ok(
        reasons.some((text) => reason.test(text)),
        reasons.join("; "),
      );
    });
  }
});

/** @param {string} message */
function fail(message) {
  throw new Error(message);
}
