// @ts-check
"use strict";

/** What the numbers were measured on: without it they mean nothing. */

const os = require("node:os");

function machine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cpus: cpus.length,
    memoryMiB: Math.round(os.totalmem() / 2 ** 20),
    platform: os.platform(),
    arch: os.arch(),
    release: os.release(),
  };
}

/** @returns {Record<string, string>} */
function packageVersions() {
  const names = [
    "@socket.io/redis-adapter",
    "@socket.io/redis-streams-adapter",
    "@socket.io/redis-emitter",
    "socket.io",
    "socket.io-adapter",
    "socket.io-client",
    "redis",
    "ioredis",
    "notepack.io",
  ];
  return {
    "socket.io-redis-native": require("../package.json").version,
    ...Object.fromEntries(names.map((name) => [name, require(`${name}/package.json`).version])),
  };
}

/**
 * Returns what stands at the head of results: when and on what they were measured.
 *
 * @param {string} redisServer its version
 */
function measuredOn(redisServer) {
  return {
    date: new Date().toISOString(),
    machine: machine(),
    versions: /** @type {Record<string, string>} */ ({
      node: process.version,
      redisServer,
      ...packageVersions(),
    }),
  };
}

module.exports = { measuredOn };
