// @ts-check
"use strict";

/**
 * What is read from the user's Redis clients, of each package and version. No server is needed: these clients do not connect.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const tls = require("node:tls");
const { clientsOf } = require("../lib/clients");
const { IOREDIS, METHODS, NODE_REDIS, load, mock } = require("./support/clients");
const { skip } = require("./support/hooks");

/** @typedef {import("../lib/clients/settings").Settings} Settings */

/** Certificates are not looked into. */
const [ONE, OTHER] = tls.rootCertificates;
const KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----";

/** What is read from a client that publishes and subscribes. @param {any} client */
function read(client) {
  client.on("error", () => {});
  return clientsOf(client, client, "global").settings();
}

/** @param {any} client @returns {Settings} */
function settingsOf(client) {
  const { settings, reason } = read(client);
  assert.strictEqual(reason, null);
  return /** @type {Settings} */ (settings);
}

/** @param {any} client @param {RegExp} reason */
function refuses(client, reason) {
  const got = read(client);
  assert.strictEqual(got.settings, null);
  assert.match(/** @type {string} */ (got.reason), reason);
}

for (const version of NODE_REDIS) {
  describe(`settings of ${version}`, () => {
    const { createClient, createCluster, createSentinel, createClientPool } = load(version);
    const shows = { database: 0 };

    it("a client without options", () => {
      assert.deepStrictEqual(settingsOf(createClient()), { host: "localhost", port: 6379, ...shows });
    });

    it("a URL", () => {
      assert.deepStrictEqual(
        settingsOf(createClient({ url: "redis://alice:s%25cret@redis.example:6380/4" })),
        {
          host: "redis.example",
          port: 6380,
          username: "alice",
          password: "s%cret",
          database: 4,
        },
      );
    });

    it("options", () => {
      const options = { socket: { host: "h", port: 1 }, password: "p", name: "me", database: 2 };
      assert.deepStrictEqual(settingsOf(createClient(options)), {
        host: "h",
        port: 1,
        password: "p",
        database: 2,
        name: "me",
      });
    });

    it("a socket file", () => {
      assert.deepStrictEqual(settingsOf(createClient({ socket: { path: "/tmp/redis.sock" } })), {
        path: "/tmp/redis.sock",
        ...shows,
      });
    });

    it("TLS", () => {
      const socket = {
        ca: [Buffer.from(ONE), OTHER],
        cert: ONE,
        key: Buffer.from(KEY),
        servername: "name",
        rejectUnauthorized: false,
      };
      const wanted = { ca: [ONE, OTHER], cert: ONE, key: KEY, serverName: "name", verify: false };
      const made = [
        createClient({ url: "rediss://h:1", socket: { ...socket } }),
        createClient({ socket: { ...socket, host: "h", port: 1, tls: true } }),
      ];
      for (const client of made) {
        assert.deepStrictEqual(settingsOf(client), { host: "h", port: 1, ...shows, tls: wanted });
      }
    });

    it("TLS that trusts whom Node does", () => {
      const settings = settingsOf(createClient({ url: "rediss://h:1" }));
      assert.strictEqual(settings.tls?.verify, true);
      assert.ok(settings.tls.ca.length >= tls.rootCertificates.length);
      assert.ok(settings.tls.ca.includes(ONE));
    });

    for (const [option, value] of Object.entries({
      pfx: Buffer.from("x"),
      passphrase: "x",
      secureContext: {},
      checkServerIdentity: () => undefined,
      ciphers: "AES128-SHA",
      ALPNProtocols: ["redis"],
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.1",
      key: "-----BEGIN ENCRYPTED PRIVATE KEY-----",
      ca: Buffer.from([0x30, 0x82]),
    })) {
      it(`the TLS option ${option} is the client's own`, () => {
        refuses(
          createClient({ socket: { host: "h", port: 1, tls: true, [option]: value } }),
          new RegExp(option),
        );
      });
    }

    it("TLS versions that the link's own connections speak anyway are no hindrance", () => {
      const socket = { host: "h", port: 1, tls: true, minVersion: "TLSv1.2", maxVersion: "TLSv1.3" };
      assert.strictEqual(settingsOf(createClient({ socket })).tls?.verify, true);
    });

    it("a lookup of names is the client's own", () => {
      refuses(createClient({ socket: { host: "h", port: 1, lookup() {} } }), /lookup/);
    });

    it("two clients of different places", () => {
      const [one, other] = ["redis://h:1", "redis://h:2"].map((url) => createClient({ url }));
      const { settings, reason } = clientsOf(one, other, "global").settings();
      assert.strictEqual(settings, null);
      assert.match(String(reason), /same place/);
    });

    it("two clients of one place, with names and databases of their own", () => {
      const [one, other] = ["a", "b"].map((name, database) =>
        createClient({ socket: { host: "h", port: 1 }, name, database }),
      );
      assert.deepStrictEqual(clientsOf(one, other, "global").settings().settings, {
        host: "h",
        port: 1,
        database: 0,
        name: "a",
      });
    });

    if (version === "redis-4") {
      it("legacy mode", () => {
        const client = createClient({ url: "redis://h:1", legacyMode: true });
        assert.deepStrictEqual(settingsOf(client), { host: "h", port: 1, ...shows });
      });

      it("a cluster that is not connected yet", () => {
        refuses(createCluster({ rootNodes: [{ url: "redis://h:1" }] }), /once it is connected/);
      });
      return;
    }

    it("credentials that change", async () => {
      let asked = 0;
      const credentialsProvider = {
        type: "async-credentials-provider",
        credentials: async () => ({ username: "u", password: `p${++asked}` }),
      };
      const client = createClient({ socket: { host: "h", port: 1 }, credentialsProvider });
      const { credentials, ...rest } = settingsOf(client);
      assert.deepStrictEqual(rest, { host: "h", port: 1, ...shows });
      assert.deepStrictEqual(await credentials?.(), { username: "u", password: "p1" });
      assert.deepStrictEqual(await credentials?.(), { username: "u", password: "p2" });
    });

    it("credentials that come by themselves are the client's own", () => {
      const credentialsProvider = { type: "streaming-credentials-provider", subscribe: async () => [] };
      refuses(createClient({ socket: { host: "h", port: 1 }, credentialsProvider }), /streaming/);
    });

    it("a cluster", () => {
      const client = createCluster({
        rootNodes: [{ url: "redis://h:1" }, { socket: { host: "i", port: 2 } }],
        defaults: { username: "u", password: "p", socket: { tls: true, ca: ONE } },
        nodeAddressMap: { "10.0.0.1:6379": { host: "h", port: 1 } },
      });
      assert.deepStrictEqual(settingsOf(client), {
        username: "u",
        password: "p",
        tls: { ca: [ONE], verify: true },
        cluster: {
          nodes: [
            { host: "h", port: 1 },
            { host: "i", port: 2 },
          ],
          natMap: [{ from: "10.0.0.1:6379", host: "h", port: 1 }],
        },
      });
    });

    it("a cluster of URLs that say all", () => {
      const client = createCluster({ rootNodes: [{ url: "rediss://u:p@h:1" }, { url: "rediss://u:p@i:2" }] });
      const { tls: secure, ...rest } = settingsOf(client);
      assert.strictEqual(secure?.verify, true);
      assert.deepStrictEqual(rest, {
        username: "u",
        password: "p",
        cluster: {
          nodes: [
            { host: "h", port: 1 },
            { host: "i", port: 2 },
          ],
        },
      });
    });

    it("a cluster with a function as nodeAddressMap", () => {
      refuses(
        createCluster({ rootNodes: [{ url: "redis://h:1" }], nodeAddressMap: () => undefined }),
        /nodeAddressMap/,
      );
    });

    it("a sentinel", () => {
      const client = createSentinel({
        name: "main",
        sentinelRootNodes: [{ host: "s", port: 1 }],
        nodeClientOptions: { username: "u", password: "p", socket: { tls: true, ca: ONE } },
        sentinelClientOptions: { password: "q" },
      });
      // That of 5 has no duplicate().
      if (version === "redis-5") return refuses(client, /shows none/);
      assert.deepStrictEqual(settingsOf(client), {
        username: "u",
        password: "p",
        database: 0,
        tls: { ca: [ONE], verify: true },
        sentinel: { name: "main", nodes: [{ host: "s", port: 1 }], password: "q" },
      });
    });

    it("a pool", () => {
      const pool = createClientPool({ url: "redis://h:1" });
      const { reason } = clientsOf(pool, createClient({ url: "redis://h:1" }), "global").settings();
      assert.match(String(reason), /pool/);
    });
  });
}

