// @ts-check
"use strict";

/**
 * Asks nodes of a cluster whether they are masters. A replica accepts SSUBSCRIBE and SPUBLISH for the slots of its master, so a
 * client with an old map of the slots never learns that it is at a replica.
 */

const { afterReading } = require("./client");

/** How old the last answer of a node in use may be, in milliseconds. */
const ASK_EVERY = 1000;

/** How long a node may take to answer, in milliseconds. */
const PATIENCE = 2000;

/**
 * @typedef {object} Check
 * @property {number} at when the last question was answered
 * @property {boolean} isDue something was given to the node since
 * @property {boolean} isMute it has not answered the last question
 * @property {Promise<boolean> | null} current the question under way
 * @property {Promise<boolean> | null} next the one after it
 */

class ShardMasters {
  #askRole;
  #onDemoted;
  /** By the addresses of nodes. @type {Map<string, Check>} */
  #checks = new Map();
  /** The nodes in use since the last look. @type {Set<string>} */
  #used = new Set();

  /**
   * @param {(address: string) => Promise<any>} askRole the reply of a node to ROLE
   * @param {(address: string) => void} onDemoted a node is not a master, or does not say so
   */
  constructor(askRole, onDemoted) {
    this.#askRole = askRole;
    this.#onDemoted = onDemoted;
  }

  /** A node is published to. @param {string} address */
  use(address) {
    this.#used.add(address);
  }

  /** Whether a node has not answered when it was last asked. @param {string} address */
  isMute(address) {
    return this.#checks.get(address)?.isMute === true;
  }

  /** Something was subscribed to at a node: it is asked with the next look. @param {string} address */
  askSoon(address) {
    this.#checkOf(address).isDue = true;
  }

  /** Asks the nodes that are to be asked soon, and now and then all that are in use. @param {Iterable<string>} listened to */
  look(listened) {
    for (const address of listened) this.#used.add(address);
    for (const address of this.#used) this.#checkOf(address);
    for (const [address, check] of this.#checks) {
      if (!this.#used.has(address)) this.#checks.delete(address);
      else if (check.isDue || performance.now() - check.at > ASK_EVERY) void this.isMaster(address);
    }
    this.#used.clear();
  }

  /**
   * Resolves to whether a node is a master now. One answer serves all callers that came before the question was sent.
   *
   * @param {string} address
   * @returns {Promise<boolean>}
   */
  isMaster(address) {
    const check = this.#checkOf(address);
    if (check.next !== null) return check.next;
    const ask = () => {
      check.next = null;
      check.isDue = false;
      return (check.current = this.#ask(address, check));
    };
    if (check.current === null) return ask();
    return (check.next = check.current.then(ask));
  }

  /** @param {string} address @param {Check} check */
  async #ask(address, check) {
    const role = await this.#roleOf(address);
    check.at = performance.now();
    check.current = null;
    check.isMute = role === null;
    if (role === "master") return true;
    check.isDue = true;
    this.#onDemoted(address);
    return false;
  }

  /** Null if it has not answered. @param {string} address @returns {Promise<string | null>} */
  async #roleOf(address) {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((resolve) => (timer = afterReading(() => resolve(null), PATIENCE).unref()));
    try {
      const reply = await Promise.race([this.#askRole(address), late]);
      return reply === null || reply === undefined ? null : String(reply[0]);
    } catch (/** @type {any} */ error) {
      // If ROLE is not allowed, the node is believed to be a master.
      return String(error?.message).startsWith("NOPERM") ? "master" : null;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} address */
  #checkOf(address) {
    let check = this.#checks.get(address);
    if (check === undefined) {
      check = { at: performance.now(), isDue: false, isMute: false, current: null, next: null };
      this.#checks.set(address, check);
    }
    return check;
  }
}

module.exports = { ShardMasters };
