// @ts-check
"use strict";

/**
 * What is to come of each cell of the matrix, and whether it does.
 */

const ours = /** @type {any} */ (require("../.."));
const { Cell } = require("./cell");
const { TOPOLOGIES } = require("./places");
const { VARIANTS } = require("./variants");

/**
 * @typedef {import("./cell").Kind} Kind
 * @typedef {import("./cell").Transport} Transport
 * @typedef {import("./places").Topology} Topology
 * @typedef {import("./variants").Variant} Variant
 *
 * @typedef {object} Expected
 * @property {"native" | "client" | null} carrier null: the adapter is refused
 * @property {RegExp} [message] then
 * @property {string} [reason] why not otherwise
 *
 * @typedef {object} Plan a cell and what is to come of it
 * @property {Variant} variant
 * @property {Topology} topology
 * @property {Kind} kind
 * @property {Transport} transport
 * @property {Expected} expected
 *
 * @typedef {object} Result
 * @property {"passed" | "refused" | "failed"} outcome "refused": by a TypeError, as it should
 * @property {string} text for the table
 * @property {any} [error]
 */

/** @type {Kind[]} */
const KINDS = ["classic", "sharded"];
/** @type {Transport[]} */
const TRANSPORTS = ["auto", "native", "client"];

/** How long a cell may take as a whole, in milliseconds. */
const DEADLINE = 40_000;

/** All cells, in the order of the table. @returns {Plan[]} */
function planAll() {
  return VARIANTS.flatMap((variant) =>
    TOPOLOGIES.filter((topology) => variant.topologies.includes(topology)).flatMap((topology) =>
      KINDS.flatMap((kind) =>
        TRANSPORTS.map((transport) => ({
          variant,
          topology,
          kind,
          transport,
          expected: expect(variant, topology, kind, transport),
        })),
      ),
    ),
  );
}

/**
 * @param {Variant} variant
 * @param {Topology} topology
 * @param {Kind} kind
 * @param {Transport} transport
 * @returns {Expected}
 */
function expect(variant, topology, kind, transport) {
  const shardless = kind === "sharded" ? variant.shardless(topology) : null;
  if (shardless) return { carrier: null, message: shardless, reason: "the client knows no shards" };
  const unread = variant.unread(topology);
  if (transport === "native") {
    return unread ? { carrier: null, message: /cannot be "native"/, reason: unread } : { carrier: "native" };
  }
  if (transport === "auto" && !unread) return { carrier: "native" };
  const deaf = kind === "sharded" ? variant.deaf(topology) : null;
  if (deaf) return { carrier: null, message: deaf, reason: "the client listens to one shard only" };
  return { carrier: "client", reason: transport === "auto" ? (unread ?? undefined) : undefined };
}

/**
 * @param {Plan} plan
 * @param {import("./places").Places} places
 * @returns {Promise<Result>}
 */
async function runCell({ variant, topology, kind, transport, expected }, places) {
  if (kind === "sharded" && !ours.createShardedAdapter)
    return { outcome: "refused", text: "no sharded adapter yet" };
  try {
    const cell = new Cell(variant, await places.at(topology), kind, transport);
    await withDeadline(cell, cell.run({ carrier: expected.carrier ?? "client" }), DEADLINE);
    if (expected.carrier === null) return failed(new Error("it should have been refused"));
    return { outcome: "passed", text: expected.carrier };
  } catch (error) {
    const message = String(/** @type {any} */ (error)?.message);
    const refused =
      expected.carrier === null && error instanceof TypeError && expected.message?.test(message);
    return refused ? { outcome: "refused", text: expected.reason ?? message } : failed(error);
  }
}

/**
 * @param {Cell} cell
 * @param {Promise<void>} run
 * @param {number} deadline in milliseconds
 */
async function withDeadline(cell, run, deadline) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took more than ${deadline} ms ${cell.step}`)), deadline);
  });
  run.catch(() => {});
  await Promise.race([run, late]).finally(() => clearTimeout(timer));
}

/** @param {any} error @returns {Result} */
function failed(error) {
  return { outcome: "failed", text: String(error?.message ?? error).split("\n")[0], error };
}

/** How a cell is called. @param {Plan} plan */
function titleOf({ variant, topology, kind, transport }) {
  return `${variant.name}, ${topology}, ${kind}, ${transport}`;
}

module.exports = { KINDS, TRANSPORTS, planAll, runCell, titleOf };
