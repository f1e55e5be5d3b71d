// @ts-check
"use strict";

/**
 * The package as npm would publish it, in a project of its own: required, imported and compiled against.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { addonPath } = require("../scripts/addon");
const { skip } = require("./support/hooks");
const { startRedis } = require("./support/redis");

const ROOT = path.join(__dirname, "..");

/** Two servers that hear each other, with `createAdapter` and `Server` at hand. */
const TALK = `
  async function talk() {
    const [a, b] = [1, 2].map(() => new Server({ adapter: createAdapter("$URL") }));
    const timer = setTimeout(() => process.exit(1), 5000);
    await Promise.all([a, b].map((io) => io.of("/").adapter.ready));
    b.on("hello", (value) => {
      console.log("heard " + value);
      clearTimeout(timer);
      for (const io of [a, b]) io.of("/").adapter.close();
    });
    a.serverSideEmit("hello", 1);
  }
  talk();
`;

const TYPESCRIPT = `
  import { createServer } from "node:http";
  import { Server } from "socket.io";
  import { createClient } from "redis";
  import createAdapterByDefault from "socket.io-redis-native";
  import { createAdapter, createShardedAdapter, RedisAdapter } from "socket.io-redis-native";
  import type { RedisAdapterOptions, ShardedRedisAdapter } from "socket.io-redis-native";
  import { Emitter, type FlushResult } from "socket.io-redis-native/emitter";

  import { createAdapter as createStreamsAdapter } from "socket.io-redis-native/streams";
  import type { Gap, RedisStreamsAdapter } from "socket.io-redis-native/streams";

  const httpServer = createServer();
  const pub = createClient({ url: "redis://localhost:6379" });
  const sub = pub.duplicate();

  const io = new Server(httpServer, { adapter: createAdapter(pub, sub) });
  io.adapter(createAdapterByDefault(pub, sub, { key: "k", requestsTimeout: 1000 }));
  io.adapter(createAdapter("redis://localhost:6379"));
  io.adapter(createAdapter("redis://localhost:6379", { transport: "native", maxBacklogBytes: 1000 }));

  const options: Partial<RedisAdapterOptions> = { publishOnSpecificResponseChannel: true };
  class Mine extends RedisAdapter {}
  io.adapter((nsp) => new Mine(nsp, pub, sub, options));

  const adapter = io.of("/").adapter as RedisAdapter;
  const uid: string = adapter.uid;
  const carrier: "native" | "client" = adapter.transport.carrier;
  const dropped: number | undefined = adapter.stats()?.dropped;
  adapter.ready.then(() => adapter.allRooms()).then((rooms: Set<string>) => rooms.size);
  export { uid, carrier, dropped };

  // @ts-expect-error: a transport that there is not
  createAdapter(pub, sub, { transport: "rust" });
  // @ts-expect-error: one client, which is not the form for it
  createAdapter(pub);
  // @ts-expect-error: text that is meant as a number
  createAdapter({ host: "localhost", db: true });

  io.adapter(createShardedAdapter(pub, sub));
  io.adapter(createShardedAdapter(pub, sub, { subscriptionMode: "dynamic-private", channelPrefix: "c" }));
  const sharded = io.of("/").adapter as ShardedRedisAdapter;
  sharded.barrier().then(() => adapter.barrier());
  // @ts-expect-error: a mode that there is not
  createShardedAdapter(pub, sub, { subscriptionMode: "all" });

  io.adapter(createStreamsAdapter(pub));
  io.adapter(createStreamsAdapter("redis://localhost:6379", { streamCount: 4, onlyPlaintext: true, transport: "native" }));
  const streams = io.of("/").adapter as RedisStreamsAdapter;
  streams.on("gap", ({ stream, after, before }: Gap) => [stream, after, before]);
  streams.allRooms().then((rooms: Set<string>) => rooms.size);
  // @ts-expect-error: text that is meant as a number
  createStreamsAdapter(pub, { streamCount: "4" });

  interface Events { hello: (name: string, count: number) => void }
  async function emit() {
    await using emitter = new Emitter<Events>(pub, { key: "k", transport: "native" });
    const done: true = emitter.to(["a", "b"]).except("c").volatile.compress(true).emit("hello", "x", 1);
    emitter.of("chat").in("a").socketsJoin(["b"]);
    const { sent, receivers }: FlushResult = await emitter.flush({ timeout: 1000 });
    // @ts-expect-error: a number that is meant as a name
    emitter.emit("hello", 1, 1);
    return [done, sent, receivers, emitter.stats()?.receivers, emitter.transport.carrier];
  }
  new Emitter("redis://localhost:6379", { mode: "streams", streamCount: 4 }, "/nsp").emit("any", 1);
  // @ts-expect-error: an option of another mode
  new Emitter(pub, { mode: "sharded", key: "k" });
  export { emit };

  // As with socket.io-redis 5 and 6.
  io.adapter(createAdapter());
  io.adapter(createAdapter({ host: "localhost", port: 6379, auth_pass: "secret", key: "k", requestsTimeout: 1000 }));
  io.adapter(createAdapterByDefault({ pubClient: pub, subClient: sub }));
  io.adapter(createAdapter("redis://localhost:6379", { password: "secret", key: "k" }));
  createAdapter("localhost:6379").pubClient.on("error", () => {});
  adapter.on("disconnect", (error: Error) => error.message);
  adapter.remoteJoin("id", "room").then(() => adapter.remoteDisconnect("id", true));
  adapter.remoteLeave("id", "room", (error) => error?.message);
  adapter.allRooms((error, rooms) => rooms?.length);
  adapter.clients(["room"], (error, ids) => ids?.length);
  adapter.sockets(new Set(["room"])).then((ids: Set<string>) => ids.size);
  export const prefix: string = adapter.prefix;
`;

