// @ts-check
"use strict";

/**
 * `npm run check`: everything that can be said of the code without running it. Ends with a verdict on each step.
 */

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { ROOT } = require("./addon.js");
const { setup } = require("./setup.js");

/** Licences that a package under MIT may depend on without further ado. */
const ALLOWED_LICENCES = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BSL-1.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-0",
  "Unicode-3.0",
  "Unlicense",
  "Zlib",
]);

/** The crate that looks at who imports whom in src/. */
const WALL = path.join("scripts", "wall", "Cargo.toml");

/** What prettier reads: all that is written by hand. */
const FORMATTED = [
  "*.{js,mjs,ts,json,md}",
  ".*.{js,json}",
  "{__test__,bench,demo,dist,docs,lib,npm,scripts}/**/*.{js,mjs,ts,json,md}",
];

/** @type {[string, () => boolean][]} */
const STEPS = [
  [
    "cargo fmt",
    () => [[], ["--manifest-path", WALL]].every((manifest) => run("cargo", ["fmt", "--check", ...manifest])),
  ],
  ["clippy", () => run("cargo", ["clippy", "--all-targets", "--locked", "--", "-D", "warnings"])],
  [
    "clippy, core alone",
    () =>
      run("cargo", ["clippy", "--all-targets", "--locked", "--no-default-features", "--", "-D", "warnings"]),
  ],
  ["cargo doc", () => run("cargo", ["doc", "--no-deps", "--locked"], { RUSTDOCFLAGS: "-D warnings" })],
  ["types", () => runPackage("typescript/bin/tsc", ["-p", "tsconfig.json"])],
  [
    "prettier",
    () =>
      runPackage("prettier/bin/prettier.cjs", [
        "--check",
        "--no-error-on-unmatched-pattern",
        ...FORMATTED,
        "!binding.*",
        "!package-lock.json",
        // Made by scripts/performance.js, a line for each row.
        "!docs/performance/*.json",
      ]),
  ],
  ["layers of lib/", () => run(process.execPath, [path.join("scripts", "wall", "lib.js")])],
  [
    "layers of src/",
    // Not in the directory of the addon's own build: neither waits for the other.
    () =>
      run("cargo", ["run", "--locked", "--manifest-path", WALL, "--target-dir", path.join("target", "wall")]),
  ],
  ["licences of packages", () => report(npmLicences())],
  ["licences of crates", () => report([...crateLicences("Cargo.toml"), ...crateLicences(WALL)])],
];

async function main() {
  await setup({ build: false, redis: false });
  /** @type {[string, boolean][]} */
  const verdicts = [];
  for (const [name, check] of STEPS) {
    console.log(`\n${name}`);
    verdicts.push([name, check()]);
  }
  console.log("");
  for (const [name, good] of verdicts) console.log(`${good ? "ok    " : "FAILED"} ${name}`);
  process.exitCode = verdicts.every(([, good]) => good) ? 0 : 1;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  if (error) console.error(error.message);
  return status === 0;
}

/**
 * @param {string} bin a script in node_modules
 * @param {string[]} args
 */
function runPackage(bin, args) {
  return run(process.execPath, [path.join(ROOT, "node_modules", bin), ...args]);
}

/** @typedef {{ name: string, licence: string | undefined }} Licensed */

/** @returns {Licensed[]} what is installed with the package */
function npmLicences() {
  const { packages } = JSON.parse(fs.readFileSync(path.join(ROOT, "package-lock.json"), "utf8"));
  return Object.entries(packages)
    .filter(([place, { dev }]) => place !== "" && !dev)
    .map(([place, { license }]) => ({ name: place.replace(/^.*node_modules\//, ""), licence: license }));
}

/**
 * @param {string} manifest
 * @returns {Licensed[]} what the crate is built from or tested with
 */
function crateLicences(manifest) {
  const args = ["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest];
  const { status, stdout } = spawnSync("cargo", args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 2 ** 30,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) return [{ name: "cargo metadata failed", licence: undefined }];
  const { packages } = JSON.parse(stdout);
  return packages.map((/** @type {any} */ { name, license }) => ({ name, licence: license ?? undefined }));
}

/** @param {Licensed[]} list */
function report(list) {
  const refused = list.filter(({ licence }) => !isAllowed(licence));
  for (const { name, licence } of refused) console.error(`${name}: ${licence ?? "no licence"}`);
  console.log(`${list.length} looked at, ${refused.length} refused`);
  return refused.length === 0;
}

/**
 * Returns whether an SPDX expression can be met by allowed licences alone. `a/b`, the old form of crates, is
 * `a OR b`.
 *
 * @param {string | undefined} expression
 * @returns {boolean}
 */
function isAllowed(expression) {
  const tokens = expression?.replaceAll("/", " OR ").match(/[()]|[\w.+-]+/g) ?? [];
  // An exception grants something on top of its licence.
  const known = tokens.filter((token, i) => token !== "WITH" && tokens[i - 1] !== "WITH");
  let at = 0;
  /** @returns {boolean} */
  const either = () => {
    let allowed = both();
    while (known[at] === "OR") {
      at++;
      allowed = both() || allowed;
    }
    return allowed;
  };
  const both = () => {
    let allowed = one();
    while (known[at] === "AND") {
      at++;
      allowed = one() && allowed;
    }
    return allowed;
  };
  const one = () => {
    if (known[at] !== "(") return ALLOWED_LICENCES.has(known[at++]);
    at++;
    const allowed = either();
    return known[at++] === ")" && allowed;
  };
  return either() && at === known.length;
}

module.exports = { isAllowed };

if (require.main === module) {
  main().catch((err) => {
    console.error(err);
    process.exitCode = 1;
  });
}
