// @ts-check
"use strict";

/**
 * What the programs for other runtimes share: a client that the oldest Node runs too, and the families by their names.
 */

const { once } = require("node:events");
const { Redis } = require("ioredis-5");

/** Resolves with a client of Redis. @param {string} url */
async function connectClient(url) {
  const client = new Redis(url);
  client.on("error", () => {});
  if (client.status !== "ready") await once(client, "ready");
  return client;
}

/**
 * What makes an adapter of two clients, or for streams of one. `key` sets it apart from others on the same Redis.
 *
 * @typedef {{ key: string, transport: any }} Settings
 * @typedef {Record<string, (client: any, subscriber: any, settings: Settings) => any>} Families
 */

/** @type {Families} */
const families = {
  classic: (client, subscriber, { key, transport }) =>
    require("../..").createAdapter(client, subscriber, { key, transport }),
  sharded: (client, subscriber, { key, transport }) =>
    require("../..").createShardedAdapter(client, subscriber, { channelPrefix: key, transport }),
  streams: (client, _, { key, transport }) =>
    require("../../streams").createAdapter(client, { ...streamOptions(key), transport }),
};

/** The same, of the reference. @type {Families} */
const references = {
  classic: (client, subscriber, { key }) =>
    require("@socket.io/redis-adapter").createAdapter(client, subscriber, { key }),
  sharded: (client, subscriber, { key }) =>
    require("@socket.io/redis-adapter").createShardedAdapter(client, subscriber, { channelPrefix: key }),
  streams: (client, _, { key }) =>
    require("@socket.io/redis-streams-adapter").createAdapter(client, {
      ...streamOptions(key),
      // Its reader ends when its command does.
      blockTimeInMs: 100,
    }),
};

/** @param {string} key */
function streamOptions(key) {
  return { streamName: `${key}-stream`, channelPrefix: key, sessionKeyPrefix: `${key}-session:` };
}

/** @param {string} family @param {any} clientOrUrl @param {Settings} settings @returns {any} */
function emitterTo(family, clientOrUrl, { key, transport }) {
  const { Emitter } = require("../../emitter");
  const { sessionKeyPrefix, ...stream } = streamOptions(key);
  const names = { classic: { key }, sharded: { channelPrefix: key }, streams: stream }[family];
  return new Emitter(clientOrUrl, { mode: /** @type {any} */ (family), transport, ...names });
}

module.exports = { connectClient, emitterTo, families, references };
