// @ts-check
"use strict";

/** What docs/performance.md says of the results, as Markdown that prettier leaves as it is. */

const figures = require("./figures.js");
const { FAN_OUT, METRICS, NO_GAIN, OTHERS, OWN } = figures;
const { compareCpu, distinct, isNoGain, measuredSubjects, ratio, valueOf, withoutGain } = figures;

/**
 * @typedef {import("./figures.js").Results} Results
 * @typedef {import("./figures.js").Row} Row
 * @typedef {import("./figures.js").Subject} Subject
 * @typedef {import("./figures.js").Metric} Metric
 */

/** What stands for a figure that there is not. */
const NOTHING = "–";

/** What stands between the markers. @param {Results} results @param {import("./plots.js").Plot[]} plots */
function describe(results, plots) {
  const { rows } = results;
  return [
    ...["## What was measured", measured(results), ...failed(rows)],
    ...["## Rows without gain", ...noGain(rows)],
    ...["## Plots", ...plotted(plots)],
    ...["## All rows", ALL_ROWS, ...METRICS.flatMap((metric) => allRows(rows, metric))],
  ].join("\n\n");
}

const ALL_ROWS =
  "Medians of all rounds. `ours / reference` and the like are ratios: below 1, ours takes less. " +
  `\`${NOTHING}\` was not measured.`;

/** @param {Results} results */
function measured({ date, machine, versions, rounds, ours, rows }) {
  const families = distinct(rows.map(({ family }) => family));
  const names = measuredSubjects(rows).map(({ title }) => title);
  const reference = families.includes("streams") ? ["@socket.io/redis-streams-adapter"] : [];
  if (families.some((family) => family !== "streams")) reference.unshift("@socket.io/redis-adapter");
  const packages = ["socket.io-redis-native", ...reference, "socket.io", "redis"];
  const list = (/** @type {(string | number)[]} */ values) => distinct(values).join(", ");
  const items = [
    date && `Date: ${date.slice(0, 10)}`,
    `Machine: ${machine.cpus} × ${machine.cpu}, ${thousands(machine.memoryMiB)} MiB, ${machine.platform} ${machine.arch} ${machine.release}`,
    `Node.js ${versions.node.replace(/^v/, "")}, Redis ${versions.redisServer}`,
    packages.map((name) => `\`${name}\` ${versions[name] ?? NOTHING}`).join(", "),
    ours !== ".." && `**Ours is not this package, but** \`${code(String(ours))}\``,
    `Adapters: ${list(families)}; compared: ${names.join(", ")}${names.includes(FAN_OUT.title) ? "" : ` (${FAN_OUT.title} was not measured)`}`,
    `WebSocket clients: ${list(rows.map(({ sockets }) => thousands(sockets)))}; messages per turn of the event loop: ${list(rows.map(({ perTick }) => perTick))}; payloads: ${list(rows.map(({ payload }) => payload))}`,
    `Rounds: ${rounds}, after one that only warms up${apart(rows)}`,
  ];
  return items.flatMap((item) => (item ? [`- ${item}`] : [])).join("\n");
}

/** How much the figures are to be trusted. @param {Row[]} rows */
function apart(rows) {
  const spread = figures.spread(rows, METRICS[0]);
  if (!spread) return "";
  const percent = (/** @type {number} */ share) => `${thousands(Math.round(share * 100))} %`;
  return (
    `. Between the rounds of one subject, the time of the JS thread differs by ${percent(spread.middle)} of its median ` +
    `(the middle of all rows; ${percent(spread.most)} at most)`
  );
}

/** @param {Row[]} rows */
function failed(rows) {
  const failures = figures.failures(rows);
  if (failures.length === 0) return [];
  const body = failures.map(({ row, subject, reason }) => [
    ...keysOf(row),
    subject.title,
    `\`${code(reason)}\``,
  ]);
  return ["These have failed:", table([...KEYS, column("subject"), column("reason")], body)];
}

