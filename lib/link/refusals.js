// @ts-check
"use strict";

/**
 * Explains what Redis refuses, and says what to do.
 */

const { MAX_DEPTH } = require("../msgpack/format");

/** A server that is too old repeats the command, with the message in it, which must not get into a log. */
const UNKNOWN = /^(ERR unknown command [`'"]?(\w+)[`'"]?)/i;

/** The commands that older servers do not know. @type {Record<string, string>} */
const NEEDS = {
  SSUBSCRIBE: "sharded",
  SUNSUBSCRIBE: "sharded",
  SPUBLISH: "sharded",
  XADD: "streams",
  XREAD: "streams",
  XRANGE: "streams",
  XREVRANGE: "streams",
};

/** @type {Record<string, string>} */
const ADVICE = {
  sharded:
    "sharded pub/sub needs Redis 7.0 or Valkey. On an older Redis use createAdapter() for all servers, or streams " +
    "without useShardedPubSub; for an emitter the mode that the servers have",
  streams: "streams need Redis 5.0. On an older Redis use createAdapter() for all servers",
};

/** The replies of a cluster's node to a client that takes it for a single Redis. */
const CLUSTER = /^(MOVED|CROSSSLOT) /;

const CLUSTER_ADVICE =
  "this Redis is a node of a cluster. Connect with `cluster`, or with a client for clusters";

/** A server that only subscribes is refused its hello, and publishes nothing else. */
const HELLO_ADVICE =
  "so the others are not told that this server has joined. It hears them all the same; if it is to emit, let it publish";

/** The replies to a user who lacks a key or a channel. Redis names neither, and its versions differ in their words. */
const NO_KEY = /^NOPERM .*\bkeys?\b/;
const NO_CHANNEL = /^NOPERM .*\bchannels?\b/;

/** Why a broadcast was not published. */
const EXCESS =
  `a broadcast is nested deeper than ${MAX_DEPTH} levels, which other servers do not read: the clients of this one have ` +
  "got it. Send it flatter, or as text";

/**
 * Where something was refused.
 *
 * @typedef {object} Place
 * @property {string} [stream] its key
 * @property {string} [channels] as the rules of an ACL have them
 */

/**
 * The text of an error of Redis.
 *
 * @param {string} error as Redis has said it
 * @param {Place} [place]
 * @returns {string}
 */
function explainRefusal(error, { stream, channels } = {}) {
  if (CLUSTER.test(error)) return `${error}: ${CLUSTER_ADVICE}`;
  if (error.startsWith("OOM ")) return `${error.replace(/\.$/, "")}: ${adviceOnMemory(stream)}`;
  if (stream !== undefined && error.startsWith("WRONGTYPE "))
    return `${error}: the key ${stream} is no stream. Delete or rename it, or choose another streamName`;
  if (stream !== undefined && NO_KEY.test(error))
    return `${error}: the user lacks ~${stream}. Add it to its ACL`;
  if (channels !== undefined && NO_CHANNEL.test(error))
    return `${error}: the user lacks ${channels}. Add that to its ACL`;
  const [, said, command] = UNKNOWN.exec(error) ?? [];
  if (command === undefined) return error;
  const kind = NEEDS[command.toUpperCase()];
  return kind === undefined ? said : `${said}: ${ADVICE[kind]}`;
}

/** @param {string} [stream] */
function adviceOnMemory(stream) {
  return stream === undefined
    ? "Redis is full. Raise maxmemory, or delete what nobody needs"
    : `Redis is full, and the stream ${stream} takes nothing more. Raise maxmemory, or lower maxLen`;
}

/**
 * The same of any event of a link that tells an error.
 *
 * @param {import("./inbox").LinkEvent} event
 * @param {import("./routing").Routing} [routing] of an adapter that it concerns
 * @returns {string}
 */
function explainEvent({ type, what, error = "", reason = "", stream }, routing) {
  switch (type) {
    case "refused":
      if (what === "encode") return `publish: ${EXCESS}`;
      // Of a server that has published nothing else.
      if (what === "hello") return `publish: ${explainRefusal(error)}, ${HELLO_ADVICE}`;
      return `${what}: ${explainRefusal(error, { stream, channels: routing?.native.aclRules() })}`;
    case "failed":
      return `the link to Redis has failed: ${reason}`;
    default:
      return reason;
  }
}

module.exports = { explainEvent, explainRefusal };
