// @ts-check
"use strict";

/**
 * The clients that hand out messages as events. One listener gets the messages of all subscriptions, ours and the user's; it
 * ignores those that are not ours.
 */

const { CHANNEL, PATTERN, SHARD, UserClient, keyOf, toBuffer } = require("./client");

/** @typedef {import("./client").OnMessage} OnMessage */

/** @abstract */
class EventClient extends UserClient {
  /** The keys of the subscriptions. @type {Set<string>} */
  names = new Set();
  /** What takes the messages while there are subscriptions. @type {[string, (...args: any[]) => void][]} */
  #listeners = [];

  /** The events that bring Buffers, by the kind of the subscription. @returns {string[]} */
  get events() {
    return ["messageBuffer", "pmessageBuffer", "smessageBuffer"];
  }

  get isListening() {
    return this.#listeners.length > 0;
  }

  /** A subscription is about to be made. @param {number} kind @param {string} name @param {OnMessage} onMessage */
  expect(kind, name, onMessage) {
    if (!this.isListening) this.listen(onMessage);
    this.names.add(keyOf(kind, name));
  }

  /** A subscription is not wanted any more. Returns whether there was one. @param {number} kind @param {string} name */
  forget(kind, name) {
    if (!this.names.delete(keyOf(kind, name))) return false;
    if (this.names.size === 0) this.unlisten();
    return true;
  }

  /** @param {OnMessage} onMessage */
  listen(onMessage) {
    const take = (/** @type {number} */ kind) => (/** @type {any} */ channel, /** @type {any} */ payload) => {
      if (this.names.has(keyOf(kind, String(channel))))
        onMessage(kind, null, toBuffer(channel), toBuffer(payload));
    };
    const takeByGlob = (/** @type {any} */ glob, /** @type {any} */ channel, /** @type {any} */ payload) => {
      if (this.names.has(keyOf(PATTERN, String(glob))))
        onMessage(PATTERN, toBuffer(glob), toBuffer(channel), toBuffer(payload));
    };
    const listeners = [take(CHANNEL), takeByGlob, take(SHARD)];
    this.#listeners = this.events.map((event, kind) => [event, listeners[kind]]);
    for (const [event, listener] of this.#listeners) this.client.on(event, listener);
  }

  unlisten() {
    for (const [event, listener] of this.#listeners.splice(0)) this.client.removeListener(event, listener);
  }

  stop() {
    super.stop();
    this.drop(this.names);
    this.unlisten();
  }
}

module.exports = { EventClient };