for (const version of IOREDIS) {
  describe(`settings of ${version}`, () => {
    const Redis = load(version).Redis ?? load(version);
    const { Cluster } = load(version);
    const lazyConnect = true;

    it("a client without options", () => {
      const { host, port, database } = settingsOf(new Redis({ lazyConnect }));
      assert.ok(host === "localhost" || host === "127.0.0.1");
      assert.deepStrictEqual({ port, database }, { port: 6379, database: 0 });
    });

    it("a URL", () => {
      assert.deepStrictEqual(
        settingsOf(new Redis("redis://:s%25cret@redis.example:6380/4", { lazyConnect })),
        {
          host: "redis.example",
          port: 6380,
          password: "s%cret",
          database: 4,
        },
      );
    });

    it("options", () => {
      const options = { host: "h", port: 1, username: "u", password: "p", connectionName: "me", db: 2 };
      assert.deepStrictEqual(settingsOf(new Redis({ ...options, keyPrefix: "k:", lazyConnect })), {
        host: "h",
        port: 1,
        username: "u",
        password: "p",
        database: 2,
        name: "me",
      });
    });

    it("a socket file", () => {
      assert.deepStrictEqual(settingsOf(new Redis("/tmp/redis.sock", { lazyConnect })), {
        path: "/tmp/redis.sock",
        database: 0,
      });
    });

    it("TLS", () => {
      const secure = { ca: ONE, cert: Buffer.from(ONE), key: [KEY], servername: "name" };
      const wanted = { ca: [ONE], cert: ONE, key: KEY, serverName: "name", verify: true };
      const settings = settingsOf(new Redis({ host: "h", port: 1, tls: secure, lazyConnect }));
      assert.deepStrictEqual(settings, { host: "h", port: 1, database: 0, tls: wanted });
    });

    it("TLS by the URL alone", () => {
      const settings = settingsOf(new Redis("rediss://h:1", { lazyConnect }));
      assert.strictEqual(settings.tls?.verify, true);
      assert.ok(settings.tls.ca.includes(ONE));
    });

    it("a TLS option that is the client's own", () => {
      refuses(
        new Redis({ host: "h", tls: { checkServerIdentity() {} }, lazyConnect }),
        /checkServerIdentity/,
      );
    });

    it("sentinels", () => {
      const options = {
        sentinels: [{ host: "s", port: 1 }, { host: "t" }],
        name: "main",
        password: "p",
        sentinelPassword: "q",
        // For what it does not enable.
        tls: { ca: ONE },
      };
      const sentinel = {
        name: "main",
        nodes: [
          { host: "s", port: 1 },
          { host: "t", port: 26379 },
        ],
        password: "q",
      };
      assert.deepStrictEqual(settingsOf(new Redis({ ...options, lazyConnect })), {
        password: "p",
        database: 0,
        sentinel,
      });
      const secure = { ca: [ONE], verify: true };
      const both = { enableTLSForSentinelMode: true, sentinelTLS: { ca: ONE } };
      assert.deepStrictEqual(settingsOf(new Redis({ ...options, ...both, lazyConnect })), {
        password: "p",
        database: 0,
        tls: secure,
        sentinel: { ...sentinel, tls: secure },
      });
    });

    it("replicas behind sentinels", () => {
      const options = { sentinels: [{ host: "s", port: 1 }], name: "main", role: "slave", lazyConnect };
      refuses(new Redis(options), /replicas/);
    });

    it("a connector", () => {
      class Connector {}
      refuses(new Redis({ lazyConnect, Connector }), /own way/);
    });

    it("a cluster", () => {
      const startupNodes = [{ host: "h", port: 1 }, "redis://i:2", 3];
      const options = {
        redisOptions: { username: "u", password: "p", tls: { ca: ONE } },
        natMap: { "10.0.0.1:6379": { host: "h", port: 1 } },
        lazyConnect,
      };
      assert.deepStrictEqual(settingsOf(new Cluster(startupNodes, options)), {
        username: "u",
        password: "p",
        tls: { ca: [ONE], verify: true },
        cluster: {
          nodes: [
            { host: "h", port: 1 },
            { host: "i", port: 2 },
            { host: "127.0.0.1", port: 3 },
          ],
          natMap: [{ from: "10.0.0.1:6379", host: "h", port: 1 }],
        },
      });
    });

    it("a cluster of URLs that say all", () => {
      const settings = settingsOf(new Cluster(["rediss://:p@h:1"], { lazyConnect }));
      assert.strictEqual(settings.password, "p");
      assert.strictEqual(settings.tls?.verify, true);
    });

    it("a cluster with a function as natMap", () => {
      refuses(new Cluster(["redis://h:1"], { lazyConnect, natMap: () => null }), /natMap/);
    });

    it("a cluster of SRV records", () => {
      refuses(new Cluster(["redis://h:1"], { lazyConnect, useSRVRecords: true }), /SRV/);
    });
  });
}

