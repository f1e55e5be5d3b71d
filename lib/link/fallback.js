// @ts-check
"use strict";

/**
 * Falls back to the user's clients when the link's own connections fail: if these are lost while the clients stay
 * connected. The password may have changed, or the network.
 */

const { PROBE } = require("./channel-prober");
const { afterPatience } = require("./proof");

class Fallback {
  #clients;
  #failsOver;
  #onFallback;
  /** Whether the own connections ever stood. */
  #stood = false;
  /** Whether the node that they went to has become a replica. */
  #demoted = false;
  /** The check that is under way. @type {object | null} */
  #check = null;

  /**
   * @param {import("../clients").Clients} clients
   * @param {boolean} failsOver whether it is a cluster, or behind sentinels: its clients say that they are connected
   *   while nobody can publish
   * @param {(reason: string) => void} onFallback the clients are to carry the bytes
   */
  constructor(clients, failsOver, onFallback) {
    this.#clients = clients;
    this.#failsOver = failsOver;
    this.#onFallback = onFallback;
  }

  /**
   * The own connections are lost, or cannot be made. Falls back if the clients stay connected for long enough.
   *
   * @param {string} reason
   * @param {string} channel of this node alone
   */
  async consider(reason, channel) {
    if (this.#demoted) return this.cancel();
    if (this.#check !== null || !this.#clients.isReady()) return;
    const check = (this.#check = {});
    const isNeeded = await this.#clientsStay(channel, () => this.#check === check);
    if (this.#check !== check) return;
    this.#check = null;
    if (isNeeded) this.#onFallback(reason);
  }

  /** The own connections are no longer wanted, or the clients have failed as well. Another loss begins anew. */
  cancel() {
    this.#check = null;
  }

  /** The own connections stand. */
  connected() {
    this.cancel();
    this.#stood = true;
    this.#demoted = false;
  }

  /**
   * The own connections cannot be made since the address leads to a replica. If they stood before, the clients are connected
   * to that replica, too, and are of no use. If not, the user may mean it.
   */
  meetReplica() {
    this.#demoted = this.#stood;
  }

  /** Resolves to whether the clients are connected for long enough, and can publish. @param {string} channel @param {() => boolean} isWanted */
  async #clientsStay(channel, isWanted) {
    await patience();
    if (!isWanted() || !this.#clients.isReady()) return false;
    if (!this.#failsOver) return true;
    try {
      await this.#clients.publish(channel, PROBE);
    } catch {
      return false;
    }
    // They can publish again: the own connections ought to stand soon.
    await patience();
    return true;
  }
}

/** @returns {Promise<void>} */
function patience() {
  return new Promise(afterPatience);
}

module.exports = { Fallback };
