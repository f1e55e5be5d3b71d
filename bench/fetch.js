// @ts-check
"use strict";

/**
 * What it costs to ask all servers for their sockets: the one that asks, and those that answer. Five servers with many
 * sockets each, in a process of its own each; ours and the reference take turns.
 */

const { startRedis } = require("../__test__/support/redis.js");
const { SUBJECTS, moduleOf } = require("./cases.js");
const { Child } = require("./child.js");
const { measuredOn } = require("./machine.js");

/** @typedef {"classic" | "sharded" | "streams"} Family */
/** @typedef {"fetchSockets" | "allRooms" | "allSockets" | "join" | "leave" | "nothing"} Act */

/** The first asks, the others answer. */
const NODES = 5;
const SIZES = [10, 1000, 10_000];
const QUICK_SIZES = [10, 1000];
const PAIR = ["ours+redis", "reference+redis"];

/** @type {Family[]} */
const FAMILIES = ["classic", "sharded", "streams"];

/**
 * @typedef {object} Kind
 * @property {Act} act
 * @property {string} title
 * @property {(size: number) => number} times how often in one round
 * @property {(sockets: number) => number} [least] how many things come at least, of so many sockets everywhere
 * @property {Family[]} [reference] the families in which the reference has it; else in all
 */

/** Fewer of what costs more. @param {number} size */
const asOften = (size) => Math.min(Math.max(Math.round(5000 / size), 1), 50);

/** @type {Kind[]} */
const KINDS = [
  { act: "fetchSockets", title: "io.fetchSockets()", times: asOften, least: (sockets) => sockets },
  // Each socket is in a room of its own and in one of its user.
  {
    act: "allRooms",
    title: "adapter.allRooms()",
    times: asOften,
    least: (sockets) => 2 * sockets,
    reference: ["classic"],
  },
  {
    act: "allSockets",
    title: "io.in(room of all).allSockets()",
    times: asOften,
    least: (sockets) => sockets,
    reference: [],
  },
  { act: "join", title: "io.in(room of nobody).socketsJoin()", times: () => 1000 },
  { act: "leave", title: "io.in(room of nobody).socketsLeave()", times: () => 1000 },
  { act: "nothing", title: "a round without a call: the error of the others", times: () => 1 },
];

/**
 * @typedef {object} Used by one server, per call; the longest turns of the event loop are of the whole round
 * @property {number | null} threadMs CPU time of the JS thread
 * @property {number} processMs CPU time of all threads
 * @property {number | null} longestRanMs the longest turn, by the CPU time of the JS thread
 * @property {number} longestWallMs the longest turn, by the clock
 *
 * @typedef {object} Round
 * @property {Used} asker
 * @property {Used} answerer the middle of all that answer
 * @property {number | null} answerMs from the question to the answer
 *
 * @typedef {object} Outcome of one subject
 * @property {Round[]} rounds
 * @property {Round} [median]
 * @property {string} [failed] why there is nothing
 *
 * @typedef {object} FetchRow
 * @property {Family} family
 * @property {Act} act
 * @property {number} size sockets of each server
 * @property {number} times calls in one round
 * @property {Record<string, Outcome>} subjects
 * @property {Record<string, number | null>} [ratios] ours through the reference, of each median
 */

/** What is measured, and how, for the head of the table. @param {number[]} sizes @param {number} rounds */
function aboutFetch(sizes, rounds) {
  return [
    `Asks ${NODES} servers (a process each, with ${sizes.join(", ")} sockets each) for their sockets and rooms, ours and the`,
    `reference in turns; per call, medians of ${rounds} rounds after one that only warms up. One server asks, four answer ("answerer":`,
    "the middle of the four). The sockets are real ones with handshakes of browsers, on connections that do nothing.",
    '"longest turn": the longest turn of the event loop in a round, between two callbacks of a chain of setImmediate() that is',
    'unref\'d, less what the loop has slept. "ran": by the CPU time of the JS thread; "wall": by the clock, with what the',
    "machine did meanwhile for other processes. All in milliseconds; x = ours / reference: below 1, ours takes less.",
  ].join("\n");
}

/**
 * Resolves with everything that was measured, ready to be written as JSON.
 *
 * @param {{ quick: boolean, rounds: number, most?: number, sizes?: number[], families?: string[] | null, subjects?: string[] | null, onProgress?: (text: string) => void }} options
 */
