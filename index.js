// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native")`: a function that makes adapters, with the rest as its properties, as
 * `@socket.io/redis-adapter` has it.
 */

const { RedisAdapter } = require("./lib/classic");
const { Link } = require("./lib/link");
const { readOptions, readShardedOptions } = require("./lib/options");
const { ShardedRedisAdapter } = require("./lib/sharded");

/**
 * @param {any} pubClient a Redis client that publishes, or the URL of a Redis
 * @param {any} [subClient] a Redis client that receives, or the options that go with a URL
 * @param {any} [opts]
 */
function createAdapter(pubClient, subClient, opts) {
  if (typeof pubClient === "string") {
    if (opts === undefined) opts = subClient;
    const link = Link.ofUrl(pubClient, readOptions(opts));
    return withNamespace((nsp) => new RedisAdapter(nsp, link, null, opts));
  }
  // Checked now, rather than with the first namespace.
  Link.ofClients(pubClient, subClient, readOptions(opts));
  return withNamespace((nsp) => new RedisAdapter(nsp, pubClient, subClient, opts));
}

/**
 * @param {any} pubClient a Redis client that publishes
 * @param {any} subClient a Redis client that receives
 * @param {any} [opts]
 */
function createShardedAdapter(pubClient, subClient, opts) {
  Link.ofClients(pubClient, subClient, readShardedOptions(opts));
  return withNamespace((nsp) => new ShardedRedisAdapter(nsp, pubClient, subClient, opts));
}

/**
 * Socket.IO calls it with `new`, which an arrow function does not take.
 *
 * @template T
 * @param {(nsp: any) => T} make
 */
function withNamespace(make) {
  return function (/** @type {any} */ nsp) {
    return make(nsp);
  };
}

module.exports = Object.assign(createAdapter, { createAdapter, createShardedAdapter, RedisAdapter });
