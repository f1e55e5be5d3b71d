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
const { COMMON, FIXTURES, ROOT, SETTINGS, compile, layOut } = require("./support/types");

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

  it("the file for the reference uses everything that its packages declare for their users", () => {
    const project = path.join(dir, "reference", "cjs");
    const unused = unusedOf(path.join(project, "reference.ts"), [
      ...["@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "@socket.io/redis-emitter"],
      "socket.io-redis",
    ]);
    assert.deepStrictEqual(unused, []);
  });

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

/**
 * What packages declare and a file does not use: types, members of types, functions and constructors in all their
 * signatures. What is private is not for users, and so are the internals in dist/util.
 *
 * @param {string} file
 * @param {string[]} packages
 */
function unusedOf(file, packages) {
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...COMMON, ...SETTINGS["CommonJS, node10"].options },
    "/",
  );
  const program = ts.createProgram([file], { ...options, noEmit: true, preserveSymlinks: true });
  const checker = program.getTypeChecker();
  /** @type {Set<ts.Node>} */
  const used = new Set();
  const note = (/** @type {ts.Symbol | undefined} */ symbol) => {
    if (!symbol) return;
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    for (const declaration of target.declarations ?? []) used.add(declaration);
  };
  const visit = (/** @type {ts.Node} */ node) => {
    // What an import names is not used by that.
    if (ts.isImportDeclaration(node)) return;
    if (ts.isIdentifier(node) || ts.isStringLiteral(node)) note(checker.getSymbolAtLocation(node));
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      const declaration = checker.getResolvedSignature(node)?.declaration;
      if (declaration) used.add(declaration);
    }
    // The properties of an object that is written down are those of the type that is asked for.
    if (ts.isObjectLiteralExpression(node)) {
      const type = checker.getContextualType(node);
      for (const property of node.properties)
        if (property.name && type) note(type.getProperty(property.name.getText()));
    }
    ts.forEachChild(node, visit);
  };
  const source = program.getSourceFile(file);
  assert.ok(source);
  visit(source);

  const inPackages = (/** @type {ts.Node} */ node) =>
    packages.some((name) => node.getSourceFile().fileName.includes(`/node_modules/${name}/dist/`));
  /** @type {string[]} */
  const unused = [];
  let seen = 0;
  for (const each of program.getSourceFiles()) {
    const module = checker.getSymbolAtLocation(each);
    if (!inPackages(each) || !module || /util\.d\.ts$/.test(each.fileName)) continue;
    const where = each.fileName.replace(/^.*\/node_modules\//, "");
    for (const symbol of checker.getExportsOfModule(module)) {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      for (const declaration of target.declarations ?? []) {
        const members = ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration);
        for (const node of members ? [...declaration.members] : [declaration]) {
          if (ts.isIndexSignatureDeclaration(node)) continue;
          if (members && ts.getCombinedModifierFlags(/** @type {any} */ (node)) & ts.ModifierFlags.Private)
            continue;
          seen++;
          const name = /** @type {any} */ (node).name?.getText() ?? "constructor";
          if (!used.has(node)) unused.push(`${where}: ${symbol.name}${members ? `.${name}` : ""}`);
        }
      }
    }
  }
  assert.ok(seen > 50, `only ${seen} declarations`);
  return unused;
}

/** @param {string} name @param {string[]} names */
function without(name, names) {
  return names.filter((each) => each !== name);
}
