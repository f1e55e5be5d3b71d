// @ts-check
"use strict";

/**
 * `node scripts/performance.js FILE [DOCS]`: makes docs/performance.md and all of docs/performance/ from what
 * `npm run bench -- --only delivery --json FILE` has measured. DOCS is another folder than docs/, with a performance.md of its
 * own. Of that page only what stands between the two markers is made; the rest is by hand. The same FILE gives the same bytes.
 *
 * scripts/performance/ has what only this script needs: figures.js reads and compares, page.js writes Markdown, plots.js says
 * what is plotted, and chart.js draws SVG.
 */

const fs = require("node:fs");
const path = require("node:path");
const { ROOT } = require("./addon.js");
const { readResults } = require("./performance/figures.js");
const { describe } = require("./performance/page.js");
const { makePlots } = require("./performance/plots.js");

const BEGIN = "<!-- Made by scripts/performance.js: from here on by hand nothing is kept -->";
const END = "<!-- The end of what is made -->";

/** What is made in performance/, and nothing else: it is removed if it is not made again. */
const MADE = /\.svg$/;

/**
 * Makes the page, the plots and the copy of the results.
 *
 * @param {string} json what the bench has written
 * @param {string} docs the folder of the page
 */
function makePage(json, docs) {
  const results = readResults(json);
  const page = path.join(docs, "performance.md");
  const plots = makePlots(results.rows);
  // Before anything is written: the page may have no markers.
  const text = replaceMade(fs.readFileSync(page, "utf8"), describe(results, plots));

  const folder = path.join(docs, "performance");
  fs.mkdirSync(folder, { recursive: true });
  for (const name of fs.readdirSync(folder)) if (MADE.test(name)) fs.rmSync(path.join(folder, name));
  for (const { file: name, svg } of plots) fs.writeFileSync(path.join(folder, name), svg);
  fs.writeFileSync(path.join(folder, "delivery.json"), printResults(results));
  fs.writeFileSync(page, text);
}

/** @param {string} page @param {string} made @returns {string} */
function replaceMade(page, made) {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from === -1 || to < from) throw new Error(`the page needs these lines:\n${BEGIN}\n${END}`);
  return `${page.slice(0, from)}${BEGIN}\n\n${made}\n\n${page.slice(to)}`;
}

/**
 * As the bench has written it, but for the other parts, and a line for each row: so differences can be read.
 *
 * @param {import("./performance/figures.js").Results} results
 */
function printResults({ rows, ...head }) {
  const lines = rows.map((row) => JSON.stringify(row)).join(",\n");
  return `{"delivery":${JSON.stringify(head).replace(/}$/, "")},"rows":[\n${lines}\n]}}\n`;
}

if (require.main === module) {
  const [file, docs = path.join(ROOT, "docs")] = process.argv.slice(2);
  try {
    if (!file)
      throw new Error("which file? One that npm run bench -- --only delivery --json FILE has written");
    makePage(fs.readFileSync(file, "utf8"), docs);
  } catch (err) {
    console.error(/** @type {Error} */ (err).message);
    process.exitCode = 1;
  }
}

module.exports = { BEGIN, END, makePage };
