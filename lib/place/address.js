// @ts-check
"use strict";

/**
 * Where Redis is, in options or in a URL, and what of it the adapter's own connections can do. The words are those of
 * `redis` 3, since socket.io-redis 5 and 6 took them; with those of `ioredis` for sentinels, and the `socket` of `redis`
 * 4 and later.
 */

const { readAddressMap } = require("../clients/settings");
const { readTls } = require("../clients/tls");
const { present, wrong } = require("../options/options");

/**
 * @typedef {import("../clients/settings").Settings} Settings
 *
 * @typedef {Record<string, any>} Given
 */

/** Where Redis is, if nobody says so. */
const HOST = "127.0.0.1";
const PORT = 6379;

const WAY_OUT = "Leave it out, or hand in clients that do it: { pubClient, subClient }";

/** The options that say where to connect, and as whom. */
const PLACES = ["url", "path", "sentinels", "cluster", "socket", "host", "port"];
const LOGINS = ["password", "auth_pass", "user", "username", "auth_user", "db", "database", "tls"];

/** What the options of `redis` 3 can ask for that connections of the adapter's own do not do. */
const IMPOSSIBLE = Object.freeze({
  retry_strategy: "they connect again for ever, with a growing pause",
  max_attempts: "they connect again for ever, with a growing pause",
  retry_max_delay: "they connect again for ever, with a growing pause",
  connect_timeout: "they connect again for ever, with a growing pause",
  stream: "they make their own streams",
  rootNodes: "they take the nodes as cluster: [{ host, port }]",
  sentinelRootNodes: "they take the sentinels as sentinels: [{ host, port }], with the name of the master",
  rename_commands: "they send the commands by their own names",
});

/** The same, of `socket`. */
const IMPOSSIBLE_OF_SOCKET = Object.freeze({
  reconnectStrategy: "they connect again for ever, with a growing pause",
  connectTimeout: "they connect again for ever, with a growing pause",
  stream: "they make their own streams",
  lookup: "they look names up as the system does",
});

/** Those of them for which there is a default, that of `redis` and `ioredis`. */
const DEFAULTED = ["host", "port"];

/** Whether the options say where to connect. @param {Given} given */
function hasPlace(given) {
  return PLACES.some((name) => present(given[name]));
}

/** The first of those options that is there without a value, and what it might be nobody can say. @param {Given} given */
function unsetPlace(given) {
  return PLACES.find((name) => name in given && !present(given[name]) && !DEFAULTED.includes(name));
}

/** Whether `host` or `port` is there, without a value. @param {Given} given */
function namesDefault(given) {
  return DEFAULTED.some((name) => name in given);
}

/** The options that were warned of. @type {Set<string>} */
const warned = new Set();

/**
 * The host. One that is there without a value is an environment variable that is not set, as a rule: it is localhost, as
 * for clients of `redis` and `ioredis`, but not without a word.
 *
 * @param {string} name
 * @param {Given} given
 * @returns {string}
 */
function hostOf(name, given) {
  const { host } = given;
  checkText(name, host);
  if (host) return host;
  if ("host" in given && !warned.has(name)) {
    warned.add(name);
    const value = host === "" ? "empty" : String(host);
    console.warn(`socket.io-redis: opts.${name} is ${value}, so that Redis is looked for on ${HOST}`);
  }
  return HOST;
}

/** Whether they say anything at all about connections. @param {Given} given */
function hasSettings(given) {
  return hasPlace(given) || LOGINS.some((name) => present(given[name]));
}

/**
 * The settings in the options; localhost, where they are silent. Throws a TypeError for what cannot be done.
 *
 * @param {Given} given
 * @returns {Settings}
 */
