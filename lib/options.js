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

/** What all of them have. @param {Record<string, any>} given */
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

/** @param {unknown} value */
function show(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object") return `an object (${value.constructor?.name ?? "without prototype"})`;
  if (typeof value === "function") return "a function";
  return `${typeof value} ${String(value)}`;
}

module.exports = { checkNumber, present, readLinkOptions, readOptions, readShardedOptions, wrong };
