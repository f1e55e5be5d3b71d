// @ts-check
"use strict";

/**
 * What Redis servers are told, seen from the outside: no subscriber more, none that the adapters would count.
 */

const { createClient } = require("redis");
const { serversOf } = require("./connect");
const { RedisCluster } = require("./cluster");

/** How Redis prints the bytes that it has letters for. @type {Record<string, number>} */
const LETTERS = { n: 10, r: 13, t: 9, a: 7, b: 8 };

/**
 * Resolves with a list of the sharded publishes with a prefix, filled from now on; `stop()` ends it. There is no
 * order between the nodes of a cluster.
 *
 * @param {import("./connect").Topology} topology
 * @param {string} prefix of the channels
 */
async function captureShards(topology, prefix) {
  /** @type {{ channel: string, bytes: Buffer }[]} */
  const messages = [];
  // A master passes on to its replicas what is published to it.
  const servers = topology instanceof RedisCluster ? await topology.masters() : serversOf(topology);
  const monitors = await Promise.all(
    servers.map(async ({ port }) => {
      const client = createClient({ socket: { host: "127.0.0.1", port } });
      client.on("error", () => {});
      await client.connect();
      await client.monitor((/** @type {any} */ line) => {
        const [command, channel, payload] = wordsOf(String(line));
        if (command?.toString().toLowerCase() !== "spublish") return;
        if (channel.toString().startsWith(prefix))
          messages.push({ channel: channel.toString(), bytes: payload });
      });
      return client;
    }),
  );
  return Object.assign(messages, {
    stop: async () => {
      for (const client of monitors) client.destroy();
    },
  });
}

/** The words of a line of MONITOR: what it has in quotes. @param {string} line @returns {Buffer[]} */
function wordsOf(line) {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/gs), ([, word]) => {
    // One byte a character.
    const plain = word.replace(/\\(x[0-9a-f]{2}|.)/gs, (_, escape) => {
      if (escape.length === 3) return String.fromCharCode(parseInt(escape.slice(1), 16));
      return String.fromCharCode(LETTERS[escape] ?? escape.charCodeAt(0));
    });
    return Buffer.from(plain, "latin1");
  });
}

module.exports = { captureShards };
