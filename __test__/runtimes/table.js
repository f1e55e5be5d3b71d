// @ts-check
"use strict";

/**
 * The table of `npm run test:runtimes` and `npm run test:servers`: what runs against families and transports.
 */

const run = require("./run");

/**
 * @typedef {object} Row
 * @property {string[]} command what runs a program
 * @property {import("../support/redis").RedisServer} redis
 * @property {boolean} [shardless] whether it knows no sharded pub/sub: that has to be said then
 * @property {number} [storm] how many emits of each shape there are, none unless given
 * @property {boolean} [values] whether the addon is given all kinds of values
 */

const COLUMNS = run.FAMILIES.flatMap((family) => run.TRANSPORTS.map((transport) => ({ family, transport })));

class Table {
  /** @type {string[][]} */
  #rows;
  /** @type {string[]} */
  #notes = [];
  #cells = 0;
  #failures = 0;

  /** @param {string} what stands in the first column */
  constructor(what) {
    this.#rows = [[what, ...COLUMNS.map(({ family, transport }) => `${family} ${transport}`)]];
  }

  /** Runs the cells of a row, one after the other. @param {string} title @param {Row} row */
  async add(title, { command, redis, shardless = false, storm = 0, values = false }) {
    const cells = [];
    for (const { family, transport } of COLUMNS) {
      const subject = { command, redis, family, transport };
      const refused = shardless && family === "sharded";
      cells.push(
        await this.#cell(`${title}: ${family}, ${transport}`, async () => {
          if (refused) return `n/a [${this.#note(await run.runRefused(subject))}]`;
          await run.runRing(subject);
          if (storm > 0) await run.runStorm(subject, storm);
          await run.runLastWords(subject);
          if (values && cells.length === 0) await run.runOddValues(command);
          return "passed";
        }),
      );
    }
    this.#rows.push([title, ...cells]);
  }

  /** @param {string} what @param {() => Promise<string>} test */
  async #cell(what, test) {
    this.#cells++;
    const start = performance.now();
    let text;
    try {
      text = await test();
    } catch (/** @type {any} */ error) {
      this.#failures++;
      text = `FAILED [${this.#note(`${what}\n${error.message}`)}]`;
    }
    console.log(`${what}: ${text} (${((performance.now() - start) / 1e3).toFixed(1)} s)`);
    return text;
  }

  /** @param {string} text @returns {number} */
  #note(text) {
    if (!this.#notes.includes(text)) this.#notes.push(text);
    return this.#notes.indexOf(text) + 1;
  }

  /** Prints it, and says whether nothing has failed. */
  print() {
    console.log("");
    const widths = this.#rows[0].map((_, column) => Math.max(...this.#rows.map((row) => row[column].length)));
    for (const [index, row] of this.#rows.entries()) {
      const line = row.map((text, column) => text.padEnd(widths[column])).join("  ");
      console.log(line.trimEnd());
      if (index === 0) console.log(widths.map((width) => "-".repeat(width)).join("  "));
    }
    for (const [index, text] of this.#notes.entries()) console.log(`\n[${index + 1}] ${text}`);
    console.log(`\n${this.#cells} cells, ${this.#failures} failed`);
    return this.#cells > 0 && this.#failures === 0;
  }
}

module.exports = { Table };
