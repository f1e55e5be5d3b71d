// @ts-check
"use strict";

/**
 * The package as npm would publish it, in a project of its own: required, imported and compiled against.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { addonPath } = require("../scripts/addon");
const { skip } = require("./support/hooks");
const { ROOT, install, pack, run } = require("./support/packed");
const { startRedis } = require("./support/redis");

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

const TYPESCRIPT = fs.readFileSync(path.join(__dirname, "fixtures", "types", "ours.ts"), "utf8");

/** Their folder in npm/, by the package that they stand in for. */
const ALIASES = {
  "@socket.io/redis-emitter": "alias-emitter",
  "@socket.io/redis-streams-adapter": "alias-streams",
};

describe("package", function () {
  this.timeout(60_000);

  /** @type {string} */
  let dir;
  /** @type {string} */
  let project;
  /** @type {string} */
  let tarball;
  /** @type {string[]} */
  let files;
  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async function () {
    if (!fs.existsSync(addonPath())) skip(this, "the addon is not built");
    redis = await startRedis();
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "package-test-"));
    ({ tarball, files } = pack(ROOT));
    project = path.join(dir, "project");
    install(this, project, [tarball]);
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
      "dist/index.js",
      "dist/index.d.ts",
      "dist/sharded-adapter.js",
      "dist/sharded-adapter.d.ts",
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
      /^(__test__|bench|demo|target|node_modules|npm)\/|^\.|\.tgz$|\.node$/.test(name),
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

  it("has types that strict .cts and .mts files compile against", () => {
    const names = ["script.cts", "module.mts"];
    for (const name of names) fs.writeFileSync(path.join(project, name), TYPESCRIPT);
    const tsc = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
    const flags = ["--strict", "--noEmit", "--target", "es2022", "--module", "node16", "--types", "node"];
    // The declarations themselves are checked by types.test.js; those of other packages are not ours.
    const args = [tsc, ...flags, "--skipLibCheck", ...names];
    const { status, output } = run(process.execPath, args, project);
    assert.strictEqual(status, 0, output);
  });

  it("compiles under the classic settings of older projects too", () => {
    fs.writeFileSync(path.join(project, "older.ts"), TYPESCRIPT);
    const tsc = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
    const flags = ["--strict", "--noEmit", "--target", "es2020", "--module", "commonjs", "--esModuleInterop"];
    const { status, output } = run(process.execPath, [tsc, ...flags, "--skipLibCheck", "older.ts"], project);
    assert.strictEqual(status, 0, output);
  });

  describe("under the names of the reference packages", () => {
    /** @type {string} */
    let aliased;

    before(function () {
      aliased = path.join(dir, "aliased");
      const others = Object.entries(ALIASES).map(([name, folder]) => {
        return `${name}@file:${pack(path.join(ROOT, "npm", folder)).tarball}`;
      });
      // Those that stand in for others depend on it: it is there already.
      const names = ["socket.io-redis-native", "@socket.io/redis-adapter", "socket.io-redis"];
      install(this, aliased, [...names.map((name) => `${name}@file:${tarball}`), ...others]);
    });

    it("has the same version everywhere", () => {
      for (const folder of Object.values(ALIASES)) {
        const manifest = require(path.join(ROOT, "npm", folder, "package.json"));
        assert.strictEqual(manifest.version, require("../package.json").version);
        assert.strictEqual(manifest.dependencies["socket.io-redis-native"], manifest.version);
      }
    });

    it("is required, by every path that programs use", () => {
      const output = script(
        "paths.cjs",
        `const { createAdapter, createShardedAdapter, RedisAdapter } = require("@socket.io/redis-adapter");
         const adapter = "@socket.io/redis-adapter";
         for (const path of ["", "/dist", "/dist/index", "/dist/index.js"]) {
           const found = require(adapter + path);
           console.log(path, found === createAdapter, found.createAdapter === createAdapter, found.RedisAdapter === RedisAdapter);
         }
         for (const path of ["/dist/sharded-adapter", "/dist/sharded-adapter.js"])
           console.log(path, require(adapter + path).createShardedAdapter === createShardedAdapter);
         for (const path of ["/dist/util", "/dist/util.js"])
           console.log(path, require(adapter + path).hasBinary({ a: [Buffer.alloc(1)] }));
         const old = require("socket.io-redis");
         for (const path of ["/dist", "/dist/index", "/dist/index.js", "/index.js"])
           console.log(path, require("socket.io-redis" + path) === old, typeof old);
         const streams = require("@socket.io/redis-streams-adapter").createAdapter;
         for (const path of ["/dist", "/dist/index", "/dist/index.js", "/dist/adapter", "/dist/adapter.js"])
           console.log(path, require("@socket.io/redis-streams-adapter" + path).createAdapter === streams);
         console.log(require("@socket.io/redis-streams-adapter/dist/util").hasBinary({ a: ["b"] }));
         const { Emitter } = require("@socket.io/redis-emitter");
         for (const path of ["/dist", "/dist/index", "/dist/index.js"])
           console.log(path, require("@socket.io/redis-emitter" + path).Emitter === Emitter);
         console.log(Object.keys(require("@socket.io/redis-emitter/dist/typed-events")));`,
        aliased,
      );
      assert.strictEqual(
        output,
        [
          " true true true",
          "/dist true true true",
          "/dist/index true true true",
          "/dist/index.js true true true",
          "/dist/sharded-adapter true",
          "/dist/sharded-adapter.js true",
          "/dist/util true",
          "/dist/util.js true",
          "/dist true function",
          "/dist/index true function",
          "/dist/index.js true function",
          "/index.js true function",
          "/dist true",
          "/dist/index true",
          "/dist/index.js true",
          "/dist/adapter true",
          "/dist/adapter.js true",
          "false",
          "/dist true",
          "/dist/index true",
          "/dist/index.js true",
          "[]",
          "",
        ].join("\n"),
      );
    });

    it("is imported, by name and by default", () => {
      const output = script(
        "imported.mjs",
        `import byDefault, { createAdapter, createShardedAdapter, RedisAdapter } from "@socket.io/redis-adapter";
         import { createAdapter as again } from "@socket.io/redis-adapter/dist/index.js";
         import { createShardedAdapter as shardedAgain } from "@socket.io/redis-adapter/dist/sharded-adapter.js";
         import old, { createAdapter as oldByName } from "socket.io-redis";
         import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
         import { createAdapter as streamsAgain } from "@socket.io/redis-streams-adapter/dist/adapter.js";
         import streams from "@socket.io/redis-streams-adapter";
         import { BroadcastOperator, Emitter, RESERVED_EVENTS } from "@socket.io/redis-emitter";
         console.log(byDefault === createAdapter, again === createAdapter, shardedAgain === createShardedAdapter);
         console.log(typeof RedisAdapter, typeof old, old === oldByName);
         console.log(streamsAgain === createStreamsAdapter, streams.createAdapter === createStreamsAdapter);
         console.log(typeof BroadcastOperator, typeof Emitter, RESERVED_EVENTS.has("connect"));`,
        aliased,
      );
      assert.strictEqual(
        output,
        "true true true\nfunction function true\ntrue true\nfunction function true\n",
      );
    });

    it("connects servers, in place of the reference's adapter and of its streams adapter", () => {
      for (const name of ["adapter", "streams-adapter"]) {
        const text = `const { Server } = require("socket.io");
          const { createAdapter } = require("@socket.io/redis-${name}");
          ${TALK}`;
        assert.strictEqual(script(`talk-${name}.cjs`, text, aliased), "heard 1\n");
      }
    });
  });

  /**
   * Runs a script in the project and returns what it prints.
   *
   * @param {string} name
   * @param {string} text
   * @param {string} [folder]
   */
  function script(name, text, folder = project) {
    fs.writeFileSync(path.join(folder, name), text.replace("$URL", redis.url));
    const { status, stdout, output } = run(process.execPath, [name], folder);
    assert.strictEqual(status, 0, output);
    return stdout;
  }
});
