// @ts-check
"use strict";

/**
 * `npm run test:matrix`: each kind of Redis client with each topology, adapter and transport: two servers of ours and one
 * of the reference have to be one cluster. Prints a table, and what is wrong; exits with 1 if a cell fails that should
 * not. After `--`:
 *
 *   --only TEXT    cells whose title contains it; may be given several times, and then all have to be in it
 *   --trace        prints each cell as it ends
 *   --jobs N       so many at a time, instead of 4
 *   --no-setup     everything is installed and built already
 */

const { parseArgs } = require("node:util");

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      jobs: { type: "string", default: "4" },
      trace: { type: "boolean", default: false },
      "no-setup": { type: "boolean", default: false },
    },
  });
  if (!values["no-setup"]) await require("./setup.js").setup();
  // Only now are the dependencies certain to be installed.
  const { planAll, runCell, titleOf } = require("../__test__/matrix/plan.js");
  const { Places } = require("../__test__/matrix/places.js");
  /** @type {unknown[]} */
  const rejections = [];
  process.on("unhandledRejection", (reason) => void rejections.push(reason));

  const plans = planAll().filter((plan) => values.only?.every((text) => titleOf(plan).includes(text)));
  const places = new Places();
  /** @type {Map<import("../__test__/matrix/plan.js").Plan, import("../__test__/matrix/plan.js").Result>} */
  const results = new Map();
  const queue = [...plans];
  const work = async () => {
    for (let plan = queue.shift(); plan; plan = queue.shift()) {
      const seen = rejections.length;
      const result = await runCell(plan, places);
      if (rejections.length > seen && result.outcome !== "failed")
        result.text += " (a rejection was not handled)";
      results.set(plan, result);
      if (process.stderr.isTTY) process.stderr.write(`\r${results.size} of ${plans.length} `);
      if (values.trace) console.log(`${result.outcome}: ${titleOf(plan)}: ${result.text}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  } finally {
    await places.stop();
  }
  print(plans, results);
  const failed = plans.filter((plan) => results.get(plan)?.outcome === "failed");
  for (const plan of failed) console.log(`\n${titleOf(plan)}\n  ${results.get(plan)?.error?.stack}`);
  for (const reason of rejections) console.log("\nnot handled:", reason);
  const count = (/** @type {string} */ outcome) =>
    plans.filter((plan) => results.get(plan)?.outcome === outcome).length;
  console.log(
    `\n${count("passed")} passed, ${count("failed")} failed, ${count("refused")} refused as they should be, ` +
      `${rejections.length} rejections not handled`,
  );
  // A cell that has failed may have left its clients.
  process.exit(failed.length + rejections.length > 0 || results.size === 0 ? 1 : 0);
}

/**
 * @param {import("../__test__/matrix/plan.js").Plan[]} plans
 * @param {Map<import("../__test__/matrix/plan.js").Plan, import("../__test__/matrix/plan.js").Result>} results
 */
function print(plans, results) {
  const { KINDS, TRANSPORTS } = require("../__test__/matrix/plan.js");
  const columns = KINDS.flatMap((kind) => TRANSPORTS.map((transport) => ({ kind, transport })));
  /** @type {string[]} */
  const reasons = [];
  const noteOf = (/** @type {string} */ text) => {
    if (!reasons.includes(text)) reasons.push(text);
    return reasons.indexOf(text) + 1;
  };
  /** @type {string[][]} */
  const rows = [["client", "topology", ...columns.map(({ kind, transport }) => `${kind} ${transport}`)]];
  const places = new Set(plans.map(({ variant, topology }) => `${variant.name}\n${topology}`));
  for (const place of places) {
    const [name, topology] = place.split("\n");
    const cells = columns.map(({ kind, transport }) => {
      const plan = plans.find(
        (one) =>
          one.variant.name === name &&
          one.topology === topology &&
          one.kind === kind &&
          one.transport === transport,
      );
      const result = plan && results.get(plan);
      if (!plan || !result) return "";
      if (result.outcome === "failed") return `FAILED [${noteOf(result.text)}]`;
      if (result.outcome === "refused") return `n/a [${noteOf(result.text)}]`;
      const { reason } = plan.expected;
      return `passed (${result.text})${reason ? ` [${noteOf(reason)}]` : ""}`;
    });
    rows.push([name, topology, ...cells]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const [index, row] of rows.entries()) {
    console.log(row.map((text, column) => text.padEnd(widths[column])).join("  "));
    if (index === 0) console.log(widths.map((width) => "-".repeat(width)).join("  "));
  }
  console.log("");
  for (const [index, reason] of reasons.entries()) console.log(`[${index + 1}] ${reason}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
