// @ts-check
"use strict";

/**
 * What an `Emitter` was given: checked, with the defaults filled in.
 */

const { randomBytes } = require("node:crypto");
const msgpack = require("../msgpack");
const { checkNumber, present, readLinkOptions, wrong } = require("../options");

/** Who emitters are in the messages that they send. */
const UID = "emitter";

/**
 * @typedef {"classic" | "sharded" | "streams"} Mode which of the adapters the servers have
 * @typedef {{ encode(value: any): any }} Encoder
 * @typedef {Omit<import("../link").Identity, "nsp">} Identity
 *
 * @typedef {object} EmitterOptions
 * @property {Mode} mode
 * @property {Identity} identity
 * @property {Encoder} parser
 * @property {boolean} customParser whether the user gave the parser
 * @property {boolean} onlyPlaintext
 * @property {import("../link").LinkOptions} link
 * @property {object} shown what `emitter.opts` is
 */

/**
 * Returns the options with their defaults. Throws a TypeError for what cannot be meant.
 *
 * @param {Record<string, any> | null} [given]
 * @returns {EmitterOptions}
 */
function readEmitterOptions(given) {
  if (given === undefined || given === null) return readEmitterOptions({});
  if (typeof given !== "object") throw wrong("opts", "an object", given);
  const mode = given.mode ?? "classic";
  if (!["classic", "sharded", "streams"].includes(mode))
    throw wrong("opts.mode", `"classic", "sharded" or "streams"`, given.mode);
  const { transport, maxBacklogBytes, maxInboxBytes } = readLinkOptions(given);
  const { shown, ...rest } = READERS[/** @type {Mode} */ (mode)](given);
  return {
    mode,
    parser: msgpack,
    customParser: false,
    onlyPlaintext: false,
    ...rest,
    link: { family: rest.identity.family, transport, maxBacklogBytes, maxInboxBytes },
    shown: { ...shown, ...given },
  };
}

/** @type {Record<Mode, (given: Record<string, any>) => Pick<EmitterOptions, "identity" | "shown"> & Partial<EmitterOptions>>} */
const READERS = {
  classic({ key, parser }) {
    checkString("opts.key", key);
    if (present(parser) && typeof parser?.encode !== "function")
      throw wrong("opts.parser", "an object with encode()", parser);
    const prefix = key || "socket.io";
    return {
      identity: identityOf("classic", prefix),
      parser: parser || msgpack,
      customParser: present(parser) && parser !== msgpack,
      shown: { key: prefix, parser: msgpack },
    };
  },

  sharded({ channelPrefix, subscriptionMode }) {
    checkString("opts.channelPrefix", channelPrefix);
    if (present(subscriptionMode) && !["static", "dynamic", "dynamic-private"].includes(subscriptionMode))
      throw wrong("opts.subscriptionMode", `"static", "dynamic" or "dynamic-private"`, subscriptionMode);
    const shown = {
      channelPrefix: channelPrefix ?? "socket.io",
      subscriptionMode: subscriptionMode ?? "dynamic",
    };
    const identity = identityOf("sharded", shown.channelPrefix);
    return { identity: { ...identity, mode: shown.subscriptionMode }, shown };
  },

  streams({ streamName, streamCount, maxLen, channelPrefix, useShardedPubSub, onlyPlaintext }) {
    checkString("opts.streamName", streamName);
    checkString("opts.channelPrefix", channelPrefix);
    checkNumber("opts.maxLen", maxLen, "a number of entries");
    if (present(streamCount) && !(Number.isInteger(streamCount) && streamCount >= 1))
      throw wrong("opts.streamCount", "a whole number of streams", streamCount);
    const shown = {
      streamName: streamName ?? "socket.io",
      streamCount: streamCount ?? 1,
      channelPrefix: channelPrefix ?? "socket.io",
      useShardedPubSub: !!useShardedPubSub,
      maxLen: maxLen ?? 10_000,
      onlyPlaintext: !!onlyPlaintext,
    };
    const identity = identityOf(useShardedPubSub ? "streams-sharded" : "streams", shown.channelPrefix);
    const stream = {
      name: shown.streamName,
      count: shown.streamCount,
      maxLen: shown.maxLen,
      // It does not read.
      readCount: 0,
      block: 0,
      recovers: false,
    };
    return { identity: { ...identity, stream }, onlyPlaintext: shown.onlyPlaintext, shown };
  },
};

/** @param {import("../options").Family} family @param {string} prefix @returns {Identity} */
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

/** @param {string} what @param {unknown} value */
function checkString(what, value) {
  if (present(value) && typeof value !== "string") throw wrong(what, "a string", value);
}

module.exports = { UID, readEmitterOptions };
