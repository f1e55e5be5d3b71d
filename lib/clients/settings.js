// @ts-check
"use strict";

/**
 * The settings of a link's own connections, as they are read from the user's clients.
 */

const { isDeepStrictEqual } = require("node:util");

/**
 * @typedef {{ host: string, port: number }} Address
 *
 * @typedef {object} TlsSettings
 * @property {string[]} ca certificates in PEM that a server's has to lead to
 * @property {string} [cert] of the client, in PEM
 * @property {string} [key] of the client, in PEM
 * @property {string} [serverName] what the server's certificate has to name; its host unless given
 * @property {boolean} verify false: any certificate will do
 *
 * @typedef {object} SentinelSettings
 * @property {string} name of the master
 * @property {Address[]} nodes
 * @property {string} [username]
 * @property {string} [password]
 * @property {TlsSettings} [tls]
 *
 * @typedef {object} ClusterSettings
 * @property {Address[]} nodes some of the cluster's, to ask for the others
 * @property {{ from: string, host: string, port: number }[]} [natMap] where the nodes are that call themselves
 *   `from`, which is `host:port`
 *
 * @typedef {object} Settings as `LinkSettings` of binding.d.ts
 * @property {string} [url]
 * @property {string} [host]
 * @property {number} [port]
 * @property {string} [path]
 * @property {string} [username]
 * @property {string} [password]
 * @property {number} [database]
 * @property {string} [name] that the connections give themselves
 * @property {() => Promise<{ username?: string, password?: string }>} [credentials] asked at each connect
 * @property {TlsSettings} [tls]
 * @property {SentinelSettings} [sentinel]
 * @property {ClusterSettings} [cluster]
 */

/** The link's own connections cannot connect as the client does; the message says why. */
class Unreadable extends Error {}

/** @param {string} reason @returns {never} */
function unreadable(reason) {
  throw new Unreadable(reason);
}

/**
 * Calls what reads settings, and returns these, or the reason why there are none.
 *
 * @param {() => Settings} read
 * @returns {{ settings: Settings, reason: null } | { settings: null, reason: string }}
 */
function reading(read) {
  try {
    return { settings: read(), reason: null };
  } catch (error) {
    if (error instanceof Unreadable) return { settings: null, reason: error.message };
    // The client is not what it looks like.
    return { settings: null, reason: `the client's settings cannot be read: ${error}` };
  }
}

/**
 * Whether two clients connect to the same place as the same user. Pub/sub knows no databases. What a function will return as
 * credentials is not known: the proof shows that.
 *
 * @param {Settings} one
 * @param {Settings} other
 */
function areSame(one, other) {
  const place = (/** @type {Settings} */ settings) => ({
    ...settings,
    name: null,
    database: null,
    credentials: settings.credentials !== undefined,
  });
  return isDeepStrictEqual(place(one), place(other));
}

/**
 * Leaves out what is undefined or null.
 *
 * @template {object} T
 * @param {T} object
 * @returns {T}
 */
function clean(object) {
  return /** @type {T} */ (
    Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== null))
  );
}

/**
 * Reads the URL of a Redis as both packages of clients do.
 *
 * @param {string} text `redis[s]://[user[:password]@]host[:port][/database]`, or `host[:port]`, or a port
 * @returns {{ host: string, port: number, username?: string, password?: string, database?: number, tls: boolean }}
 */
function readUrl(text) {
  const url = new URL(
    /^[a-z+]+:\/\//i.test(text) ? text : `redis://${/^\d+$/.test(text) ? `127.0.0.1:${text}` : text}`,
  );
  if (url.protocol !== "redis:" && url.protocol !== "rediss:")
    unreadable(`a URL begins with ${url.protocol}//`);
  const database = Number(url.pathname.slice(1) || NaN);
  return clean({
    host: url.hostname.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1",
    port: Number(url.port || 6379),
    username: url.username === "" ? undefined : decodeURIComponent(url.username),
    password: url.password === "" ? undefined : decodeURIComponent(url.password),
    database: Number.isNaN(database) ? undefined : database,
    tls: url.protocol === "rediss:",
  });
}

/**
 * A `natMap` or `nodeAddressMap` as a list; undefined if there is none.
 *
 * @param {any} map
 * @param {string} option its name
 * @returns {ClusterSettings["natMap"]}
 */
function readAddressMap(map, option) {
  if (map === undefined || map === null) return undefined;
  if (typeof map !== "object") unreadable(`${option} is a function`);
  return Object.entries(map).map(([from, to]) => ({ from, host: String(to.host), port: Number(to.port) }));
}

module.exports = { areSame, clean, readAddressMap, reading, readUrl, unreadable };
