// @ts-check
"use strict";

/**
 * A pool of clients of the `redis` package, 5 and 6. It can publish.
 */

const { Batches } = require("./batches");
const { NodeRedisClient } = require("./node-redis");
const { reading, unreadable } = require("./settings");

class NodeRedisPool extends NodeRedisClient {
  isSilent = true;
  /** By one connection at a time: on several, one message could overtake another. */
  #batches = new Batches((use) => this.client.execute(use));

  get hearsAll() {
    return false;
  }

  settings() {
    return reading(() => unreadable("a pool shows none of its clients' options"));
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    return this.#batches.add(async (client) =>
      this.channelKind === "shard" ? client.sPublish(channel, payload) : client.publish(channel, payload),
    );
  }
}

module.exports = { NodeRedisPool };