describe("settings of others", () => {
  it("redis 3", () => {
    const client = load("redis-3").createClient({ port: 1, retry_strategy: () => undefined });
    refuses(client, /redis 3/);
  });

  it("of no known kind", () => refuses(mock([...METHODS.ioredis, "sendCommand", "call"]), /no known kind/));

  it("whose options cannot be read", () => {
    const client = mock(METHODS.redis);
    Object.defineProperty(client, "options", {
      get() {
        throw new Error("not here");
      },
    });
    refuses(Object.assign(client, { isOpen: true }), /not here/);
  });

  it("what Node was told to trust besides", function () {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "ca-")), "extra.pem");
    fs.writeFileSync(file, "extra");
    const before = process.env.NODE_EXTRA_CA_CERTS;
    process.env.NODE_EXTRA_CA_CERTS = file;
    try {
      // Where Node tells itself, it read the variable when it began.
      if ("getCACertificates" in tls) skip(this, "this Node tells by itself what it trusts, as of its start");
      assert.ok(settingsOf(load("redis").createClient({ url: "rediss://h:1" })).tls?.ca.includes("extra"));
    } finally {
      if (before === undefined) delete process.env.NODE_EXTRA_CA_CERTS;
      else process.env.NODE_EXTRA_CA_CERTS = before;
      fs.rmSync(path.dirname(file), { recursive: true });
    }
  });
});