function settingsOf(given) {
  checkPossible(given);
  given = { ...given, ...partsOfSocket(given.socket) };
  const { tls } = given;
  // As in `redis` 3: what `tls` says of the address counts.
  const place = { ...given, ...pick(tls, ["host", "port", "path", "family"]) };
  const { host, port, path, family } = place;
  const database = given.db ?? given.database;
  const username = given.auth_user || given.user || given.username;
  const password = given.auth_pass || given.password;
  checkText("host", host);
  checkText("path", path);
  checkFamily(family, host);
  /** @type {Settings} */
  const settings = loginOf(username, password);
  if (given.cluster) settings.cluster = clusterOf(given);
  else if (given.sentinels) settings.sentinel = sentinelOf(given);
  else if (path && tls) throw impossible("tls", "they speak none over a unix socket");
  else if (path) settings.path = path;
  else Object.assign(settings, { host: hostOf("host", place), port: readPort("port", port) });
  if (present(database) && database !== "")
    settings.database = readNumber("db", database, Number.MAX_SAFE_INTEGER);
  if (tls) settings.tls = tlsOf("tls", tls);
  return settings;
}

/**
 * The options that a URL stands for, over those that are given with it: `redis://…`, `rediss://…`, `unix://…`, and as
 * `redis` 3 has it, `host:port`, a port, or the path of a unix socket. Null if it is none of these.
 *
 * @param {string | number} text
 * @param {Given} given
 * @returns {Given | null}
 */
function readUrl(text, given) {
  const uri = String(text);
  if (/^\d+$/.test(uri)) return { ...given, port: uri };
  if (uri.startsWith("/") && !uri.startsWith("//")) return { ...given, path: uri };
  const place = /^(?:[\w.-]+|\[[\da-f:.]+\]):\d+$/i.test(uri)
    ? `redis://${uri}`
    : uri.replace(/^(?=\/\/)/, "redis:");
  try {
    if (/^(redis|valkey)s?:\/\//i.test(place)) return { ...given, ...partsOf(new URL(place), given) };
    if (/^((redis|valkey)\+)?unix:\/\//i.test(place)) return { ...given, ...fileOf(new URL(place)) };
    return null;
  } catch {
    return null;
  }
}

/** @param {URL} url @param {Given} given @returns {Given} */
function partsOf({ protocol, hostname, port, username, password, pathname, searchParams }, given) {
  const parts = {
    ...Object.fromEntries(searchParams),
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    user: decodeURIComponent(username),
    auth_pass: decodeURIComponent(password),
    db: pathname.slice(1) || (searchParams.get("db") ?? ""),
    tls: ["rediss:", "valkeys:"].includes(protocol) ? (given.tls ?? {}) : "",
  };
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== ""));
}

/** @param {URL} url @returns {Given} */
function fileOf({ pathname, searchParams }) {
  const { db, user, pass } = Object.fromEntries(searchParams);
  const parts = { path: decodeURIComponent(pathname), db, user, auth_pass: pass };
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value));
}

/**
 * Throws a TypeError for what the adapter's own connections cannot do.
 *
 * @param {Given} given
 */
function checkPossible(given) {
  for (const [name, instead] of Object.entries(IMPOSSIBLE)) {
    if (present(given[name])) throw impossible(name, instead);
  }
  for (const [name, instead] of Object.entries(IMPOSSIBLE_OF_SOCKET)) {
    if (present(given.socket?.[name])) throw impossible(`socket.${name}`, instead);
  }
  if (given.enable_offline_queue === false) {
    throw impossible(
      "enable_offline_queue: false",
      "what is published meanwhile waits, up to maxBacklogBytes",
    );
  }
  if (given.disable_resubscribing) throw impossible("disable_resubscribing", "they subscribe again");
}

/** @param {any} given @returns {NonNullable<Settings["sentinel"]>} */
function sentinelOf({ sentinels, name, sentinelUsername, sentinelPassword, sentinelTLS }) {
  if (!Array.isArray(sentinels) || sentinels.length === 0)
    throw wrong("opts.sentinels", "a list of { host, port }", sentinels);
  if (typeof name !== "string" || name === "")
    throw wrong("opts.name", "the name that the sentinels know", name);
  const nodes = sentinels.map((sentinel) => {
    if (sentinel === null || typeof sentinel !== "object")
      throw wrong("opts.sentinels[]", "{ host, port }", sentinel);
    const host = hostOf("sentinels[].host", sentinel);
    return { host, port: readPort("sentinels[].port", sentinel.port ?? 26379) };
  });
  checkText("sentinelUsername", sentinelUsername);
  checkText("sentinelPassword", sentinelPassword);
  return {
    name,
    nodes,
    ...(sentinelUsername && { username: sentinelUsername }),
    ...(sentinelPassword && { password: sentinelPassword }),
    ...(sentinelTLS && { tls: tlsOf("sentinelTLS", sentinelTLS) }),
  };
}

