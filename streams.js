// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native/streams")`: the adapter of streams, as `@socket.io/redis-streams-adapter` has it.
 */

const { factoryOf } = require("./lib/legacy/factory");
const { linkOf, readForm } = require("./lib/place/forms");
const { readStreamsOptions } = require("./lib/options/options");
const { RedisStreamsAdapter } = require("./lib/adapter/streams");

/**
 * @param {any} redisClient a client of `redis` or `ioredis`, or where a Redis is
 * @param {any} [opts]
 */
function createAdapter(redisClient, opts) {
  const form = readForm([redisClient, opts], { clients: 1, taker: "streams" });
  const options = readStreamsOptions(form.opts);
  // Checked now, rather than with the first namespace.
  const link = linkOf(form, options);
  return factoryOf(options, (nsp) => new RedisStreamsAdapter(nsp, link, form.opts));
}

module.exports = { createAdapter };
