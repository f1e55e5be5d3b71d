// @ts-check
"use strict";

/**
 * What a message costs beside many things that stand still: rooms, namespaces, requests, sockets, sessions. What it
 * costs may grow with their number like its logarithm, and no faster.
 */

const { startRedis } = require("../__test__/support/redis.js");
const { Child } = require("./child.js");
const { measuredOn } = require("./machine.js");

/** @typedef {"classic" | "sharded" | "streams"} Family */
/** @typedef {"receive" | "emit" | "ask" | "change" | "reconnect"} Act */

/**
 * @typedef {object} Dimension
 * @property {string} what stands still, as bench/scale-node.js names it
 * @property {Family} family
 * @property {Act[]} acts what is measured beside it
 * @property {number} [most] how many there can be
 */

/** @type {Dimension[]} */
const DIMENSIONS = [
  { what: "rooms", family: "classic", acts: ["receive", "emit", "change", "reconnect"] },
  { what: "rooms", family: "sharded", acts: ["receive", "emit", "change", "reconnect"] },
  { what: "namespaces", family: "classic", acts: ["receive", "emit", "reconnect"] },
  { what: "namespaces", family: "sharded", acts: ["receive", "emit", "reconnect"] },
  { what: "namespaces", family: "streams", acts: ["receive", "emit", "reconnect"] },
  // A link has 65,536 requests waiting at the most.
  { what: "requests", family: "classic", acts: ["receive", "emit"], most: 65_536 },
  { what: "sockets", family: "classic", acts: ["receive", "emit", "ask"] },
  { what: "sockets", family: "streams", acts: ["receive", "emit", "ask"] },
  { what: "sessions", family: "streams", acts: ["receive", "emit"] },
];

const SIZES = [10, 100, 1000, 10_000, 100_000];
const QUICK_SIZES = [10, 100, 1000];

/** Messages in one round; a reconnect is one. @type {Record<Act, number>} */
const MESSAGES = { receive: 20_000, emit: 10_000, ask: 2_000, change: 2_000, reconnect: 1 };

/** A room in which there is no socket. */
const NOBODY = "nobody-here";

/** What each act is, in the table. @type {Record<Act, string>} */
const TITLES = {
  receive: "receive, room of nobody",
  emit: "emit to a room of nobody",
  ask: "emit to one socket, acknowledged",
  change: "join and leave",
  reconnect: "reconnect, all of them",
};

/**
 * @typedef {object} Measured
 * @property {number} size
 * @property {number | null} threadNs CPU time of the JS thread, per message
 * @property {number} processNs of all threads
 * @property {number} longestStepMs the longest stretch for which the link thread served nobody else
 * @property {number} elapsedMs of the whole round
 * @property {number} [counts] reconnect: how often Redis was asked to count subscribers
 * @property {number} [bytes] reconnect: what Redis was sent
 *
 * @typedef {object} ScaleRow
 * @property {string} what
 * @property {Family} family
 * @property {Act} act
 * @property {Measured[]} sizes
 * @property {number | null} exponent of the growth of the process' time; 0: none, 1: as the number
 */

/**
 * Resolves with everything that was measured, ready to be written as JSON.
 *
 * @param {{ quick: boolean, rounds: number, most?: number, sizes?: number[], onProgress?: (text: string) => void }} options
 */
async function runScale({ quick, rounds, most = Infinity, sizes, onProgress = () => {} }) {
  const redis = await startRedis();
  const wire = new Child("wire.js", [redis.url]);
  try {
    const { version } = await wire.ask("open");
    /** @type {ScaleRow[]} */
    const rows = [];
    for (const dimension of DIMENSIONS) {
      const { what, family, acts } = dimension;
      const measured = /** @type {ScaleRow[]} */ (
        acts.map((act) => ({ what, family, act, sizes: [], exponent: null }))
      );
      for (const given of sizes ?? (quick ? QUICK_SIZES : SIZES)) {
        const size = Math.min(given, dimension.most ?? Infinity);
        onProgress(`scale: ${size} ${what}, ${family}`);
        await measure(redis.url, wire, dimension, size, measured, rounds, most);
      }
      for (const row of measured) row.exponent = exponentOf(row.sizes);
      rows.push(...measured);
    }
    return {
      ...measuredOn(version),
      rounds,
      rows,
    };
  } finally {
    await wire.stop();
    await redis.stop();
  }
}

