// @ts-check
"use strict";

/**
 * npm's `install` step for users of the package: nothing to do where a prebuilt addon loads; else the addon is
 * built from source, which takes cargo.
 */

const fs = require("node:fs");
const path = require("node:path");
const { ROOT, addonName, buildWithCargo, rustProblem } = require("./addon.js");

/** @returns {string | null} why the addon does not load, and what to do */
function load() {
  try {
    require("../lib/base/native.js");
    return null;
  } catch (err) {
    return /** @type {Error} */ (err).message;
  }
}

/** @returns {number} the exit code */
function install() {
  // A checkout of the project is set up by its own scripts (`npm test`, `npm run demo`).
  if (fs.existsSync(path.join(ROOT, ".git"))) return 0;
  const missing = load();
  if (missing === null) return 0;

  const problem = rustProblem();
  if (problem) {
    console.error(`${missing}\nIt cannot be built now: ${problem}.`);
    return 1;
  }
  console.log(`socket.io-redis-native: no prebuilt addon loads here; building it from source, once.`);
  const built = buildWithCargo();
  if (built) fs.rmSync(path.join(ROOT, "target"), { recursive: true, force: true });
  // A fresh process: what failed to load here is remembered here.
  const failure = built ? loadAfresh() : "cargo failed, see above";
  if (failure === null) return 0;
  console.error(`socket.io-redis-native: could not build ${addonName()}: ${failure}`);
  return 1;
}

/** @returns {string | null} why the new addon does not load */
function loadAfresh() {
  const { spawnSync } = require("node:child_process");
  const script =
    "try { require('./lib/base/native.js') } catch (error) { console.error(error.message); process.exit(1) }";
  const { status, stderr } = spawnSync(process.execPath, ["-e", script], {
    cwd: ROOT,
    encoding: "utf8",
  });
  return status === 0 ? null : stderr;
}

process.exitCode = install();
