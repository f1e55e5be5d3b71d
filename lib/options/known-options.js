// @ts-check
"use strict";

/**
 * The names of all options. Warns once of an unknown one: it is a typing mistake, or belongs somewhere else.
 */

const LINK = ["transport", "maxBacklogBytes", "maxInboxBytes", "allowedHosts"];
const ADAPTER = [...LINK, "requestsTimeout", "onError", "fanOut"];
const STREAMS = [
  ...["streamName", "streamCount", "channelPrefix", "useShardedPubSub", "maxLen", "readCount"],
  ...["blockTimeInMs", "sessionKeyPrefix", "heartbeatInterval", "heartbeatTimeout", "onlyPlaintext"],
];
const SHARDED = ["channelPrefix", "subscriptionMode"];

/**
 * What each takes. Emitters are told by the mode of their servers.
 *
 * @type {Record<string, { title: string, names: string[] }>}
 */
const TAKERS = {
  classic: {
    title: "createAdapter()",
    names: [...ADAPTER, "key", "publishOnSpecificResponseChannel", "parser", "pubClient", "subClient"],
  },
  sharded: { title: "createShardedAdapter()", names: [...ADAPTER, ...SHARDED, "pubClient", "subClient"] },
  streams: { title: "createAdapter() of streams", names: [...ADAPTER, ...STREAMS] },
  "emitter, classic": { title: "Emitter", names: [...LINK, "mode", "key", "parser"] },
  "emitter, sharded": { title: "Emitter of sharded servers", names: [...LINK, "mode", ...SHARDED] },
  "emitter, streams": { title: "Emitter of streams", names: [...LINK, "mode", ...STREAMS] },
};

/** What is said to clients of `redis` 3 to 6 and `ioredis`, and may stand beside: an address, or what has no meaning here. */
const OF_CLIENTS = new Set([
  ...["host", "port", "path", "url", "socket", "cluster", "sentinels", "name", "natMap", "tls", "family"],
  ...["password", "auth_pass", "user", "username", "auth_user", "db", "database", "credentialsProvider"],
  ...["sentinelUsername", "sentinelPassword", "sentinelTLS", "enableTLSForSentinelMode", "role"],
  // Of `redis` 3.
  ...["string_numbers", "return_buffers", "detect_buffers", "socket_keepalive", "socket_initial_delay"],
  ...["no_ready_check", "enable_offline_queue", "retry_unfulfilled_commands", "retry_max_delay", "ttl"],
  ...["connect_timeout", "max_attempts", "retry_strategy", "disable_resubscribing", "rename_commands"],
  ...["prefix", "camel_case", "stream", "retry_backoff", "max_clients"],
  // Of `redis` 4 and later.
  ...["commandsQueueMaxLength", "disableOfflineQueue", "readonly", "legacyMode", "isolationPoolOptions"],
  ...["pingInterval", "RESP", "commandOptions", "clientSideCache", "modules", "scripts", "functions"],
  ...["disableClientInfo", "clientInfoTag", "maintNotifications", "rootNodes", "sentinelRootNodes"],
  ...["defaults", "nodeAddressMap", "useReplicas", "minimizeConnections", "maxCommandRedirections"],
  // Of `ioredis`.
  ...["Connector", "autoPipeliningIgnoredCommands", "autoResendUnfulfilledCommands", "autoResubscribe"],
  ...["blockingTimeout", "blockingTimeoutGrace", "clusterRetryStrategy", "commandTimeout", "connectTimeout"],
  ...["connectionName", "disconnectTimeout", "dnsLookup", "enableAutoPipelining", "enableOfflineQueue"],
  ...["enableReadyCheck", "failoverDetector", "keepAlive", "keyPrefix", "lazyConnect", "maxLoadingRetryTime"],
  ...["maxRedirections", "maxRetriesPerRequest", "monitor", "noDelay", "offlineQueue", "preferredSlaves"],
  ...["protocol", "readOnly", "reconnectOnError", "redisOptions", "replyMapping", "retryStrategy"],
  ...["retryDelayOnClusterDown", "retryDelayOnFailover", "retryDelayOnMoved", "retryDelayOnTryAgain"],
  ...["scaleReads", "sentinelCommandTimeout", "sentinelMaxConnections", "sentinelReconnectStrategy"],
  ...["sentinelRetryStrategy", "shardedSubscribers", "slotsRefreshInterval", "slotsRefreshTimeout"],
  ...["socketTimeout", "stringNumbers", "updateSentinels", "useSRVRecords"],
]);

/** Where else something belongs. */
const ELSEWHERE = new Map([
  ["generateId", "io.engine.generateId"],
  ...[
    ...["adapter", "allowEIO3", "allowRequest", "allowUpgrades", "cleanupEmptyChildNamespaces"],
    ...["connectionStateRecovery", "cookie", "cors", "destroyUpgrade", "destroyUpgradeTimeout"],
    ...["httpCompression", "maxHttpBufferSize", "perMessageDeflate", "pingTimeout", "serveClient"],
    ...["transports", "upgradeTimeout", "wsEngine"],
  ].map((name) => /** @type {[string, string]} */ ([name, `new Server({ ${name} })`])),
]);

/** @type {Set<string>} */
const warned = new Set();

/**
 * Warns of options that nobody knows, of each one once.
 *
 * @param {any} given
 * @param {string} taker as in `TAKERS`
 */
function warnOfUnknown(given, taker) {
  if (given === null || typeof given !== "object") return;
  const { title, names } = TAKERS[taker];
  for (const name of Object.keys(given)) {
    if (given[name] === undefined || names.includes(name) || OF_CLIENTS.has(name)) continue;
    if (warned.has(`${taker} ${name}`)) continue;
    warned.add(`${taker} ${name}`);
    console.warn(`socket.io-redis: ${title} has no option ${name}${hintFor(name, names)}`);
  }
}

/** @param {string} name @param {string[]} names those that there are */
function hintFor(name, names) {
  const place = ELSEWHERE.get(name);
  if (place !== undefined) return `: it belongs to ${place}`;
  const other = Object.values(TAKERS).find((taker) => taker.names.includes(name));
  if (other !== undefined) {
    if (name === "key") return `: here it is channelPrefix`;
    if (name === "channelPrefix") return `: here it is key`;
    return `: it is one of ${other.title}`;
  }
  const [nearest] = [...names, ...OF_CLIENTS]
    .map((known) => ({ known, distance: distanceOf(name.toLowerCase(), known.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  // A third of it mistyped is another word.
  return nearest.distance <= Math.max(1, name.length / 3) ? `: is ${nearest.known} meant?` : "";
}

/**
 * How many letters have to be put in, taken out or changed to make one of the other.
 *
 * @param {string} one
 * @param {string} other
 */
function distanceOf(one, other) {
  let before = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const changed = before[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1);
      row.push(Math.min(changed, before[j] + 1, row[j - 1] + 1));
    }
    before = row;
  }
  return before[other.length];
}

module.exports = { TAKERS, warnOfUnknown };
