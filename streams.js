// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native/streams")`: the adapter of streams, as `@socket.io/redis-streams-adapter` has it.
 */

const { Link } = require("./lib/link");
const { readStreamsOptions } = require("./lib/options");
const { RedisStreamsAdapter } = require("./lib/streams");

/**
 * @param {any} redisClient a client of `redis` or `ioredis`, or the URL of a Redis
 * @param {any} [opts]
 */
function createAdapter(redisClient, opts) {
  const options = readStreamsOptions(opts);
  // Checked now, rather than with the first namespace.
  const link =
    typeof redisClient === "string" ? Link.ofUrl(redisClient, options) : Link.ofClient(redisClient, options);
  // Socket.IO calls it with `new`, which an arrow function does not take.
  return function (/** @type {any} */ nsp) {
    return new RedisStreamsAdapter(nsp, link, opts);
  };
}

module.exports = { createAdapter };
