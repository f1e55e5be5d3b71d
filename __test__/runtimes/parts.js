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
  if (client.status !== "ready") await once(client, "ready");
  return client;
}

/**
 * What makes an adapter of two clients, or for streams of one. `key` sets it apart from others on the same Redis.
 *
 * @typedef {{ key: string, transport: any }} Settings
 * @type {Record<string, (client: any, subscriber: any, settings: Settings) => any>}
 */
const families = {
  classic: (client, subscriber, { key, transport }) =>
    require("../..").createAdapter(client, subscriber, { key, transport }),
  sharded: (client, subscriber, { key, transport }) =>
    require("../..").createShardedAdapter(client, subscriber, { channelPrefix: key, transport }),
  streams: (client, _, { key, transport }) =>
    require("../../streams").createAdapter(client, {
      streamName: `${key}-stream`,
      channelPrefix: key,
      sessionKeyPrefix: `${key}-session:`,
      transport,
    }),
};

module.exports = { connectClient, families };
