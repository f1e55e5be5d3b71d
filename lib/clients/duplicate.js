// @ts-check
"use strict";

/**
 * The second client, where the user gave only one: it connects and ends with the first.
 */

const { wrong } = require("../options/options");

/** The duplicates that were made here. @type {WeakMap<object, Duplicate>} */
const duplicates = new WeakMap();

/**
 * A duplicate lives as long as the link that it was made for. While there is an adapter, it connects and ends with its
 * original.
 */
class Duplicate {
  #original;
  #twin;
  #follows = false;

  /** @param {any} original @param {any} twin */
  constructor(original, twin) {
    this.#original = original;
    this.#twin = twin;
  }

  /** There is an adapter. */
  follow() {
    if (this.#follows) return;
    this.#follows = true;
    this.#original.on("ready", this.#onReady);
    this.#original.on("end", this.#onEnd);
    // A client of ioredis that waits for its first command is followed when it is ready.
    const { closing, isOpen, status } = this.#original;
    if (closing !== true && isOpen !== false && status !== "end" && status !== "wait") connect(this.#twin);
  }

  /** There is no adapter any more, but there may be one soon. */
  unfollow() {
    if (!this.#follows) return;
    this.#follows = false;
    this.#original.removeListener("ready", this.#onReady);
    this.#original.removeListener("end", this.#onEnd);
  }

  /** There is no adapter. */
  end() {
    this.unfollow();
    disconnect(this.#twin);
  }

  #onReady = () => void connect(this.#twin);

  #onEnd = () => {
    // `redis` 3 emits this with every connection that it loses.
    if (this.#original.closing !== false) disconnect(this.#twin);
  };
}

/**
 * Returns a client that connects as this one does. Throws a TypeError if it cannot be made.
 *
 * @param {any} client
 * @returns {any}
 */
function duplicateOf(client) {
  if (typeof client?.duplicate !== "function" || typeof client.on !== "function") {
    throw wrong("pubClient and subClient", "two clients, or one that has duplicate()", client);
  }
  // It connects once there is an adapter; otherwise nobody would end it. By default clients of ioredis connect at once.
  const isIoredis = typeof client.status === "string";
  const lazy = { lazyConnect: true };
  const twin = !isIoredis
    ? client.duplicate()
    : client.isCluster
      ? client.duplicate([], lazy)
      : client.duplicate(lazy);
  // The adapter reports its errors.
  twin.on("error", () => {});
  if (cannotConnect(twin)) end(twin);
  duplicates.set(twin, new Duplicate(client, twin));
  return twin;
}

/** What connects and ends a client with its original, if it is a duplicate that was made here. @param {any} client */
function lifeOf(client) {
  return duplicates.get(client) ?? null;
}

/**
 * Connects it, unless it is connected or about to be: clients of `redis` 4 and later wait to be told. Returns a promise that
 * resolves when the attempt has ended, in whatever way; null if there is nothing to wait for.
 *
 * @param {any} twin
 * @returns {Promise<any> | null}
 */
function connect(twin) {
  callOff.get(twin)?.();
  if (cannotConnect(twin)) {
    if (!twin.closing) return null;
    twin.closing = false;
    twin.create_stream();
    return null;
  }
  const idle = twin.isOpen === false || twin.status === "end" || twin.status === "wait";
  return idle ? Promise.resolve(twin.connect()).catch(() => {}) : null;
}

/**
 * Whether it is one of `redis` 3, which has no `connect()`: it connects when it is made. Once it has ended it can be
 * used again by what its own reconnecting calls; 3.1.2 is the last version.
 *
 * @param {any} twin
 */
function cannotConnect(twin) {
  return typeof twin.connect !== "function" && typeof twin.create_stream === "function";
}

/** What calls off the end of a client that is still connecting. @type {WeakMap<object, () => void>} */
const callOff = new WeakMap();

/**
 * Ends it: at once, or when its attempt to connect has ended, unless it is to connect by then.
 *
 * @param {any} twin
 */
function disconnect(twin) {
  if (twin.isOpen === false || callOff.has(twin)) return;
  // `redis` 4 to 6 would forget a connection that is being made, and then nobody could end it.
  if (twin.isOpen === true && twin.isReady === false && typeof twin.on === "function") whenSettled(twin, end);
  else end(twin);
}

/** The events after which an attempt to connect has ended: of a cluster "connect", of others "ready". */
const SETTLED = ["ready", "connect", "error", "reconnecting", "end"];

/** How long it is waited for that, in milliseconds: a server may take a connection, and never answer. */
const SETTLING = 10_000;

/** @param {any} twin @param {(twin: any) => void} callback */
function whenSettled(twin, callback) {
  const settle = () => {
    forget();
    callback(twin);
  };
  const timer = setTimeout(settle, SETTLING).unref();
  const listeners = SETTLED.map((event) => {
    const listener = () => {
      if (event !== "connect" || twin.isReady !== false) settle();
    };
    twin.on(event, listener);
    return /** @type {[string, () => void]} */ ([event, listener]);
  });
  const forget = () => {
    callOff.delete(twin);
    clearTimeout(timer);
    for (const [name, one] of listeners) twin.removeListener(name, one);
  };
  callOff.set(twin, forget);
}

/** @param {any} twin */
function end(twin) {
  if (twin.isOpen === false) return;
  // By the names that it has in `redis` 5 and later, in `redis` 4 and `ioredis`, and in `redis` 3.
  if (typeof twin.destroy === "function") twin.destroy();
  else if (typeof twin.disconnect === "function") Promise.resolve(twin.disconnect()).catch(() => {});
  else twin.end?.(false);
}

module.exports = { connect, disconnect, duplicateOf, lifeOf };
