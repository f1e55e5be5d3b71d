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
 * Resolves with a list of commands, filled from now on; `stop()` ends it. There is no order between the nodes of a
 * cluster.
 *
 * @param {import("./connect").Topology} topology
 * @param {Record<string, string>} prefixes which commands, and how the channel or key begins that comes first; what
 *   follows it are the bytes, with a null between two arguments
 */
async function captureCommands(topology, prefixes) {
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
        const [command, first, ...rest] = wordsOf(String(line));
        const prefix = prefixes[command?.toString().toLowerCase()];
        if (prefix === undefined) return;
        const channel = first.toString();
        if (channel.startsWith(prefix)) messages.push({ channel, bytes: joined(rest) });
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

/** @param {Buffer[]} words */
function joined(words) {
  return words.length === 1 ? words[0] : Buffer.concat(words.flatMap((word) => [word, Buffer.of(0)]));
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

module.exports = { captureCommands };
