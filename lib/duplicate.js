// @ts-check
"use strict";

/**
 * The second client, where only one was given: it comes and goes with the first.
 */

const { wrong } = require("./options");

/**
 * Returns a client that connects as this one does. Throws a TypeError if it cannot be had.
 *
 * @param {any} client
 * @returns {any}
 */
function duplicateOf(client) {
  if (typeof client?.duplicate !== "function" || typeof client.on !== "function") {
    throw wrong("pubClient and subClient", "two clients, or one that has duplicate()", client);
  }
  const twin = client.duplicate();
  // The adapter tells of it.
  twin.on("error", () => {});
  connect(twin);
  client.on("ready", () => connect(twin));
  client.on("end", () => {
    // `redis` 3 says so with every connection that it loses.
    if (client.closing !== false) disconnect(twin);
  });
  return twin;
}

/**
 * Connects it, unless it is connected or about to be: those of `redis` 4 and later wait to be told. Returns a promise of
 * the end of that, whatever it is; null if there is nothing to do.
 *
 * @param {any} twin
 * @returns {Promise<any> | null}
 */
function connect(twin) {
  const idle = twin.isOpen === false || twin.status === "end";
  return idle ? Promise.resolve(twin.connect()).catch(() => {}) : null;
}

/** Ends it at once. @param {any} twin */
function disconnect(twin) {
  if (twin.isOpen === false) return;
  // By the names that it has in `redis` 5 and later, in `redis` 4 and `ioredis`, and in `redis` 3.
  if (typeof twin.destroy === "function") twin.destroy();
  else if (typeof twin.disconnect === "function") Promise.resolve(twin.disconnect()).catch(() => {});
  else twin.end?.(false);
}

module.exports = { connect, disconnect, duplicateOf };
