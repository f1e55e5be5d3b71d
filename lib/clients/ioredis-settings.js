// @ts-check
"use strict";

/**
 * The settings of the clients of `ioredis`, 4 to 6, and `iovalkey`, which show all their options.
 */

const { clean, readAddressMap, readUrl, unreadable } = require("./settings");
const { readTls } = require("./tls");

/** @typedef {import("./settings").Settings} Settings */

/**
 * Reads the settings of a client of a single Redis, or of one behind sentinels.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readClient(client) {
  const { options } = client;
  if (!options || typeof options !== "object") unreadable("the client does not show its options");
  if (options.Connector) unreadable("the client has its own way to connect");
  const { host, port, path, username, password, db, connectionName, sentinels } = options;
  const common = { ...readCredentials(username, password), database: Number(db ?? 0), name: connectionName };
  if (sentinels) return clean({ ...common, ...readSentinels(options) });
  // What the TLS options say of the address has the last word, as in `tls.connect`.
  const tls = typeof options.tls === "object" ? options.tls : {};
  if (tls?.path ?? path) return clean({ ...common, path: tls?.path ?? path });
  return clean({
    ...common,
    host: tls?.host ?? host ?? "localhost",
    port: Number(tls?.port ?? port ?? 6379),
    tls: readTls(options.tls),
  });
}

/** @param {any} options */
function readSentinels(options) {
  const { sentinels, name, role, preferredSlaves, natMap } = options;
  if (role === "slave" || preferredSlaves) unreadable("the client connects to replicas");
  if (natMap) unreadable("the link's own connections have no natMap for sentinels");
  if (!Array.isArray(sentinels) || sentinels.length === 0) unreadable("the client shows no sentinels");
  return {
    // Without that option the `tls` option is of no account to what is behind sentinels.
    tls: options.enableTLSForSentinelMode ? readTls(options.tls ?? true) : undefined,
    sentinel: clean({
      name: String(name),
      nodes: sentinels.map(({ host, port }) => ({
        host: String(host ?? "127.0.0.1"),
        port: Number(port ?? 26379),
      })),
      ...readCredentials(options.sentinelUsername, options.sentinelPassword),
      tls: readTls(options.sentinelTLS),
    }),
  };
}

/**
 * Reads those of a cluster.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readCluster(client) {
  const { options, startupNodes } = client;
  if (!options || typeof options !== "object") unreadable("the client does not show its options");
  if (!Array.isArray(startupNodes) || startupNodes.length === 0)
    unreadable("the cluster client shows no nodes");
  if (options.useSRVRecords) unreadable("the nodes come from SRV records");
  const redis = options.redisOptions ?? {};
  if (redis.Connector) unreadable("the client has its own way to connect");
  const starts = startupNodes.map(readStart);
  const tls = redis.tls ?? starts.map((start) => start.tls).find((one) => one !== undefined);
  const login = redis.password ? redis : starts.find(({ password }) => password);
  return clean({
    ...readCredentials(login?.username, login?.password),
    name: redis.connectionName,
    tls: readTls(tls),
    cluster: clean({
      nodes: starts.map(({ host, port }) => ({ host, port })),
      natMap: readAddressMap(options.natMap, "natMap"),
    }),
  });
}

/**
 * One of the startup nodes: a URL, a port, or an object.
 *
 * @param {any} start
 * @returns {{ host: string, port: number, username?: string, password?: string, tls?: any }}
 */
function readStart(start) {
  if (typeof start === "string" || typeof start === "number") {
    const { tls, ...rest } = readUrl(String(start));
    return { ...rest, ...(tls && { tls }) };
  }
  const { host, port, username, password, tls } = start ?? {};
  return {
    ...clean({ username, password, tls }),
    host: String(host ?? "127.0.0.1"),
    port: Number(port ?? 6379),
  };
}

/** @param {any} username @param {any} password @returns {{ username?: string, password?: string }} */
function readCredentials(username, password) {
  // An empty one, or a user without a password, is not sent.
  if (!password) return {};
  return clean({ username: username || undefined, password: String(password) });
}

module.exports = { readClient, readCluster };
