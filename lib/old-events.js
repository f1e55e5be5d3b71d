// @ts-check
"use strict";

/**
 * The events that users of socket.io-redis listen to, on the adapter and on its clients.
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
    adapter.on("ready", () => this.#tell(true, null));
    adapter.on("degraded", (/** @type {Error} */ error) => this.#tell(false, error));
  }

  /** Once, whatever the number of namespaces that notice. @param {boolean} connected @param {Error | null} error */
  #tell(connected, error) {
    if (this.#told && this.connected === connected) return;
    const before = this.connected;
    this.#told = true;
    this.connected = connected;
    if (connected) {
      this.emit("connect");
      this.emit("ready");
      return;
    }
    if (this.listenerCount("error") > 0) this.emit("error", error);
    if (before) this.emit("end");
  }
}

/**
 * Makes an adapter emit `connect` and `disconnect`, and tell of each outage as an error.
 *
 * @param {any} adapter
 * @param {(error: Error) => void} tellError
 */
function emitOldEvents(adapter, tellError) {
  let connected = false;
  adapter.on("ready", () => {
    connected = true;
    adapter.emit("connect");
  });
  adapter.on("degraded", (/** @type {Error} */ error) => {
    if (connected) adapter.emit("disconnect", error);
    connected = false;
    tellError(error);
  });
}

module.exports = { OwnConnections, emitOldEvents };