describe("package", function () {
  this.timeout(60_000);

  /** @type {string} */
  let dir;
  /** @type {string} */
  let project;
  /** @type {string[]} */
  let files;
  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async function () {
    if (!fs.existsSync(addonPath())) skip(this, "the addon is not built");
    redis = await startRedis();
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "package-test-"));
    // Its scripts would build the addon again.
    const packed = run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", dir], ROOT);
    assert.strictEqual(packed.status, 0, packed.output);
    const [{ filename, files: list }] = JSON.parse(packed.stdout);
    files = list.map((/** @type {{ path: string }} */ file) => file.path);

    project = path.join(dir, "project");
    fs.mkdirSync(project);
    fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ private: true }));
    // The versions that are here are in npm's cache too.
    const others = ["socket.io", "redis"].map((name) => `${name}@${versionOf(name)}`);
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline"];
    const installed = run("npm", ["install", ...quiet, path.join(dir, filename), ...others], project);
    if (/ENOTCACHED|EAI_AGAIN|ENOTFOUND|ECONNREFUSED/.test(installed.output)) {
      skip(this, "socket.io and redis are neither in npm's cache nor to be had from the network");
    }
    assert.strictEqual(installed.status, 0, installed.output);
  });

  after(async () => {
    await redis?.stop();
    if (dir) fs.rmSync(dir, { recursive: true, force: true });
  });

  it("has what it needs in it, and nothing else", () => {
    for (const needed of [
      "index.js",
      "index.mjs",
      "index.d.ts",
      "streams.js",
      "streams.mjs",
      "streams.d.ts",
      "streams.d.mts",
      "emitter.js",
      "emitter.mjs",
      "emitter.d.ts",
      "emitter.d.mts",
      "binding.js",
      "package.json",
      "README.md",
      // It links to these.
      "docs/streams.md",
      "LICENSE",
    ]) {
      assert.ok(files.includes(needed), `${needed} is missing`);
    }
    // To be built from source where there is no prebuilt addon.
    for (const needed of [
      "Cargo.toml",
      "Cargo.lock",
      "build.rs",
      "src/lib.rs",
      "scripts/install.js",
      "scripts/addon.js",
    ]) {
      assert.ok(files.includes(needed), `${needed} is missing`);
    }
    const unwanted = files.filter((name) =>
      /^(__test__|bench|demo|target|node_modules|npm)\/|^\.|\.tgz$/.test(name),
    );
    assert.deepStrictEqual(unwanted, []);
  });

  it("brings no second socket.io-adapter", () => {
    const listed = run("npm", ["ls", "--all", "--json", "socket.io-adapter"], project);
    const versions = new Set(listed.stdout.match(/"resolved": "[^"]*socket\.io-adapter[^"]*"/g));
    assert.ok(versions.size <= 1, listed.stdout);
    const nested = path.join(
      project,
      "node_modules",
      "socket.io-redis-native",
      "node_modules",
      "socket.io-adapter",
    );
    assert.strictEqual(fs.existsSync(nested), false);
  });

  it("is required", () => {
    const output = script(
      "required.cjs",
      `const { Server } = require("socket.io");
       const itself = require("socket.io-redis-native");
       const { createAdapter, RedisAdapter } = itself;
       console.log(typeof itself, itself === createAdapter, typeof RedisAdapter);
       console.log(require("socket.io-redis-native/package.json").name);
       ${TALK}`,
    );
    assert.strictEqual(output, "function true function\nsocket.io-redis-native\nheard 1\n");
  });

  it("is imported, by default and by name", () => {
    const output = script(
      "imported.mjs",
      `import { Server } from "socket.io";
       import itself, { createAdapter, RedisAdapter } from "socket.io-redis-native";
       import * as all from "socket.io-redis-native";
       console.log(typeof itself, itself === createAdapter, typeof RedisAdapter, Object.keys(all).sort().join(" "));
       ${TALK}`,
    );
    const [names, heard] = output.split("\n");
    assert.match(names, /^function true function .*RedisAdapter.*createAdapter.*default/);
    assert.strictEqual(heard, "heard 1");
  });

  it("has one state, whether it is required or imported", () => {
    const output = script(
      "both.mjs",
      `import { createRequire } from "node:module";
       import { createAdapter } from "socket.io-redis-native";
       console.log(createRequire(import.meta.url)("socket.io-redis-native").createAdapter === createAdapter);`,
    );
    assert.strictEqual(output, "true\n");
  });

  it("has the adapter of streams beside it, required and imported", () => {
    const output = script(
      "streams.mjs",
      `import { createRequire } from "node:module";
       import { Server } from "socket.io";
       import * as all from "socket.io-redis-native/streams";
       const { createAdapter } = createRequire(import.meta.url)("socket.io-redis-native/streams");
       console.log(Object.keys(all).join(" "), all.createAdapter === createAdapter);
       ${TALK}`,
    );
    assert.strictEqual(output, "createAdapter default true\nheard 1\n");
  });

  for (const file of ["script.cts", "module.mts"]) {
    it(`has types that a strict ${path.extname(file)} file compiles against`, () => {
      fs.writeFileSync(path.join(project, file), TYPESCRIPT);
      const tsc = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
      const flags = ["--strict", "--noEmit", "--target", "es2022", "--module", "node16", "--types", "node"];
      const { status, output } = run(process.execPath, [tsc, ...flags, file], project);
      assert.strictEqual(status, 0, output);
    });
  }

  it("compiles under the classic settings of older projects too", () => {
    fs.writeFileSync(path.join(project, "older.ts"), TYPESCRIPT);
    const tsc = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
    const flags = ["--strict", "--noEmit", "--target", "es2020", "--module", "commonjs", "--esModuleInterop"];
    const { status, output } = run(process.execPath, [tsc, ...flags, "--skipLibCheck", "older.ts"], project);
    assert.strictEqual(status, 0, output);
  });

  /**
   * Runs a script in the project and returns what it prints.
   *
   * @param {string} name
   * @param {string} text
   */
  function script(name, text) {
    fs.writeFileSync(path.join(project, name), text.replace("$URL", redis.url));
    const { status, stdout, output } = run(process.execPath, [name], project);
    assert.strictEqual(status, 0, output);
    return stdout;
  }
});

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
function run(command, args, cwd) {
  // What npm has told the scripts that it runs is not for the npm that we run.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle)_/.test(name)),
  );
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: "utf8",
    timeout: 50_000,
  });
  return { status, stdout: stdout ?? "", output: `${stdout}${stderr}${error ?? ""}` };
}

/** The version of a package that is installed here. @param {string} name */
function versionOf(name) {
  const manifest = path.join(ROOT, "node_modules", name, "package.json");
  return JSON.parse(fs.readFileSync(manifest, "utf8")).version;
}
