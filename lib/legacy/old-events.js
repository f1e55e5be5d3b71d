// @ts-check
"use strict";

/**
 * The events that users of socket.io-redis expect of the adapter's clients.
 */

const { EventEmitter } = require("node:events");

/**
 * What stands for the two clients where the adapter connects by itself: it tells of `connect`, `ready`, `end` and,
 * if somebody listens, `error`. It takes no commands.
 */
class OwnConnections extends EventEmitter {
  /** Whether the adapter hears the others. */
  connected = false;
  #told = false;

  /** @param {any} adapter */
  follow(adapter) {
    adapter._follow({
      onReady: () => this.#tell(true, null),
      onDegraded: (/** @type {Error} */ error) => this.#tell(false, error),
    });
  }

  /**
   * Once, whatever the number of namespaces that notice.
   *
   * @param {boolean} connected
   * @param {Error | null} error
   * @returns {boolean} whether somebody listens to errors
   */
  #tell(connected, error) {
    const hasListeners = this.listenerCount("error") > 0;
    if (this.#told && this.connected === connected) return hasListeners;
    const before = this.connected;
    this.#told = true;
    this.connected = connected;
    if (connected) {
      this.emit("connect");
      this.emit("ready");
      return hasListeners;
    }
    if (hasListeners) this.emit("error", error);
    if (before) this.emit("end");
    return hasListeners;
  }
}

module.exports = { OwnConnections };
