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

/** Has 4, and 5 and 6, hand out Buffers; 5 and 6 may speak RESP3, which has maps. */
const AS_BUFFERS = Object.freeze({
  returnBuffers: true,
  typeMapping: Object.freeze({ [codeOf("$")]: Buffer, [codeOf("%")]: Map }),
  // A command that blocks takes its time.
  timeout: undefined,
});

class NodeRedisClient extends UserClient {
  /** @type {Map<string, Listener>} */
  #listeners = new Map();
  /** @type {Map<string, Promise<void>>} */
  #turns = new Map();
  #isListening = false;

  /** What it needs to publish. @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static publishes(_client, channelKind) {
    return [channelKind === "shard" ? "sPublish" : "publish", "sendCommand", "on"];
  }

  /** What it needs to subscribe. @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static subscribes(_client, channelKind) {
    return channelKind === "shard"
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
    if (this.channelKind !== "shard") return this.call("publish", channel, payload);
    // 6 takes shard channels for keys, and would put its prefix before them.
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

  /** Without a queue: commands that wait for a connection would overtake those lost with the last one. @param {boolean} runsCommands */
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
   * Calls a method that returns a promise. In the legacy mode of 4 these methods are in `v4`, but for those that exist once
   * only.
   *
   * @param {string} method
   * @param {...any} args
   */
  async call(method, ...args) {
    const legacy = this.client.options?.legacyMode ? this.client.v4 : null;
    return legacy?.[method] ? legacy[method](...args) : this.client[method](...args);
  }

  /** The listener of a subscription, if there is one. @param {number} kind @param {string} name */
  listenerOf(kind, name) {
    return this.#listeners.get(keyOf(kind, name));
  }

  /** Whether a channel of a shard is subscribed to. @param {string} name */
  hasShard(name) {
    return this.#listeners.has(keyOf(SHARD, name));
  }

  /**
   * Subscribes and unsubscribes in turn: the client forgets an unsubscription while the subscription is not confirmed.
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
    // Each subscription has its own listener: the client compares them when it unsubscribes.
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
      // It may still be confirmed, and nobody wants it any more.
      subscribed.then(() => this.#leave(kind, name, listener)).catch(() => {});
      throw error;
    }
  }

  /** Takes back a listener that is not the current one. @param {number} kind @param {string} name @param {Listener} listener */
  async #leave(kind, name, listener) {
    if (this.listenerOf(kind, name) === listener || !this.isOpen) return;
    await this.call(COMMANDS[kind].unsubscribe, name, listener, true);
  }

  /**
   * Settles as a promise of the client does.
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
