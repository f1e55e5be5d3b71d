// @ts-check
"use strict";

/**
 * The wall of `lib/`: which file may import which, and no circles, of types neither. It ends with 1 and says where, if
 * something imports what it may not. `dependency-cruiser` finds who imports whom.
 */

const fs = require("node:fs");
const path = require("node:path");
const { ROOT } = require("../addon.js");

/** @typedef {{ files: string[], imports: string[] }} Layer its files in lib/, and the layers that it may import */

/** From the lowest up. A name that ends in `/` is a folder. @type {Record<string, Layer>} */
const LAYERS = {
  // What needs nothing of this package.
  base: { files: ["base/"], imports: [] },
  msgpack: { files: ["msgpack/"], imports: ["base"] },
  options: { files: ["options/"], imports: ["base", "msgpack"] },
  clients: { files: ["clients/"], imports: ["base", "options"] },
  link: { files: ["link/"], imports: ["base", "msgpack", "options", "clients"] },
  // Where Redis is.
  place: { files: ["place/"], imports: ["base", "options", "clients", "link"] },
  // How events get to the sockets.
  delivery: { files: ["delivery/"], imports: ["base", "msgpack", "link"] },
  // What members say to each other.
  messages: { files: ["messages/"], imports: ["base", "msgpack", "options", "link", "delivery"] },
  // Connections that come back.
  recovery: { files: ["recovery/"], imports: ["base", "msgpack", "link", "delivery", "messages"] },
  // A thread that writes to them.
  "fan-out": { files: ["fan-out/"], imports: ["base", "delivery"] },
  adapter: {
    files: ["adapter/"],
    imports: ["base", "msgpack", "options", "link", "place", "delivery", "messages", "recovery", "fan-out"],
  },
  // Works where there is no server: beside the adapters.
  emitter: {
    files: ["emitter/"],
    imports: ["base", "msgpack", "options", "link", "place", "delivery", "messages"],
  },
  // What packages that came before have beside that.
  legacy: { files: ["legacy/"], imports: ["base", "options"] },
};

/** What users import. */
const ENTRIES = ["index.js", "streams.js", "emitter.js", "dist"];

/** Matches the files of a layer. @param {Layer} layer */
function matcher({ files }) {
  const names = files.map((file) => file.replaceAll(".", "\\."));
  return `^lib/(${names.map((name) => (name.endsWith("/") ? name : `${name}$`)).join("|")})`;
}

const ALL = Object.values(LAYERS);

const OF_LAYERS = Object.entries(LAYERS).map(([name, layer]) => ({
  name: `${name} may import ${layer.imports.join(", ") || "nothing"} of lib/`,
  severity: "error",
  from: { path: matcher(layer) },
  to: {
    path: ALL.map(matcher),
    pathNot: [layer, ...layer.imports.map((name) => LAYERS[name])].map(matcher),
  },
}));

/** @type {import("dependency-cruiser", { with: { "resolution-mode": "import" } }).IFlattenedRuleSet} */
const RULES = {
  forbidden: /** @type {any} */ ([
    ...OF_LAYERS,
    { name: "no circles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "lib/ imports nothing that users import",
      severity: "error",
      from: { path: "^lib/" },
      to: { path: "^(index|streams|emitter|dist)\\b" },
    },
    {
      name: "lib/base/native.js alone loads the addon",
      severity: "error",
      from: { path: "^lib/", pathNot: "^lib/base/native\\.js$" },
      to: { path: "^binding\\.", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "what is imported is there, and comes with the package",
      severity: "error",
      from: { path: "^(lib|dist|index|streams|emitter)\\b" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown", "unknown", "undetermined"] },
    },
    {
      name: "an emitter needs no socket.io-adapter",
      severity: "error",
      from: { path: "^emitter\\.js$" },
      to: { path: "^node_modules/socket\\.io-adapter/", reachable: true },
    },
  ]),
};

async function main() {
  const { cruise } = await import("dependency-cruiser");
  process.chdir(ROOT);
  const { output } = await cruise(["lib", ...ENTRIES], {
    // What the types say in comments counts, too.
    parser: "tsc",
    tsPreCompilationDeps: true,
    detectJSDocImports: true,
    doNotFollow: { path: ["^node_modules/", "^binding\\."] },
    ruleSet: RULES,
    validate: true,
  });
  if (typeof output === "string") throw new Error(output);
  const { violations, totalCruised, totalDependenciesCruised } = output.summary;
  const told = new Set();
  // The circles last: what one import closes by breaking another rule would only repeat that.
  for (const { rule, from, to, cycle, via } of [...violations].sort(circlesLast)) {
    const way = (cycle ?? via ?? [{ name: to }]).map(({ name }) => name);
    const steps = way.map((name, i) => ({ from: way[i - 1] ?? from, to: name }));
    const key = cycle ? [...way].sort().join() : null;
    if (cycle && (told.has(key) || steps.some((step) => told.has(`${step.from} ${step.to}`)))) continue;
    told.add(key ?? `${from} ${to}`);
    const lines = steps.map((step) => `\n  ${place(output, step.from, step.to)} imports ${step.to}`);
    console.error(`${rule.name}:${lines.join("")}`);
  }
  const files = output.modules.map(({ source }) => source).filter((source) => source.startsWith("lib/"));
  const layered = new RegExp(ALL.map(matcher).join("|"));
  const strays = files.filter((file) => !layered.test(file));
  for (const file of strays) console.error(`${file} has no layer: give it one in scripts/wall/lib.js`);
  const gone = ALL.flatMap((layer) => layer.files).filter(
    (name) => !files.some((file) => file.startsWith(`lib/${name}`)),
  );
  for (const name of gone) console.error(`lib/${name} is not there: take it out of scripts/wall/lib.js`);
  const faults = told.size + strays.length + gone.length;
  console.log(`${totalCruised} files, ${totalDependenciesCruised} imports, ${faults} faults`);
  process.exitCode = faults === 0 ? 0 : 1;
}

/** @param {{ cycle?: unknown }} a @param {{ cycle?: unknown }} b */
function circlesLast(a, b) {
  return Number(Boolean(a.cycle)) - Number(Boolean(b.cycle));
}

/**
 * Returns the file that imports another, with the first line that names that.
 *
 * @param {import("dependency-cruiser", { with: { "resolution-mode": "import" } }).ICruiseResult} result
 * @param {string} from
 * @param {string} to
 */
function place({ modules }, from, to) {
  const { dependencies = [] } = modules.find(({ source }) => source === from) ?? {};
  const names = dependencies.filter(({ resolved }) => resolved === to).map(({ module }) => `"${module}"`);
  const lines = fs.readFileSync(path.join(ROOT, from), "utf8").split("\n");
  return `${from}:${lines.findIndex((line) => names.some((name) => line.includes(name))) + 1}`;
}

main().catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
