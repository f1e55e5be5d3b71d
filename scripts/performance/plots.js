// @ts-check
"use strict";

/** Which plots the page has, and what is in them. */

const { drawChart } = require("./chart.js");
const { METRICS, SUBJECTS, distinct, measuredSubjects, valueOf } = require("./figures.js");

/**
 * @typedef {import("./figures.js").Row} Row
 *
 * @typedef {object} Plot
 * @property {string} file its name
 * @property {string} title
 * @property {import("./figures.js").Metric} metric
 * @property {string} svg
 */

/**
 * Returns a plot for each metric, family and number of messages in a turn, with a panel for each payload.
 *
 * @param {Row[]} rows
 * @returns {Plot[]}
 */
function makePlots(rows) {
  return METRICS.flatMap((metric) =>
    distinct(rows.map(({ family }) => family)).flatMap((family) =>
      distinct(rows.map(({ perTick }) => perTick)).flatMap((perTick) => {
        const plotted = rows.filter((row) => row.family === family && row.perTick === perTick);
        if (plotted.length === 0) return [];
        const title = `${metric.title}, ${metric.unit}: ${family} adapter, ${inATurn(perTick)}`;
        const file = `${family}-${metric.id}-${perTick}.svg`;
        return [{ file, title, metric, svg: plot(plotted, metric, title) }];
      }),
    ),
  );
}

/** @param {Row[]} rows @param {import("./figures.js").Metric} metric @param {string} title */
function plot(rows, metric, title) {
  const subjects = measuredSubjects(rows);
  const panels = distinct(rows.map(({ payload }) => payload)).map((payload) => {
    const ofPayload = rows.filter((row) => row.payload === payload);
    const lines = subjects.map((subject) =>
      ofPayload.map((row) => ({ x: row.sockets, y: valueOf(row, subject, metric) })),
    );
    return { title: payload, lines };
  });
  return drawChart({
    title,
    xTitle: "sockets (log scale)",
    yTitle: `${title.replace(metric.unit, `${metric.unit} (log scale)`)}; less is better`,
    // A subject looks the same in all plots, whichever others there are.
    series: subjects.map((subject) => ({ title: subject.legend, look: SUBJECTS.indexOf(subject) })),
    panels,
  });
}

/** @param {number} perTick */
function inATurn(perTick) {
  return `${perTick} ${perTick === 1 ? "message" : "messages"} per turn`;
}

module.exports = { inATurn, makePlots };
