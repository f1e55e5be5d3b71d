// @ts-check
"use strict";

/**
 * What `createAdapter` was given: checked, with the defaults filled in.
 */

const msgpack = require("./msgpack");

/** Publishes that wait for Redis, in bytes: 5 s of outage at 40,000 messages of 160 bytes a second. */
const MAX_BACKLOG_BYTES = 32 * 1024 * 1024;

/** Messages that wait for the JS thread, in bytes: as much as Redis itself keeps for a slow subscriber. */
const MAX_INBOX_BYTES = 32 * 1024 * 1024;

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
 * Returns the options with their defaults. Throws a TypeError for what cannot be meant.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {AdapterOptions}
 */
function readOptions(given) {
  if (given === undefined || given === null) return readOptions({});
  if (typeof given !== "object") throw wrong("opts", "an object", given);
  const { key, parser } = given;
  if (present(key) && typeof key !== "string") throw wrong("opts.key", "a string", key);
  if (present(parser) && !(typeof parser?.encode === "function" && typeof parser?.decode === "function")) {
    throw wrong("opts.parser", "an object with encode() and decode()", parser);
  }
  return {
    ...readLinkOptions(given),
    family: "classic",
    key: key || "socket.io",
    publishOnSpecificResponseChannel: !!given.publishOnSpecificResponseChannel,
    parser: parser || msgpack,
    customParser: present(parser) && parser !== msgpack,
  };
}

/**
 * The same for `createShardedAdapter`.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {AdapterOptions & { subscriptionMode: string }}
 */
function readShardedOptions(given) {
  if (given === undefined || given === null) return readShardedOptions({});
  if (typeof given !== "object") throw wrong("opts", "an object", given);
  const { channelPrefix, subscriptionMode } = given;
  if (present(channelPrefix) && typeof channelPrefix !== "string")
    throw wrong("opts.channelPrefix", "a string", channelPrefix);
  if (present(subscriptionMode) && !["static", "dynamic", "dynamic-private"].includes(subscriptionMode))
    throw wrong("opts.subscriptionMode", `"static", "dynamic" or "dynamic-private"`, subscriptionMode);
  return {
    ...readLinkOptions(given),
    family: "sharded",
    key: channelPrefix ?? "socket.io",
    publishOnSpecificResponseChannel: true,
    parser: msgpack,
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
  if (given === undefined || given === null) return readStreamsOptions({});
  if (typeof given !== "object") throw wrong("opts", "an object", given);
  for (const name of ["streamName", "channelPrefix", "sessionKeyPrefix"])
    if (present(given[name]) && typeof given[name] !== "string")
      throw wrong(`opts.${name}`, "a string", given[name]);
  for (const name of ["useShardedPubSub", "onlyPlaintext"])
    if (present(given[name]) && typeof given[name] !== "boolean")
      throw wrong(`opts.${name}`, "true or false", given[name]);
  checkWhole("opts.streamCount", given.streamCount, 1, MAX_STREAMS);
  checkWhole("opts.maxLen", given.maxLen, 1);
  checkWhole("opts.readCount", given.readCount, 1);
  checkWhole("opts.blockTimeInMs", given.blockTimeInMs, 0);
  // Without effect: servers are counted, rather than waited for to say that they are there.
  checkNumber("opts.heartbeatInterval", given.heartbeatInterval, "a number of milliseconds");
  checkNumber("opts.heartbeatTimeout", given.heartbeatTimeout, "a number of milliseconds");
  return {
    ...readLinkOptions(given),
    family: given.useShardedPubSub ? "streams-sharded" : "streams",
    key: given.channelPrefix ?? "socket.io",
    publishOnSpecificResponseChannel: true,
    parser: msgpack,
    customParser: false,
    streamName: given.streamName ?? "socket.io",
    streamCount: given.streamCount ?? 1,
    maxLen: given.maxLen ?? 10_000,
    readCount: given.readCount ?? 100,
    blockTimeInMs: given.blockTimeInMs ?? 5000,
    sessionKeyPrefix: given.sessionKeyPrefix ?? "sio:session:",
    onlyPlaintext: given.onlyPlaintext ?? false,
  };
}

/** What all have. @param {Record<string, any>} given */
function readLinkOptions({ requestsTimeout, transport, maxBacklogBytes, maxInboxBytes }) {
  checkNumber("opts.requestsTimeout", requestsTimeout, "a number of milliseconds");
  checkNumber("opts.maxBacklogBytes", maxBacklogBytes, "a number of bytes");
  checkNumber("opts.maxInboxBytes", maxInboxBytes, "a number of bytes");
  if (present(transport) && !["auto", "native", "client"].includes(transport)) {
    throw wrong("opts.transport", `"auto", "native" or "client"`, transport);
  }
  return {
    requestsTimeout: requestsTimeout || 5000,
    transport: transport || "auto",
    maxBacklogBytes: maxBacklogBytes ?? MAX_BACKLOG_BYTES,
    maxInboxBytes: maxInboxBytes ?? MAX_INBOX_BYTES,
  };
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

/** @param {unknown} value @returns {boolean} */
function present(value) {
  return value !== undefined && value !== null;
}

/**
 * @param {string} what
 * @param {unknown} value
 * @param {string} expected
 */
function checkNumber(what, value, expected) {
  if (present(value) && !(typeof value === "number" && value >= 0)) throw wrong(what, expected, value);
}

/**
 * @param {string} what
 * @param {unknown} value
 * @param {number} least
 * @param {number} [most]
 */
function checkWhole(what, value, least, most = Number.MAX_SAFE_INTEGER) {
  if (!present(value)) return;
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
    throw wrong(what, `a whole number ${range}`, value);
  }
}

/** @param {unknown} value */
function show(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object") return `an object (${value.constructor?.name ?? "without prototype"})`;
  if (typeof value === "function") return "a function";
  return `${typeof value} ${String(value)}`;
}

module.exports = {
  checkNumber,
  present,
  readLinkOptions,
  readOptions,
  readShardedOptions,
  readStreamsOptions,
  wrong,
};
