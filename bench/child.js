// @ts-check
"use strict";

/** A process of the bench that takes orders from its parent, and both ends of that. */

const { fork } = require("node:child_process");
const path = require("node:path");

/** The parent's end. */
class Child {
  #process;
  #nextId = 1;
  /** @type {Map<number, { resolve(answer: any): void, reject(err: Error): void }>} */
  #asked = new Map();
  /** @type {Error | null} */
  #gone = null;

  /**
   * @param {string} file in this directory
   * @param {string[]} args
   */
  constructor(file, args) {
    this.#process = fork(path.join(__dirname, file), args);
    this.#process.on("message", (/** @type {any} */ { id, answer, error }) => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (error) asked?.reject(new Error(error));
      else asked?.resolve(answer);
    });
    this.#process.once("exit", (code, signal) => {
      this.#gone = new Error(`${file} ${args[0] ?? ""} ended: ${signal ?? code}`);
      for (const { reject } of this.#asked.values()) reject(this.#gone);
    });
  }

  /**
   * Resolves with the child's answer.
   *
   * @param {string} order
   * @param {object} [details]
   * @returns {Promise<any>}
   */
  ask(order, details = {}) {
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(this.#gone);
      const id = this.#nextId++;
      this.#asked.set(id, { resolve, reject });
      this.#process.send({ id, order, details });
    });
  }

  /** Resolves once the process is gone. */
  async stop() {
    if (this.#gone) return;
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await gone;
  }
}

/**
 * The child's end: each order is answered with what its function returns.
 *
 * @param {Record<string, (details: any) => any>} orders
 */
function answerOrders(orders) {
  process.on("message", async (/** @type {any} */ { id, order, details }) => {
    try {
      const answer = await orders[order](details);
      process.send?.({ id, answer });
    } catch (err) {
      process.send?.({ id, error: /** @type {Error} */ (err).message });
    }
  });
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C is the parent's to handle.
  process.on("SIGINT", () => {});
}

module.exports = { Child, answerOrders };
