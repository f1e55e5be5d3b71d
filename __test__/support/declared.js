// @ts-check
"use strict";

/**
 * What the declarations of this package say, by TypeScript itself.
 */

const path = require("node:path");
const ts = require("typescript");

const ROOT = path.join(__dirname, "..", "..");

/**
 * @typedef {object} Member
 * @property {string} name
 * @property {string} type as TypeScript prints it
 * @property {boolean} isMethod
 * @property {boolean} isOptional
 * @property {string} [fallback] its default, as the comment has it
 * @property {string[]} returns the types that a method returns, by its overloads
 */

/** @type {{ program: ts.Program, checker: ts.TypeChecker } | null} */
let loaded = null;

function load() {
  if (loaded) return loaded;
  const files = ["index.d.ts", "streams.d.ts", "emitter.d.ts"].map((file) => path.join(ROOT, file));
  const options = { module: ts.ModuleKind.Node16, strict: true, types: ["node"], noEmit: true };
  const program = ts.createProgram(files, options);
  return (loaded = { program, checker: program.getTypeChecker() });
}

/**
 * The members of an exported type, those that it inherits from socket.io-adapter included, those of an EventEmitter not.
 *
 * @param {"index" | "streams" | "emitter"} entry
 * @param {string} name
 * @returns {Member[]}
 */
function membersOf(entry, name) {
  const { program, checker } = load();
  const source = program.getSourceFile(path.join(ROOT, `${entry}.d.ts`));
  const module = source && checker.getSymbolAtLocation(source);
  const exported = module && checker.getExportsOfModule(module).find((each) => each.name === name);
  if (!source || !exported) throw new Error(`${entry}.d.ts has no ${name}`);
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const members = checker.getDeclaredTypeOfSymbol(symbol).getProperties();
  return members
    .filter(
      (member) =>
        !member.declarations?.some((each) => each.getSourceFile().fileName.includes("/@types/node/")),
    )
    .map((member) => {
      const type = checker.getTypeOfSymbolAtLocation(member, source);
      const signatures = type.getCallSignatures();
      return {
        name: member.name,
        type: checker.typeToString(type),
        isMethod: signatures.length > 0,
        fallback: ts.displayPartsToString(member.getJsDocTags().find((tag) => tag.name === "default")?.text),
        isOptional: Boolean(member.flags & ts.SymbolFlags.Optional),
        returns: signatures.map((signature) => checker.typeToString(signature.getReturnType())),
      };
    });
}

module.exports = { membersOf };
