// @ts-check
"use strict";

/**
 * Checks the options of adapters, and fills in the defaults.
 */

const { decode, encode } = require("../msgpack");

/** As the reference shows it. @type {Parser} */
const MSGPACK = { encode, decode };
const { withoutSecrets } = require("../base/secrets");

/** Publishes that wait for Redis, in bytes: 5 s of outage at 40,000 messages of 160 bytes a second. */
const MAX_BACKLOG_BYTES = 32 * 1024 * 1024;

/** Messages that wait for the JS thread, in bytes: as much as Redis itself keeps for a slow subscriber. */
const MAX_INBOX_BYTES = 32 * 1024 * 1024;

/** The longest delay that a timer of Node can have, in milliseconds. */
const MAX_DELAY = 2 ** 31 - 1;

/** More streams than this, each of which is read by a connection of its own, cannot be meant. */
const MAX_STREAMS = 1024;

/**
 * @typedef {{ encode(value: any): any, decode(bytes: any): any }} Parser
 *
 * @typedef {"classic" | "sharded" | "streams" | "streams-sharded"} Family
 *
 * @typedef {object} AdapterOptions
 * @property {Family} family which of the adapters it is for
 * @property {string} key prefix of the channels
 * @property {number} requestsTimeout in milliseconds
 * @property {boolean} publishOnSpecificResponseChannel
 * @property {Parser} parser
 * @property {boolean} customParser whether the user gave the parser
 * @property {"auto" | "native" | "client"} transport
 * @property {number} maxBacklogBytes
 * @property {number} maxInboxBytes
 * @property {string[] | null} [allowedHosts] that a cluster or a sentinel may name; null for all
 * @property {((error: Error) => void) | null} onError
 * @property {boolean} fanOut whether broadcasts are written to the sockets by a thread of Rust's
 */

/**
 * @typedef {object} StreamsOptions
 * @property {string} streamName
 * @property {number} streamCount
 * @property {number} maxLen in entries
 * @property {number} readCount in entries
 * @property {number} blockTimeInMs
 * @property {string} sessionKeyPrefix
 * @property {boolean} onlyPlaintext
 */

/**
 * Returns the options with their defaults. Throws a TypeError for a value that cannot be right.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {AdapterOptions}
 */
function readOptions(given) {
  given = objectOf(given);
  const { parser } = given;
  if (present(parser) && !(typeof parser?.encode === "function" && typeof parser?.decode === "function")) {
    throw wrong("opts.parser", "an object with encode() and decode()", parser);
  }
  return {
    ...readLinkOptions(given),
    family: "classic",
    key: readText(given, "key") || "socket.io",
    publishOnSpecificResponseChannel: readBoolean(given, "publishOnSpecificResponseChannel") ?? false,
    parser: parser || MSGPACK,
    customParser: present(parser) && parser !== MSGPACK,
  };
}

/**
 * The same for `createShardedAdapter`.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {AdapterOptions & { subscriptionMode: string }}
 */
function readShardedOptions(given) {
  given = objectOf(given);
  const { subscriptionMode } = given;
  if (present(subscriptionMode) && !["static", "dynamic", "dynamic-private"].includes(subscriptionMode))
    throw wrong("opts.subscriptionMode", `"static", "dynamic" or "dynamic-private"`, subscriptionMode);
  return {
    ...readLinkOptions(given),
    family: "sharded",
    key: readText(given, "channelPrefix") ?? "socket.io",
    publishOnSpecificResponseChannel: true,
    parser: MSGPACK,
    customParser: false,
    subscriptionMode: subscriptionMode ?? "dynamic",
  };
}

/**
 * The same for `createAdapter` of `socket.io-redis-native/streams`.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {AdapterOptions & StreamsOptions}
 */
function readStreamsOptions(given) {
  given = objectOf(given);
  // Without effect: servers are counted, rather than waited for to say that they are there.
  readNumber(given, "heartbeatInterval", "a number of milliseconds");
  readNumber(given, "heartbeatTimeout", "a number of milliseconds");
  return {
    ...readLinkOptions(given),
    family: readBoolean(given, "useShardedPubSub") ? "streams-sharded" : "streams",
    key: readText(given, "channelPrefix") ?? "socket.io",
    publishOnSpecificResponseChannel: true,
    parser: MSGPACK,
    customParser: false,
    streamName: readText(given, "streamName") ?? "socket.io",
    streamCount: readWhole(given, "streamCount", 1, MAX_STREAMS) ?? 1,
    maxLen: readWhole(given, "maxLen", 1) ?? 10_000,
    readCount: readWhole(given, "readCount", 1) ?? 100,
    blockTimeInMs: readWhole(given, "blockTimeInMs", 0) ?? 5000,
    sessionKeyPrefix: readText(given, "sessionKeyPrefix") ?? "sio:session:",
    onlyPlaintext: readBoolean(given, "onlyPlaintext") ?? false,
  };
}

