// @ts-check
"use strict";

/**
 * Refuses versions of Socket.IO that are too old. They would accept the adapter and fail later: before 4.1 broadcasts throw,
 * before 4.3 a broadcast with binary data makes the clients close their connections.
 */

const path = require("node:path");

const OLDEST = [4, 3];

/** The main file of Socket.IO, wherever and by whatever name it is installed. */
const MAIN = /[\\/](?:dist|lib)[\\/]index\.js$/;

/** Those that were looked at. @type {WeakSet<Function>} */
const known = new WeakSet();

/**
 * Throws if a server is of a Socket.IO that is too old. Where its version cannot be found out, in a bundle, it passes.
 *
 * @param {any} server
 */
function checkSocketIo(server) {
  const type = server?.constructor;
  if (typeof type !== "function" || known.has(type)) return;
  const version = versionOf(type);
  if (version !== null && isTooOld(version)) {
    throw new Error(
      `socket.io-redis-native needs Socket.IO ${OLDEST.join(".")} or later, and this server is one of ` +
        `Socket.IO ${version}. Update it: npm install socket.io@4`,
    );
  }
  known.add(type);
}

/** @param {Function} type the class of a server @returns {string | null} */
function versionOf(type) {
  for (const file of Object.keys(require.cache)) {
    if (!MAIN.test(file)) continue;
    const { exports } = /** @type {any} */ (require.cache[file]);
    // The descriptor: a getter of another package's is not to run.
    const found =
      exports === type || Object.getOwnPropertyDescriptor(Object(exports), "Server")?.value === type;
    if (!found) continue;
    try {
      const { name, version } = require(path.join(path.dirname(file), "..", "package.json"));
      return name === "socket.io" ? version : null;
    } catch {
      return null;
    }
  }
  return null;
}

/** @param {string} version */
function isTooOld(version) {
  const [major, minor] = version.split(".").map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

module.exports = { checkSocketIo };
