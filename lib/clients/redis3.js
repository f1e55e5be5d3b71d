// @ts-check
"use strict";

/**
 * The clients of the `redis` package up to 3, which take callbacks.
 */

const { CHANNEL, PATTERN, UserClient, keyOf, readCounts, toBuffer } = require("./client");
const { reading, unreadable } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

class Redis3Client extends UserClient {
  /** @type {Set<string>} */
  #names = new Set();
  /** @type {OnMessage | null} */
  #onMessage = null;

  /** @param {any} _client @param {import("./client").Space} space */
  static publishes(_client, space) {
    return [space === "shard" ? "sPublish|spublish" : "publish", "send_command", "on"];
  }

  /** @param {any} _client @param {import("./client").Space} space */
  static subscribes(_client, space) {
    return space === "shard"
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
    if (this.#onMessage === null) this.#listen(onMessage);
    this.#names.add(keyOf(kind, name));
    await this.#call(kind === PATTERN ? "psubscribe" : "subscribe", [name]);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    if (!this.#names.delete(keyOf(kind, name))) return;
    if (this.#names.size === 0) this.#unlisten();
    if (this.isOpen) await this.#call(kind === PATTERN ? "punsubscribe" : "unsubscribe", [name]);
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.#call("pubsub", [this.counter, ...channels]));
  }

  stop() {
    super.stop();
    this.drop(this.#names);
    this.#unlisten();
  }

  /** @param {string} command @param {any[]} args @returns {Promise<any>} */
  #call(command, args) {
    return new Promise((resolve, reject) => {
      this.client.send_command(command, args, (/** @type {any} */ error, /** @type {any} */ reply) =>
        error ? reject(error) : resolve(reply),
      );
    });
  }

  /** The events that bring Buffers: with `return_buffers` the plain ones, and only these. */
  get #events() {
    const plain = this.client.options?.return_buffers && !this.client.message_buffers;
    return plain ? ["message", "pmessage"] : ["messageBuffer", "pmessageBuffer"];
  }

  /** @param {OnMessage} onMessage */
  #listen(onMessage) {
    this.#onMessage = onMessage;
    const [message, pmessage] = this.#events;
    this.client.on(message, this.#onChannel);
    this.client.on(pmessage, this.#onPattern);
  }

  #unlisten() {
    this.#onMessage = null;
    for (const event of ["message", "messageBuffer"]) this.client.removeListener(event, this.#onChannel);
    for (const event of ["pmessage", "pmessageBuffer"]) this.client.removeListener(event, this.#onPattern);
  }

  // One listener for all subscriptions, ours and the user's: what is not ours is passed over.
  #onChannel = (/** @type {Buffer | string} */ channel, /** @type {Buffer | string} */ payload) => {
    if (!this.#names.has(keyOf(CHANNEL, String(channel)))) return;
    this.#onMessage?.(CHANNEL, null, toBuffer(channel), toBuffer(payload));
  };

  #onPattern = (
    /** @type {Buffer | string} */ glob,
    /** @type {Buffer | string} */ channel,
    /** @type {Buffer | string} */ payload,
  ) => {
    if (!this.#names.has(keyOf(PATTERN, String(glob)))) return;
    this.#onMessage?.(PATTERN, toBuffer(glob), toBuffer(channel), toBuffer(payload));
  };
}

module.exports = { Redis3Client };
