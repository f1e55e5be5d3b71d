// @ts-check
"use strict";

/**
 * Publishes to shard channels by a cluster client, so that no message overtakes an earlier one, and so that it is known which
 * messages could reach nobody.
 */

const { slotOf } = require("../base/native");
const { afterReading } = require("./client");

/** How long a publish waits for earlier ones, in milliseconds: a node may never answer. */
const PATIENCE = 2000;

/**
 * A publish reached nobody at its node, which is not, or does not say that it is, the master of the slot. Subscribers at the
 * new master may have received it.
 */
class UnheardError extends Error {
  /** @param {string} message @param {boolean} wasSent */
  constructor(message, wasSent) {
    super(message);
    this.wasSent = wasSent;
  }
}

/**
 * @typedef {object} Waiting
 * @property {string} channel
 * @property {Buffer | string} payload
 * @property {(receivers: Promise<number> | number) => void} resolve
 * @property {(error: any) => void} reject
 */

/** The publishes that are on their way to a node for one slot. */
class Flight {
  count = 0;
  /** Whether a publish has reached nobody: the next ones wait until it is known why. */
  isSuspect = false;
  isUnheard = false;
  /** @type {Waiting[]} */
  waiting = [];
  /** @type {NodeJS.Timeout | undefined} */
  timer;

  /** @param {string} address */
  constructor(address) {
    this.address = address;
  }
}

class ShardPublisher {
  #addressOf;
  #send;
  #masters;
  #onMoved;
  /** The node that was last published to, by slot. @type {Map<number, string>} */
  #nodes = new Map();
  /** By slot. @type {Map<number, Flight>} */
  #flights = new Map();

  /**
   * @param {(slot: number) => string | undefined} addressOf the node that the client takes for the master of a slot
   * @param {(channel: string, payload: Buffer | string) => Promise<number>} send
   * @param {import("./shard-masters").ShardMasters} masters
   * @param {() => void} onMoved the client publishes to another node than before, at which some may not be subscribed yet
   */
  constructor(addressOf, send, masters, onMoved) {
    this.#addressOf = addressOf;
    this.#send = send;
    this.#masters = masters;
    this.#onMoved = onMoved;
  }

  /**
   * Resolves to the number of receivers at the node that it was sent to. Rejects with an `UnheardError` if that is zero and
   * not to be believed.
   *
   * @param {string} channel
   * @param {Buffer | string} payload
   * @returns {Promise<number>}
   */
  publish(channel, payload) {
    const slot = slotOf(channel);
    const address = this.#addressOf(slot);
    if (address === undefined) return this.#send(channel, payload);
    this.#masters.use(address);
    this.#follow(slot, address);
    let flight = this.#flights.get(slot);
    if (flight === undefined) this.#flights.set(slot, (flight = new Flight(address)));
    else if (flight.isSuspect || flight.waiting.length > 0 || flight.address !== address)
      return this.#wait(slot, flight, channel, payload);
    return this.#fly(slot, flight, channel, payload);
  }

  /** @param {number} slot @param {string} address */
  #follow(slot, address) {
    const before = this.#nodes.get(slot);
    if (before === address) return;
    this.#nodes.set(slot, address);
    if (before !== undefined) this.#onMoved();
  }

  /** Resolves when nothing is on its way any more, or after a while. @returns {Promise<void>} */
  async landed() {
    const until = performance.now() + PATIENCE / 8;
    while (this.#flights.size > 0 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** @param {number} slot @param {Flight} flight @param {string} channel @param {Buffer | string} payload */
  async #fly(slot, flight, channel, payload) {
    flight.count++;
    try {
      const receivers = await this.#send(channel, payload);
      if (Number(receivers) > 0) return receivers;
      flight.isSuspect = true;
      if (await this.#masters.isMaster(flight.address)) return receivers;
      flight.isUnheard = true;
      throw new UnheardError(`${flight.address} is not the master of ${channel}`, true);
    } finally {
      if (--flight.count === 0) this.#land(slot, flight);
    }
  }

  /** @param {number} slot @param {Flight} flight @param {string} channel @param {Buffer | string} payload */
  #wait(slot, flight, channel, payload) {
    flight.timer ??= afterReading(() => this.#land(slot, flight), PATIENCE);
    return new Promise((resolve, reject) => flight.waiting.push({ channel, payload, resolve, reject }));
  }

  /** Sends what waits, or gives it back if it would overtake. @param {number} slot @param {Flight} flight */
  #land(slot, flight) {
    clearTimeout(flight.timer);
    if (this.#flights.get(slot) === flight) this.#flights.delete(slot);
    for (const { channel, payload, resolve, reject } of flight.waiting.splice(0)) {
      if (flight.isUnheard) reject(new UnheardError("what was published before reached nobody", false));
      else resolve(this.publish(channel, payload));
    }
  }
}

module.exports = { ShardPublisher, UnheardError };
