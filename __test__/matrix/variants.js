// @ts-check
"use strict";

/**
 * The Redis clients of the matrix: each package and version, and the ways to make them that matter to us.
 */

const { EventEmitter } = require("node:events");
const { slotsFound } = require("../support/connect");

/**
 * @typedef {import("./places").Place} Place
 * @typedef {import("./places").Topology} Topology
 *
 * @typedef {object} Variant
 * @property {string} name
 * @property {Topology[]} topologies where it is tried
 * @property {(place: Place, role: "pub" | "sub") => any} make a client that is not connected, or on its way
 * @property {(client: any) => Promise<void>} connect resolves once it is connected
 * @property {(client: any) => any} end
 * @property {"before" | "after" | "never"} connects whether it is connected before the adapter is made, after that, or
 *   not by its user
 * @property {boolean} listensToReplicas
 * @property {(topology: Topology) => string | null} unread why the link cannot connect as it does; null if it can
 * @property {(topology: Topology) => RegExp | null} shardless what is said where it cannot do sharded pub/sub at all
 * @property {(topology: Topology) => RegExp | null} deaf what is said where it cannot subscribe to shards itself
 */

/** @type {Topology[]} */
const EVERYWHERE = ["standalone", "unix", "acl", "tls", "sentinel", "cluster", "cluster-tls"];
/** @type {Topology[]} */
const ALONE = ["standalone"];

/** @param {any} client @param {string} event */
function until(client, event) {
  return new Promise((resolve, reject) => {
    client.once(event, () => resolve(undefined));
    client.once("end", () => reject(new Error("the client has ended")));
  });
}

const never = () => null;

// --- redis 4 to 6 ---------------------------------------------------------------------------------------

/**
 * @param {any} redis the package
 * @param {object} options
 */
function nodeRedis(redis, options) {
  return (/** @type {Place} */ place) => {
    const { nodes, sentinel, port, path, tls, username, password } = place;
    const login = { username, password };
    const socket = { ...(tls && { ...tls, tls: true }), reconnectStrategy: 50 };
    if (nodes) {
      const rootNodes = nodes.map(({ host, port }) => ({ socket: { ...socket, host, port } }));
      return redis.createCluster({ rootNodes, defaults: { ...login, socket }, ...options });
    }
    if (sentinel) {
      return redis.createSentinel({ name: sentinel.name, sentinelRootNodes: sentinel.nodes, ...options });
    }
    const where = path ? { path } : { host: "127.0.0.1", port };
    return redis.createClient({ socket: { ...socket, ...where }, ...login, ...options });
  };
}

/**
 * @param {string} name
 * @param {any} redis
 * @param {Partial<Variant> & { options?: object }} [given]
 * @returns {Variant}
 */
function ofRedis(name, redis, { options = {}, ...given } = {}) {
  return {
    name,
    topologies: EVERYWHERE,
    make: nodeRedis(redis, options),
    connect: async (client) => void (await client.connect()),
    end: (client) => (client.close ? client.close() : client.disconnect()),
    connects: "before",
    listensToReplicas: false,
    unread: never,
    shardless: never,
    deaf: never,
    ...given,
  };
}

const [redis4, redis5, redis6] = ["redis-4", "redis-5", "redis"].map((name) => require(name));

/** @type {Topology[]} 4 has no sentinels */
const WITHOUT_SENTINEL = EVERYWHERE.filter((topology) => topology !== "sentinel");

/** @param {any} redis @param {string} name @returns {Variant} whose publisher is a pool */
function pool(redis, name) {
  const make = nodeRedis(redis, {});
  return ofRedis(name, redis, {
    topologies: ALONE,
    make: (place, role) =>
      role === "sub"
        ? make(place)
        : redis.createClientPool({ socket: { host: "127.0.0.1", port: place.port } }),
    unread: () => "a pool shows no options",
  });
}

/** The addresses by which clients are told to reach nodes. @param {Place} place */
function mapOf({ nodes = [] }) {
  return Object.fromEntries(nodes.map(({ host, port }) => [`${host}:${port}`, { host: "localhost", port }]));
}

