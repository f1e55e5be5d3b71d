// @ts-check
"use strict";

/**
 * `npm run build`: builds the addon, with optimisation unless `--debug` is given. The CLI of napi-rs does it where
 * it can, since it also generates binding.js and binding.d.ts; else cargo does, and those stay as they are.
 */

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { PROFILE_STAMP, ROOT, addonPath, buildWithCargo, cargoEnv } = require("./addon.js");

/**
 * Builds the addon. Returns whether that worked; what went wrong was printed.
 *
 * @param {{ debug?: boolean }} [options]
 */
function build({ debug = false } = {}) {
  const cli = path.join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js");
  const built =
    fs.existsSync(cli) && runsNapiCli(process.versions.node) ? napiBuild(cli, debug) : cargoBuild(debug);
  if (!built) return false;
  // The CLI leaves a file alone that did not change: it counts as built now all the same.
  const now = new Date();
  fs.utimesSync(addonPath(), now, now);
  fs.mkdirSync(path.dirname(PROFILE_STAMP), { recursive: true });
  fs.writeFileSync(PROFILE_STAMP, debug ? "debug" : "release");
  return true;
}

/**
 * @param {string} cli
 * @param {boolean} debug
 */
function napiBuild(cli, debug) {
  const args = [cli, "build", "--platform", "--js", "binding.js", "--dts", "binding.d.ts"];
  if (!debug) args.push("--release");
  const { status } = spawnSync(process.execPath, [...args, "--", "--locked"], {
    cwd: ROOT,
    env: cargoEnv(),
    stdio: "inherit",
  });
  if (status !== 0) return false;
  if (fs.existsSync(addonPath())) return true;
  console.error(`the build made no ${path.basename(addonPath())}: is another target set?`);
  return false;
}

/** @param {boolean} debug */
function cargoBuild(debug) {
  if (!fs.existsSync(path.join(ROOT, "binding.js"))) {
    console.error(
      "binding.js is missing: only the CLI of napi-rs can make it (Node 20.17, 22.13, 23.5 or later)",
    );
    return false;
  }
  return buildWithCargo({ debug });
}

/**
 * Returns whether a version of Node can run the CLI of napi-rs 3, going by its `engines`.
 *
 * @param {string} version
 */
function runsNapiCli(version) {
  const [major, minor] = version.split(".").map(Number);
  if (major === 20) return minor >= 17;
  if (major === 22) return minor >= 13;
  if (major === 23) return minor >= 5;
  return major > 23;
}

module.exports = { build, runsNapiCli };

if (require.main === module) {
  process.exitCode = build({ debug: process.argv.includes("--debug") }) ? 0 : 1;
}
