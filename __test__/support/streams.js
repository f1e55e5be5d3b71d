// @ts-check
"use strict";

/**
 * The streams of a ring: which namespace has which, and when a node hears them. The reference tells nobody when it
 * begins to read, and what is added before is lost to it.
 */

const { waitFor } = require("./wait");

/** The room of those who listen for probes. */
const PROBES = "room of probes";

/** As the reference numbers streams: below zero for half of all namespaces (FAULTS D3). @param {string} nsp */
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
 * Resolves once nodes read the streams that a namespace may have.
 *
 * @param {import("./ring").Ring} ring
 * @param {import("./ring-node").Node[]} nodes
 * @param {string} nsp
 */
async function hearStreams(ring, nodes, nsp) {
  const { streamName, streamCount } = ring;
  const own = ring.stream(nsp);
  // Ours may add to any that the reference reads.
  const read =
    streamCount === 1 ? [own] : Array.from({ length: streamCount }, (_, i) => `${streamName}-${i}`);
  const listeners = nodes.map((node) => {
    const isOurs = node.kind === "ours";
    const streams = isOurs ? [own] : read;
    return { node, missing: new Set(streams), ...listen(node, nsp) };
  });
  try {
    await waitFor(
      async () => {
        /** @type {Set<string>} */
        const probed = new Set();
        for (const { missing, heard } of listeners) {
          for (const stream of heard) missing.delete(stream);
          for (const stream of missing) probed.add(stream);
        }
        if (probed.size === 0) return true;
        for (const stream of probed) {
          await ring.raw.xAdd(stream, "*", entryOf(nsp, ["probe", stream], [PROBES]));
        }
        return false;
      },
      { what: `the nodes to read the streams of ${nsp}` },
    );
  } finally {
    for (const { stop } of listeners) stop();
  }
}

/** Puts into a namespace what hears probes, and nothing else. @param {import("./ring-node").Node} node @param {string} nsp */
function listen(node, nsp) {
  const id = `probes-${node.index}`;
  /** @type {Set<string>} */
  const heard = new Set();
  const socket = {
    id,
    rooms: new Set([PROBES]),
    acks: new Map(),
    notifyOutgoingListeners: (/** @type {any} */ { data }) => void heard.add(data[1]),
    client: { writeToEngine: () => {} },
  };
  const { sockets } = node.io.of(nsp);
  sockets.set(id, /** @type {any} */ (socket));
  node.adapter(nsp).addAll(id, new Set([PROBES]));
  const stop = () => {
    node.adapter(nsp).delAll(id);
    sockets.delete(/** @type {any} */ (id));
  };
  return { heard, stop };
}

module.exports = { entryOf, hashOf, hearStreams, streamOf };
