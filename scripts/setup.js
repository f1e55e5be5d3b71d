// @ts-check
"use strict";

/**
 * What `npm test`, `npm run demo` and `npm run bench` need, brought in on a machine that has only Node and cargo.
 * Each step says what it does in one line, and is passed over when it was done before.
 */

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { ROOT, isAddonStale, isStale, rustProblem } = require("./addon.js");
const { build } = require("./build.js");

const MIN_NODE = 18;

/** How each system's package manager brings Redis; the first one that is there is used. */
const PACKAGE_MANAGERS = [
  { command: "apt-get", steps: ["apt-get update -q", "apt-get install -y -q redis-server"] },
  { command: "dnf", steps: ["dnf install -y redis || dnf install -y valkey-compat-redis"] },
  { command: "apk", steps: ["apk add redis"] },
  { command: "pacman", steps: ["pacman -Sy --noconfirm redis || pacman -Sy --noconfirm valkey"] },
  { command: "brew", steps: ["brew install redis"], asUser: true },
];

/**
 * Brings in what is missing; ends the process with 1 and a message where it cannot.
 *
 * @param {{ build?: boolean, redis?: boolean }} [options] `build`: an addon that is up to date; `redis`: a
 *   redis-server on the PATH (leave it off where the user names a Redis of their own)
 * @returns {Promise<void>}
 */
async function setup({ build: wantsAddon = true, redis = true } = {}) {
  checkTools(wantsAddon);
  installPackages();
  if (redis) installRedis();
  if (wantsAddon && isAddonStale()) {
    step("building the addon (cargo, release: a few minutes the first time)");
    if (!build()) fail("The addon could not be built, see above.");
  }
}

/** @param {boolean} wantsAddon */
function checkTools(wantsAddon) {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < MIN_NODE) fail(`This needs Node ${MIN_NODE} or later; here is ${process.version}.`);
  const problem = wantsAddon ? rustProblem() : null;
  if (problem)
    fail(`The core is built from source, but ${problem}. Install Rust with rustup, then try again.`);
}

function installPackages() {
  // npm writes this file at the end of every install.
  const installed = path.join(ROOT, "node_modules", ".package-lock.json");
  const lock = path.join(ROOT, "package-lock.json");
  if (!isStale(installed, [lock])) return;
  step("installing the npm packages (npm ci)");
  // No package here needs its scripts, and our own `install` is for users of the package.
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  // On Windows npm is a batch file, which only a shell can run.
  const { status } = spawnSync("npm", args, {
    cwd: ROOT,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) fail("The npm packages could not be installed (npm ci failed, see above).");
  const now = new Date();
  fs.utimesSync(installed, now, now);
}

function installRedis() {
  if (isOnPath("redis-server")) return;
  const manager = PACKAGE_MANAGERS.find(({ command }) => isOnPath(command));
  const byHand = "Install redis-server (6 or later) by hand, so that it is on the PATH, then try again.";
  if (!manager)
    return fail(`There is no redis-server on the PATH, and no package manager known here. ${byHand}`);
  step(`installing redis-server (${manager.command})`);
  const isRoot = process.getuid?.() === 0;
  const sudo = isRoot || manager.asUser ? [] : isOnPath("sudo") ? ["sudo", "-E"] : null;
  if (!sudo) return fail(`There is no redis-server on the PATH, and only root may install it. ${byHand}`);
  const [command, ...args] = [...sudo, "sh", "-c", installScript(manager)];
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status !== 0 || !isOnPath("redis-server")) fail(`redis-server could not be installed. ${byHand}`);
}

/**
 * Returns the shell script that installs Redis. On Debian the package would start a server on the default port:
 * while a policy-rc.d that says 101 is there, it does not.
 *
 * @param {{ command: string, steps: string[] }} manager
 */
function installScript({ command, steps }) {
  const script = ["set -e", ...steps];
  if (command === "apt-get") {
    const policy = "/usr/sbin/policy-rc.d";
    script.splice(
      1,
      0,
      "export DEBIAN_FRONTEND=noninteractive",
      `if [ ! -e ${policy} ]; then`,
      `  trap 'rm -f ${policy}' EXIT`,
      `  printf '#!/bin/sh\\nexit 101\\n' > ${policy} && chmod +x ${policy}`,
      "fi",
    );
  }
  return script.join("\n");
}

/** @param {string} command */
function isOnPath(command) {
  const extensions = process.platform === "win32" ? [".exe", ".cmd"] : [""];
  return (process.env.PATH ?? "")
    .split(path.delimiter)
    .some((dir) => dir && extensions.some((ext) => fs.existsSync(path.join(dir, command + ext))));
}

/** @param {string} what */
function step(what) {
  console.log(`setup: ${what}`);
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(message);
  process.exit(1);
}

module.exports = { setup, installScript, isOnPath };
