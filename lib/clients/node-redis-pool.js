// @ts-check
"use strict";

/**
 * A pool of clients of the `redis` package, 5 and 6. It can publish.
 */

const { NodeRedisClient } = require("./node-redis");
const { reading, unreadable } = require("./settings");

/**
 * @typedef {object} Publish
 * @property {string} channel
 * @property {Buffer | string} payload
 * @property {(receivers: number) => void} resolve
 * @property {(error: any) => void} reject
 */

class NodeRedisPool extends NodeRedisClient {
  isSilent = true;
  /** What waits for the connection that publishes. @type {Publish[]} */
  #waiting = [];
  #isPublishing = false;

  settings() {
    return reading(() => unreadable("a pool shows none of its clients' options"));
  }

  /**
   * By one connection at a time: on several, one message could overtake another.
   *
   * @param {string} channel
   * @param {Buffer | string} payload
   * @returns {Promise<number>}
   */
  publish(channel, payload) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ channel, payload, resolve, reject });
      if (!this.#isPublishing) void this.#publishAll();
    });
  }

  async #publishAll() {
    this.#isPublishing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      try {
        await this.client.execute((/** @type {any} */ client) =>
          Promise.allSettled(batch.map((publish) => this.#publishBy(client, publish))),
        );
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isPublishing = false;
  }

  /** @param {any} client @param {Publish} publish */
  async #publishBy(client, { channel, payload, resolve, reject }) {
    try {
      resolve(
        await (this.space === "shard" ? client.sPublish(channel, payload) : client.publish(channel, payload)),
      );
    } catch (error) {
      reject(error);
    }
  }
}

module.exports = { NodeRedisPool };
