// @ts-check
"use strict";

/**
 * The clients of the `redis` package, 5 and 6, of a Redis behind sentinels.
 */

const { readCounts } = require("./client");
const { Batches } = require("./batches");
const { NodeRedisClient } = require("./node-redis");
const { readSentinel } = require("./node-redis-settings");
const { reading } = require("./settings");

class NodeRedisSentinel extends NodeRedisClient {
  // That of 5 says nothing but errors.
  isSilent = true;
  /**
   * By a connection to the master that is borrowed for it. Those that the client finds by itself may be one for each
   * message, and to a replica, where nobody listens.
   */
  #batches = new Batches((use) =>
    this.client.use((/** @type {any} */ master) =>
      use(async (channel, payload) =>
        master.sendCommand(false, [this.space === "shard" ? "SPUBLISH" : "PUBLISH", channel, payload]),
      ),
    ),
  );

  settings() {
    return reading(() => readSentinel(this.client));
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    return this.#batches.publish(channel, payload);
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.client.sendCommand(false, ["PUBSUB", this.counter, ...channels]));
  }
}

module.exports = { NodeRedisSentinel };
