// @ts-check
"use strict";

/**
 * Which link a client, a pair of clients or an address has: the same one for all who give the same clients.
 */

const binding = require("../base/native");
const { checkPublisher, clientOf, clientsOf, publisherOf } = require("../clients");
const { lifeOf } = require("../clients/duplicate");
const { readTls } = require("../clients/tls");
const { hasStreams, channelKindOf } = require("./member");
const { Link } = require("./link");
const { unset, wrong } = require("../options/options");

/** @typedef {import("./member").LinkOptions} LinkOptions */

/** The URLs that ask for TLS. */
const SECURE = /^\s*(redis|valkey)s:/i;

/**
 * By the two clients. Members of each family have links of their own.
 *
 * @type {Record<"classic" | "sharded", WeakMap<object, WeakMap<object, Link>>>}
 */
const linksOfClients = { classic: new WeakMap(), sharded: new WeakMap() };

/** Those of emitters, by their client. @type {Record<string, WeakMap<object, Link>>} */
const linksOfEmitters = {
  classic: new WeakMap(),
  sharded: new WeakMap(),
  streams: new WeakMap(),
  "streams-sharded": new WeakMap(),
};

/**
 * The link of two clients: the same one for all namespaces of all servers that share them.
 *
 * @param {any} pub
 * @param {any} sub
 * @param {LinkOptions} options
 */
function linkOfClients(pub, sub, options) {
  const clients = clientsOf(pub, sub, channelKindOf(options.family));
  const byPub = linksOfClients[/** @type {"classic" | "sharded"} */ (options.family)];
  let bySub = byPub.get(pub);
  if (bySub === undefined) byPub.set(pub, (bySub = new WeakMap()));
  let link = bySub.get(sub);
  if (link === undefined)
    bySub.set(sub, (link = new Link(clients, null, options, lifeOf(pub) ?? lifeOf(sub))));
  return link;
}

/**
 * The link of a client that emitters publish by: the same one for all of them.
 *
 * @param {any} client
 * @param {LinkOptions} options
 */
function linkOfEmitter(client, options) {
  const links = linksOfEmitters[options.family];
  const known = typeof client === "object" && client !== null ? links.get(client) : undefined;
  if (known !== undefined) return known;
  const link = new Link(
    publisherOf(client, channelKindOf(options.family), hasStreams(options.family)),
    null,
    options,
  );
  links.set(client, link);
  return link;
}

/**
 * Throws the TypeError that `linkOfEmitter` would throw, if it would.
 *
 * @param {any} client
 * @param {LinkOptions} options
 */
function checkEmitterClient(client, options) {
  checkPublisher(client, channelKindOf(options.family));
}

/**
 * A link of a client that does everything: a new one each time. Redis counts servers by their subscriber connections, and such
 * a link may have only one.
 *
 * @param {any} client
 * @param {LinkOptions} options
 */
function linkOfClient(client, options) {
  return new Link(clientOf(client, channelKindOf(options.family)), null, options);
}

/**
 * A link of its own, without clients.
 *
 * @param {string} url
 * @param {LinkOptions} options
 */
function linkOfUrl(url, options) {
  const problem = binding.urlProblem(url);
  if (problem !== null) {
    const expected = "redis://[user:password@]host[:port][/database] or redis+unix:///path";
    // The rest of the text adds nothing.
    const detail = /not parse/.test(problem)
      ? ""
      : problem.replace(/^not a Redis URL: | - InvalidClientConfig$/g, "");
    const error = wrong("the URL", expected, url);
    if (detail !== "") error.message += `: ${detail}`;
    throw url === "" ? unset(error) : error;
  }
  return linkOfSettings(SECURE.test(url) ? { url, tls: readTls(true) } : { url }, options);
}

/**
 * The same, where the settings are known in parts.
 *
 * @param {import("../clients").Settings} settings
 * @param {LinkOptions} options
 */
function linkOfSettings(settings, options) {
  return new Link(null, settings, options);
}

module.exports = {
  checkEmitterClient,
  linkOfClient,
  linkOfClients,
  linkOfEmitter,
  linkOfSettings,
  linkOfUrl,
};
