// @ts-check
"use strict";

/**
 * Draws a line chart as SVG: panels side by side, with the same logarithmic axes. The same chart is always the same bytes.
 *
 * An image in a page does not know what background the page has, so it brings one of its own, for dark screens too.
 */

/**
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} xTitle
 * @property {string} yTitle
 * @property {Series[]} series from the back to the front
 * @property {Panel[]} panels
 *
 * @typedef {{ title: string, look: number }} Series `look` is one of LOOKS
 *
 * @typedef {object} Panel
 * @property {string} title
 * @property {Point[][]} lines one for each of the series
 *
 * @typedef {{ x: number, y: number | null }} Point where `y` is null, the line has a gap
 */

/** How series look: they differ not by the colour alone. */
const LOOKS = Object.freeze([
  { light: "#b34700", dark: "#ff9a57", dash: "", marker: "circle" },
  { light: "#6e5494", dark: "#c3a6f5", dash: "2 4", marker: "square" },
  { light: "#0063a8", dark: "#6cb6ff", dash: "", marker: "diamond" },
  { light: "#00704f", dark: "#4fd6a4", dash: "7 4", marker: "triangle" },
]);

const LIGHT = Object.freeze({ background: "#ffffff", text: "#24292f", grid: "#d0d7de" });
const DARK = Object.freeze({ background: "#0d1117", text: "#e6edf3", grid: "#3d444d" });

/** In pixels. */
const PANEL = Object.freeze({ width: 250, height: 210, gap: 18 });
const MARGIN = Object.freeze({ left: 58, right: 14, top: 82, bottom: 50 });

/** From the border of a panel to its first and last points. */
const INSET = 16;

/** Between two names in the legend: a sample of the line, and about 8 for each letter. */
const SAMPLE = 34;
const LETTER = 8;

/** More steps than these, and only powers of ten have labels. */
const MOST_LABELS = 12;

