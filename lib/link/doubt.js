// @ts-check
"use strict";

/**
 * The doubt whether the link's own connections will ever stand again. If they are lost and the user's clients stand
 * nevertheless, and go on to, theirs is the way: the password may have changed, or the network.
 */

const { afterPatience } = require("./proof");

/** What every member passes over. */
const PROBE = JSON.stringify({ type: 0 });

class Doubt {
  #clients;
  #failsOver;
  #onCertain;
  /** Whether the own connections ever stood. */
  #stood = false;
  /** Whether the node that they went to has become a replica. */
  #demoted = false;
  /** Another one with each time that it is raised. @type {object | null} */
  #current = null;

  /**
   * @param {import("../clients").Clients} clients
   * @param {boolean} failsOver whether it is a cluster, or behind sentinels: its clients say that they are connected
   *   while nobody can publish
   * @param {(reason: string) => void} onCertain the clients carry, and the own connections do not
   */
  constructor(clients, failsOver, onCertain) {
    this.#clients = clients;
    this.#failsOver = failsOver;
    this.#onCertain = onCertain;
  }

  /**
   * The own connections are lost, or cannot be made.
   *
   * @param {string} reason
   * @param {string} channel of this node alone
   */
  async raise(reason, channel) {
    if (this.#demoted) return this.dispel();
    if (this.#current !== null || !this.#clients.isReady()) return;
    const current = (this.#current = {});
    const certain = await this.#look(channel);
    if (this.#current !== current) return;
    this.#current = null;
    if (certain) this.#onCertain(reason);
  }

  /** They are no longer wanted, or the clients do not stand either. Another loss raises it again. */
  dispel() {
    this.#current = null;
  }

  /** They stand. */
  stand() {
    this.dispel();
    this.#stood = true;
    this.#demoted = false;
  }

  /**
   * They do not connect since the address leads to a replica. If they stood before, the clients are where they should
   * not be, and no way out. If not, the user may mean it.
   */
  meetReplica() {
    this.#demoted = this.#stood;
  }

  /** @param {string} channel */
  async #look(channel) {
    await patience();
    if (!this.#clients.isReady()) return false;
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

module.exports = { Doubt, PROBE };
