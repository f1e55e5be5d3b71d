// @ts-check
"use strict";

/**
 * Proves that a link's own connections reach the same Redis as the user's clients: the client publishes a secret, and the link
 * receives it. Without that the client might sit behind a tunnel, or be a mock.
 */

const { randomBytes } = require("node:crypto");
const debug = require("debug")("socket.io-redis:link");

/** How long it may take once the clients are connected: so many steps of so many milliseconds. */
const PATIENCE = Object.freeze({ steps: 4, step: 500 });

/**
 * Calls back after two seconds in which the event loop ran. If the loop was blocked meanwhile, by an application that loads for
 * example, this takes as much longer. Returns what cancels it.
 *
 * @param {() => void} callback
 */
function afterPatience(callback) {
  let steps = 0;
  let timer = setTimeout(function step() {
    if (++steps === PATIENCE.steps) return callback();
    timer = setTimeout(step, PATIENCE.step).unref();
  }, PATIENCE.step).unref();
  return () => clearTimeout(timer);
}

class Proof {
  /** The secret message. Its type does not exist, so that other members would ignore it. */
  text = JSON.stringify({ type: 0, proof: randomBytes(16).toString("hex") });
  /** @type {import("../clients").Clients} */
  #clients;
  /** @type {() => void} */
  #onFailure;
  /** Where it is to be published as soon as the clients can. @type {string | null} */
  #channel = null;
  /** @type {(() => void) | null} */
  #callOff = null;

  /**
   * @param {import("../clients").Clients} clients
   * @param {() => void} onFailure it was not received in time, though the clients are connected
   */
  constructor(clients, onFailure) {
    this.#clients = clients;
    this.#onFailure = onFailure;
  }

  /** The link listens on `channel`. @param {string} channel */
  publishOn(channel) {
    this.#channel = channel;
    this.clientsChanged();
  }

  /** The state of the clients may be another. */
  clientsChanged() {
    if (!this.#clients.isReady()) return;
    this.#callOff ??= afterPatience(() => this.#onTimeout());
    const channel = this.#channel;
    if (channel === null) return;
    this.#channel = null;
    this.#clients.publish(channel, this.text).catch((error) => {
      debug("the proof could not be sent: %s", error?.message ?? error);
      this.#channel ??= channel;
    });
  }

  /** It was received, or is no longer wanted. */
  stop() {
    this.#callOff?.();
    this.#callOff = null;
    this.#channel = null;
  }

  #onTimeout() {
    this.#callOff = null;
    // If the clients are not connected, Redis is away, and the proof fails for that reason.
    if (this.#clients.isReady()) this.#onFailure();
  }
}

module.exports = { Proof, afterPatience };
