// @ts-check
"use strict";

/**
 * Compiles TypeScript as the users' projects do: in each of the settings that these have, against the reference packages
 * or against this package under their names.
 */

const fs = require("node:fs");
const path = require("node:path");
const ts = require("typescript");

const ROOT = path.join(__dirname, "..", "..");
const FIXTURES = path.join(ROOT, "__test__", "fixtures", "types");

/** What the projects use beside the packages that are looked at. */
const OTHERS = ["@types/node", "ioredis", "redis", "socket.io", "socket.io-adapter"];

/** The reference packages, by the name that they are imported by, and where they are here. */
const REFERENCE = {
  "@socket.io/redis-adapter": "@socket.io/redis-adapter",
  "@socket.io/redis-emitter": "@socket.io/redis-emitter",
  "@socket.io/redis-streams-adapter": "@socket.io/redis-streams-adapter",
  "socket.io-redis": "socket.io-redis-6",
};

/** What `npm install NAME@npm:PACKAGE` would put in place of these. */
const ALIASES = {
  "@socket.io/redis-adapter": ".",
  "@socket.io/redis-emitter": "npm/alias-emitter",
  "@socket.io/redis-streams-adapter": "npm/alias-streams",
  "socket.io-redis": ".",
};

/** @typedef {"reference" | "ours"} Side */

/**
 * @typedef {object} Setting
 * @property {boolean} esm whether the project's files are ES modules
 * @property {Record<string, any>} options as in tsconfig.json
 */

/** @type {Record<string, Setting>} */
const SETTINGS = {};
for (const esModuleInterop of [false, true]) {
  const title = esModuleInterop ? ", esModuleInterop" : "";
  const add = (/** @type {string} */ name, /** @type {boolean} */ esm, /** @type {object} */ options) => {
    SETTINGS[`${name}${title}`] = { esm, options: { ...options, esModuleInterop } };
  };
  add("CommonJS, node10", false, { module: "commonjs", moduleResolution: "node" });
  add("CommonJS, node16", false, { module: "node16" });
  add("ES modules, node16", true, { module: "node16" });
  add("ES modules, bundler", true, { module: "esnext", moduleResolution: "bundler" });
}
// What Node.js makes of TypeScript by itself: it takes the types out, and leaves the rest as it is.
SETTINGS["ES modules, types stripped"] = {
  esm: true,
  options: { module: "nodenext", verbatimModuleSyntax: true, erasableSyntaxOnly: true },
};

/** What all projects have. */
const COMMON = { strict: true, target: "es2022", types: ["node"], skipLibCheck: false };

/**
 * Lays out a project with one of the two in node_modules, and returns its folder.
 *
 * @param {string} dir where to
 * @param {Side} side
 * @param {boolean} esm
 */
function layOut(dir, side, esm) {
  const modules = path.join(dir, "node_modules");
  const here = path.join(ROOT, "node_modules");
  for (const name of OTHERS) link(path.join(here, name), path.join(modules, name));
  if (side === "reference") {
    for (const [name, place] of Object.entries(REFERENCE))
      link(path.join(here, place), path.join(modules, name));
  } else {
    link(ROOT, path.join(modules, "socket.io-redis-native"));
    for (const [name, place] of Object.entries(ALIASES)) {
      const from = path.join(ROOT, place);
      if (place === ".") link(from, path.join(modules, name));
      // What these depend on is found from where they are.
      else fs.cpSync(from, path.join(modules, name), { recursive: true });
    }
  }
  fs.writeFileSync(path.join(dir, "package.json"), JSON.stringify({ type: esm ? "module" : "commonjs" }));
  return dir;
}

/** @param {string} target @param {string} place */
function link(target, place) {
  fs.mkdirSync(path.dirname(place), { recursive: true });
  fs.symlinkSync(target, place, "junction");
}

/** Files that no program changes, parsed once. @type {Map<string, ts.SourceFile | undefined>} */
const parsed = new Map();

/**
 * Compiles files of a project. Those of packages that are not looked at are taken as they are.
 *
 * @param {string[]} files
 * @param {Setting} setting
 * @param {string} [outDir] where JavaScript is written to
 * @returns {{ file: string, text: string }[]} the errors
 */
function compile(files, { options }, outDir) {
  const { options: given } = ts.convertCompilerOptionsFromJson({ ...COMMON, ...options }, "/");
  /** @type {ts.CompilerOptions} */
  const all = { ...given, rootDir: path.dirname(files[0]), ...(outDir ? { outDir } : { noEmit: true }) };
  const host = ts.createCompilerHost(all);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (name, version, ...rest) => {
    if (!name.includes("/node_modules/")) return read(name, version, ...rest);
    const format = typeof version === "object" ? version.impliedNodeFormat : "";
    const key = `${name} ${format} ${all.moduleResolution ?? all.module}`;
    if (!parsed.has(key)) parsed.set(key, read(name, version, ...rest));
    return parsed.get(key);
  };
  const program = ts.createProgram(files, all, host);
  const looked = program.getSourceFiles().filter(({ fileName }) => isLookedAt(fileName));
  const errors = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...looked.flatMap((file) => [
      ...program.getSyntacticDiagnostics(file),
      ...program.getSemanticDiagnostics(file),
    ]),
  ];
  if (outDir) program.emit();
  return errors.map((error) => ({
    file: error.file ? path.basename(error.file.fileName) : "",
    text: ts.formatDiagnostic(error, {
      getCanonicalFileName: (name) => name,
      getCurrentDirectory: () => path.dirname(files[0]),
      getNewLine: () => "\n",
    }),
  }));
}

/** The files of the project, and what this package declares. @param {string} name */
function isLookedAt(name) {
  if (!name.includes("/node_modules/")) return true;
  return Object.keys(ALIASES).some((alias) => name.includes(`/node_modules/${alias}/dist/`));
}

module.exports = { COMMON, FIXTURES, ROOT, SETTINGS, compile, layOut };