async function runFetch({
  quick,
  rounds,
  most = Infinity,
  families,
  subjects,
  onProgress = () => {},
  ...options
}) {
  const sizes = sizesOf(quick, options.sizes);
  const names = PAIR.filter((name) => !subjects || subjects.includes(name));
  const redis = await startRedis();
  const wire = new Child("wire.js", [redis.url]);
  try {
    const { version } = await wire.ask("open");
    /** @type {FetchRow[]} */
    const rows = [];
    for (const family of FAMILIES.filter((one) => !families || families.includes(one))) {
      /** @type {Map<string, Crowd>} */
      const crowds = new Map();
      try {
        for (const name of names) crowds.set(name, await Crowd.open(name, family, redis.url));
        for (const size of sizes) {
          for (const crowd of crowds.values()) {
            onProgress(`fetch: ${family}, ${size} sockets a server`);
            await crowd.grow(size);
          }
          for (const kind of KINDS) {
            onProgress(`fetch: ${family}, ${size} sockets a server: ${kind.title}`);
            rows.push(await measure(crowds, family, kind, size, rounds, most));
          }
        }
      } finally {
        for (const crowd of crowds.values()) await crowd.close();
      }
    }
    return { ...measuredOn(version), rounds, nodes: NODES, ours: SUBJECTS["ours+redis"].adapter, rows };
  } finally {
    await wire.stop();
    await redis.stop();
  }
}

/** @param {boolean} quick @param {number[]} [given] in any order: the servers only get more sockets */
function sizesOf(quick, given) {
  return [...(given ?? (quick ? QUICK_SIZES : SIZES))].sort((a, b) => a - b);
}

/**
 * @param {Map<string, Crowd>} crowds
 * @param {Family} family
 * @param {Kind} kind
 * @param {number} size
 * @param {number} rounds
 * @param {number} most calls a round
 * @returns {Promise<FetchRow>}
 */
async function measure(crowds, family, kind, size, rounds, most) {
  const times = Math.min(kind.times(size), most);
  /** @type {Record<string, Outcome>} */
  const subjects = {};
  for (const name of crowds.keys())
    if (name === PAIR[0] || !kind.reference || kind.reference.includes(family))
      subjects[name] = { rounds: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const [name, outcome] of Object.entries(subjects)) {
      if (outcome.failed) continue;
      try {
        const measured = await crowds.get(name)?.round(kind, size, times);
        if (measured && round > 0) outcome.rounds.push(measured);
      } catch (err) {
        outcome.failed = /** @type {Error} */ (err).message;
      }
    }
  }
  for (const outcome of Object.values(subjects))
    if (!outcome.failed) outcome.median = middleRound(outcome.rounds);
  const [ours, theirs] = PAIR.map((name) => subjects[name]?.median);
  const ratios = Object.fromEntries(
    METRICS.map(({ name, of }) => [name, ratio(ours && of(ours), theirs && of(theirs))]),
  );
  return { family, act: kind.act, size, times, subjects, ratios };
}

/** The servers of one subject, which are a cluster of their own. */
class Crowd {
  /** @type {Child[]} */
  #nodes;

  /** @param {Child[]} nodes */
  constructor(nodes) {
    this.#nodes = nodes;
  }

  /**
   * @param {string} name of the subject
   * @param {Family} family
   * @param {string} url
   */
  static async open(name, family, url) {
    const module = moduleOf(SUBJECTS[name], family === "streams" ? family : null);
    const key = `fetch-${family}-${name}`;
    const crowd = new Crowd(
      Array.from(
        { length: NODES },
        (_, index) => new Child("fetch-node.js", [module ?? "", url, key, family, String(index)]),
      ),
    );
    try {
      await crowd.#askEach("open");
      await crowd.#askEach("meet", { nodes: NODES });
    } catch (err) {
      await crowd.close();
      throw err;
    }
    return crowd;
  }

  /** @param {number} size of each server */
  async grow(size) {
    await this.#askEach("grow", { size });
    await this.#settle();
  }

  /**
   * @param {Kind} kind
   * @param {number} size
   * @param {number} times
   * @returns {Promise<Round>}
   */
  async round({ act, least }, size, times) {
    await this.#askEach("begin");
    /** @type {number[]} */
    const elapsed = await this.#nodes[0].ask("act", { what: act, times, least: least?.(NODES * size) });
    await this.#settle();
    const [asker, ...answerers] = (await this.#askEach("end")).map(
      ({ thread, process, ranMs, wallMs }) =>
        /** @type {Used} */ ({
          threadMs: thread === null ? null : thread / 1e6 / times,
          processMs: process / 1e6 / times,
          longestRanMs: ranMs,
          longestWallMs: wallMs,
        }),
    );
    return { asker, answerer: middleUsed(answerers), answerMs: middle(elapsed) };
  }

  async close() {
    await Promise.all(this.#nodes.map((node) => node.stop()));
  }

  /** Resolves once all servers have done with what the asker has published, and with what came before. */
  async #settle() {
    const times = await this.#nodes[0].ask("mark");
    await this.#askEach("marked", { times });
  }

