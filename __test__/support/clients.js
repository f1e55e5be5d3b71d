// @ts-check
"use strict";

/**
 * Clients of Redis that do not connect: those of the packages, and what only looks like one.
 */

/** The versions of each package. */
const NODE_REDIS = ["redis-4", "redis-5", "redis"];
const IOREDIS = ["ioredis-4", "ioredis-5", "ioredis", "iovalkey"];

/** @param {string} version @returns {any} */
function load(version) {
  return require(version);
}

/** What clients that only look so have to have. */
const METHODS = {
  ioredis: ["publish", "subscribe", "unsubscribe", "psubscribe", "on"],
  redis: ["publish", "subscribe", "unsubscribe", "pSubscribe", "sendCommand", "on"],
  ioredisShard: ["spublish", "ssubscribe", "sunsubscribe", "on"],
};

/** @param {string[]} methods @returns {any} */
function mock(methods) {
  return Object.fromEntries(methods.map((name) => [name, () => {}]));
}

module.exports = { IOREDIS, METHODS, NODE_REDIS, load, mock };
