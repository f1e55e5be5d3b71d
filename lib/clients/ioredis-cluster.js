// @ts-check
"use strict";

/**
 * The cluster clients of `ioredis`, 4 to 6, and `iovalkey`.
 */

const { keyOf, ofKey, readCounts, sumCounts } = require("./client");
const { DUPLICATE, IoredisClient, RUNNER, channelsOf, plainOf } = require("./ioredis");
const { readCluster } = require("./ioredis-settings");
const { reading } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

/** How often it is looked whether the subscriptions still hold, in milliseconds. */
const LOOK_EVERY = 250;

class IoredisCluster extends IoredisClient {
  /** What publishes: always the same node, or one message could overtake another. @type {any} */
  #publisher = null;
  /** The subscriptions that held when last looked at. @type {Set<string>} */
  #held = new Set();
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /** @param {any} client @param {import("./client").Space} space */
  constructor(client, space) {
    super(client, space);
    this.isSilent = space === "shard";
  }

  settings() {
    return reading(() => readCluster(this.client));
  }

  get isOpen() {
    // After `disconnect()` it stays at one of these.
    const isClosing = ["close", "disconnecting"].includes(this.client.status);
    return super.isOpen && !(isClosing && this.client.manuallyClosing);
  }

  get isReady() {
    if (!super.isReady || this.space !== "shard") return super.isReady;
    /** @type {any[]} */
    const masters = this.client.nodes("master");
    // What is published while a node is on its way to be connected may overtake itself.
    for (const node of masters) if (node.status === "wait") node.connect().catch(() => {});
    return masters.length > 0 && masters.every((node) => node.status === "ready");
  }

  get queues() {
    return super.queues && this.space !== "shard";
  }

  get flaw() {
    if (this.space !== "shard" || this.client.shardedSubscribers) return null;
    if (typeof this.client.createShardedSubscriberGroup === "function") {
      return "this Cluster listens to one node only: make it with shardedSubscribers: true";
    }
    return "a Cluster of this version listens to one node only: take a newer ioredis, with shardedSubscribers: true";
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    if (this.space === "shard") return super.publish(channel, payload);
    const node = this.#choosePublisher();
    return node === null ? super.publish(channel, payload) : node.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    if (this.flaw !== null) throw new Error(this.flaw);
    await super.subscribe(kind, name, onMessage);
    this.#held.add(keyOf(kind, name));
    if (this.#timer !== null) return;
    this.#timer = setInterval(this.#look, LOOK_EVERY).unref();
    this.client.on("nodeError", this.#look);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    this.#held.delete(keyOf(kind, name));
    await super.unsubscribe(kind, name);
  }

  /** @param {string[]} channels */
  async count(channels) {
    // With lazyConnect it knows none.
    if (this.client.status === "wait") await this.client.connect();
    /** @type {any[]} */
    const nodes = this.client.nodes("all");
    return sumCounts(
      nodes.map((node) => ({
        isReady: () => node.status === "ready",
        count: async () => readCounts(await plainOf(node).call("PUBSUB", this.counter, ...channels)),
      })),
    );
  }

  /** @param {boolean} runsCommands */
  duplicateClient(runsCommands) {
    const { enableOfflineQueue, lazyConnect, ...ofNodes } = runsCommands ? RUNNER : DUPLICATE;
    const redisOptions = { ...this.client.options.redisOptions, ...ofNodes };
    return this.client.duplicate([], {
      ...DUPLICATE,
      // With a delay it runs again what was on a connection that is lost.
      ...(runsCommands && { retryDelayOnFailover: 0 }),
      redisOptions,
    });
  }

  stop() {
    super.stop();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.client.removeListener("nodeError", this.#look);
    this.#held.clear();
  }

  #choosePublisher() {
    /** @type {any[]} */
    const ready = this.client.nodes("master").filter((/** @type {any} */ { status }) => status === "ready");
    if (!ready.includes(this.#publisher)) this.#publisher = ready[0] ?? null;
    return this.#publisher;
  }

  /**
   * Finds what the client has lost. When a slot has moved, 4 and 5 wait until they happen to look where it is. And when
   * what listens to all slots is lost twice in a row, it is forgotten what it has listened to.
   */
  #look = () => {
    if (this.client.status !== "ready") return;
    const held = this.#keysHeld();
    if (held === null) return;
    const lost = [...this.#held].filter((key) => !held.has(key));
    if (lost.length > 0 && this.space === "shard") this.client.refreshSlotsCache?.();
    for (const key of lost) {
      this.#held.delete(key);
      this.onLost?.(...ofKey(key));
    }
  };

  /** What the connections listen to; null if the client does not show it, or is about to. @returns {Set<string> | null} */
  #keysHeld() {
    const connections = this.#subscribers;
    if (connections === null) return null;
    const ready = connections.filter(({ status }) => status === "ready");
    return new Set(ready.flatMap(({ condition }) => [...channelsOf(condition)]));
  }

  /** The connections that listen in the space; null if they are not to be seen. @returns {any[] | null} */
  get #subscribers() {
    const { shardedSubscribers, subscriber } = this.client;
    if (this.space === "shard") {
      const all = shardedSubscribers?.shardedSubscribers;
      if (!(all instanceof Map)) return null;
      return [...all.values()].map((one) => one.getInstance?.()).filter((redis) => redis);
    }
    const redis = subscriber?.getInstance?.();
    // On its way to be connected it is about to subscribe.
    return ["ready", "wait"].includes(redis?.status) ? [redis] : null;
  }
}

module.exports = { IoredisCluster };
