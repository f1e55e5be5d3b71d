// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native")`: a function that makes adapters, with the rest as its properties, as
 * `@socket.io/redis-adapter` has it.
 */

const { RedisAdapter } = require("./lib/adapter/classic");
const { factoryOf } = require("./lib/legacy/factory");
const { isOwn, linkOf, readForm } = require("./lib/place/forms");
const { OwnConnections } = require("./lib/legacy/old-events");
const { installOldMethods } = require("./lib/legacy/old-methods");
const { readOptions, readShardedOptions } = require("./lib/options/options");
const { ShardedRedisAdapter } = require("./lib/adapter/sharded");

installOldMethods(RedisAdapter.prototype);

/**
 * In one of the forms of index.d.ts; lib/place/forms.js tells them apart.
 *
 * @param {any} [pubClient] a Redis client that publishes, or where a Redis is
 * @param {any} [subClient] a Redis client that receives, or the options that go with an address
 * @param {any} [opts]
 */
function createAdapter(pubClient, subClient, opts) {
  const form = readForm([pubClient, subClient, opts].slice(0, arguments.length), {
    clients: 2,
    taker: "classic",
    old: true,
  });
  const options = readOptions(form.opts);
  // Checked now, rather than with the first namespace.
  const link = linkOf(form, options);
  const own = isOwn(form) ? new OwnConnections() : null;
  const shown = {
    pubClient: form.pub ?? own,
    subClient: form.sub ?? own,
    prefix: options.key,
    requestsTimeout: options.requestsTimeout,
  };
  const make = factoryOf(options, (nsp) => {
    const adapter = new RedisAdapter(nsp, link, null, form.opts);
    own?.follow(adapter);
    return Object.assign(adapter, shown);
  });
  return Object.assign(make, shown);
}

/**
 * @param {any} pubClient as that of `createAdapter`
 * @param {any} [subClient]
 * @param {any} [opts]
 */
function createShardedAdapter(pubClient, subClient, opts) {
  const form = readForm([pubClient, subClient, opts], { clients: 2, taker: "sharded" });
  const options = readShardedOptions(form.opts);
  const link = linkOf(form, options);
  return factoryOf(options, (nsp) => {
    const adapter = new ShardedRedisAdapter(nsp, link, null, form.opts);
    return Object.assign(adapter, { pubClient: form.pub ?? null, subClient: form.sub ?? null });
  });
}

module.exports = createAdapter;

// One by one: so Node.js finds the names that can be imported from a CommonJS module.
module.exports.createAdapter = createAdapter;
module.exports.createShardedAdapter = createShardedAdapter;
module.exports.RedisAdapter = RedisAdapter;

// For TypeScript without `esModuleInterop`, which takes it for what is imported by default.
module.exports.default = createAdapter;
