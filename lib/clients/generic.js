// @ts-check
"use strict";

/**
 * A client of no known kind: a mock, or one that somebody has wrapped. The names of its methods say what it can do.
 */

const { PATTERN, UserClient, keyOf, readCounts, removeListener, toBuffer } = require("./client");
const { reading, unreadable } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

/** By the kind of the subscription: the methods as `redis` names them, those of `ioredis`, and the events of these. */
const COMMANDS = Object.freeze([
  { subscribe: ["subscribe"], unsubscribe: ["unsubscribe"], event: "message" },
  {
    subscribe: ["pSubscribe", "psubscribe"],
    unsubscribe: ["pUnsubscribe", "punsubscribe"],
    event: "pmessage",
  },
  {
    subscribe: ["sSubscribe", "ssubscribe"],
    unsubscribe: ["sUnsubscribe", "sunsubscribe"],
    event: "smessage",
  },
]);

class GenericClient extends UserClient {
  /** @type {Map<string, (...args: any[]) => void>} */
  #listeners = new Map();
  /** @type {OnMessage | null} */
  #onMessage = null;
  /** Whether it emits events with Buffers: then those without are ignored, since they say the same. */
  #hasBuffers = false;
  /** @type {[string, (...args: any[]) => void][]} */
  #events = [];

  /** @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static publishes(_client, channelKind) {
    return [channelKind === "shard" ? "sPublish|spublish|call" : "publish", "on"];
  }

  /** @param {any} client @param {import("./client").ChannelKind} channelKind */
  static subscribes(client, channelKind) {
    if (channelKind === "shard") return ["sSubscribe|ssubscribe", "sUnsubscribe|sunsubscribe", "on"];
    const pattern = typeof client.pSubscribe === "function" ? "pSubscribe" : "psubscribe";
    return ["subscribe", "unsubscribe", pattern, "on"];
  }

  settings() {
    return reading(() => unreadable("a client of no known kind carries its own bytes"));
  }

  get keyFlaw() {
    return "a client of no known kind cannot carry streams";
  }

  get isOpen() {
    return this.client.isOpen !== false && this.client.status !== "end";
  }

  get isReady() {
    const { isReady, status } = this.client;
    return (
      this.isOpen && isReady !== false && (typeof status !== "string" || ["ready", "wait"].includes(status))
    );
  }

  get queues() {
    const { enableOfflineQueue, disableOfflineQueue } = this.client.options ?? {};
    return this.isOpen && enableOfflineQueue !== false && disableOfflineQueue !== true;
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    if (this.channelKind !== "shard") return this.client.publish(channel, payload);
    const method = this.#first(["sPublish", "spublish"]);
    return method ? this.client[method](channel, payload) : this.client.call("spublish", channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    const key = keyOf(kind, name);
    const method = /** @type {string} */ (this.#first(COMMANDS[kind].subscribe));
    if (!this.#takesListeners) {
      this.#listen(onMessage);
      this.#listeners.set(key, () => {});
      await this.client[method](name);
      return;
    }
    const glob = kind === PATTERN ? Buffer.from(name) : null;
    const listener =
      this.#listeners.get(key) ??
      ((payload, channel) => onMessage(kind, glob, toBuffer(channel), toBuffer(payload)));
    this.#listeners.set(key, listener);
    await this.client[method](name, listener, true);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    const key = keyOf(kind, name);
    const listener = this.#listeners.get(key);
    const method = this.#first(COMMANDS[kind].unsubscribe);
    if (listener === undefined) return;
    this.#listeners.delete(key);
    if (method === undefined || !this.isOpen) return;
    if (this.#takesListeners) await this.client[method](name, listener, true);
    else await this.client[method](name);
  }

  /** @param {string[]} channels */
  async count(channels) {
    const { client, counter } = this;
    if (typeof client.sendCommand === "function" && this.#takesListeners) {
      return readCounts(await client.sendCommand(["PUBSUB", counter, ...channels]));
    }
    if (typeof client.call === "function")
      return readCounts(await client.call("pubsub", counter, ...channels));
    if (typeof client.pubsub === "function") return readCounts(await client.pubsub(counter, ...channels));
    if (typeof client.send_command === "function") {
      return readCounts(await client.send_command("PUBSUB", [counter, ...channels]));
    }
    throw new Error("the client cannot count subscribers: it has no sendCommand(), call() or pubsub()");
  }

  stop() {
    super.stop();
    this.drop(this.#listeners.keys());
    for (const [event, listener] of this.#events.splice(0)) removeListener(this.client, event, listener);
    this.#onMessage = null;
  }

  /** Whether messages come to the listener of a subscription, rather than as events. */
  get #takesListeners() {
    return this.#first(["pSubscribe", "sSubscribe"]) !== undefined;
  }

  /** @param {string[]} methods */
  #first(methods) {
    return methods.find((method) => typeof this.client[method] === "function");
  }

  /** @param {OnMessage} onMessage */
  #listen(onMessage) {
    if (this.#onMessage !== null) return;
    this.#onMessage = onMessage;
    for (const [kind, { event }] of COMMANDS.entries()) {
      const take = (/** @type {any[]} */ ...args) => this.#take(kind, args);
      this.#on(`${event}Buffer`, (...args) => {
        this.#hasBuffers = true;
        take(...args);
      });
      // If there is an event with Buffers, it comes in the same tick.
      this.#on(event, (...args) => queueMicrotask(() => this.#hasBuffers || take(...args)));
    }
  }

  /** @param {string} event @param {(...args: any[]) => void} listener */
  #on(event, listener) {
    this.client.on(event, listener);
    this.#events.push([event, listener]);
  }

  /** @param {number} kind @param {any[]} args `[glob,] channel, payload` */
  #take(kind, args) {
    if (!this.#listeners.has(keyOf(kind, String(args[0])))) return;
    const glob = kind === PATTERN ? toBuffer(args.shift()) : null;
    this.#onMessage?.(kind, glob, toBuffer(args[0]), toBuffer(args[1]));
  }
}

module.exports = { GenericClient };
