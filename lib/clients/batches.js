// @ts-check
"use strict";

/**
 * Publishes that go out batch by batch, for clients that would otherwise have one message overtake another: what comes
 * while a batch is on its way is the next one.
 */

/**
 * @typedef {object} Publish
 * @property {string} channel
 * @property {Buffer | string} payload
 * @property {(receivers: number) => void} resolve
 * @property {(error: any) => void} reject
 *
 * @typedef {(channel: string, payload: Buffer | string) => Promise<number>} Send
 */

/** How long a batch may hold up the next one, in milliseconds: a client may never answer. */
const PATIENCE = 5000;

class Batches {
  #lend;
  /** @type {Publish[]} */
  #waiting = [];
  #isSending = false;

  /**
   * @param {(use: (send: Send) => Promise<void>) => Promise<unknown>} lend calls back with what publishes, by a
   *   connection that keeps the order, and resolves when the callback has
   */
  constructor(lend) {
    this.#lend = lend;
  }

  /**
   * Publishes, and resolves to the number of receivers.
   *
   * @param {string} channel
   * @param {Buffer | string} payload
   * @returns {Promise<number>}
   */
  publish(channel, payload) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ channel, payload, resolve, reject });
      if (!this.#isSending) void this.#sendAll();
    });
  }

  async #sendAll() {
    this.#isSending = true;
    while (this.#waiting.length > 0) await this.#sendBatch(this.#waiting.splice(0));
    this.#isSending = false;
  }

  /** @param {Publish[]} batch */
  #sendBatch(batch) {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, PATIENCE).unref();
    });
    const sent = this.#lentTo(batch).catch((error) => {
      for (const { reject } of batch) reject(error);
    });
    return Promise.race([sent, late]).finally(() => clearTimeout(timer));
  }

  /** @param {Publish[]} batch */
  async #lentTo(batch) {
    await this.#lend(async (send) => {
      await Promise.all(
        batch.map(async ({ channel, payload, resolve, reject }) =>
          send(channel, payload).then(resolve, reject),
        ),
      );
    });
  }
}

module.exports = { Batches };
