// @ts-check
"use strict";

/**
 * The clients of the `redis` package up to 3, which take callbacks.
 */

const { PATTERN, readCounts } = require("./client");
const { EventClient } = require("./event-client");
const { reading, unreadable } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

class Redis3Client extends EventClient {
  /** @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static publishes(_client, channelKind) {
    return [channelKind === "shard" ? "sPublish|spublish" : "publish", "send_command", "on"];
  }

  /** @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static subscribes(_client, channelKind) {
    return channelKind === "shard"
      ? ["sSubscribe|ssubscribe", "on"]
      : ["subscribe", "unsubscribe", "psubscribe", "on"];
  }

  get hearsAll() {
    return true;
  }

  settings() {
    return reading(() => unreadable("a client of redis 3 carries its own bytes"));
  }

  get keyFlaw() {
    return "a client of redis 3 cannot carry streams: take redis 4 or later, or ioredis";
  }

  get isOpen() {
    return this.client.closing !== true;
  }

  get isReady() {
    return this.client.ready === true && this.isOpen;
  }

  get queues() {
    return this.isOpen && this.client.enable_offline_queue !== false;
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    return this.#call("publish", [channel, payload]);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    this.expect(kind, name, onMessage);
    await this.#call(kind === PATTERN ? "psubscribe" : "subscribe", [name]);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    if (this.forget(kind, name) && this.isOpen)
      await this.#call(kind === PATTERN ? "punsubscribe" : "unsubscribe", [name]);
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.#call("pubsub", [this.counter, ...channels]));
  }

  /** @param {string} command @param {any[]} args @returns {Promise<any>} */
  #call(command, args) {
    return new Promise((resolve, reject) => {
      this.client.send_command(command, args, (/** @type {any} */ error, /** @type {any} */ reply) =>
        error ? reject(error) : resolve(reply),
      );
    });
  }

  /** With `return_buffers` the plain events bring Buffers, and there are no others. */
  get events() {
    const plain = this.client.options?.return_buffers && !this.client.message_buffers;
    return plain ? ["message", "pmessage"] : ["messageBuffer", "pmessageBuffer"];
  }
}

module.exports = { Redis3Client };