/** @param {Chart} chart @returns {string} */
function drawChart({ title, xTitle, yTitle, series, panels }) {
  const points = panels.flatMap(({ lines }) => lines.flat());
  const sizes = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const ticks = ticksOf(points.flatMap(({ y }) => (isShown(y) ? [y] : [])));
  const legend = drawLegend(series);
  const inner = panels.length * (PANEL.width + PANEL.gap) - PANEL.gap;
  const width = Math.max(MARGIN.left + inner + MARGIN.right, legend.width);
  const height = MARGIN.top + PANEL.height + MARGIN.bottom;
  const x = logScale(sizes, INSET, PANEL.width - INSET);
  const y = logScale(ticks, PANEL.height, 0);
  const drawn = panels.map((panel, i) => {
    const left = MARGIN.left + i * (PANEL.width + PANEL.gap);
    return [
      `<g transform="translate(${left} ${MARGIN.top})">`,
      text(PANEL.width / 2, -10, "middle", panel.title, "b"),
      ...ticks.map((tick) => `<path class="g" d="M0 ${round(y(tick))}h${PANEL.width}"/>`),
      ...(i === 0 ? labelled(ticks).map((tick) => text(-8, y(tick) + 4, "end", shown(tick))) : []),
      ...apart(sizes, x).map((size) => text(x(size), PANEL.height + 18, "middle", shown(size))),
      ...panel.lines.map((line, i) => drawLine(line, series[i].look, x, y)),
      "</g>",
    ].join("\n");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${styles(series)}</style>`,
    `<rect class="bg" width="${width}" height="${height}" rx="6"/>`,
    legend.drawn,
    text(MARGIN.left, 46, "start", yTitle),
    ...drawn,
    text(MARGIN.left + inner / 2, height - 10, "middle", xTitle),
    "</svg>\n",
  ].join("\n");
}

/** @param {Series[]} series */
function styles(series) {
  const colours = (/** @type {typeof LIGHT | typeof DARK} */ { background, text, grid }) =>
    `.bg{fill:${background}}text{fill:${text}}.g{stroke:${grid}}`;
  const lines = (/** @type {"light" | "dark"} */ scheme) =>
    series.map(({ look }) => `.s${look}{color:${LOOKS[look][scheme]}}`).join("");
  return [
    "text{font:13px system-ui,sans-serif}.b{font-weight:600}",
    ".l{fill:none;stroke:currentColor;stroke-width:2}.m{fill:currentColor}",
    `${colours(LIGHT)}${lines("light")}`,
    `@media(prefers-color-scheme:dark){${colours(DARK)}${lines("dark")}}`,
  ].join("");
}

/** @param {Series[]} series */
function drawLegend(series) {
  let left = MARGIN.left;
  const drawn = series.map(({ title, look }) => {
    const from = left;
    left += SAMPLE + title.length * LETTER + 20;
    const sample = `${path(`M${from} 20h26`, look)}${marker(look, from + 13, 20)}`;
    return `<g class="s${look}">${sample}</g>${text(from + SAMPLE, 24, "start", title)}`;
  });
  return { drawn: drawn.join("\n"), width: left + MARGIN.right };
}

/**
 * @param {Point[]} line
 * @param {number} look
 * @param {(value: number) => number} x
 * @param {(value: number) => number} y
 */
function drawLine(line, look, x, y) {
  let d = "";
  let hasGap = true;
  let markers = "";
  for (const point of [...line].sort((a, b) => a.x - b.x)) {
    if (!isShown(point.y)) {
      hasGap = true;
      continue;
    }
    const place = /** @type {const} */ ([round(x(point.x)), round(y(point.y))]);
    d += `${hasGap ? "M" : "L"}${place[0]} ${place[1]}`;
    markers += marker(look, ...place);
    hasGap = false;
  }
  return d === "" ? "" : `<g class="s${look}">${path(d, look)}${markers}</g>`;
}

/** @param {string} d @param {number} look */
function path(d, look) {
  const { dash } = LOOKS[look];
  return `<path class="l"${dash && ` stroke-dasharray="${dash}"`} d="${d}"/>`;
}

/** @param {number} look @param {number} x @param {number} y */
function marker(look, x, y) {
  switch (LOOKS[look].marker) {
    case "circle":
      return `<circle class="m" cx="${x}" cy="${y}" r="4"/>`;
    case "square":
      return `<path class="m" d="M${round(x - 4)} ${round(y - 4)}h8v8h-8z"/>`;
    case "diamond":
      return `<path class="m" d="M${x} ${round(y - 5.5)}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>`;
    default:
      return `<path class="m" d="M${x} ${round(y - 5)}l5 9h-10z"/>`;
  }
}

/** Whether there is a place for it: not for 0 on a logarithmic axis. @param {number | null} y @returns {y is number} */
function isShown(y) {
  return y !== null && Number.isFinite(y) && y > 0;
}

/** Returns 1, 2, 5, 10, … so far that all values lie between the first and the last. @param {number[]} values */
function ticksOf(values) {
  if (values.length === 0) return [1, 10];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  /** @type {number[]} */
  const ticks = [];
  // The last one is beyond all values: one value alone still needs an axis.
  for (let power = Math.floor(Math.log10(least)); !(ticks[ticks.length - 1] > most); power++)
    // Divided or multiplied, a power of ten would not be exact.
    for (const digit of [1, 2, 5]) ticks.push(Number(`${digit}e${power}`));
  const below = ticks.filter((tick) => tick <= least).length;
  const last = ticks.findIndex((tick) => tick > most);
  return ticks.slice(Math.max(below - 1, 0), last + 1);
}

/** Returns those ticks that have a label. @param {number[]} ticks */
function labelled(ticks) {
  if (ticks.length <= MOST_LABELS) return ticks;
  return ticks.filter((tick) => tick.toExponential().startsWith("1e"));
}

/** Returns those sizes whose labels do not touch the one before. @param {number[]} sizes @param {(value: number) => number} x */
function apart(sizes, x) {
  let free = -Infinity;
  return sizes.filter((size) => {
    const half = (shown(size).length * LETTER) / 2;
    if (x(size) - half < free) return false;
    free = x(size) + half;
    return true;
  });
}

/**
 * Returns where a value lies, if the first of `values` lies at `from` and the last at `to`.
 *
 * @param {number[]} values in order
 * @param {number} from
 * @param {number} to
 */
function logScale(values, from, to) {
  const [first, last] = [values[0], values[values.length - 1]].map(Math.log);
  return (/** @type {number} */ value) =>
    first === last ? (from + to) / 2 : from + ((Math.log(value) - first) / (last - first)) * (to - from);
}

/**
 * @param {number} x
 * @param {number} y
 * @param {"start" | "middle" | "end"} anchor
 * @param {string} words
 * @param {string} [name] of its class
 */
function text(x, y, anchor, words, name) {
  const attributes = `${anchor === "start" ? "" : ` text-anchor="${anchor}"`}${name ? ` class="${name}"` : ""}`;
  return `<text x="${round(x)}" y="${round(y)}"${attributes}>${escape(words)}</text>`;
}

/** A tenth of a pixel is exact enough. @param {number} value */
function round(value) {
  return Number(value.toFixed(1));
}

/** @param {number} value */
function shown(value) {
  return value >= 1 ? String(value).replace(/\B(?=(\d{3})+$)/g, ",") : String(value);
}

/** @param {string} words */
function escape(words) {
  return words
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

module.exports = { drawChart };
