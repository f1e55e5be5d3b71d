// @ts-check
"use strict";

/**
 * The snippets of README.md and docs/: found, and made into files that can be run.
 */

const fs = require("node:fs");
const path = require("node:path");
const ts = require("typescript");

const ROOT = path.join(__dirname, "..", "..");

/**
 * @typedef {object} Snippet
 * @property {string} title file and line
 * @property {"js" | "ts"} language
 * @property {string} text
 */

/** Every block of code in the pages for users. Of a difference it is what it comes to. @returns {Snippet[]} */
function findSnippets() {
  const docs = fs.readdirSync(path.join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...docs.map((name) => `docs/${name}`)].flatMap((page) => {
    const text = fs.readFileSync(path.join(ROOT, page), "utf8");
    return Array.from(text.matchAll(/^```(js|ts|diff)\n(.*?)^```/gms), (match) => {
      const [, language, code] = match;
      const line = text.slice(0, match.index).split("\n").length + 1;
      const isDiff = language === "diff";
      const added = code.replace(/^- .*\n/gm, "").replace(/^\+ /gm, "");
      return {
        title: `${page}:${line}`,
        language: language === "ts" ? "ts" : "js",
        text: isDiff ? added : code,
      };
    });
  });
}

/**
 * What a fragment continues: the names that it uses and does not declare, and what stands for them.
 *
 * @type {Record<string, string>}
 */
const CONTEXT = {
  Emitter: `const { Emitter } = require("socket.io-redis-native/emitter");`,
  Redis: `const { Redis } = require("ioredis");`,
  Server: `const { Server } = require("socket.io");`,
  createAdapter: `const { createAdapter } = require("socket.io-redis-native");`,
  createClient: `const { createClient } = require("redis");`,
  createShardedAdapter: `const { createShardedAdapter } = require("socket.io-redis-native");`,
  currentPassword: `const currentPassword = async () => "secret";`,
  fs: `const fs = require("node:fs");`,
  redisAdapter: `const redisAdapter = require("socket.io-redis-native");`,
  client: `const client = require("redis").createClient({ url: "redis://localhost:6379" });
client.connect();`,
  redisClient: `const redisClient = require("redis").createClient({ url: "redis://localhost:6379" });
redisClient.connect();`,
  pubClient: `const pubClient = require("redis").createClient({ url: "redis://localhost:6379" });
pubClient.connect();`,
  subClient: `const subClient = require("redis").createClient({ url: "redis://localhost:6379" });
subClient.connect();`,
  emitter: `const emitter = new (require("socket.io-redis-native/emitter").Emitter)("redis://localhost:6379");`,
  io: `const io = new (require("socket.io").Server)({
  adapter: require("socket.io-redis-native").createAdapter("redis://localhost:6379"),
});`,
};

/**
 * Makes a file of a snippet: what it continues before it, the snippet as it stands, and behind it what hands over what
 * it has declared to snippet-watch.js.
 *
 * @param {Snippet} snippet
 * @returns {{ name: string, source: string, context: string[], shown: string[] }}
 */
function fileOf({ title, language, text }) {
  const { used, declared, functions } = namesOf(text);
  const context = Object.keys(CONTEXT).filter((name) => used.has(name) && !declared.has(name));
  const isModule = /^import\b/m.test(text);
  if (isModule && context.length > 0) throw new Error(`${title} imports, and lacks ${context}`);
  const shown = ["adapter", "pubClient"].filter((name) => declared.has(name) && isTopLevel(text, name));
  const calls = functions.filter((name) => !used.has(name));
  const source = [
    ...context.map((name) => CONTEXT[name]),
    text,
    `globalThis.snippet?.end({ ${[...shown, `functions: [${calls}]`].join(", ")} });\n`,
  ].join("\n");
  const name = `${title.replace(/\W+/g, "-")}.${isModule ? "mjs" : "cjs"}`;
  // Not every Node.js that runs this knows `await using`, nor what TypeScript adds.
  if (language === "js" && !text.includes("await using")) return { name, source, context, shown };
  const { ESNext, CommonJS } = ts.ModuleKind;
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: isModule ? ESNext : CommonJS };
  return { name, source: ts.transpileModule(source, { compilerOptions }).outputText, context, shown };
}

/**
 * The names that a text uses and those that it declares, wherever; and its functions that can be called as they are.
 *
 * @param {string} text
 */
function namesOf(text) {
  const used = new Set();
  const declared = new Set();
  const file = ts.createSourceFile("snippet.ts", text, ts.ScriptTarget.Latest, true);
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const named = /** @type {any} */ (parent);
      if (ts.isPropertyAccessExpression(parent) && parent.name === node) return;
      if (ts.isPropertyAssignment(parent) && parent.name === node) return;
      if (ts.isBindingElement(parent) && parent.propertyName === node) return;
      const declares =
        named.name === node &&
        (ts.isVariableDeclaration(parent) ||
          ts.isBindingElement(parent) ||
          ts.isParameter(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isImportSpecifier(parent) ||
          ts.isImportClause(parent));
      (declares ? declared : used).add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  const functions = file.statements
    .filter(ts.isFunctionDeclaration)
    .filter((statement) => statement.parameters.length === 0)
    .map((statement) => String(statement.name?.text));
  return { used, declared, functions };
}

/** @param {string} text @param {string} name */
function isTopLevel(text, name) {
  return new RegExp(`^(const|let) ${name}\\b`, "m").test(text);
}

module.exports = { fileOf, findSnippets };
