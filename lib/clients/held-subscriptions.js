// @ts-check
"use strict";

/**
 * Which subscriptions of a cluster client hold, and at which node, as of the last look. The next look finds what the client
 * has lost since, without telling.
 */

const { keyOf } = require("./client");

/**
 * @typedef {{ address: string, since: number }} Place where a subscription sits, and since when
 *
 * @typedef {object} Change
 * @property {string[]} lost the keys of subscriptions that do not hold any more
 * @property {boolean} hasMoved whether others hold at another node now
 */

class HeldSubscriptions {
  #channelKind;
  #masters;
  /** By the keys of the subscriptions. @type {Map<string, Place>} */
  #places = new Map();
  /** The numbers of the connections that are subscribed to global channels. @type {WeakMap<object, number>} */
  #connections = new WeakMap();
  #connectionsMade = 0;

  /**
   * @param {import("./client").ChannelKind} channelKind
   * @param {import("./shard-masters").ShardMasters} masters of the same client
   */
  constructor(channelKind, masters) {
    this.#channelKind = channelKind;
    this.#masters = masters;
  }

  get isEmpty() {
    return this.#places.size === 0;
  }

  /** @returns {string[]} */
  get keys() {
    return [...this.#places.keys()];
  }

  /** A subscription holds. @param {string} key @param {string} address */
  hold(key, address) {
    this.#places.set(key, { address, since: performance.now() });
    // The client's map of the slots may be old, and the node a replica.
    if (this.#channelKind === "shard") this.#masters.askSoon(address);
  }

  /** A subscription does not hold, or is not wanted any more. Returns whether it did hold. @param {string} key */
  drop(key) {
    return this.#places.delete(key);
  }

  clear() {
    this.#places.clear();
  }

  /** The node at which a subscription holds; null if that is not known. @param {number} kind @param {string} name */
  placeOf(kind, name) {
    return this.#places.get(keyOf(kind, name))?.address || null;
  }

  /**
   * Resolves to whether a subscription has held since before a time, at a node that is a master now.
   *
   * @param {number} kind
   * @param {string} name
   * @param {number} then as `performance.now()` has it
   */
  async holdsAtMaster(kind, name, then) {
    const place = this.#places.get(keyOf(kind, name));
    return place !== undefined && place.since < then && this.#masters.isMaster(place.address);
  }

  /**
   * Compares with what the connections show now. Does not drop what is lost.
   *
   * @param {Map<string, string>} shown the address for each key
   * @returns {Change}
   */
  compare(shown) {
    const lost = [];
    let hasMoved = false;
    for (const [key, { address: before }] of [...this.#places]) {
      const address = shown.get(key);
      if (address === before) continue;
      // A node withdraws a shard channel before another node has it. Until then publishes go to the old node, so a
      // subscription that has moved has missed nothing.
      if (address === undefined || this.#channelKind !== "shard") lost.push(key);
      else {
        this.hold(key, address);
        hasMoved = true;
      }
    }
    return { lost, hasMoved };
  }

  /**
   * What stands for the address of subscriptions to global channels: a new connection, even to the same node, has missed what
   * was published before it was made.
   *
   * @param {object} connection
   * @param {() => void} [onNew] it was not seen before
   */
  connectionOf(connection, onNew) {
    if (!this.#connections.has(connection)) {
      this.#connections.set(connection, ++this.#connectionsMade);
      onNew?.();
    }
    return String(this.#connections.get(connection));
  }

  /** The client makes a connection anew within the same object. @param {object} connection */
  forgetConnection(connection) {
    this.#connections.delete(connection);
  }
}

module.exports = { HeldSubscriptions };