/** @param {Row[]} rows */
function noGain(rows) {
  const comparisons = compareCpu(rows);
  if (comparisons.length === 0) return ["Nothing could be compared."];
  const poor = withoutGain(comparisons);
  const [limit, of] = [NO_GAIN.toFixed(2), `${comparisons.length} comparisons`];
  const about = "CPU time of ours, with and without `fanOut`, for the JS thread and for all threads";
  const others = "what the reference or the in-memory adapter takes";
  if (poor.length === 0) return [`There are none: ${about}, is below ${limit} of ${others} in all ${of}.`];
  const body = poor.map(({ row, metric, subject, own, ratios }) => [
    ...keysOf(row),
    metric.title,
    subject.title,
    shown(own),
    ...ratios.map((one) => (isNoGain(one) ? `**${shownRatio(one)}**` : shownRatio(one))),
  ]);
  const head = [
    ...KEYS,
    column("CPU time"),
    column("subject"),
    column(METRICS[0].unit, true),
    ...OTHERS.map(({ title }) => column(`/ ${title}`, true)),
  ];
  return [
    `${about}, is ${limit} or more of ${others} in ${poor.length} of ${of}. These are all of them, the poorest first:`,
    table(head, body),
  ];
}

/** @param {import("./plots.js").Plot[]} plots */
function plotted(plots) {
  return METRICS.flatMap((metric) => {
    const images = plots.filter((plot) => plot.metric === metric);
    return [
      `### ${metric.title}`,
      metric.about,
      ...images.map(({ title, file }) => `![${title}](performance/${file})`),
    ];
  });
}

/** @param {Row[]} rows @param {Metric} metric */
function allRows(rows, metric) {
  const subjects = measuredSubjects(rows);
  const own = OWN.filter((subject) => subjects.includes(subject));
  const pairs = own.flatMap((mine) =>
    OTHERS.filter((other) => subjects.includes(other)).map((other) => ({ mine, other })),
  );
  const head = [
    ...KEYS,
    ...subjects.map(({ title }) => column(title, true)),
    ...pairs.map(({ mine, other }) => column(`${mine.title} / ${other.title}`, true)),
  ];
  const body = rows.map((row) => [
    ...keysOf(row),
    ...subjects.map((subject) =>
      row.subjects[subject.key]?.failed ? "failed" : shown(valueOf(row, subject, metric)),
    ),
    ...pairs.map(({ mine, other }) =>
      shownRatio(ratio(valueOf(row, mine, metric), valueOf(row, other, metric))),
    ),
  ]);
  return [`### ${metric.title}, ${metric.unit}`, table(head, body)];
}

/** @param {string} title @param {boolean} [isNumber] */
function column(title, isNumber = false) {
  return { title, isNumber };
}

/** What tells a row from the others. */
const KEYS = [column("adapter"), column("payload"), column("per turn", true), column("sockets", true)];

/** @param {Row} row */
function keysOf({ family, payload, perTick, sockets }) {
  return [family, payload, String(perTick), thousands(sockets)];
}

/**
 * @param {{ title: string, isNumber: boolean }[]} columns
 * @param {string[][]} body
 */
function table(columns, body) {
  const head = columns.map(({ title }) => title);
  const widths = head.map((_, i) => Math.max(3, ...[head, ...body].map((row) => [...row[i]].length)));
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
  const padded = (/** @type {string[]} */ row) =>
    line(
      row.map((cell, i) => {
        const padding = " ".repeat(widths[i] - [...cell].length);
        return columns[i].isNumber ? padding + cell : cell + padding;
      }),
    );
  const rule = columns.map(
    ({ isNumber }, i) => "-".repeat(widths[i] - (isNumber ? 1 : 0)) + (isNumber ? ":" : ""),
  );
  return [padded(head), line(rule), ...body.map(padded)].join("\n");
}

/** Three digits: the others are noise. @param {number | null} value */
function shown(value) {
  if (value === null) return NOTHING;
  if (value >= 100) return thousands(Math.round(value));
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** @param {number | null} value */
function shownRatio(value) {
  return value === null ? NOTHING : value.toFixed(2);
}

/** @param {number} value */
function thousands(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** What has come from elsewhere, so that it can stand between backticks in a table. @param {string} words */
function code(words) {
  return words.replace(/\s+/g, " ").replaceAll("`", "'").replaceAll("|", "/").trim();
}

module.exports = { describe };
