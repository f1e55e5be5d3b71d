// @ts-check
"use strict";

/**
 * Where the addon is, what it is built from, and how cargo alone builds it. Node core only: this runs before any
 * npm package is there, and on the machines of users who install from source.
 */

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const ROOT = path.join(__dirname, "..");
const NAME = "socket.io-redis-native";

/** What the addon is compiled from, relative to the package. */
const SOURCES = ["Cargo.toml", "Cargo.lock", "build.rs", "src"];

/** Says which profile the addon was last built with. */
const PROFILE_STAMP = path.join(ROOT, "target", "addon-profile");

/**
 * Returns the name under which the generated binding.js looks for the addon on this platform.
 *
 * @param {string} [platform] as in `process.platform`
 * @param {string} [arch] as in `process.arch`
 * @param {boolean} [musl] whether a Linux is one of musl
 */
function addonName(platform = process.platform, arch = process.arch, musl = isMusl()) {
  switch (platform) {
    case "linux": {
      const libc = musl ? "musl" : "gnu";
      return `${NAME}.linux-${arch}-${libc}${arch === "arm" ? "eabihf" : ""}.node`;
    }
    case "win32":
      return `${NAME}.win32-${arch}-msvc.node`;
    case "android":
      return `${NAME}.android-${arch === "arm" ? "arm-eabi" : arch}.node`;
    default:
      return `${NAME}.${platform}-${arch}.node`;
  }
}

/** Returns the path of this platform's addon, built or not. */
function addonPath() {
  return path.join(ROOT, addonName());
}

/** Returns whether this Node runs on musl, going by what it was linked with. */
function isMusl() {
  if (process.platform !== "linux") return false;
  const { header } = /** @type {any} */ (process.report.getReport());
  return !header.glibcVersionRuntime;
}

/**
 * Returns whether `file` is missing, or older than any of `sources` (files, or directories with all in them).
 * Sources that are missing do not count.
 *
 * @param {string} file
 * @param {string[]} sources
 */
function isStale(file, sources) {
  const built = fs.statSync(file, { throwIfNoEntry: false });
  return !built || sources.some((source) => newest(source) > built.mtimeMs);
}

/**
 * @param {string} place
 * @returns {number} milliseconds
 */
function newest(place) {
  const stat = fs.statSync(place, { throwIfNoEntry: false });
  if (!stat) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  // The directory's own time tells of files that were removed.
  return Math.max(stat.mtimeMs, ...fs.readdirSync(place).map((entry) => newest(path.join(place, entry))));
}

/** Returns whether the addon must be built before it may be tested, shown or measured. */
function isAddonStale() {
  const sources = SOURCES.map((source) => path.join(ROOT, source));
  const profile = fs.existsSync(PROFILE_STAMP) ? fs.readFileSync(PROFILE_STAMP, "utf8") : "release";
  return (
    profile !== "release" || isStale(addonPath(), sources) || !fs.existsSync(path.join(ROOT, "binding.js"))
  );
}

/**
 * Returns what is wrong with the Rust on this machine, in a sentence, or null if it will do.
 *
 * @returns {string | null}
 */
function rustProblem() {
  const { status, stdout } = spawnSync("cargo", ["--version"], { cwd: ROOT, encoding: "utf8" });
  const needed =
    /^rust-version = "(.+)"/m.exec(fs.readFileSync(path.join(ROOT, "Cargo.toml"), "utf8"))?.[1] ?? "1";
  if (status !== 0) return `there is no cargo on the PATH (Rust ${needed} or later is needed)`;
  const found = /\d+(\.\d+)*/.exec(stdout)?.[0] ?? "0";
  return isOlder(found, needed) ? `cargo is ${found}, and Rust ${needed} or later is needed` : null;
}

/**
 * @param {string} version
 * @param {string} than
 */
function isOlder(version, than) {
  const [a, b] = [version, than].map((v) => v.split(".").map(Number));
  const differs = b.findIndex((part, i) => part !== (a[i] ?? 0));
  return differs >= 0 && (a[differs] ?? 0) < b[differs];
}

/**
 * Builds the addon by cargo alone and puts it where binding.js looks for it. Returns whether that worked; what
 * went wrong was printed.
 *
 * @param {{ debug?: boolean }} [options]
 */
function buildWithCargo({ debug = false } = {}) {
  const args = ["build", "--lib", "--locked", "--message-format=json-render-diagnostics"];
  if (!debug) args.push("--release");
  const { status, stdout } = spawnSync("cargo", args, {
    cwd: ROOT,
    encoding: "utf8",
    env: cargoEnv(),
    maxBuffer: 2 ** 30,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) return false;
  const library = findLibrary(stdout);
  if (!library) {
    console.error("cargo made no shared library");
    return false;
  }
  // Renamed into place: a process that has the old one loaded keeps it.
  const copy = `${addonPath()}.tmp`;
  fs.copyFileSync(library, copy);
  fs.renameSync(copy, addonPath());
  return true;
}

/** Returns the environment for cargo: on musl a shared library needs the C library to be one too. */
function cargoEnv() {
  if (!isMusl()) return process.env;
  return { ...process.env, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} -C target-feature=-crt-static`.trim() };
}

/**
 * Returns the path of the shared library among cargo's JSON messages, wherever its target directory is.
 *
 * @param {string} messages
 * @returns {string | null}
 */
function findLibrary(messages) {
  let library = null;
  for (const line of messages.split("\n")) {
    if (!line.startsWith("{")) continue;
    const { reason, target, filenames } = JSON.parse(line);
    if (reason !== "compiler-artifact" || !target.kind.includes("cdylib")) continue;
    library = filenames.find((/** @type {string} */ name) => /\.(so|dylib|dll)$/.test(name)) ?? library;
  }
  return library;
}

module.exports = {
  ROOT,
  PROFILE_STAMP,
  addonName,
  addonPath,
  buildWithCargo,
  cargoEnv,
  findLibrary,
  isAddonStale,
  isMusl,
  isOlder,
  isStale,
  rustProblem,
};
