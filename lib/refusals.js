// @ts-check
"use strict";

/**
 * What Redis refuses, in words that say what to do.
 */

/** A server that is too old repeats what it was told, messages included: that is nobody's business. */
const UNKNOWN = /^(ERR unknown command [`'"]?(\w+)[`'"]?)/i;

/** What older servers do not know. @type {Record<string, string>} */
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

/** What a node of a cluster says to whom takes it for a single Redis. */
const CLUSTER = /^(MOVED|CROSSSLOT) /;

const CLUSTER_ADVICE =
  "this Redis is a node of a cluster. Connect with `cluster`, or with a client for clusters";

/** What is refused of a server that only listens: beside its hello it publishes nothing. */
const HELLO_ADVICE =
  "so the others are not told that this server has joined. It hears them all the same; if it is to emit, let it publish";

/**
 * The text of an error of Redis.
 *
 * @param {string} error as Redis has said it
 * @returns {string}
 */
function explainRefusal(error) {
  if (CLUSTER.test(error)) return `${error}: ${CLUSTER_ADVICE}`;
  const [, said, command] = UNKNOWN.exec(error) ?? [];
  if (command === undefined) return error;
  const kind = NEEDS[command.toUpperCase()];
  return kind === undefined ? said : `${said}: ${ADVICE[kind]}`;
}

/**
 * The same, of the hello of a server that has published nothing else.
 *
 * @param {string} error
 * @returns {string}
 */
function explainHello(error) {
  return `${explainRefusal(error)}, ${HELLO_ADVICE}`;
}

/**
 * The same of any event of a link that tells an error.
 *
 * @param {import("./link").LinkEvent} event
 * @returns {string}
 */
function explainEvent({ type, what, error = "", reason = "" }) {
  switch (type) {
    case "refused":
      return what === "hello" ? `publish: ${explainHello(error)}` : `${what}: ${explainRefusal(error)}`;
    case "failed":
      return `the link to Redis has failed: ${reason}`;
    default:
      return reason;
  }
}

module.exports = { explainEvent, explainRefusal };
