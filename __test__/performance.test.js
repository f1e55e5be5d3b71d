// @ts-check
"use strict";

/** docs/performance.md and its plots: made by scripts/performance.js from what the bench has measured, and from nothing else. */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { BEGIN, END, makePage } = require("../scripts/performance.js");

const SCRIPT = path.join(__dirname, "..", "scripts", "performance.js");
const DOCS = path.join(__dirname, "..", "docs");

/** What is around it by hand. */
const PAGE = `# By hand\n\n${BEGIN}\n\nold\n\n${END}\n\nBy hand, too.\n`;

const [REFERENCE, MEMORY, OURS, FAN_OUT] = ["reference+redis", "memory", "ours+redis", "ours+redis, fanOut"];

/** What is readable, as WCAG has it: text, and lines. */
const CONTRAST = { text: 4.5, line: 3 };

/** An image in a page is to be small: bytes. */
const MOST_BYTES = 10_240;

/** Where each series is in the pictures, by the shape of its marker. */
const CIRCLE = /<circle class="m" cx="([\d.]+)" cy="([\d.]+)"/g;

/**
 * @typedef {object} Made
 * @property {string} page
 * @property {Record<string, string>} files in performance/, by name
 * @property {Record<string, string>} svgs those that are plots
 */

describe("the page of figures", () => {
  /** @type {string} */
  let dir;
  beforeEach(() => (dir = fs.mkdtempSync(path.join(os.tmpdir(), "performance-test-"))));
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  /** Makes it in a folder of its own. @param {any} json @param {string} [page] @returns {Made} */
  function make(json, page = PAGE) {
    fs.writeFileSync(path.join(dir, "performance.md"), page);
    makePage(JSON.stringify(json), dir);
    return readMade(dir);
  }

  /** The same by the script itself. @param {string} json @param {string} page */
  function run(json, page) {
    const file = path.join(dir, "results.json");
    fs.writeFileSync(file, json);
    fs.writeFileSync(path.join(dir, "performance.md"), page);
    return spawnSync(process.execPath, [SCRIPT, file, dir], { encoding: "utf8" });
  }

  it("is what the committed results give", () => {
    const committed = readMade(DOCS);
    const json = committed.files["delivery.json"];
    assert.ok(json !== undefined);
    const { status, stderr } = run(json, committed.page);
    assert.strictEqual(status, 0, stderr);
    assert.deepStrictEqual(readMade(dir), committed);
  });

  it("ends with 1 and says why, if it cannot be made", () => {
    const { status, stderr } = run("{}", PAGE);
    assert.strictEqual(status, 1);
    assert.match(stderr, /^there are no deliveries in this file: .*\n$/);
  });

  it("has no figure by hand", () => {
    const { page } = readMade(DOCS);
    const byHand = page.slice(0, page.indexOf(BEGIN)) + page.slice(page.indexOf(END));
    assert.doesNotMatch(byHand, /\d\s*(%|µs|us|ms|times)|\d\.\d/);
  });

  it("keeps what is by hand, and removes plots that are not made again", () => {
    fs.mkdirSync(path.join(dir, "performance"));
    fs.writeFileSync(path.join(dir, "performance", "old.svg"), "");
    const { page, files } = make(results([row({})]));
    assert.ok(page.startsWith(`# By hand\n\n${BEGIN}\n`));
    assert.ok(page.endsWith(`\n${END}\n\nBy hand, too.\n`));
    assert.doesNotMatch(page, /^old$/m);
    assert.ok(!("old.svg" in files));
  });

  it("is not touched without markers, and without deliveries", () => {
    for (const [json, page, reason] of /** @type {const} */ ([
      [results([row({})]), "# No markers\n", /the page needs these lines/],
      [{ delivery: null }, PAGE, /there are no deliveries/],
      [results([]), PAGE, /there are no deliveries/],
    ])) {
      assert.throws(() => make(json, page), reason);
      const after = readMade(dir);
      assert.strictEqual(after.page, page);
      assert.deepStrictEqual(after.files, {});
    }
  });

  it("has plots that are well-formed, small and always the same", () => {
    const json = results(manyRows());
    const { page, files, svgs } = make(json);
    assert.strictEqual(Object.keys(svgs).length, 4 * 2);
    for (const [name, svg] of Object.entries(svgs)) {
      assertWellFormed(svg, name);
      assert.ok(Buffer.byteLength(svg) < MOST_BYTES, `${name} has ${Buffer.byteLength(svg)} bytes`);
      assert.ok(page.includes(`](performance/${name})`), `${name} is in the page`);
      for (const words of [
        "small &lt;text&gt;",
        "binary",
        "10,000",
        "log scale",
        "in-memory",
        "ours, fanOut",
      ])
        assert.ok(svg.includes(words), `${words} in ${name}`);
      // One line for each subject in each of the two panels, and in the legend.
      assert.strictEqual(svg.match(/<path class="l"/g)?.length, 4 * 3, name);
    }
    assert.deepStrictEqual(make(json).files, files);
  });

  it("has plots with logarithmic axes, less at the bottom", () => {
    const rows = [10, 100, 1000].map((sockets) => row({ sockets, values: { [REFERENCE]: sockets / 5 } }));
    const svg = make(results(rows)).svgs["classic-js-time-1.svg"];
    // The first one is in the legend.
    const [, ...points] = Array.from(svg.matchAll(CIRCLE), ([, x, y]) => [Number(x), Number(y)]);
    assert.strictEqual(points.length, 3);
    const steps = [0, 1].map((i) => [points[i + 1][0] - points[i][0], points[i + 1][1] - points[i][1]]);
    assert.ok(steps[0][0] > 0 && steps[0][1] < 0, "more is to the right, and above");
    for (const axis of [0, 1]) assert.ok(Math.abs(steps[0][axis] - steps[1][axis]) < 0.5, svg);
  });

  it("has plots that are readable on light and on dark backgrounds", () => {
    const svg = make(results(manyRows())).svgs["classic-cpu-1.svg"];
    const style = svg.match(/<style>(.*)<\/style>/)?.[1] ?? "";
    const [light, dark] = style.split("@media(prefers-color-scheme:dark)");
    assert.match(svg, /<rect class="bg" width="(\d+)" height="(\d+)"/, "it has a background of its own");
    for (const scheme of [light, dark]) {
      const background = scheme.match(/\.bg\{fill:(#\w{6})\}/)?.[1] ?? "";
      const text = scheme.match(/text\{fill:(#\w{6})\}/)?.[1] ?? "";
      assert.ok(contrast(background, text) >= CONTRAST.text, `${text} on ${background}`);
      const lines = Array.from(scheme.matchAll(/\.s\d\{color:(#\w{6})\}/g), ([, colour]) => colour);
      assert.strictEqual(new Set(lines).size, 4);
      for (const line of lines)
        assert.ok(contrast(background, line) >= CONTRAST.line, `${line} on ${background}`);
    }
    const luminances = [light, dark].map((scheme) =>
      luminance(scheme.match(/\.bg\{fill:(#\w{6})/)?.[1] ?? ""),
    );
    assert.ok(luminances[0] > 0.5 && luminances[1] < 0.1, "one is light and one is dark");
  });

  it("begins with the rows without gain, the poorest first", () => {
    const { page } = make(
      results([
        row({ sockets: 10, values: { [REFERENCE]: 100, [MEMORY]: 100, [OURS]: 94, [FAN_OUT]: 50 } }),
        row({ sockets: 20, values: { [REFERENCE]: 100, [MEMORY]: 190, [OURS]: 95, [FAN_OUT]: 50 } }),
        row({ sockets: 30, values: { [REFERENCE]: 200, [MEMORY]: 100, [OURS]: 50, [FAN_OUT]: 120 } }),
        // What is no CPU time is not looked at.
        row({
          sockets: 40,
          values: { [REFERENCE]: 100, [MEMORY]: 100, [OURS]: 50, [FAN_OUT]: 50 },
          lastMs: 99,
        }),
        row({
          sockets: 50,
          values: { [REFERENCE]: 100, [MEMORY]: 100, [OURS]: 50, [FAN_OUT]: 50 },
          cpu: [OURS, 97],
        }),
      ]),
    );
    const headings = Array.from(page.matchAll(/^## (.*)$/gm), ([, heading]) => heading);
    assert.deepStrictEqual(headings, ["What was measured", "Rows without gain", "Plots", "All rows"]);
    const section = sectionOf(page, "Rows without gain");
    assert.match(section, /in 5 of 20 comparisons/);
    assert.deepStrictEqual(
      cellsOf(section).map((cells) => cells.slice(3)),
      [
        ["30", "JS thread", "fanOut", "120", "0.60", "**1.20**"],
        ["30", "All threads", "fanOut", "120", "0.60", "**1.20**"],
        ["50", "All threads", "ours", "97.0", "**0.97**", "**0.97**"],
        ["20", "JS thread", "ours", "95.0", "**0.95**", "0.50"],
        ["20", "All threads", "ours", "95.0", "**0.95**", "0.50"],
      ],
    );
  });

  it("says so if each row is a gain, and if nothing could be compared", () => {
    const all = make(results([row({})]));
    assert.match(sectionOf(all.page, "Rows without gain"), /^There are none: .* in all 4 comparisons\.$/m);
    const alone = make(results([row({ values: { [OURS]: 1 }, only: [OURS] })]));
    assert.match(sectionOf(alone.page, "Rows without gain"), /^Nothing could be compared\.$/m);
  });

  it("says what was measured, and on what", () => {
    const section = sectionOf(make(results([row({})])).page, "What was measured");
    for (const words of ["Date: 2030-01-02", "2 × A processor", "Node.js 20.1.2, Redis 7.8.9", "Rounds: 3,"])
      assert.ok(section.includes(words), section);
    assert.match(section, /differs by 20 % of its median/);
    const undated = { ...results([row({})]).delivery, date: undefined };
    assert.doesNotMatch(make({ delivery: undated }).page, /Date:|undefined/);
  });

  it("does without a subject that was not measured", () => {
    const { page, svgs } = make(results(manyRows({ only: [REFERENCE, OURS] })));
    const section = sectionOf(page, "All rows");
    assert.ok(!section.includes("in-memory") && !section.includes("fanOut"), section);
    assert.match(page, /fanOut was not measured/);
    assert.match(sectionOf(page, "Rows without gain"), /There are none/);
    for (const [name, svg] of Object.entries(svgs)) {
      assertWellFormed(svg, name);
      assert.strictEqual(svg.match(/<path class="l"/g)?.length, 2 * 3, name);
    }
    // Ours looks the same, whoever else is there.
    const lookOf = (/** @type {string} */ svg) => svg.match(/class="(s\d)"(?=[^\n]*>ours<)/)?.[1];
    const [some, all] = [svgs, make(results(manyRows())).svgs].map((made) => made["classic-cpu-1.svg"]);
    assert.ok(lookOf(all));
    assert.strictEqual(lookOf(some), lookOf(all));
  });

  it("does with a round that has failed, and names it", () => {
    const rows = manyRows();
    rows[2].subjects[FAN_OUT] = { rounds: [], failed: "9 events of `10`,\n| 1 out of order" };
    // The rounds before that are no result.
    rows[4].subjects[MEMORY].failed = "gone";
    const { page, svgs } = make(results(rows));
    assert.deepStrictEqual(cellsOf(sectionOf(page, "What was measured")), [
      ["classic", "small <text>", "1", "100", "fanOut", "`9 events of '10', / 1 out of order`"],
      ["classic", "small <text>", "1", "10,000", "in-memory", "`gone`"],
    ]);
    assert.strictEqual(
      cellsOf(sectionOf(page, "All rows"))
        .flat()
        .filter((cell) => cell === "failed").length,
      2 * 4,
    );
    for (const [name, svg] of Object.entries(svgs)) assertWellFormed(svg, name);
  });

  it("does without figures: no clock for the thread, nothing took any time, one size, nobody left", () => {
    const unclocked = manyRows();
    for (const { subjects } of unclocked)
      for (const outcome of Object.values(subjects)) outcome.median = { ...outcome.median, threadUs: null };
    const failed = manyRows();
    for (const { subjects } of failed)
      for (const name of Object.keys(subjects)) subjects[name] = { rounds: [], failed: "gone" };
    const zero = [row({ values: { [REFERENCE]: 0, [MEMORY]: 0, [OURS]: 0, [FAN_OUT]: 0 } })];
    for (const rows of [unclocked, failed, zero, [row({ sockets: 1 })]]) {
      const { page, svgs } = make(results(rows));
      assert.doesNotMatch(page, /NaN|undefined|Infinity|null/);
      assert.notDeepStrictEqual(svgs, {});
      for (const [name, svg] of Object.entries(svgs)) assertWellFormed(svg, name);
    }
  });

  it("tells adapters apart", () => {
    const rows = ["classic", "streams"].flatMap((family) => manyRows().map((one) => ({ ...one, family })));
    const { page, svgs } = make(results(rows));
    assert.strictEqual(Object.keys(svgs).length, 4 * 2 * 2);
    assert.match(page, /Adapters: classic, streams;/);
    assert.match(page, /`@socket\.io\/redis-streams-adapter` 3\.4\.5/);
  });
});

/**
 * A row as the bench writes it: all figures of a subject are the same, but for the clock.
 *
 * @param {object} given
 * @param {number} [given.sockets]
 * @param {Record<string, number>} [given.values] by subject
 * @param {number} [given.lastMs] of ours
 * @param {[string, number]} [given.cpu] of all threads of a subject
 * @param {string[]} [given.only] the subjects that there are
 * @param {string} [given.payload]
 * @param {number} [given.perTick]
 */
function row({ sockets = 100, values = {}, lastMs, cpu, only, payload = "binary", perTick = 1 }) {
  const defaults = { [OURS]: 5, [FAN_OUT]: 3, [REFERENCE]: 10, [MEMORY]: 8 };
  /** @type {Record<string, any>} */
  const subjects = {};
  for (const [name, value] of Object.entries({ ...defaults, ...values })) {
    if (only && !only.includes(name)) continue;
    const roundOf = (/** @type {number} */ factor) => ({
      threadUs: value * factor,
      processUs: (cpu?.[0] === name ? cpu[1] : value) * factor,
      longestRanMs: value * factor,
      longestWallMs: value * factor,
      lastMs: (name === OURS ? (lastMs ?? value) : value) * factor,
    });
    subjects[name] = { rounds: [0.9, 1, 1.1].map(roundOf), median: roundOf(1) };
  }
  return { family: "classic", sockets, perTick, payload, subjects };
}

/** Two payloads, two numbers of messages in a turn, five sizes. @param {{ only?: string[] }} [given] */
function manyRows({ only } = {}) {
  return ["small <text>", "binary"].flatMap((payload) =>
    [1, 16].flatMap((perTick) =>
      [1, 10, 100, 1000, 10_000].map((sockets) => row({ sockets, perTick, payload, only })),
    ),
  );
}

/** A file of the bench. @param {any[]} rows */
function results(rows) {
  const delivery = {
    date: "2030-01-02T03:04:05.678Z",
    machine: { cpu: "A processor", cpus: 2, memoryMiB: 4096, platform: "linux", arch: "x64", release: "6.7" },
    versions: {
      node: "v20.1.2",
      redisServer: "7.8.9",
      "socket.io-redis-native": "0.1.2",
      "@socket.io/redis-adapter": "8.9.0",
      "@socket.io/redis-streams-adapter": "3.4.5",
      "socket.io": "4.5.6",
      redis: "6.7.8",
    },
    rounds: 3,
    ours: "..",
    rows,
  };
  return { scale: null, fetch: null, delivery };
}

/** Reads a page and what is beside it. @param {string} docs @returns {Made} */
function readMade(docs) {
  const folder = path.join(docs, "performance");
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [];
  const files = Object.fromEntries(
    names.map((name) => [name, fs.readFileSync(path.join(folder, name), "utf8")]),
  );
  const svgs = Object.fromEntries(Object.entries(files).filter(([name]) => name.endsWith(".svg")));
  return { page: fs.readFileSync(path.join(docs, "performance.md"), "utf8"), files, svgs };
}

/** What stands below a heading. @param {string} page @param {string} heading */
function sectionOf(page, heading) {
  return page.split(/^## /m).find((section) => section.startsWith(`${heading}\n`)) ?? "";
}

/** The cells of all tables, but for their heads. @param {string} section */
function cellsOf(section) {
  return Array.from(section.matchAll(/^\|(.*)\|$/gm), ([, cells]) =>
    cells.split("|").map((cell) => cell.trim()),
  ).filter(([first]) => first !== "adapter" && !/^-+:?$/.test(first));
}

/** Fails if this is not well-formed XML, or has a number that is none. @param {string} xml @param {string} name */
function assertWellFormed(xml, name) {
  assert.doesNotMatch(xml, /NaN|undefined|Infinity|null/, name);
  /** @type {string[]} */
  const open = [];
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?: [\w:-]+="[^"<&]*")*)(\/?)>/gi,
    (_, closes, tag, attributes, isEmpty) => {
      const names = Array.from(attributes.matchAll(/ ([\w:-]+)=/g), ([, attribute]) => attribute);
      assert.strictEqual(new Set(names).size, names.length, `${name}: ${tag} has an attribute twice`);
      if (closes) assert.strictEqual(tag, open.pop(), `${name}: what is closed`);
      else if (!isEmpty) open.push(tag);
      return "";
    },
  );
  assert.deepStrictEqual(open, [], `${name}: all are closed`);
  assert.doesNotMatch(rest.replace(/&(amp|lt|gt|quot);/g, ""), /[<>&]/, name);
  assert.match(xml, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" [^]*<\/svg>\n$/, name);
}

/** The contrast of two colours, from 1 to 21. @param {string} one @param {string} other */
function contrast(one, other) {
  const [less, more] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

/** @param {string} colour such as #0d1117 */
function luminance(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
