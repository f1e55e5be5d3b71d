// @ts-check
"use strict";

/**
 * Where the clients of the matrix connect to: one Redis of each topology, started when it is needed.
 */

const { startCluster } = require("../support/cluster");
const { startRedis } = require("../support/redis");
const { startSentinel } = require("../support/sentinel");

/**
 * @typedef {"standalone" | "unix" | "acl" | "tls" | "sentinel" | "cluster" | "cluster-tls"} Topology
 *
 * @typedef {{ host: string, port: number }} Address
 *
 * @typedef {object} Place
 * @property {Topology} topology
 * @property {number} [port]
 * @property {string} [path]
 * @property {string} [username]
 * @property {string} [password]
 * @property {{ ca: string, cert?: string, key?: string }} [tls]
 * @property {{ name: string, nodes: Address[] }} [sentinel]
 * @property {Address[]} [nodes] of a cluster
 */

/** The kinds of places, in the order in which they stand in the table. @type {Topology[]} */
const TOPOLOGIES = ["standalone", "unix", "acl", "tls", "sentinel", "cluster", "cluster-tls"];

/** Allowed to do all that the adapters do, and nothing else of note. */
const ALICE = {
  name: "alice",
  password: "s%cret/p@ss",
  rules: "~* &* +@pubsub +@connection +cluster +info +@read",
};

/** @type {Record<Topology, () => Promise<{ place: Omit<Place, "topology">, stop: () => Promise<void> }>>} */
const START = {
  async standalone() {
    const redis = await startRedis();
    return { place: { port: redis.port }, stop: () => redis.stop() };
  },
  async unix() {
    const redis = await startRedis({ unixSocket: true });
    return { place: { path: /** @type {string} */ (redis.unixSocket) }, stop: () => redis.stop() };
  },
  async acl() {
    const users = { [ALICE.name]: `on >${ALICE.password} ${ALICE.rules}`, default: "off" };
    const redis = await startRedis({ users });
    const { name: username, password } = ALICE;
    return { place: { port: redis.port, username, password }, stop: () => redis.stop() };
  },
  async tls() {
    const redis = await startRedis({ tls: { clientCert: "required" } });
    return { place: { port: redis.port, tls: secretsOf(redis) }, stop: () => redis.stop() };
  },
  async sentinel() {
    const sentinel = await startSentinel();
    return {
      place: { sentinel: { name: sentinel.name, nodes: sentinel.sentinels.map(addressOf) } },
      stop: () => sentinel.stop(),
    };
  },
  async cluster() {
    const cluster = await startCluster();
    return { place: { nodes: cluster.nodes.map(addressOf) }, stop: () => cluster.stop() };
  },
  async "cluster-tls"() {
    const cluster = await startCluster({ replicas: 0, tls: {}, password: "p@ss" });
    return {
      place: { nodes: cluster.nodes.map(addressOf), password: "p@ss", tls: secretsOf(cluster) },
      stop: () => cluster.stop(),
    };
  },
};

/** @param {{ port: number }} server @returns {Address} */
function addressOf({ port }) {
  return { host: "127.0.0.1", port };
}

/** @param {{ tls: any }} server */
function secretsOf({ tls: { ca, cert, key } }) {
  return { ca, cert, key };
}

/** Starts what is asked for, once. */
class Places {
  /** @type {Map<Topology, ReturnType<typeof START[Topology]>>} */
  #started = new Map();

  /** @param {Topology} topology @returns {Promise<Place>} */
  async at(topology) {
    let starting = this.#started.get(topology);
    if (starting === undefined) this.#started.set(topology, (starting = START[topology]()));
    return { topology, ...(await starting).place };
  }

  async stop() {
    const all = await Promise.allSettled(this.#started.values());
    this.#started.clear();
    await Promise.all(all.map((one) => (one.status === "fulfilled" ? one.value.stop() : null)));
  }
}

module.exports = { Places, TOPOLOGIES };
