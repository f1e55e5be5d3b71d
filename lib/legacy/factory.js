// @ts-check
"use strict";

/**
 * What `createAdapter` and its like return: Socket.IO calls it for each namespace, and users can listen to its events.
 */

const { EventEmitter } = require("node:events");

/** The methods of an emitter that a factory has. */
const METHODS = /** @type {const} */ ([
  ...["on", "once", "off", "addListener", "removeListener", "removeAllListeners", "listenerCount"],
]);

/**
 * Tells of all namespaces at once, whatever the number of them that notice: `connect`, `disconnect` and, if somebody
 * listens, `error`.
 */
class FactoryEvents extends EventEmitter {
  /** As the option. No listener: those the user may remove. */
  #onError;
  /** Whether the servers hear each other. */
  #connected = false;
  /** How many adapters are not closed. */
  #open = 0;
  /** The errors that were told in this tick. @type {Set<string>} */
  #told = new Set();

  /** @param {((error: Error) => void) | null} onError */
  constructor(onError) {
    super();
    this.#onError = onError;
  }

  /** @param {any} adapter */
  follow(adapter) {
    this.#open++;
    adapter._follow({
      onReady: () => {
        if (this.#connected) return;
        this.#connected = true;
        this.emit("connect");
      },
      onDegraded: (/** @type {Error} */ error) => {
        const before = this.#connected;
        this.#connected = false;
        if (before) this.emit("disconnect", error);
      },
      onError: (/** @type {Error} */ error) => this.#tell(error),
      // The next one connects anew.
      onClose: () => {
        this.#open--;
        if (this.#open === 0) this.#connected = false;
      },
    });
  }

  /** @param {Error} error @returns {boolean} whether somebody listens */
  #tell(error) {
    const hasListeners = this.listenerCount("error") > 0;
    if (this.#onError === null && !hasListeners) return false;
    if (this.#told.has(error.message)) return true;
    if (this.#told.size === 0) setImmediate(() => this.#told.clear()).unref();
    this.#told.add(error.message);
    try {
      this.#onError?.(error);
    } finally {
      if (hasListeners) this.emit("error", error);
    }
    return true;
  }
}

/**
 * @template T
 * @param {{ onError: ((error: Error) => void) | null }} options
 * @param {(nsp: any) => T} make
 */
function factoryOf({ onError }, make) {
  const events = new FactoryEvents(onError);
  // Socket.IO calls it with `new`, which an arrow function does not take.
  const factory = function (/** @type {any} */ nsp) {
    const adapter = make(nsp);
    events.follow(adapter);
    return adapter;
  };
  /** @type {Record<string, (...args: any[]) => any>} */
  const methods = {};
  for (const name of METHODS) {
    methods[name] = (...args) => {
      const result = /** @type {any} */ (events)[name](...args);
      return result === events ? factory : result;
    };
  }
  return Object.assign(factory, /** @type {Pick<EventEmitter, typeof METHODS[number]>} */ (methods));
}

module.exports = { factoryOf };