const REDIS = [
  ofRedis("redis 4", redis4, { topologies: WITHOUT_SENTINEL }),
  ofRedis("redis 4, legacyMode", redis4, { topologies: ALONE, options: { legacyMode: true } }),
  ofRedis("redis 4, connected later", redis4, {
    topologies: ["standalone", "cluster"],
    connects: "after",
    unread: (topology) => (topology === "cluster" ? "its nodes are shown once it is connected" : null),
  }),
  ofRedis("redis 5", redis5, {
    unread: (topology) => (topology === "sentinel" ? "a sentinel client of 5 shows no options" : null),
  }),
  ofRedis("redis 5, connected later", redis5, { topologies: ["standalone", "cluster"], connects: "after" }),
  pool(redis5, "redis 5, createClientPool"),
  ofRedis("redis 6", redis6),
  ofRedis("redis 6, RESP2", redis6, { topologies: ["standalone", "cluster"], options: { RESP: 2 } }),
  ofRedis("redis 6, connected later", redis6, {
    topologies: ["standalone", "sentinel", "cluster"],
    connects: "after",
  }),
  ofRedis("redis 6, disableOfflineQueue", redis6, {
    topologies: ALONE,
    connects: "after",
    options: { disableOfflineQueue: true },
  }),
  ofRedis("redis 6, keyPrefix", redis6, {
    topologies: ["standalone", "cluster"],
    options: { keyPrefix: "prefix:" },
  }),
  pool(redis6, "redis 6, createClientPool"),
  ofRedis("redis 6, credentialsProvider", redis6, {
    topologies: ["acl"],
    make: ({ port, username, password }) =>
      redis6.createClient({
        socket: { host: "127.0.0.1", port },
        credentialsProvider: {
          type: "async-credentials-provider",
          credentials: async () => ({ username, password }),
        },
      }),
  }),
  ofRedis("redis 6, nodeAddressMap", redis6, {
    topologies: ["cluster"],
    make: (place) => nodeRedis(redis6, { nodeAddressMap: mapOf(place) })(place),
  }),
  ofRedis("redis 6, nodeAddressMap()", redis6, {
    topologies: ["cluster"],
    make: (place) =>
      nodeRedis(redis6, { nodeAddressMap: (/** @type {string} */ address) => mapOf(place)[address] })(place),
    unread: () => "the map is a function",
  }),
  ofRedis("redis 6, useReplicas", redis6, {
    topologies: ["cluster"],
    listensToReplicas: true,
    options: { useReplicas: true },
  }),
  ofRedis("redis 6, minimizeConnections", redis6, {
    topologies: ["cluster"],
    options: { minimizeConnections: true },
  }),
  ofRedis("redis 6, replicaPoolSize", redis6, { topologies: ["sentinel"], options: { replicaPoolSize: 2 } }),
];

// --- ioredis --------------------------------------------------------------------------------------------

/**
 * @param {any} ioredis the package
 * @param {object} options
 * @param {object} clusterOptions
 */
function ioRedis(ioredis, options, clusterOptions) {
  const Redis = ioredis.Redis ?? ioredis;
  return (/** @type {Place} */ place) => {
    const { nodes, sentinel, port, path, tls, username, password } = place;
    const all = { username, password, tls, retryStrategy: () => 50, ...options };
    if (nodes) {
      return new ioredis.Cluster(nodes, {
        redisOptions: all,
        clusterRetryStrategy: () => 50,
        ...options,
        ...clusterOptions,
      });
    }
    if (sentinel) return new Redis({ ...all, sentinels: sentinel.nodes, name: sentinel.name });
    return new Redis({ ...all, ...(path ? { path } : { host: "127.0.0.1", port }) });
  };
}

/**
 * @param {string} name
 * @param {any} ioredis
 * @param {Partial<Variant> & { options?: object, clusterOptions?: object }} [given]
 * @returns {Variant}
 */
function ofIoredis(
  name,
  ioredis,
  { options = {}, clusterOptions = { shardedSubscribers: true }, ...given } = {},
) {
  return {
    name,
    topologies: EVERYWHERE,
    make: ioRedis(ioredis, options, clusterOptions),
    connect: async (client) => {
      if (client.status === "wait") await client.connect();
      else if (client.status !== "ready") await until(client, "ready");
    },
    end: async (client) => {
      await slotsFound(client);
      await client.quit();
    },
    connects: "before",
    listensToReplicas: true,
    unread: never,
    shardless: never,
    deaf: never,
    ...given,
  };
}

/** @param {RegExp} message @returns {Variant["deaf"]} */
function deafInCluster(message) {
  return (topology) => (topology.startsWith("cluster") ? message : null);
}

const [ioredis4, ioredis5, ioredis6, iovalkey] = ["ioredis-4", "ioredis-5", "ioredis", "iovalkey"].map(
  (name) => require(name),
);
/** @type {Topology[]} */
const ALONE_AND_CLUSTER = ["standalone", "cluster"];

/** @param {string} name @param {any} ioredis */
function ioredisVariants(name, ioredis) {
  return [
    ofIoredis(name, ioredis),
    ofIoredis(`${name}, lazyConnect`, ioredis, {
      topologies: ["standalone", "sentinel", "cluster"],
      connects: "never",
      options: { lazyConnect: true },
    }),
    ofIoredis(`${name}, enableOfflineQueue: false`, ioredis, {
      topologies: ALONE_AND_CLUSTER,
      connects: "after",
      options: { enableOfflineQueue: false },
    }),
    ofIoredis(`${name}, keyPrefix`, ioredis, {
      topologies: ALONE_AND_CLUSTER,
      options: { keyPrefix: "prefix:" },
    }),
    ofIoredis(`${name}, autopipelining`, ioredis, {
      topologies: ALONE_AND_CLUSTER,
      options: { enableAutoPipelining: true },
    }),
    ofIoredis(`${name}, without shardedSubscribers`, ioredis, {
      topologies: ["cluster"],
      clusterOptions: {},
      deaf: deafInCluster(/shardedSubscribers: true/),
    }),
    ofIoredis(`${name}, natMap`, ioredis, {
      topologies: ["cluster"],
      make: (place) => ioRedis(ioredis, {}, { shardedSubscribers: true, natMap: mapOf(place) })(place),
    }),
  ];
}

