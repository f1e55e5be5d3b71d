// @ts-check
"use strict";

/**
 * The cluster clients of the `redis` package, 4 to 6. They show their nodes, but hardly tell of changes.
 */

const { SHARD, keyOf, ofKey, readCounts, sumCounts } = require("./client");
const { AS_BUFFERS, NodeRedisClient } = require("./node-redis");
const { readCluster } = require("./node-redis-settings");
const { reading } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

/** How often it is looked whether subscriptions still sit where the client has a connection, in milliseconds. */
const LOOK_EVERY = 250;

/** What the client calls the kinds of subscriptions, in their order. */
const TYPES = ["CHANNELS", "PATTERNS", "SHARDED"];

/** How many looks a node that is away is waited for. */
const PATIENCE = 4;

class NodeRedisCluster extends NodeRedisClient {
  changes = ["connect", "node-ready"];
  failures = ["disconnect"];
  isSilent = true;
  /** What publishes: always the same node, or one message could overtake another. @type {any} */
  #publisher = null;
  /** The subscriptions that held when last looked at. @type {Set<string>} */
  #held = new Set();
  /** Clients of nodes that are listened to, and what by. @type {Map<any, () => void>} */
  #nodes = new Map();
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** How many looks in a row the client was not ready. */
  #unready = 0;

  settings() {
    return reading(() => readCluster(this.client));
  }

  get isReady() {
    if (!this.isOpen || this.client.isReady === false) return false;
    const masters = this.#masters;
    // What has no connection yet gets one when it is needed.
    const usable = masters.filter((node) => node.client === undefined || isUp(node)).length;
    const enough = this.space === "shard" ? usable === masters.length : usable > 0;
    return masters.length > 0 && enough && this.#subscribers.every((node) => node.isReady !== false);
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    this.#keepLooking();
    // By itself it would take replicas by turns, if it has been told to use them.
    if (this.space === "shard")
      return this.client.sendCommand(channel, false, ["SPUBLISH", channel, payload]);
    const node = this.#choosePublisher();
    return node === null ? super.publish(channel, payload) : node.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    this.#keepLooking();
    await super.subscribe(kind, name, onMessage);
    const key = keyOf(kind, name);
    // The client is content with a node that is away, if it has subscribed there before.
    if (!this.#keysHeld().has(key)) throw new Error("the node of this channel is away");
    this.#held.add(key);
    if (kind === SHARD) this.#listenToNodes();
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    this.#held.delete(keyOf(kind, name));
    await super.unsubscribe(kind, name);
  }

  /** @param {string[]} channels */
  async count(channels) {
    const nodes = [...new Set([...this.#masters, ...(this.client.replicas ?? [])])];
    return sumCounts(
      nodes
        .filter((node) => node.client === undefined || isUp(node))
        .map((node) => ({
          isReady: () => isUp(node),
          count: async () => {
            const client = await this.client.nodeClient(node);
            return readCounts(await client.sendCommand(["PUBSUB", this.counter, ...channels]));
          },
        })),
    );
  }

  /** @param {string} key @param {Buffer[]} args @returns {Promise<any>} */
  async command(key, [name, ...args]) {
    return this.client.sendCommand(key, false, [String(name), ...args], AS_BUFFERS);
  }

  /** Each node has its own order, and what waits in front of one stays there. */
  get repeats() {
    return false;
  }

  stop() {
    super.stop();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const [node, onReconnecting] of this.#nodes) {
      node.removeListener("sharded-channel-moved", this.#onMoved);
      node.removeListener("reconnecting", onReconnecting);
    }
    this.#nodes.clear();
    this.#held.clear();
  }

  /** One that has its slots in several places stands there several times. @returns {any[]} */
  get #masters() {
    return [...new Set(this.client.masters ?? [])];
  }

  /** The clients of the nodes that listen in this space. @returns {any[]} */
  get #subscribers() {
    const clients =
      this.space === "shard"
        ? this.#masters.map(({ pubSub, pubSubClient }) => pubSub?.client ?? pubSubClient)
        : [this.client.pubSubNode?.client];
    // A promise, of 4, is one that connects.
    return clients.filter((client) => typeof client?.getPubSubListeners === "function");
  }

  #choosePublisher() {
    const ready = this.#masters.filter(isUp).map(({ client }) => client);
    if (!ready.includes(this.#publisher)) this.#publisher = ready[0] ?? null;
    return this.#publisher;
  }

  /** Nobody else does, in 4 and 5, when a slot has moved. */
  #listenToNodes() {
    for (const node of this.#subscribers) {
      if (this.#nodes.has(node)) continue;
      const onReconnecting = () => this.#disburden(node);
      this.#nodes.set(node, onReconnecting);
      node.on("sharded-channel-moved", this.#onMoved);
      node.on("reconnecting", onReconnecting);
    }
  }

  /**
   * When 4 has lost a connection it subscribes anew to all channels by a single command, which Redis refuses if they
   * have several slots, and tries that for ever: it is not to know of ours.
   *
   * @param {any} node
   */
  #disburden(node) {
    if (this.client._slots !== undefined) return;
    const channels = node.getPubSubListeners("SHARDED");
    for (const name of channels.keys()) if (this.hasShard(String(name))) channels.delete(name);
  }

  // The client of 6 makes it anew by itself, and it is asked for once only.
  #onMoved = (/** @type {Buffer | string} */ channel) => this.#lose(keyOf(SHARD, String(channel)));

  #keepLooking() {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  /** Finds what the client has lost without a word: with a node, for one. */
  #look() {
    if (!this.isOpen) return;
    if (this.isReady) this.#unready = 0;
    // A node that does not come back is another's replica by now, or gone.
    else if (++this.#unready % PATIENCE === 0) this.#rediscover();
    const held = this.#keysHeld();
    for (const key of [...this.#held]) {
      if (!held.has(key)) this.#lose(key);
    }
  }

  /** The subscriptions for which the client has a connection that stands. */
  #keysHeld() {
    const ready = this.#subscribers.filter((node) => node.isReady);
    return new Set(
      ready.flatMap((node) =>
        TYPES.flatMap((type, kind) =>
          [...node.getPubSubListeners(type).keys()].map((name) => keyOf(kind, String(name))),
        ),
      ),
    );
  }

  /** @param {string} key */
  #lose(key) {
    if (this.#held.delete(key)) this.onLost?.(...ofKey(key));
  }

  /** Has the client ask where the slots are: it would not know that a node is gone. */
  #rediscover() {
    const up = this.#masters.find(isUp);
    if (up === undefined) return;
    const slots = this.client._slots;
    const done =
      typeof slots?.rediscover === "function"
        ? slots.rediscover(up.client)
        : // 4 does after a MOVED, with which all nodes but one answer.
          Promise.allSettled(this.#masters.map(() => this.client.sendCommand(undefined, true, ["GET", "x"])));
    Promise.resolve(done).catch(() => {});
  }
}

/** Whether there is a connection to a node of the cluster. @param {any} node */
function isUp(node) {
  return node.client?.isReady === true;
}

module.exports = { NodeRedisCluster };
