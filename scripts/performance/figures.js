// @ts-check
"use strict";

/** What the results of `npm run bench -- --only delivery` say: read, looked up and compared. */

/**
 * @typedef {Awaited<ReturnType<typeof import("../../bench/delivery.js").runDelivery>>} Measured
 * @typedef {import("../../bench/delivery.js").DeliveryRow} Row
 * @typedef {import("../../bench/delivery.js").Round} Round
 * @typedef {Omit<Measured, "date"> & { date?: string }} Results a date is not needed
 *
 * @typedef {object} Subject
 * @property {string} key its name in the results
 * @property {string} title in tables
 * @property {string} legend in plots
 *
 * @typedef {object} Metric
 * @property {keyof Round} name in the results
 * @property {string} id what it is called in files
 * @property {string} title
 * @property {string} unit
 * @property {string} about one sentence
 * @property {boolean} isCpu whether it is looked at for rows without gain
 */

/** What is compared with, and then ours: in the order in which they are shown. @type {Subject[]} */
const SUBJECTS = [
  { key: "reference+redis", title: "reference", legend: "reference" },
  { key: "memory", title: "in-memory", legend: "in-memory" },
  { key: "ours+redis", title: "ours", legend: "ours" },
  { key: "ours+redis, fanOut", title: "fanOut", legend: "ours, fanOut" },
];
const [REFERENCE, MEMORY, OURS, FAN_OUT] = SUBJECTS;

/** The subjects of this package. */
const OWN = [OURS, FAN_OUT];

/** What ours is compared with. */
const OTHERS = [REFERENCE, MEMORY];

/** @type {Metric[]} */
const METRICS = [
  {
    name: "threadUs",
    id: "js-time",
    title: "JS thread",
    unit: "µs per delivery",
    about: "CPU time of the thread that runs your code, for one message to one client.",
    isCpu: true,
  },
  {
    name: "processUs",
    id: "cpu",
    title: "All threads",
    unit: "µs per delivery",
    about: "CPU time of the whole process, for one message to one client.",
    isCpu: true,
  },
  {
    name: "longestWallMs",
    id: "longest-turn",
    title: "Longest turn of the event loop",
    unit: "ms",
    about: "For so long nothing else happened on the JS thread, by the clock.",
    isCpu: false,
  },
  {
    name: "lastMs",
    id: "last-client",
    title: "Time to the last client",
    unit: "ms",
    about: "From the last emit until the last client had its last message, by the clock.",
    isCpu: false,
  },
];

/** From this ratio on, ours is no gain. */
const NO_GAIN = 0.95;

/** Returns the results of the part "delivery". @param {string} json what the bench has written @returns {Results} */
function readResults(json) {
  const results = JSON.parse(json)?.delivery;
  if (!Array.isArray(results?.rows) || results.rows.length === 0)
    throw new Error("there are no deliveries in this file: npm run bench -- --only delivery --json FILE");
  return results;
}

/** The subjects that were measured in one of the rows, also if they failed. @param {Row[]} rows */
function measuredSubjects(rows) {
  return SUBJECTS.filter(({ key }) => rows.some(({ subjects }) => subjects[key]));
}

/**
 * Returns the median; null where a subject was not measured, or has failed.
 *
 * @param {Row} row
 * @param {Subject} subject
 * @param {Metric} metric
 * @returns {number | null}
 */
function valueOf({ subjects }, { key }, { name }) {
  const outcome = subjects[key];
  // A subject that has failed keeps the rounds before that: they are no result.
  const value = outcome?.failed ? null : outcome?.median?.[name];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/**
 * Returns `own / other` with the two digits that are shown; null where there is nothing to compare.
 *
 * @param {number | null} own
 * @param {number | null} other
 */
function ratio(own, other) {
  return own === null || !other ? null : Number((own / other).toFixed(2));
}

/**
 * @typedef {object} Comparison one CPU time of ours, in one row
 * @property {Row} row
 * @property {Metric} metric
 * @property {Subject} subject
 * @property {number | null} own
 * @property {(number | null)[]} ratios to each of OTHERS
 */

/**
 * Returns each CPU time of ours beside those of the others.
 *
 * @param {Row[]} rows
 * @returns {Comparison[]} those that can be compared with at least one
 */
function compareCpu(rows) {
  const metrics = METRICS.filter(({ isCpu }) => isCpu);
  return rows
    .flatMap((row) => metrics.flatMap((metric) => OWN.map((subject) => ({ row, metric, subject }))))
    .map(({ row, metric, subject }) => {
      const own = valueOf(row, subject, metric);
      const ratios = OTHERS.map((other) => ratio(own, valueOf(row, other, metric)));
      return { row, metric, subject, own, ratios };
    })
    .filter(({ ratios }) => ratios.some((one) => one !== null));
}

/** Whether ours takes about as much as the other, or more. @param {number | null} one @returns {boolean} */
function isNoGain(one) {
  return one !== null && one >= NO_GAIN;
}

/** Returns those that are no gain, the poorest first. @param {Comparison[]} comparisons */
function withoutGain(comparisons) {
  const poorest = (/** @type {Comparison} */ { ratios }) => Math.max(...ratios.map((one) => one ?? 0));
  return comparisons.filter(({ ratios }) => ratios.some(isNoGain)).sort((a, b) => poorest(b) - poorest(a));
}

/**
 * Returns how far the rounds of a subject lie apart, as a share of their median: the middle of all rows, and the most.
 * Null if nothing was measured twice.
 *
 * @param {Row[]} rows
 * @param {Metric} metric
 */
function spread(rows, metric) {
  const shares = rows.flatMap((row) =>
    SUBJECTS.flatMap((subject) => {
      const median = valueOf(row, subject, metric);
      const rounds = row.subjects[subject.key]?.rounds ?? [];
      const values = rounds.flatMap((round) => round[metric.name] ?? []);
      return median && values.length > 1 ? [(Math.max(...values) - Math.min(...values)) / median] : [];
    }),
  );
  if (shares.length === 0) return null;
  shares.sort((a, b) => a - b);
  return { middle: shares[shares.length >> 1], most: shares[shares.length - 1] };
}

/** Returns what has failed, and why. @param {Row[]} rows */
function failures(rows) {
  return rows.flatMap((row) =>
    SUBJECTS.flatMap((subject) => {
      const reason = row.subjects[subject.key]?.failed;
      return reason ? [{ row, subject, reason }] : [];
    }),
  );
}

/** Each value once, in the order in which they come. @template T @param {T[]} values */
function distinct(values) {
  return [...new Set(values)];
}

module.exports = {
  FAN_OUT,
  METRICS,
  NO_GAIN,
  OTHERS,
  OWN,
  SUBJECTS,
  compareCpu,
  distinct,
  failures,
  isNoGain,
  measuredSubjects,
  ratio,
  readResults,
  spread,
  valueOf,
  withoutGain,
};
