// @ts-check
"use strict";

/**
 * The settings of the `redis` package's clients, 4 to 6. A plain client shows its options; a cluster and a sentinel
 * show theirs to a duplicate of themselves.
 */

const { clean, readAddressMap, readUrl, unreadable } = require("./settings");
const { readTls } = require("./tls");

/** @typedef {import("./settings").Settings} Settings */

/**
 * Reads the settings of a plain client.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readClient(client) {
  // `createClient()` of 4 may have none.
  const options = client.options ?? {};
  const { socket = {}, database, name } = options;
  checkSocket(socket);
  return clean({
    host: socket.path ? undefined : (socket.host ?? "localhost"),
    port: socket.path ? undefined : Number(socket.port ?? 6379),
    path: socket.path,
    ...readCredentials(options),
    database: Number(database ?? 0),
    name,
    tls: readTls(socket.tls && { ...socket, path: undefined }),
  });
}

/**
 * Reads those of a cluster.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readCluster(client) {
  const options = readHidden(client);
  if (options === null) return readNodes(client);
  const { rootNodes, defaults = {}, nodeAddressMap } = options;
  if (!Array.isArray(rootNodes) || rootNodes.length === 0)
    unreadable("the cluster client shows no root nodes");
  const roots = rootNodes.map(readRoot);
  const socket = { ...roots[0].socket, ...defaults.socket };
  checkSocket(socket);
  const credentials = readCredentials(defaults);
  const usesTls = defaults.socket?.tls ?? roots.every(({ tls }) => tls);
  return clean({
    ...(Object.keys(credentials).length > 0 ? credentials : roots[0].credentials),
    name: defaults.name,
    tls: readTls(usesTls && socket),
    cluster: clean({
      nodes: roots.map(({ host, port }) => ({ host, port })),
      natMap: readAddressMap(nodeAddressMap, "nodeAddressMap"),
    }),
  });
}

/**
 * Reads those of a sentinel.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readSentinel(client) {
  const options = readHidden(client);
  if (options === null) unreadable("a sentinel client of this version shows none of its options");
  const {
    name,
    sentinelRootNodes,
    nodeClientOptions = {},
    sentinelClientOptions = {},
    nodeAddressMap,
  } = options;
  if (!Array.isArray(sentinelRootNodes) || sentinelRootNodes.length === 0) {
    unreadable("the sentinel client shows no sentinels");
  }
  if (nodeAddressMap) unreadable("the link's own connections have no nodeAddressMap for sentinels");
  const { socket = {} } = nodeClientOptions;
  checkSocket(socket);
  const watch = sentinelClientOptions.socket ?? {};
  checkSocket(watch);
  const { credentials, ...known } = readCredentials(sentinelClientOptions);
  if (credentials) unreadable("the credentials for the sentinels come from a provider");
  return clean({
    ...readCredentials(nodeClientOptions),
    database: Number(nodeClientOptions.database ?? 0),
    name: nodeClientOptions.name,
    tls: readTls(socket.tls && socket),
    sentinel: clean({
      name: String(name),
      nodes: sentinelRootNodes.map(({ host, port }) => ({ host: String(host), port: Number(port) })),
      ...known,
      tls: readTls(watch.tls && watch),
    }),
  });
}

/**
 * The options that a client hides, or null. `duplicate()` hands them to the constructor of the client. Here it finds another
 * constructor, so no client is made.
 *
 * @param {any} client
 * @returns {any}
 */
function readHidden(client) {
  if (typeof client.duplicate !== "function") return null;
  let seen = null;
  const prototype = Object.create(client);
  prototype.constructor = function (/** @type {any} */ options) {
    seen = options;
  };
  try {
    client.duplicate.call(Object.create(prototype));
  } catch {
    // 4 does not take this object for the client.
  }
  return seen;
}

/**
 * What the nodes of a cluster client of 4 show once it is connected.
 *
 * @param {any} client
 * @returns {Settings}
 */
function readNodes(client) {
  /** @type {any[]} */
  const nodes = client.masters ?? [];
  const shown = nodes.find(({ client: node }) => node?.options)?.client.options;
  if (!shown) unreadable("a cluster client of this version shows its nodes only once it is connected");
  const { socket = {} } = shown;
  checkSocket(socket);
  // Known nodes are mapped already, and how later ones would be mapped nobody knows.
  const moved = nodes.some(({ host, port, client: node }) => {
    const at = node?.options?.socket;
    return at && (at.host !== host || Number(at.port) !== Number(port));
  });
  if (moved) unreadable("a cluster client of this version does not show its nodeAddressMap");
  return clean({
    ...readCredentials(shown),
    name: shown.name,
    tls: readTls(socket.tls && socket),
    cluster: { nodes: nodes.map(({ host, port }) => ({ host: String(host), port: Number(port) })) },
  });
}

/** The nodes that a cluster client was given, as it was; none if it does not show them. @param {any} client @returns {any[]} */
function rootsOf(client) {
  return readHidden(client)?.rootNodes ?? [];
}

/** @param {any} root one of `rootNodes` */
function readRoot(root) {
  const url = root.url === undefined ? null : readUrl(root.url);
  const socket = root.socket ?? {};
  return {
    host: String(url?.host ?? socket.host ?? "localhost"),
    port: Number(url?.port ?? socket.port ?? 6379),
    tls: url?.tls ?? socket.tls === true,
    socket,
    credentials: url?.password === undefined ? readCredentials(root) : readCredentials(url),
  };
}

/**
 * @param {any} options
 * @returns {Pick<Settings, "username" | "password" | "credentials">}
 */
function readCredentials({ username, password, credentialsProvider }) {
  // A fixed password has a provider, too, in 5 and 6.
  if (!credentialsProvider || username || password) {
    return clean({ username: username || undefined, password: password || undefined });
  }
  const { type } = credentialsProvider;
  if (type !== "async-credentials-provider" || typeof credentialsProvider.credentials !== "function") {
    unreadable(`the credentials come from a ${type}: a connection that listens cannot take new ones`);
  }
  return { credentials: async () => credentialsProvider.credentials() };
}

/** @param {any} socket */
function checkSocket(socket) {
  if (typeof socket.stream === "function" || socket.proxy)
    unreadable("the client has its own way to connect");
  if (typeof socket.lookup === "function") unreadable("the client has its own lookup of names");
}

module.exports = { readClient, readCluster, readSentinel, rootsOf };