/**
 * Measures all acts beside `size` things that stand still, and adds what they cost to the rows.
 *
 * @param {string} url
 * @param {Child} wire
 * @param {Dimension} dimension
 * @param {number} size
 * @param {ScaleRow[]} rows
 * @param {number} rounds
 * @param {number} most messages a round
 */
async function measure(url, wire, { what, family }, size, rows, rounds, most) {
  const key = `scale-${family}-${what}-${size}`;
  const cluster = { key, mode: { classic: null, sharded: "static", streams: "streams" }[family] };
  const node = new Child("scale-node.js", [url, key, family]);
  try {
    await node.ask("open", { what, size });
    if (family !== "streams") await wire.ask("attend", cluster);
    for (const row of rows) {
      const messages = Math.min(MESSAGES[row.act], most);
      /** @type {Omit<Measured, "size">[]} */
      const all = [];
      // The first round only warms up.
      for (let round = 0; round <= rounds; round++) {
        await node.ask("begin");
        const more = await act(node, wire, cluster, row.act, messages);
        const { thread, process, ...rest } = await node.ask("end");
        const per = { threadNs: thread === null ? null : thread / messages, processNs: process / messages };
        if (round > 0) all.push({ ...per, ...rest, ...more });
      }
      all.sort((a, b) => a.processNs - b.processNs);
      const longestStepMs = Math.max(...all.map((one) => one.longestStepMs));
      row.sizes.push({ size, ...all[all.length >> 1], longestStepMs });
    }
  } finally {
    await node.stop();
  }
}

/**
 * @param {Child} node
 * @param {Child} wire
 * @param {{ key: string, mode: string | null }} cluster
 * @param {Act} name
 * @param {number} messages
 */
async function act(node, wire, cluster, name, messages) {
  if (name === "reconnect") return node.ask("reconnect");
  if (name === "receive") {
    await wire.ask("write", { ...cluster, room: NOBODY, payload: "small", messages });
  } else await node.ask(name, { messages });
  await node.ask("settled", { entries: name === "emit" ? messages : 0 });
  if (cluster.mode !== "streams") await wire.ask("settle", { ...cluster, room: NOBODY });
  return {};
}

/**
 * Returns how the time grows with the number: the slope of the line through the logarithms of both. A quotient of
 * 100 in the numbers with an exponent of 0.5 is one of 10 in time.
 *
 * @param {Measured[]} sizes
 */
function exponentOf(sizes) {
  if (sizes.length < 2) return null;
  const points = sizes.map(({ size, processNs }) => [Math.log(size), Math.log(processNs)]);
  const mean = (/** @type {number} */ i) => points.reduce((sum, point) => sum + point[i], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const across = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  const along = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return across / along;
}

/**
 * Returns what was measured as a table.
 *
 * @param {Awaited<ReturnType<typeof runScale>>} results
 */
function describeScale({ machine, versions, rounds, rows }) {
  const lines = [
    `${machine.cpus} x ${machine.cpu}, ${machine.platform} ${machine.arch}, Node ${versions.node}, Redis ${versions.redisServer}.`,
    `CPU time per message beside many things that stand still: JS thread / process in us, medians of ${rounds} rounds;`,
    `in brackets the longest step of the link thread in ms; exponent of the process' time: 0 none, 1 as the number.`,
  ];
  for (const { what, family, act, sizes, exponent } of rows) {
    lines.push("", `${what}, ${family}: ${TITLES[act]}: exponent ${exponent?.toFixed(2) ?? "-"}`);
    for (const { size, threadNs, processNs, longestStepMs, elapsedMs, counts, bytes } of sizes) {
      const more =
        act === "reconnect"
          ? `; ready after ${elapsedMs.toFixed(0)} ms, ${counts} counts, ${((bytes ?? 0) / 1e6).toFixed(2)} MB to Redis`
          : "";
      const times = `${micros(threadNs).padStart(9)} / ${micros(processNs).padStart(9)}`;
      lines.push(`  ${String(size).padStart(7)}: ${times} [${longestStepMs.toFixed(1)}]${more}`);
    }
  }
  return lines.join("\n");
}

/** @param {number | null} nanos */
const micros = (nanos) => (nanos === null ? "-" : (nanos / 1000).toFixed(2));

module.exports = { describeScale, runScale };
