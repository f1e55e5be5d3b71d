// @ts-check
"use strict";

/**
 * Sends commands batch by batch, for clients in which one command could overtake another. Commands that come while a batch is
 * on its way are the next batch.
 */

const { within } = require("./client");

/**
 * @typedef {object} Task
 * @property {(connection: any) => Promise<any>} run
 * @property {(reply: any) => void} resolve
 * @property {(error: any) => void} reject
 */

/** How long a batch may hold up the next one, in milliseconds: a client may never answer. */
const PATIENCE = 5000;

class Batches {
  #lend;
  /** @type {Task[]} */
  #waiting = [];
  #isSending = false;

  /**
   * @param {(use: (connection: any) => Promise<void>) => Promise<unknown>} lend calls back with a connection that keeps
   *   the order, and resolves when the callback has
   */
  constructor(lend) {
    this.#lend = lend;
  }

  /**
   * Resolves to what is answered.
   *
   * @param {(connection: any) => Promise<any>} run
   * @returns {Promise<any>}
   */
  add(run) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ run, resolve, reject });
      if (!this.#isSending) void this.#sendAll();
    });
  }

  async #sendAll() {
    this.#isSending = true;
    while (this.#waiting.length > 0) await this.#sendBatch(this.#waiting.splice(0));
    this.#isSending = false;
  }

  /** @param {Task[]} batch */
  #sendBatch(batch) {
    const sent = this.#lentTo(batch).catch((error) => {
      for (const { reject } of batch) reject(error);
    });
    return within(sent, PATIENCE);
  }

  /** @param {Task[]} batch */
  async #lentTo(batch) {
    await this.#lend(async (connection) => {
      await Promise.all(
        batch.map(async ({ run, resolve, reject }) => {
          await run(connection).then(resolve, reject);
        }),
      );
    });
  }
}

module.exports = { Batches };
