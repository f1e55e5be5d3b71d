// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native")`: a function that makes adapters, with the rest as its properties, as
 * `@socket.io/redis-adapter` has it.
 */

const { RedisAdapter } = require("./lib/classic");
const { readForm } = require("./lib/forms");
const { Link } = require("./lib/link");
const { OwnConnections, emitOldEvents } = require("./lib/old-events");
const { installOldMethods } = require("./lib/old-methods");
const { readOptions, readShardedOptions } = require("./lib/options");
const { ShardedRedisAdapter } = require("./lib/sharded");

installOldMethods(RedisAdapter.prototype);

/**
 * In one of the forms of index.d.ts; lib/forms.js tells them apart.
 *
 * @param {...any} args
 */
function createAdapter(...args) {
  const { pub, sub, opts, url, settings } = readForm(args);
  const options = readOptions(opts);
  // Checked now, rather than with the first namespace.
  const link =
    url !== null
      ? Link.ofUrl(url, options)
      : settings !== null
        ? Link.ofSettings(settings, options)
        : Link.ofClients(pub, sub, options);
  const own = url !== null || settings !== null ? new OwnConnections() : null;
  const shown = {
    pubClient: pub ?? own,
    subClient: sub ?? own,
    prefix: options.key,
    requestsTimeout: options.requestsTimeout,
  };
  const make = withNamespace((nsp) => {
    const adapter = own ? new RedisAdapter(nsp, link, null, opts) : new RedisAdapter(nsp, pub, sub, opts);
    own?.follow(adapter);
    emitOldEvents(adapter);
    return Object.assign(adapter, shown);
  });
  return Object.assign(make, shown);
}

/**
 * @param {any} pubClient a Redis client that publishes, or the URL of a Redis
 * @param {any} [subClient] a Redis client that receives, or the options that go with a URL
 * @param {any} [opts]
 */
function createShardedAdapter(pubClient, subClient, opts) {
  if (pubClient instanceof URL) pubClient = pubClient.href;
  if (typeof pubClient === "string") {
    if (opts === undefined) opts = subClient;
    const link = Link.ofUrl(pubClient, readShardedOptions(opts));
    return withNamespace((nsp) => new ShardedRedisAdapter(nsp, link, null, opts));
  }
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
