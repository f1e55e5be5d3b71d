// @ts-check
"use strict";

/**
 * The types: what compiles against the reference packages compiles against this one, in all settings that projects
 * have; and what they say is so at run time. `npm run test:types` does the first with other versions of TypeScript.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const ts = require("typescript");
const { addonPath } = require("../scripts/addon");
const { skip } = require("./support/hooks");
const { FIXTURES, ROOT, SETTINGS, compile, layOut } = require("./support/types");

const IMPORTS = path.join(FIXTURES, "imports");

/** The ways to import that have to compile: with all settings but these. The others may. */
const COMPILE = {
  "default.ts": () => true,
  "named.ts": () => true,
  "star.ts": () => true,
  "dynamic.ts": () => true,
  "again.ts": () => true,
  "aliases.ts": () => true,
  // TypeScript has this for neither bundlers nor what is only stripped.
  "require.ts": (/** @type {string} */ name) => !/bundler|stripped/.test(name),
};

describe("types", function () {
  this.timeout(60_000);

  /** @type {string} */
  let dir;

  before(() => {
    // TypeScript tells files by their real path.
    dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "types-test-")));
    for (const side of /** @type {const} */ (["reference", "ours"])) {
      for (const esm of [false, true]) {
        const project = path.join(dir, side, esm ? "esm" : "cjs");
        fs.mkdirSync(project, { recursive: true });
        layOut(project, side, esm);
        fs.cpSync(FIXTURES, project, { recursive: true });
      }
    }
  });

  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  for (const [name, setting] of Object.entries(SETTINGS)) {
    const stripped = name.includes("stripped");
    /** @param {"reference" | "ours"} side */
    const project = (side) => path.join(dir, side, setting.esm ? "esm" : "cjs");

    describe(name, () => {
      // Stripped, the names of types would be imported at run time; other files have that.
      for (const side of /** @type {const} */ (stripped ? [] : ["reference", "ours"])) {
        it(`what programs write for the reference compiles against ${side === "ours" ? "this package" : "it"}`, () => {
          const errors = compile([path.join(project(side), "reference.ts")], setting);
          assert.strictEqual(errors.map(({ text }) => text).join(""), "");
        });
      }

      it("what this package adds compiles", () => {
        const errors = compile(
          ["ours.ts", "await-using.ts"].map((file) => path.join(project("ours"), file)),
          setting,
        );
        assert.strictEqual(errors.map(({ text }) => text).join(""), "");
      });

      it("what can be imported is there at run time", function () {
        if (!fs.existsSync(addonPath())) skip(this, "the addon is not built");
        const names = fs.readdirSync(IMPORTS).filter((file) => file !== "is.ts");
        const out = path.join(project("ours"), `out ${name}`);
        const from = path.join(project("ours"), "imports");
        const errors = compile(
          names.map((file) => path.join(from, file)),
          setting,
          out,
        );
        const compiled = names.filter((file) => errors.every((error) => error.file !== file));
        for (const [file, has] of Object.entries(COMPILE)) {
          const text = errors.filter((error) => error.file === file).map((error) => error.text);
          if (has(name)) assert.ok(compiled.includes(file), text.join(""));
        }
        const run = `
          let failed = false;
          for (const file of ${JSON.stringify(compiled.map((file) => `./${file.replace(/ts$/, "js")}`))})
            await import(file).then(({ load }) => load?.()).catch((error) => {
              failed = true;
              console.error(file, error);
            });
          process.exit(failed ? 1 : 0);`;
        fs.writeFileSync(path.join(out, "run.mjs"), run);
        const { status, stderr } = spawnSync(process.execPath, ["run.mjs"], { cwd: out, encoding: "utf8" });
        assert.strictEqual(status, 0, stderr);
      });
    });
  }

  for (const entry of ["index", "streams", "emitter"]) {
    it(`${entry}: import and require have the same names, and what is declared is there`, async () => {
      const [cjs, esm] = namesOf([`${entry}.d.ts`, `${entry}.d.mts`]);
      const imported = await import(path.join(ROOT, `${entry}.mjs`));
      const required = require(path.join(ROOT, `${entry}.js`));
      assert.deepStrictEqual(without("default", esm.all), without("default", cjs.all));
      assert.deepStrictEqual(Object.keys(imported).sort(), esm.values);
      assert.deepStrictEqual(
        without("default", Object.keys(required).sort()),
        without("default", cjs.values),
      );
    });
  }
});

/**
 * The names that modules of this package declare, sorted.
 *
 * @param {string[]} files
 */
function namesOf(files) {
  const paths = files.map((file) => path.join(ROOT, file));
  const program = ts.createProgram(paths, { module: ts.ModuleKind.Node16, types: [], noEmit: true });
  const checker = program.getTypeChecker();
  return paths.map((file) => {
    const source = program.getSourceFile(file);
    assert.ok(source);
    const symbol = checker.getSymbolAtLocation(source);
    assert.ok(symbol);
    const exported = checker.getExportsOfModule(symbol);
    const values = exported.filter((each) => {
      const target = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each;
      const typeOnly = each.declarations?.some((declaration) =>
        ts.isTypeOnlyImportOrExportDeclaration(declaration),
      );
      return target.flags & ts.SymbolFlags.Value && !typeOnly;
    });
    const sorted = (/** @type {ts.Symbol[]} */ list) => list.map(({ name }) => name).sort();
    return { all: sorted(exported), values: sorted(values) };
  });
}

/** @param {string} name @param {string[]} names */
function without(name, names) {
  return names.filter((each) => each !== name);
}
