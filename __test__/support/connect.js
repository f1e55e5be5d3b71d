// @ts-check
"use strict";

/**
 * Redis clients of the packages that users bring, connected to what a test has started.
 */

const { RedisCluster } = require("./cluster");
const { roundTrip } = require("./resp");
const { RedisSentinel } = require("./sentinel");
const { once, waitFor } = require("./wait");

/** @typedef {import("./redis").RedisServer} RedisServer */

/**
 * @typedef {{ port: number, tls?: RedisServer["tls"] }} Standalone that a test has started, or the
 *   process above this one
 * @typedef {Standalone | RedisCluster | RedisSentinel} Topology
 * @typedef {"redis" | "redis-5" | "ioredis" | "ioredis-5"} ClientPackage as package.json names them
 * @typedef {ClientPackage | ((topology: Topology) => any)} Clients a package, or what makes a client
 * @typedef {{ username?: string, password?: string }} Credentials
 */

/**
 * Resolves with a connected client. Its errors are expected: a test may end what it is connected to.
 *
 * @param {Clients} clients
 * @param {Topology} topology
 * @param {Credentials} [credentials]
 * @returns {Promise<any>}
 */
async function connectClient(clients, topology, credentials = {}) {
  const client =
    typeof clients === "function" ? await clients(topology) : make(clients, topology, credentials);
  // The reference warns of clients without one.
  client.on("error", () => {});
  if (typeof client.connect === "function" && client.isOpen === false) await client.connect();
  else if (client.status !== undefined && client.status !== "ready") await once(client, "ready", 10_000);
  return client;
}

/** @param {ClientPackage} name @param {Topology} topology @param {Credentials} credentials */
function make(name, topology, credentials) {
  const kind = name.startsWith("ioredis") ? ioredis : nodeRedis;
  return kind(require(name), topology, credentials);
}

/** @param {any} redis the package @param {Topology} topology @param {Credentials} credentials */
function nodeRedis({ createClient, createCluster, createSentinel }, topology, credentials) {
  if (topology instanceof RedisSentinel) {
    return createSentinel({
      name: topology.name,
      sentinelRootNodes: topology.sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
      nodeClientOptions: credentials,
    });
  }
  const tls = tlsOf(topology);
  if (topology instanceof RedisCluster) {
    return createCluster({
      rootNodes: topology.live.map(({ url }) => ({ url })),
      defaults: { ...credentials, ...(tls && { socket: { tls: true, ...tls } }) },
    });
  }
  const { port } = topology;
  return createClient({
    ...credentials,
    socket: { host: "127.0.0.1", port, ...(tls && { tls: true, ...tls }) },
  });
}

/** @param {any} ioredis the package @param {Topology} topology @param {Credentials} credentials */
function ioredis({ Redis, Cluster }, topology, credentials) {
  if (topology instanceof RedisSentinel) {
    return new Redis({
      name: topology.name,
      sentinels: topology.sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
      ...credentials,
    });
  }
  const tls = tlsOf(topology);
  const options = { ...credentials, ...(tls && { tls }) };
  if (topology instanceof RedisCluster) {
    const nodes = topology.live.map(({ port }) => ({ host: "127.0.0.1", port }));
    return new Cluster(nodes, { shardedSubscribers: true, redisOptions: options });
  }
  return new Redis({ host: "127.0.0.1", port: topology.port, ...options });
}

/** @param {Standalone | RedisCluster} topology */
function tlsOf({ tls }) {
  return tls ? { ca: tls.ca, cert: tls.cert, key: tls.key, servername: tls.servername } : null;
}

/**
 * Resolves when a client is not looking for its slots. A Cluster of ioredis that is ended meanwhile looks for them again every five
 * seconds, for ever, in all versions.
 *
 * @param {any} client
 */
async function slotsFound(client) {
  await waitFor(() => client.isRefreshing !== true, { what: "a Cluster to have its slots" });
}

/** Ends a client, once what it was given is answered. @param {any} client */
async function endClient(client) {
  await slotsFound(client);
  if (typeof client.close === "function") await client.close();
  else await client.quit();
}

/**
 * Resolves with the numbers of subscribers of some channels, over all nodes.
 *
 * @param {Topology} topology
 * @param {string[]} channels
 * @param {{ sharded?: boolean }} [options] whether by SSUBSCRIBE
 * @returns {Promise<number[]>}
 */
async function countSubscribers(topology, channels, { sharded = false } = {}) {
  const sums = channels.map(() => 0);
  for (const server of serversOf(topology)) {
    const command = ["PUBSUB", sharded ? "SHARDNUMSUB" : "NUMSUB", ...channels];
    const counts = "cli" in server ? await server.cli(...command) : await ask(server, command);
    for (const i of sums.keys()) sums[i] += Number(counts[2 * i + 1]);
  }
  return sums;
}

/** @param {Standalone} server @param {string[]} command */
async function ask({ port }, command) {
  const [reply] = await roundTrip({ host: "127.0.0.1", port }, [command]);
  if (reply instanceof Error) throw reply;
  return reply;
}

/** The servers behind it that run. @param {Topology} topology @returns {(Standalone | RedisServer)[]} */
function serversOf(topology) {
  if (topology instanceof RedisCluster || topology instanceof RedisSentinel) return topology.live;
  return [topology];
}

module.exports = { connectClient, endClient, countSubscribers, serversOf, slotsFound };
