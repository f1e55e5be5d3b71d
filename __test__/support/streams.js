// @ts-check
"use strict";

/**
 * The streams of a ring: which namespace has which, and when the reference hears them: it tells nobody when it begins
 * to read, and what is added before is lost to it. Ours says so by `ready`.
 */

const { waitFor } = require("./wait");

/** The room of those who listen for probes. */
const PROBES = "room of probes";

/** As the reference numbers streams: below zero for half of all namespaces. @param {string} nsp */
function hashOf(nsp) {
  let hash = 0;
  for (let i = 0; i < nsp.length; i++) hash = (hash * 31 + nsp.charCodeAt(i)) | 0;
  return hash;
}

/** @param {string} name @param {number} count @param {string} nsp */
function streamOf(name, count, nsp) {
  return count === 1 ? name : `${name}-${hashOf(nsp) % count}`;
}

/**
 * The fields of an entry.
 *
 * @param {string} nsp
 * @param {any[]} event
 * @param {string[]} [rooms]
 * @param {object} [more] fields
 */
function entryOf(nsp, event, rooms = [], more = {}) {
  const data = { opts: { rooms, except: [], flags: {} }, packet: { type: 2, data: event, nsp } };
  return { uid: "emitter", nsp, type: "3", data: JSON.stringify(data), ...more };
}

/**
 * Resolves once servers of the reference read all streams. Until its first entry comes, the reference asks for what
 * is newer than its last command (`$`): an entry between two commands is lost to it.
 *
 * @param {any} raw a client of node-redis
 * @param {{ streamName: string, streamCount: number }} options
 * @param {import("socket.io").Server[]} servers
 * @param {string} nsp
 */
async function hearStreams(raw, { streamName, streamCount }, servers, nsp) {
  const streams =
    streamCount === 1 ? [streamName] : Array.from({ length: streamCount }, (_, i) => `${streamName}-${i}`);
  const listeners = servers.map((io, index) => ({ missing: new Set(streams), ...listen(io.of(nsp), index) }));
  try {
    await waitFor(
      async () => {
        /** @type {Set<string>} */
        const probed = new Set();
        for (const { missing, heard } of listeners) {
          for (const stream of heard) missing.delete(stream);
          for (const stream of missing) probed.add(stream);
        }
        for (const stream of probed) {
          await raw.xAdd(stream, "*", entryOf(nsp, ["probe", stream], [PROBES]));
        }
        return probed.size === 0;
      },
      { what: `the servers to read the streams of ${nsp}` },
    );
  } finally {
    for (const { stop } of listeners) stop();
  }
}

/** Puts into a namespace what hears probes, and nothing else. @param {any} nsp @param {number} index */
function listen({ sockets, adapter }, index) {
  const id = `probes-${index}`;
  /** @type {Set<string>} */
  const heard = new Set();
  const socket = {
    id,
    rooms: new Set([PROBES]),
    acks: new Map(),
    notifyOutgoingListeners: (/** @type {any} */ { data }) => void heard.add(data[1]),
    client: { writeToEngine: () => {} },
  };
  sockets.set(id, socket);
  adapter.addAll(id, new Set([PROBES]));
  const stop = () => {
    adapter.delAll(id);
    sockets.delete(id);
  };
  return { heard, stop };
}

/** Resolves with the ids of the connections that read streams. @param {import("./redis").RedisServer} redis */
async function readersOf(redis) {
  const list = String(await redis.cli("CLIENT", "LIST"));
  return Array.from(list.matchAll(/^id=(\d+) .* cmd=xread /gm), ([, id]) => id);
}

/** Closes the connections that read streams; resolves with their number. @param {import("./redis").RedisServer} redis */
async function killReaders(redis) {
  const ids = await readersOf(redis);
  const killed = await Promise.all(ids.map((id) => redis.cli("CLIENT", "KILL", "ID", id)));
  return killed.reduce((sum, count) => sum + Number(count), 0);
}

/** Resolves with how often a command was called since the start of the server. @param {import("./redis").RedisServer} redis @param {string} command */
async function callsOf(redis, command) {
  const stats = (await redis.info("commandstats"))[`cmdstat_${command}`] ?? "";
  return Number(/calls=(\d+)/.exec(stats)?.[1] ?? 0) + Number(/rejected_calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

/**
 * Resolves once so many entries of a ring's stream hold a text.
 *
 * @param {import("./ring").Ring} ring
 * @param {number} count
 * @param {string} text
 */
async function added(ring, count, text) {
  const bytes = Buffer.from(text).toString("latin1");
  const holds = (/** @type {any} */ { message: { data = "" } }) =>
    Buffer.from(data, data[0] === "{" ? "utf8" : "base64")
      .toString("latin1")
      .includes(bytes);
  await waitFor(
    async () => (await ring.raw.xRange(ring.streamName, "-", "+")).filter(holds).length === count,
    { timeout: 10_000, what: `${count} entries with ${text}` },
  );
}

module.exports = {
  added,
  callsOf,
  entryOf,
  hashOf,
  hearStreams,
  killReaders,
  readersOf,
  streamOf,
};
