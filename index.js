// @ts-check
"use strict";

/**
 * `require("socket.io-redis-native")`: a function that makes adapters, with the rest as its properties, as
 * `@socket.io/redis-adapter` has it.
 */

const { RedisAdapter } = require("./lib/adapter");
const { readForm } = require("./lib/forms");
const { Link } = require("./lib/link");
const { OwnConnections, emitOldEvents } = require("./lib/old-events");
const { installOldMethods } = require("./lib/old-methods");
const { readOptions } = require("./lib/options");

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
  // Socket.IO calls it with `new`, which an arrow function does not take.
  function make(/** @type {any} */ nsp) {
    const adapter = own ? new RedisAdapter(nsp, link, null, opts) : new RedisAdapter(nsp, pub, sub, opts);
    own?.follow(adapter);
    emitOldEvents(adapter);
    return Object.assign(adapter, shown);
  }
  return Object.assign(make, shown);
}

module.exports = Object.assign(createAdapter, { createAdapter, RedisAdapter });
