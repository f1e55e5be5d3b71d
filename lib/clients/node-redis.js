// @ts-check
"use strict";

/**
 * The clients of the `redis` package, 4 to 6, of a single Redis: in legacy mode too, which 4 has.
 */

const { PATTERN, SHARD, UserClient, keyOf, readCounts, toBuffer } = require("./client");
const { readClient } = require("./node-redis-settings");
const { reading } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

/** @typedef {(payload: Buffer, channel: Buffer | string) => void} Listener */

/** What subscribes and unsubscribes, by the kind of the subscription. */
const COMMANDS = Object.freeze([
  { subscribe: "subscribe", unsubscribe: "unsubscribe" },
  { subscribe: "pSubscribe", unsubscribe: "pUnsubscribe" },
  { subscribe: "sSubscribe", unsubscribe: "sUnsubscribe" },
]);

/** Has 4, and 5 and 6, hand out Buffers; these may speak RESP3, with maps in it. */
const AS_BUFFERS = Object.freeze({
  returnBuffers: true,
  typeMapping: Object.freeze({ [codeOf("$")]: Buffer, [codeOf("%")]: Map }),
  // What blocks takes its time.
  timeout: undefined,
});

class NodeRedisClient extends UserClient {
  /** @type {Map<string, Listener>} */
  #listeners = new Map();
  /** @type {Map<string, Promise<void>>} */
  #turns = new Map();
  #isListening = false;

  /** What it needs to publish. @param {any} _client @param {import("./client").Space} space */
  static publishes(_client, space) {
    return [space === "shard" ? "sPublish" : "publish", "sendCommand", "on"];
  }

  /** What it needs to subscribe. @param {any} _client @param {import("./client").Space} space */
  static subscribes(_client, space) {
    return space === "shard"
      ? ["sSubscribe", "sUnsubscribe", "on"]
      : ["subscribe", "unsubscribe", "pSubscribe", "on"];
  }

  get hearsAll() {
    return true;
  }

  settings() {
    return reading(() => readClient(this.client));
  }

  get isOpen() {
    return this.client.isOpen !== false;
  }

  get isReady() {
    return this.isOpen && this.client.isReady !== false;
  }

  get queues() {
    return this.isOpen && this.client.options?.disableOfflineQueue !== true;
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    if (this.space !== "shard") return this.call("publish", channel, payload);
    // The channels of shards are keys to 6, which it would prepend its prefix to.
    return this.keyPrefix === ""
      ? this.call("sPublish", channel, payload)
      : this.call("sendCommand", ["SPUBLISH", channel, payload]);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    await this.#inTurn(keyOf(kind, name), () => this.#subscribe(kind, name, onMessage));
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    await this.#inTurn(keyOf(kind, name), () => this.#unsubscribe(kind, name));
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.call("sendCommand", ["PUBSUB", this.counter, ...channels]));
  }

  /** @param {string} _key @param {Buffer[]} args @returns {Promise<any>} */
  async command(_key, args) {
    return this.call("sendCommand", args, AS_BUFFERS);
  }

  get repeats() {
    return true;
  }

  /** What waits for a connection would overtake what was lost with the last one. @param {boolean} runsCommands */
  duplicateClient(runsCommands) {
    return this.client.duplicate(runsCommands && this.repeats ? { disableOfflineQueue: true } : undefined);
  }

  stop() {
    super.stop();
    this.drop(this.#listeners.keys());
    this.client.removeListener("sharded-channel-moved", this.#onMoved);
    this.#isListening = false;
  }

  /**
   * Calls a method that returns a promise. In legacy mode, which 4 has, these are elsewhere, save those that have no
   * other form.
   *
   * @param {string} method
   * @param {...any} args
   */
  async call(method, ...args) {
    const legacy = this.client.options?.legacyMode ? this.client.v4 : null;
    return legacy?.[method] ? legacy[method](...args) : this.client[method](...args);
  }

  /** What listens to a subscription, if there is one. @param {number} kind @param {string} name */
  listenerOf(kind, name) {
    return this.#listeners.get(keyOf(kind, name));
  }

  /** Whether a channel of a shard is subscribed to. @param {string} name */
  hasShard(name) {
    return this.#listeners.has(keyOf(SHARD, name));
  }

  /**
   * The client forgets what it is to unsubscribe from while the subscription is still on its way.
   *
   * @param {string} key
   * @param {() => Promise<void>} act
   */
  #inTurn(key, act) {
    const before = this.#turns.get(key);
    const turn = before === undefined ? act() : before.then(act, act);
    this.#turns.set(key, turn);
    const done = () => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    };
    turn.then(done, done);
    return turn;
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async #subscribe(kind, name, onMessage) {
    const key = keyOf(kind, name);
    // A listener of its own for each subscription: the client compares them when it unsubscribes.
    let listener = this.#listeners.get(key);
    if (listener === undefined) {
      const glob = kind === PATTERN ? Buffer.from(name) : null;
      listener = (payload, channel) => onMessage(kind, glob, toBuffer(channel), toBuffer(payload));
      this.#listeners.set(key, listener);
    }
    if (kind === SHARD && !this.#isListening) {
      this.#isListening = true;
      this.client.on("sharded-channel-moved", this.#onMoved);
    }
    const subscribed = this.call(COMMANDS[kind].subscribe, name, listener, true);
    try {
      await this.inTime(subscribed);
    } catch (error) {
      // It may come about yet, and nobody wants it any more.
      subscribed.then(() => this.#leave(kind, name, listener)).catch(() => {});
      throw error;
    }
  }

  /** Unsubscribes by a listener that is not the one by which is listened. @param {number} kind @param {string} name @param {Listener} listener */
  async #leave(kind, name, listener) {
    if (this.listenerOf(kind, name) === listener || !this.isOpen) return;
    await this.call(COMMANDS[kind].unsubscribe, name, listener, true);
  }

  /**
   * Resolves, or rejects, as what the client was told to do does.
   *
   * @param {Promise<void>} done
   * @returns {Promise<void>}
   */
  inTime(done) {
    return done;
  }

  /** @param {number} kind @param {string} name */
  async #unsubscribe(kind, name) {
    const key = keyOf(kind, name);
    const listener = this.#listeners.get(key);
    if (listener === undefined) return;
    this.#listeners.delete(key);
    if (this.isOpen) await this.inTime(this.call(COMMANDS[kind].unsubscribe, name, listener, true));
  }

  #onMoved = (/** @type {Buffer | string} */ channel) => {
    const name = String(channel);
    if (this.hasShard(name)) this.onLost?.(SHARD, name);
  };
}

/** @param {string} type as a reply begins with it */
function codeOf(type) {
  return type.charCodeAt(0);
}

module.exports = { AS_BUFFERS, NodeRedisClient };