/** What all have. @param {Record<string, any>} given */
function readLinkOptions(given) {
  const { transport, onError } = given;
  if (present(transport) && !["auto", "native", "client"].includes(transport)) {
    throw wrong("opts.transport", `"auto", "native" or "client"`, transport);
  }
  if (present(onError) && typeof onError !== "function") throw wrong("opts.onError", "a function", onError);
  return {
    requestsTimeout: readNumber(given, "requestsTimeout", "a number of milliseconds") || 5000,
    transport: transport || "auto",
    maxBacklogBytes: readNumber(given, "maxBacklogBytes", "a number of bytes") ?? MAX_BACKLOG_BYTES,
    maxInboxBytes: readNumber(given, "maxInboxBytes", "a number of bytes") ?? MAX_INBOX_BYTES,
    allowedHosts: readHosts(given.allowedHosts),
    onError: onError ?? null,
    fanOut: readBoolean(given, "fanOut") ?? false,
  };
}

/** A name of a host, the end of one behind `*`, an address or a network; the core reads it more closely. */
const HOST = /^(\*(?=\.))?[\w.:-]+(\/\d+)?$/;

/** The hosts that may be connected to; null for all. @param {any} given a list, or names with commas between */
function readHosts(given) {
  if (!present(given)) return null;
  const hosts = typeof given === "string" ? given.split(",").map((host) => host.trim()) : given;
  const isHost = (/** @type {any} */ host) => typeof host === "string" && HOST.test(host);
  if (Array.isArray(hosts) && hosts.length > 0 && hosts.every(isHost)) return hosts;
  throw wrong("opts.allowedHosts", 'a list of hosts, "*.domain" or networks like "10.0.0.0/8"', given);
}

// --- one option ----------------------------------------------------------------------------------------
//
// Options often come from the environment, where everything is text: text is taken where its meaning is clear. Each function
// returns undefined if the option is not given.

/** Digits, with a fraction perhaps: what a number looks like in the environment. */
const NUMERIC = /^\s*\d+(\.\d+)?\s*$/;

/**
 * @param {Record<string, any>} given
 * @param {string} name
 * @param {string} expected
 * @returns {number | undefined}
 */
function readNumber(given, name, expected) {
  const value = numberOf(given[name]);
  if (value === undefined || (typeof value === "number" && value >= 0)) return value;
  throw wrong(`opts.${name}`, expected, value);
}

/**
 * @param {Record<string, any>} given
 * @param {string} name
 * @param {number} least
 * @param {number} [most]
 * @returns {number | undefined}
 */
function readWhole(given, name, least, most = Number.MAX_SAFE_INTEGER) {
  const value = numberOf(given[name]);
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  throw wrong(`opts.${name}`, `a whole number ${range}`, value);
}

/** A number, if it is the text of one; undefined if it is not given. @param {unknown} value @returns {unknown} */
function numberOf(value) {
  if (!present(value) || value === "") return undefined;
  return typeof value === "string" && NUMERIC.test(value) ? Number(value) : value;
}

/**
 * @param {Record<string, any>} given
 * @param {string} name
 * @returns {boolean | undefined}
 */
function readBoolean(given, name) {
  const value = given[name];
  if (!present(value) || value === "") return undefined;
  if (typeof value === "boolean") return value;
  const text = typeof value === "string" || typeof value === "number" ? String(value).toLowerCase() : "";
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw wrong(`opts.${name}`, "true or false", value);
}

/**
 * Text, as which a number may be meant: channels and keys are made of it.
 *
 * @param {Record<string, any>} given
 * @param {string} name
 * @returns {string | undefined}
 */
function readText(given, name) {
  const value = given[name];
  if (!present(value)) return undefined;
  if (typeof value === "string") return value;
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  throw wrong(`opts.${name}`, "a string", value);
}

/** @param {any} given @returns {Record<string, any>} */
function objectOf(given) {
  if (!present(given)) return {};
  if (typeof given !== "object") throw wrong("opts", "an object", given);
  return given;
}

/**
 * A TypeError that says what was expected where.
 *
 * @param {string} what
 * @param {string} expected
 * @param {unknown} given
 */
function wrong(what, expected, given) {
  return new TypeError(`${what} must be ${expected}, got ${show(given)}`);
}

/** The same error of an address without a value. @param {TypeError} error */
function unset(error) {
  error.message += ". Is an environment variable not set?";
  return error;
}

/** @param {unknown} value @returns {boolean} */
function present(value) {
  return value !== undefined && value !== null;
}

/** @param {unknown} value */
function show(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(withoutSecrets(value));
  if (typeof value === "object") return `an object (${value.constructor?.name ?? "without prototype"})`;
  if (typeof value === "function") return "a function";
  return `${typeof value} ${String(value)}`;
}

/** What a timer of Node makes of a delay, which may be anything; but a long time is one. @param {any} value */
function toDelay(value) {
  const delay = Number(value);
  return delay >= 1 ? Math.min(delay, MAX_DELAY) : 1;
}

module.exports = {
  MAX_DELAY,
  MSGPACK,
  objectOf,
  present,
  readLinkOptions,
  readNumber,
  readOptions,
  readShardedOptions,
  readStreamsOptions,
  readText,
  toDelay,
  unset,
  wrong,
};
