// @ts-check
"use strict";

/**
 * Checks the options of an `Emitter`, and fills in the defaults.
 */

const { randomBytes } = require("node:crypto");
const { warnOfUnknown } = require("../options/known-options");
const {
  MSGPACK,
  objectOf,
  present,
  readLinkOptions,
  readShardedOptions,
  readStreamsOptions,
  readText,
  wrong,
} = require("../options/options");

/** The sender that emitters' messages name. */
const UID = "emitter";

/**
 * @typedef {"classic" | "sharded" | "streams"} Mode which of the adapters the servers have
 * @typedef {{ encode(value: any): any }} Encoder
 * @typedef {Omit<import("../link/routing").Identity, "nsp">} Identity
 *
 * @typedef {object} EmitterOptions
 * @property {Mode} mode
 * @property {Identity} identity
 * @property {Encoder} parser
 * @property {boolean} customParser whether the user gave the parser
 * @property {boolean} onlyPlaintext
 * @property {import("../link/link").LinkOptions} link
 * @property {object} shown the defaults in `emitter.opts`
 */

/**
 * Returns the options with their defaults. Throws a TypeError for what cannot be meant.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {EmitterOptions}
 */
function readEmitterOptions(given) {
  given = objectOf(given);
  const mode = given.mode ?? "classic";
  if (!["classic", "sharded", "streams"].includes(mode))
    throw wrong("opts.mode", `"classic", "sharded" or "streams"`, given.mode);
  const { transport, maxBacklogBytes, maxInboxBytes, allowedHosts } = readLinkOptions(given);
  const { shown, ...rest } = READERS[/** @type {Mode} */ (mode)](given);
  warnOfUnknown(given, `emitter, ${mode}`);
  return {
    mode,
    parser: MSGPACK,
    customParser: false,
    onlyPlaintext: false,
    ...rest,
    link: { family: rest.identity.family, transport, maxBacklogBytes, maxInboxBytes, allowedHosts },
    shown,
  };
}

/** @type {Record<Mode, (given: Record<string, any>) => Pick<EmitterOptions, "identity" | "shown"> & Partial<EmitterOptions>>} */
const READERS = {
  classic(given) {
    const { parser } = given;
    if (present(parser) && typeof parser?.encode !== "function")
      throw wrong("opts.parser", "an object with encode()", parser);
    const prefix = readText(given, "key") || "socket.io";
    return {
      identity: identityOf("classic", prefix),
      parser: parser || MSGPACK,
      customParser: present(parser) && parser !== MSGPACK,
      shown: { key: prefix, parser: MSGPACK },
    };
  },

  sharded(given) {
    const { key: channelPrefix, subscriptionMode } = readShardedOptions(given);
    const identity = { ...identityOf("sharded", channelPrefix), mode: subscriptionMode };
    return { identity, shown: { channelPrefix, subscriptionMode } };
  },

  streams(given) {
    const { family, key, streamName, streamCount, maxLen, onlyPlaintext } = readStreamsOptions(given);
    // It does not read.
    const stream = { name: streamName, count: streamCount, maxLen, readCount: 1, block: 0, recovers: false };
    const useShardedPubSub = family === "streams-sharded";
    const shown = { streamName, streamCount, channelPrefix: key, useShardedPubSub, maxLen, onlyPlaintext };
    return { identity: { ...identityOf(family, key), stream }, onlyPlaintext, shown };
  },
};

/** @param {import("../options/options").Family} family @param {string} prefix @returns {Identity} */
function identityOf(family, prefix) {
  return {
    uid: UID,
    prefix,
    family,
    customParser: false,
    specificResponses: false,
    frames: false,
    emitter: `${UID}-${randomBytes(8).toString("hex")}`,
  };
}

module.exports = { UID, readEmitterOptions };
