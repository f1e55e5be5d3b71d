// @ts-check
"use strict";

/**
 * The package as npm would publish it, in projects of their own.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { addonName, addonPath } = require("../../scripts/addon");
const { skip } = require("./hooks");

const ROOT = path.join(__dirname, "..", "..");

/** @typedef {{ tarball: string, files: string[] }} Packed */

/** What was packed already, by folder: several suites need the same. @type {Map<string, Packed>} */
const packages = new Map();

/**
 * Packs a folder as npm would publish it. Returns the path of the file, which is there until the process ends, and the
 * names of what is in it.
 *
 * @param {string} folder
 * @returns {Packed}
 */
function pack(folder) {
  const known = packages.get(folder);
  if (known !== undefined) return known;
  const into = fs.mkdtempSync(path.join(os.tmpdir(), "packed-"));
  process.once("exit", () => fs.rmSync(into, { recursive: true, force: true }));
  // Its scripts would build the addon again.
  const { status, output, stdout } = run(
    "npm",
    ["pack", "--ignore-scripts", "--json", "--pack-destination", into],
    folder,
  );
  assert.strictEqual(status, 0, output);
  const [{ filename, files }] = JSON.parse(stdout);
  const packed = {
    tarball: path.join(into, filename),
    files: files.map((/** @type {{ path: string }} */ file) => file.path),
  };
  packages.set(folder, packed);
  return packed;
}

/**
 * The package that brings the addon on this platform, as it is published beside the package; the addon is that of this
 * checkout. Returns its folder.
 *
 * @param {string} beside
 */
function addonPackage(beside) {
  const platform = addonName().split(".").at(-2) ?? "";
  const folder = path.join(beside, `addon-${platform}`);
  if (fs.existsSync(folder)) return folder;
  fs.cpSync(path.join(ROOT, "npm", platform), folder, { recursive: true });
  fs.copyFileSync(addonPath(), path.join(folder, addonName()));
  return folder;
}

/**
 * Makes a project with packages in it, the addon, and others in the versions that are here: npm's cache has these.
 *
 * @param {Mocha.Context} context
 * @param {string} folder
 * @param {string[]} packages
 * @param {string[]} [others]
 */
function install(context, folder, packages, others = ["socket.io", "redis"]) {
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true }));
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline"];
  const named = others.map((name) => `${name}@${versionOf(name)}`);
  const installed = run(
    "npm",
    ["install", ...quiet, addonPackage(path.dirname(folder)), ...packages, ...named],
    folder,
  );
  if (/ENOTCACHED|EAI_AGAIN|ENOTFOUND|ECONNREFUSED/.test(installed.output)) {
    skip(context, `${others.join(", ")} are neither in npm's cache nor to be had from the network`);
  }
  assert.strictEqual(installed.status, 0, installed.output);
}

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

module.exports = { ROOT, install, pack, run };
