// @ts-check
"use strict";

/** The results as text. */

const { familyOf } = require("./cases.js");

/** @typedef {Awaited<ReturnType<import("./run.js").run>>} Results */
/** @typedef {import("./run.js").Row} Row */
/** @typedef {import("./run.js").Outcome} Outcome */

const REFERENCES = ["reference+redis", "reference+ioredis"];
const OURS = ["ours+redis", "ours+ioredis"];

/**
 * Returns everything that was measured as aligned tables, the poorest ratio first in each, and the summary.
 *
 * @param {Results} results
 * @returns {string}
 */
function describe(results) {
  const { machine, versions, rows, threadClock, transports, emptyWindow } = results;
  const lines = [
    `${machine.cpus} x ${machine.cpu}, ${machine.platform} ${machine.arch}, Node ${versions.node}, Redis ${versions.redisServer}; ` +
      `@socket.io/redis-adapter ${versions["@socket.io/redis-adapter"]}, @socket.io/redis-streams-adapter ${versions["@socket.io/redis-streams-adapter"]}, @socket.io/redis-emitter ${versions["@socket.io/redis-emitter"]}, redis ${versions.redis}, ioredis ${versions.ioredis}.`,
    `CPU time per message in ns, medians of ${results.rounds} rounds; x = how many times ours the reference takes.`,
  ];
  for (const family of new Set(rows.map(({ mode }) => familyOf(mode)))) {
    if (family === "emitter") lines.push(`Rows named "emitter" compare the emitters of both.`);
    else if (family !== "classic")
      lines.push(`Rows named "${family}" compare the ${family} adapters of both.`);
  }
  if (results.ours !== "..") lines.push(`NOTE: BENCH_OURS: "ours" is ${results.ours}.`);
  lines.push(
    threadClock.name ? `JS thread: ${threadClock.name}.` : `JS thread: not measured: ${threadClock.reason}.`,
    ...Object.entries(transports)
      .filter(([, transport]) => transport)
      .map(([name, transport]) => `${name}: transport ${JSON.stringify(transport)}.`),
  );
  const windows = Object.entries(emptyWindow).map(
    ([name, { threadNs, processNs }]) => `${name} ${micros(threadNs)} / ${micros(processNs)}`,
  );
  if (windows.length)
    lines.push(`A round without messages, JS thread / process, in us: ${windows.join(", ")}.`);

  for (const section of ["publish", "receive"]) lines.push(...costs(section, rows));
  lines.push(...latencies(rows), ...summary(rows), ...failures(rows));
  return lines.join("\n");
}

/**
 * @param {string} section
 * @param {Row[]} rows
 */
function costs(section, rows) {
  const compared = rows
    .filter((row) => row.section === section)
    .flatMap((row) => OURS.filter((name) => row.subjects[name]).map((ours) => ({ row, ours })))
    .map(({ row, ours }) => ({
      row,
      ours,
      poorest:
        ratio(row, ours, REFERENCES[0], "threadNs") ??
        ratio(row, ours, REFERENCES[0], "processNs") ??
        Infinity,
    }))
    .sort((a, b) => a.poorest - b.poorest);
  if (compared.length === 0) return [];

  const head = ["case", "payload"];
  for (const [kind, title] of [
    ["threadNs", "JS thread"],
    ["processNs", "process"],
  ]) {
    head.push(`${title}: ours`, "+redis", "x", "+ioredis", "x");
    if (section === "publish" && kind === "threadNs") head.push("memory");
  }
  const body = compared.map(({ row, ours }) => {
    const cells = [ours === OURS[0] ? row.name : `${row.name} (${ours})`, row.payload];
    for (const kind of /** @type {const} */ (["threadNs", "processNs"])) {
      cells.push(nanos(row.subjects[ours]?.median?.[kind]));
      for (const reference of REFERENCES) {
        cells.push(nanos(row.subjects[reference]?.median?.[kind]), times(ratio(row, ours, reference, kind)));
      }
      if (section === "publish" && kind === "threadNs")
        cells.push(nanos(row.subjects.memory?.median?.[kind]));
    }
    return cells;
  });
  return ["", section, ...align([head, ...body])];
}

/** @param {Row[]} rows */
function latencies(rows) {
  const body = rows
    .filter(({ section }) => section === "latency")
    .flatMap((row) =>
      Object.entries(row.subjects)
        .filter(([, { latency }]) => latency)
        .map(([name, { latency }]) => [
          row.name,
          row.payload,
          name,
          micros(latency?.p50Ns),
          micros(latency?.p99Ns),
        ]),
    );
  if (body.length === 0) return [];
  return ["", "latency, in us", ...align([["case", "payload", "subject", "p50", "p99"], ...body])];
}

/** @param {Row[]} rows */
function summary(rows) {
  const titles = ["", "sharded ", "streams ", "emitter "].flatMap((family) => [
    `${family}publish`,
    `${family}receive`,
  ]);
  const lines = titles.flatMap((title) => {
    const parts = rows
      .filter(
        (row) => row.headline && title === (row.mode ? `${familyOf(row.mode)} ${row.section}` : row.section),
      )
      .map((row) => {
        const thread = times(ratio(row, OURS[0], REFERENCES[0], "threadNs"));
        return `${row.payload} ${thread} (process ${times(ratio(row, OURS[0], REFERENCES[0], "processNs"))})`;
      });
    const what = title.endsWith("publish") ? "16 per tick" : "no local socket";
    return parts.length ? [`  ${title}, ${what}: ${parts.join(", ")}`] : [];
  });
  return lines.length ? ["", "JS thread, times less than the reference with node-redis:", ...lines] : [];
}

/** @param {Row[]} rows */
function failures(rows) {
  const lines = rows.flatMap((row) =>
    Object.entries(row.subjects)
      .filter(([, { failed }]) => failed)
      .map(([name, { failed }]) => `  ${row.section}: ${row.name}, ${row.payload}: ${name}: ${failed}`),
  );
  return lines.length ? ["", "FAILED:", ...lines] : [];
}

/**
 * @param {Row} row
 * @param {string} ours
 * @param {string} reference
 * @param {"threadNs" | "processNs"} kind
 */
function ratio(row, ours, reference, kind) {
  const mine = row.subjects[ours]?.median?.[kind];
  const theirs = row.subjects[reference]?.median?.[kind];
  return mine && theirs ? theirs / mine : null;
}

/** @param {number | null | undefined} value */
const nanos = (value) => (value == null ? "-" : value.toFixed(0));

/** @param {number | null | undefined} value */
const micros = (value) => (value == null ? "-" : (value / 1000).toFixed(0));

/** @param {number | null} value */
const times = (value) => (value === null ? "-" : value.toFixed(1));

/**
 * Returns the rows with all columns aligned: the first two to the left, as they are words.
 *
 * @param {string[][]} rows
 */
function align(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join("  ")}`.trimEnd(),
  );
}

module.exports = { describe };