/** @param {any} given @returns {NonNullable<Settings["cluster"]>} */
function clusterOf({ cluster, natMap }) {
  if (!Array.isArray(cluster) || cluster.length === 0)
    throw wrong("opts.cluster", "a list of { host, port }", cluster);
  const nodes = cluster.map((node) => {
    if (node === null || typeof node !== "object") throw wrong("opts.cluster[]", "{ host, port }", node);
    return { host: hostOf("cluster[].host", node), port: readPort("cluster[].port", node.port) };
  });
  if (typeof natMap === "function") throw impossible("natMap", "they take an object");
  const map = readAddressMap(natMap, "natMap");
  return map === undefined ? { nodes } : { nodes, natMap: map };
}

/** The options that stand in `socket`. @param {any} socket @returns {Given} */
function partsOfSocket(socket) {
  if (!present(socket)) return {};
  if (typeof socket !== "object") throw wrong("opts.socket", "an object", socket);
  const { host, port, path, tls, ...rest } = socket;
  return {
    ...("host" in socket && { host: socket.host }),
    ...pick(socket, ["port", "path", "family"]),
    ...(tls && { tls: typeof tls === "object" ? { ...rest, ...tls } : rest }),
  };
}

/** @param {string} name @param {any} tls */
function tlsOf(name, tls) {
  if (tls !== true && typeof tls !== "object") throw wrong(`opts.${name}`, "an object", tls);
  try {
    return readTls(tls);
  } catch (error) {
    throw new TypeError(`opts.${name}: ${error instanceof Error ? error.message : error}. ${WAY_OUT}`);
  }
}

/**
 * Who to log in as; a password that is a function is asked for at each connect.
 *
 * @param {any} username
 * @param {any} password
 * @returns {Pick<Settings, "username" | "password" | "credentials">}
 */
function loginOf(username, password) {
  checkText("user", username);
  if (typeof password === "function") {
    return { credentials: async () => ({ ...(username && { username }), password: await password() }) };
  }
  checkText("password", password);
  return { ...(username && { username }), ...(password && { password }) };
}

/** @param {any} family @param {any} host */
function checkFamily(family, host) {
  if (!present(family) || [0, 4, "IPv4"].includes(family)) return;
  if ([6, "IPv6"].includes(family) && typeof host === "string" && host.includes(":")) return;
  throw impossible(`family: ${family}`, "they take whatever addresses a name has; say the address as host");
}

/** @param {string} name @param {any} value */
function checkText(name, value) {
  if (present(value) && typeof value !== "string")
    // A password that was meant as one is not shown.
    throw wrong(`opts.${name}`, "a string", /password/i.test(name) ? typeof value : value);
}

/** @param {string} name @param {any} value */
function readPort(name, value) {
  return present(value) && value !== "" ? readNumber(name, value, 65_535) : PORT;
}

/** @param {string} name @param {any} value @param {number} max */
function readNumber(name, value, max) {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  if (!Number.isInteger(number) || number < 0 || number > max) throw wrong(`opts.${name}`, "a number", value);
  return number;
}

/** @param {string} what @param {string} instead */
function impossible(what, instead) {
  return new TypeError(
    `opts.${what} cannot be honoured by the adapter's own connections: ${instead}. ${WAY_OUT}`,
  );
}

/** What an object has of these properties, undefined ones left out. @param {any} object @param {string[]} names */
function pick(object, names) {
  /** @type {Given} */
  const picked = {};
  for (const name of names) if (object?.[name] !== undefined) picked[name] = object[name];
  return picked;
}

module.exports = { checkPossible, hasPlace, hasSettings, namesDefault, readUrl, settingsOf, unsetPlace };
