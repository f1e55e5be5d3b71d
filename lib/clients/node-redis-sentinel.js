// @ts-check
"use strict";

/**
 * The clients of the `redis` package, 5 and 6, of a Redis behind sentinels.
 */

const { readCounts } = require("./client");
const { Batches } = require("./batches");
const { AS_BUFFERS, NodeRedisClient } = require("./node-redis");
const { readSentinel } = require("./node-redis-settings");
const { reading } = require("./settings");

class NodeRedisSentinel extends NodeRedisClient {
  // The client of 5 emits errors only.
  isSilent = true;
  /**
   * Publishes go by a connection to the master that is borrowed for that. By itself the client might take another connection
   * for each message, even one to a replica, where nobody is subscribed.
   */
  #batches = new Batches((use) => this.client.use(use));

  settings() {
    return reading(() => readSentinel(this.client));
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    return this.#run([this.channelKind === "shard" ? "SPUBLISH" : "PUBLISH", channel, payload]);
  }

  get keyFlaw() {
    return typeof this.client.duplicate === "function"
      ? null
      : "a createSentinel of this version has no duplicate(): take a newer redis";
  }

  get keyPrefix() {
    return String(this.client._keyPrefix ?? "");
  }

  /** @param {string} _key @param {Buffer[]} args @returns {Promise<any>} */
  async command(_key, args) {
    return this.#batches.add(async (master) => {
      const { reply, error } = await master._execute(false, (/** @type {any} */ node) => runOnce(node, args));
      if (error !== null) throw error;
      return reply;
    });
  }

  get repeats() {
    return false;
  }

  /** @param {(Buffer | string)[]} args */
  #run(args) {
    return this.#batches.add(async (master) => master.sendCommand(false, args));
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.client.sendCommand(false, ["PUBSUB", this.counter, ...channels]));
  }
}

/**
 * Runs a command once: the client would run it again if its connection is lost, though Redis may have run it. What a replica
 * has refused was not run.
 *
 * @param {any} node
 * @param {Buffer[]} args
 * @returns {Promise<{ reply: any, error: any }>}
 */
async function runOnce(node, args) {
  try {
    return { reply: await node.sendCommand(args, AS_BUFFERS), error: null };
  } catch (/** @type {any} */ error) {
    if (String(error?.message).startsWith("READONLY")) throw error;
    return { reply: null, error };
  }
}

module.exports = { NodeRedisSentinel };
