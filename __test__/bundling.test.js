// @ts-check
"use strict";

/**
 * What docs/bundling.md says works: a program in one file, without node_modules, that talks to another server.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { addonPath } = require("../scripts/addon");
const { skip } = require("./support/hooks");
const { ROOT, install, pack, run } = require("./support/packed");
const { startRedis } = require("./support/redis");

/** Two servers that hear each other, and an emitter. @param {string} url */
const program = (url) => `
  const { Server } = require("socket.io");
  const { createAdapter } = require("socket.io-redis-native");
  const { Emitter } = require("socket.io-redis-native/emitter");
  async function main() {
    // As a server that listens does: the adapters by themselves keep no process.
    const alive = setInterval(() => {}, 1000);
    const [a, b] = [1, 2].map(() => new Server({ adapter: createAdapter("${url}") }));
    await Promise.all([a, b].map((io) => io.of("/").adapter.ready));
    const emitter = new Emitter("${url}");
    await new Promise((resolve) => {
      b.on("hello", (from) => from === "the emitter" && resolve());
      a.on("hello", (from) => from === "the emitter" && a.serverSideEmit("hello", from));
      emitter.serverSideEmit("hello", "the emitter");
    });
    await emitter.close();
    for (const io of [a, b]) io.of("/").adapter.close();
    clearInterval(alive);
    console.log("bundled");
  }
  main();
`;

describe("a bundle", function () {
  this.timeout(60_000);

  /** @type {string} */
  let dir;
  /** @type {string} */
  let project;
  /** @type {import("./support/redis").RedisServer} */
  let redis;

  before(async function () {
    if (!fs.existsSync(addonPath())) skip(this, "the addon is not built");
    redis = await startRedis();
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "bundling-"));
    project = path.join(dir, "project");
    install(this, project, [pack(ROOT).tarball], ["socket.io"]);
    fs.writeFileSync(path.join(project, "app.js"), program(redis.url));
  });
  after(async () => {
    await redis?.stop();
    if (dir) fs.rmSync(dir, { recursive: true, force: true });
  });

  /** Where a bundle goes: nothing else is there. @param {string} name */
  function emptyFolder(name) {
    return fs.mkdtempSync(path.join(dir, `${name}-`));
  }

  /** @param {string} folder @param {string} file */
  function assertRuns(folder, file) {
    const { status, output } = run(process.execPath, [file], folder);
    assert.strictEqual(output, "bundled\n");
    assert.strictEqual(status, 0);
  }

  /** @param {string} folder @returns {string[]} */
  function kindsIn(folder) {
    return fs.readdirSync(folder).map((name) => path.extname(name));
  }

  it("by esbuild, with the addon beside it", async () => {
    const outdir = emptyFolder("esbuild");
    await require("esbuild").build({
      absWorkingDir: project,
      entryPoints: ["app.js"],
      bundle: true,
      platform: "node",
      loader: { ".node": "copy" },
      minify: true,
      outdir,
      logLevel: "error",
    });
    assert.deepStrictEqual(kindsIn(outdir).sort(), [".js", ".node"]);
    assertRuns(outdir, "app.js");
  });

  it("by esbuild, with the package outside", async () => {
    const outdir = fs.mkdtempSync(path.join(project, "esbuild-"));
    await require("esbuild").build({
      absWorkingDir: project,
      entryPoints: ["app.js"],
      bundle: true,
      platform: "node",
      external: ["socket.io-redis-native"],
      outdir,
      logLevel: "error",
    });
    assert.deepStrictEqual(kindsIn(outdir), [".js"]);
    assertRuns(outdir, "app.js");
  });

  /** @param {string} outdir @param {object} options */
  async function webpack(outdir, options) {
    const compiler = /** @type {any} */ (require("webpack"))({
      context: project,
      mode: "production",
      // That would take most of the time.
      optimization: { minimize: false },
      target: "node",
      entry: "./app.js",
      output: { path: outdir, filename: "app.js" },
      ...options,
    });
    const stats = await new Promise((resolve, reject) => {
      compiler.run((/** @type {any} */ error, /** @type {any} */ result) =>
        error ? reject(error) : resolve(result),
      );
    });
    await new Promise((resolve) => compiler.close(resolve));
    assert.deepStrictEqual(
      stats.toJson().errors.map((/** @type {any} */ error) => error.message),
      [],
    );
  }

  it("by webpack, with the addon beside it", async () => {
    const outdir = emptyFolder("webpack");
    await webpack(outdir, {
      module: { rules: [{ test: /\.node$/, loader: "node-loader" }] },
      // In a project it is found by its name; here it is not the project's.
      resolveLoader: { modules: [path.join(ROOT, "node_modules")] },
    });
    assert.deepStrictEqual(
      kindsIn(outdir)
        .filter((kind) => kind !== ".txt")
        .sort(),
      [".js", ".node"],
    );
    assertRuns(outdir, "app.js");
  });

  it("by webpack, with the package outside", async () => {
    const outdir = fs.mkdtempSync(path.join(project, "webpack-"));
    await webpack(outdir, { externals: [/^socket\.io-redis-native/], externalsType: "commonjs" });
    assertRuns(outdir, "app.js");
  });

  it("without the addon says so when it starts", async () => {
    const outdir = emptyFolder("none");
    await require("esbuild").build({
      absWorkingDir: project,
      entryPoints: ["app.js"],
      bundle: true,
      platform: "node",
      external: ["*.node", "socket.io-redis-native-*"],
      outdir,
      logLevel: "error",
    });
    const { status, output } = run(process.execPath, ["app.js"], outdir);
    assert.notStrictEqual(status, 0);
    assert.match(output, /its addon does not load here/);
    assert.match(output, /Is it a bundle\? Then the addon has to be beside it/);
  });
});
