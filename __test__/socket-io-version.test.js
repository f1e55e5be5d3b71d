// @ts-check
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { createAdapter, createShardedAdapter } = require("..");
const { startRedis } = require("./support/redis");

describe("a server of Socket.IO", () => {
  /** @type {string} */
  let dir;
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "socket-io-version-"));
    redis = await startRedis();
  });
  after(async () => {
    await redis.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  /** The class of servers of today, from a package that says that it is older. @param {string} version */
  function serverOf(version) {
    const folder = path.join(dir, version, "node_modules", "socket.io");
    fs.mkdirSync(path.join(folder, "dist"), { recursive: true });
    fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "socket.io", version }));
    const real = JSON.stringify(require.resolve("socket.io"));
    const text = `exports.Server = class extends require(${real}).Server {};`;
    fs.writeFileSync(path.join(folder, "dist", "index.js"), text);
    return require(path.join(folder, "dist", "index.js")).Server;
  }

  for (const version of ["3.1.2", "4.0.2", "4.2.0"]) {
    it(`${version} is refused when it starts`, () => {
      const Server = serverOf(version);
      for (const create of [createAdapter, createShardedAdapter]) {
        const factory = create(redis.url);
        assert.throws(() => new Server({ adapter: factory }), {
          message: `socket.io-redis-native needs Socket.IO 4.3 or later, and this server is one of Socket.IO ${version}. Update it: npm install socket.io@4`,
        });
      }
    });
  }

  for (const version of ["4.3.0", "4.10.0", "5.0.0"]) {
    it(`${version} is taken`, () => {
      const Server = serverOf(version);
      const io = new Server({ adapter: createAdapter(redis.url) });
      io.of("/").adapter.close();
    });
  }
});
