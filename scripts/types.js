// @ts-check
"use strict";

/**
 * `npm run test:types`: what programs write for the reference packages, and what this package adds, compiled against this
 * package by each of several versions of TypeScript, in each setting that the version has. Prints a table. Versions may
 * be named after `--`; they are installed into `target/typescript`.
 */

const { spawn, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { ROOT } = require("./addon.js");
const { setup } = require("./setup.js");

/** The oldest that the reference packages are built with, the first and the last of 5, and those since. */
const VERSIONS = ["4.9", "5.0", "5.4", "5.9", "6", "7"];

/** @param {string[]} versions */
async function main(versions) {
  await setup({ build: false, redis: false });
  const { FIXTURES, SETTINGS, layOut } = require("../__test__/support/types.js");
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "types-")));
  /** @type {Map<string, Map<string, string | null>>} errors, null if there is no such setting */
  const results = new Map();
  try {
    for (const version of versions) {
      const tsc = install(version);
      /** @type {Map<string, string | null>} */
      const row = new Map();
      results.set(version, row);
      for (const [name, setting] of Object.entries(SETTINGS)) {
        const options = optionsFor(version, setting.options);
        if (options === null) row.set(name, null);
        else {
          const project = path.join(dir, `${version} ${name}`);
          fs.mkdirSync(project);
          layOut(project, "ours", setting.esm);
          fs.cpSync(FIXTURES, project, { recursive: true });
          row.set(name, await compile(version, tsc, project, options, name));
        }
        process.stdout.write(".");
      }
    }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
  print(Object.keys(SETTINGS), results);
}

/**
 * Returns the compiler of a version, installed if it is not yet.
 *
 * @param {string} version
 */
function install(version) {
  const place = path.join(ROOT, "target", "typescript", version);
  const tsc = path.join(place, "node_modules", "typescript", "bin", "tsc");
  if (!fs.existsSync(tsc)) {
    fs.mkdirSync(place, { recursive: true });
    fs.writeFileSync(path.join(place, "package.json"), JSON.stringify({ private: true }));
    const { status } = spawnSync("npm", ["install", "--no-audit", "--no-fund", `typescript@${version}`], {
      cwd: place,
      stdio: ["ignore", "ignore", "inherit"],
      shell: process.platform === "win32",
    });
    if (status !== 0) throw new Error(`TypeScript ${version} could not be installed`);
  }
  return tsc;
}

/**
 * Returns the options as a version takes them, or null if it does not have the setting.
 *
 * @param {string} version
 * @param {Record<string, any>} options
 * @returns {Record<string, any> | null}
 */
function optionsFor(version, options) {
  const number = Number(version);
  if (options.moduleResolution === "bundler" && number < 5) return null;
  if (options.verbatimModuleSyntax && number < 5) return null;
  const old = options.moduleResolution === "node" || options.esModuleInterop === false;
  if (old && number >= 7) return null;
  const { erasableSyntaxOnly, ...rest } = options;
  return {
    ...rest,
    ...(erasableSyntaxOnly && number >= 5.8 ? { erasableSyntaxOnly } : {}),
    ...(old && number >= 6 ? { ignoreDeprecations: "6.0" } : {}),
  };
}

/**
 * Compiles a project and returns the errors in its own files and in what this package declares. What is wrong with the
 * types of other packages, in a version that these were not made for, is not looked at.
 *
 * @param {string} version
 * @param {string} tsc
 * @param {string} project
 * @param {Record<string, any>} options
 * @param {string} name of the setting
 * @returns {Promise<string>}
 */
function compile(version, tsc, project, options, name) {
  const { COMMON } = require("../__test__/support/types.js");
  // Stripped, the names of types would be imported at run time.
  const files = name.includes("stripped") ? ["ours.ts"] : ["ours.ts", "reference.ts"];
  if (Number(version) >= 5.2) files.push("await-using.ts");
  const imports = ["default", "named", "star", "dynamic", "again", "aliases"];
  files.push(...imports.map((file) => `imports/${file}.ts`));
  const config = { compilerOptions: { ...COMMON, ...options, noEmit: true, skipLibCheck: true }, files };
  fs.writeFileSync(path.join(project, "tsconfig.json"), JSON.stringify(config));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [tsc, "-p", ".", "--pretty", "false"], { cwd: project });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    child.once("error", reject);
    child.once("close", () => {
      const lines = output.split("\n").filter((line) => /error TS/.test(line));
      // After an error of syntax, wherever it is, types are not checked.
      const syntax = lines.filter((line) => /error TS1\d{3}:/.test(line));
      if (syntax.length > 0) return resolve(syntax.join("\n"));
      resolve(lines.filter((line) => !line.split("(")[0].includes("node_modules/")).join("\n"));
    });
  });
}

/**
 * @param {string[]} settings
 * @param {Map<string, Map<string, string | null>>} results
 */
function print(settings, results) {
  const width = Math.max(...settings.map((name) => name.length));
  const versions = [...results.keys()];
  console.log(`\n\n${"".padEnd(width)}  ${versions.map((version) => version.padEnd(6)).join("  ")}`);
  let failed = 0;
  let passed = 0;
  for (const name of settings) {
    const cells = versions.map((version) => {
      const errors = results.get(version)?.get(name);
      if (errors === null || errors === undefined) return "–";
      if (errors) failed++;
      else passed++;
      return errors ? "FAILED" : "ok";
    });
    console.log(`${name.padEnd(width)}  ${cells.map((cell) => cell.padEnd(6)).join("  ")}`);
  }
  for (const [version, row] of results)
    for (const [name, errors] of row) if (errors) console.log(`\nTypeScript ${version}, ${name}\n${errors}`);
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

main(process.argv.length > 2 ? process.argv.slice(2) : VERSIONS).catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