  /** @param {string} order @param {object} [details] @returns {Promise<any[]>} */
  #askEach(order, details) {
    return Promise.all(this.#nodes.map((node) => node.ask(order, details)));
  }
}

/** @type {{ name: string, title: string, of: (round: Round) => number | null }[]} */
const METRICS = [
  ...["asker", "answerer"].flatMap((who) => {
    const of = (/** @type {keyof Used} */ field) => (/** @type {any} */ round) => round[who][field];
    return [
      { name: `${who}ThreadMs`, title: `${who}: JS thread`, of: of("threadMs") },
      { name: `${who}ProcessMs`, title: `${who}: process`, of: of("processMs") },
      { name: `${who}LongestRanMs`, title: `${who}: longest turn, ran`, of: of("longestRanMs") },
      { name: `${who}LongestWallMs`, title: `${who}: longest turn, wall`, of: of("longestWallMs") },
    ];
  }),
  { name: "answerMs", title: "time to the answer", of: ({ answerMs }) => answerMs },
];

/** @param {Round[]} rounds @returns {Round} */
function middleRound(rounds) {
  return {
    asker: middleUsed(rounds.map(({ asker }) => asker)),
    answerer: middleUsed(rounds.map(({ answerer }) => answerer)),
    answerMs: middle(rounds.map(({ answerMs }) => answerMs)),
  };
}

/** @param {Used[]} all @returns {Used} */
function middleUsed(all) {
  const fields = /** @type {const} */ (["threadMs", "processMs", "longestRanMs", "longestWallMs"]);
  return /** @type {Used} */ (
    Object.fromEntries(fields.map((field) => [field, middle(all.map((one) => one[field]))]))
  );
}

/** The median; null of nothing, or where something was not measured. @param {(number | null)[]} values */
function middle(values) {
  if (values.length === 0 || values.includes(null)) return null;
  const sorted = /** @type {number[]} */ ([...values]).sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** @param {number | null | undefined} ours @param {number | null | undefined} theirs */
function ratio(ours, theirs) {
  return ours == null || !theirs ? null : ours / theirs;
}

/**
 * Returns what was measured as tables: one for each call in each family, the sizes side by side.
 *
 * @param {Awaited<ReturnType<typeof runFetch>>} results
 */
function describeFetch({ machine, versions, ours, rows }) {
  const lines = [
    `${machine.cpus} x ${machine.cpu}, ${machine.platform} ${machine.arch}, Node ${versions.node}, Redis ${versions.redisServer}; ` +
      `@socket.io/redis-adapter ${versions["@socket.io/redis-adapter"]}, @socket.io/redis-streams-adapter ${versions["@socket.io/redis-streams-adapter"]}, redis ${versions.redis}.`,
  ];
  if (ours !== "..") lines.push(`NOTE: BENCH_OURS: "ours" is ${ours}.`);
  for (const family of new Set(rows.map((row) => row.family))) {
    for (const { act, title } of KINDS) {
      const found = rows.filter((row) => row.family === family && row.act === act);
      lines.push("", ...table(`${family}: ${title}`, found));
    }
  }
  const failed = rows.flatMap(({ family, act, size, subjects }) =>
    Object.entries(subjects)
      .filter(([, outcome]) => outcome.failed)
      .map(([name, outcome]) => `  ${family}: ${act}, ${size} sockets: ${name}: ${outcome.failed}`),
  );
  if (failed.length) lines.push("", "FAILED:", ...failed);
  return lines.join("\n");
}

/** @param {string} title @param {FetchRow[]} rows one for each size */
function table(title, rows) {
  const head = ["", ...rows.flatMap(({ size }) => [`${size}: ours`, "reference", "x"])];
  const body = METRICS.map(({ title, name, of }) => [
    `  ${title}`,
    ...rows.flatMap(({ subjects, ratios }) => [
      ...PAIR.map((subject) => millis(subjects[subject]?.median && of(subjects[subject].median))),
      ratios?.[name]?.toFixed(2) ?? "-",
    ]),
  ]).filter((cells) => cells.slice(1).some((cell) => cell !== "-"));
  const all = [head, ...body];
  const widths = head.map((_, column) => Math.max(...all.map((cells) => cells[column].length)));
  return [
    title,
    ...all.map((cells) =>
      cells
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
        .join("  "),
    ),
  ];
}

/** @param {number | null | undefined} value */
function millis(value) {
  if (value == null) return "-";
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(3);
}

module.exports = { FAMILIES, aboutFetch, describeFetch, runFetch, sizesOf };