const IOREDIS = [
  ...ioredisVariants("ioredis 4", ioredis4),
  ...ioredisVariants("ioredis 5", ioredis5),
  ...ioredisVariants("ioredis 6", ioredis6),
  ofIoredis("ioredis 6, natMap()", ioredis6, {
    topologies: ["cluster"],
    make: (place) => {
      const map = mapOf(place);
      const natMap = (/** @type {string} */ key) => map[key] ?? null;
      return ioRedis(ioredis6, {}, { shardedSubscribers: true, natMap })(place);
    },
    unread: () => "the map is a function",
  }),
  ofIoredis("ioredis 6, autoResubscribe: false", ioredis6, {
    topologies: ALONE,
    options: { autoResubscribe: false },
  }),
  ofIoredis("iovalkey", iovalkey, { clusterOptions: {}, deaf: deafInCluster(/shardedSubscribers: true/) }),
];

// --- others ---------------------------------------------------------------------------------------------

// @ts-ignore it has no types
const redis3 = require("redis-3");

/** @param {string} name @param {object} options @returns {Variant} */
function ofRedis3(name, options) {
  return {
    name,
    topologies: ["standalone", "unix", "tls"],
    make: ({ port, path, tls }) =>
      redis3.createClient({ ...(path ? { path } : { host: "127.0.0.1", port }), tls, ...options }),
    connect: async (client) => void (client.ready || (await until(client, "ready"))),
    end: (client) => void client.quit(),
    connects: "before",
    listensToReplicas: false,
    unread: () => "redis 3 carries its own bytes",
    shardless: () => /no sPublish\(\)/,
    deaf: never,
  };
}

/** What somebody has written to count what is published, say: it shows only what an adapter calls. */
class Wrapper extends EventEmitter {
  /** @param {any} client */
  constructor(client) {
    super();
    this.inner = client;
    client.on("error", (/** @type {any} */ error) => this.emit("error", error));
    const methods = ["publish", "subscribe", "unsubscribe", "pSubscribe", "pUnsubscribe", "sendCommand"];
    for (const method of [...methods, "sPublish", "sSubscribe", "sUnsubscribe"]) {
      Object.assign(this, { [method]: (/** @type {any[]} */ ...args) => client[method](...args) });
    }
  }
}

/** The same in the manner of ioredis. */
class EventWrapper extends EventEmitter {
  /** @param {any} client */
  constructor(client) {
    super();
    this.inner = client;
    for (const event of ["error", "messageBuffer", "pmessageBuffer", "smessageBuffer"]) {
      client.on(event, (/** @type {any[]} */ ...args) => this.emit(event, ...args));
    }
    const methods = ["publish", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "call"];
    for (const method of [...methods, "spublish", "ssubscribe", "sunsubscribe"]) {
      Object.assign(this, { [method]: (/** @type {any[]} */ ...args) => client[method](...args) });
    }
  }
}

/** @param {Variant} variant @param {string} name @param {new (client: any) => any} Kind @returns {Variant} */
function wrapped(variant, name, Kind) {
  return {
    ...variant,
    name,
    topologies: ALONE,
    make: (place, role) => new Kind(variant.make(place, role)),
    connect: (client) => variant.connect(client.inner),
    end: (client) => variant.end(client.inner),
    unread: () => "of no known kind",
  };
}

/** @param {Variant} variant @returns {Variant} */
function behindProxy(variant) {
  return {
    ...variant,
    name: `${variant.name}, behind a Proxy`,
    topologies: ALONE,
    make: (place, role) => {
      const client = variant.make(place, role);
      return new Proxy(client, {
        get(target, property) {
          const value = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
}

const [plainRedis, plainIoredis] = [ofRedis("redis 6", redis6), ofIoredis("ioredis 6", ioredis6)];

/** @type {Variant[]} */
const VARIANTS = [
  ofRedis3("redis 3", {}),
  ofRedis3("redis 3, return_buffers", { return_buffers: true }),
  ofRedis3("redis 3, detect_buffers", { detect_buffers: true }),
  ...REDIS,
  ...IOREDIS,
  behindProxy(plainRedis),
  behindProxy(plainIoredis),
  wrapped(plainRedis, "a wrapper of redis", Wrapper),
  wrapped(plainIoredis, "a wrapper of ioredis", EventWrapper),
];

module.exports = { VARIANTS };
