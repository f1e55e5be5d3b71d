// @ts-check
"use strict";

/**
 * What it costs a server to hand over broadcasts of another server to its clients: real WebSocket clients, which live in a
 * process of their own (bench/clients, in Rust). Ours, the reference and the in-memory adapter take turns; the in-memory
 * one emits by itself.
 */

const { spawn, spawnSync } = require("node:child_process");
const { createInterface } = require("node:readline");
const path = require("node:path");
const { startRedis } = require("../__test__/support/redis.js");
const { ROOT } = require("../scripts/addon.js");
const { SUBJECTS, moduleOf } = require("./cases.js");
const { Child } = require("./child.js");
const { measuredOn } = require("./machine.js");

/** @typedef {"classic" | "sharded" | "streams"} Family */

const SUBJECT_NAMES = ["ours+redis", "ours+redis, fanOut", "reference+redis", "memory"];
const SIZES = [1, 10, 100, 1000, 10_000];
const QUICK_SIZES = [10, 100];

/** Deliveries in one round, about. */
const DELIVERIES = 32_000;

/** Messages of one round, at least and at most. */
const MESSAGES = Object.freeze({ least: 32, most: 4000 });

/** How long a server may be busy with a delivery of the reference's, in milliseconds: twice that is between two turns. */
const COST = 0.015;

/** @typedef {{ title: string, bytes: number, kind: "text" | "binary" | "json", perTick: number[] }} Payload */

/** @type {Payload[]} */
const PAYLOADS = [
  { title: "small text (100 B)", bytes: 100, kind: "text", perTick: [1, 16] },
  { title: "large text (16 KB)", bytes: 16_384, kind: "text", perTick: [1, 16] },
  { title: "binary (100 B)", bytes: 100, kind: "binary", perTick: [1, 16] },
];

/** By servers that compress, without context takeover. @type {Payload[]} */
const COMPRESSED = [{ title: "compressed JSON (4 KB)", bytes: 4096, kind: "json", perTick: [1] }];

/** More sockets than these are not compressed for: the reference takes a quarter of a second for 1,000. */
const MOST_COMPRESSED = 1000;

/** A delivery is so many times as dear, if it is compressed. */
const COMPRESSING = 20;

/**
 * @typedef {object} Round
 * @property {number | null} threadUs CPU time of the JS thread, per delivery
 * @property {number} processUs CPU time of all threads, per delivery
 * @property {number | null} longestRanMs the longest turn of the event loop, by the CPU time of the JS thread
 * @property {number} longestWallMs the same by the clock
 * @property {number} lastMs from the last emit until the last client had all
 *
 * @typedef {object} Outcome of one subject
 * @property {Round[]} rounds
 * @property {Round} [median]
 * @property {string} [failed]
 *
 * @typedef {object} DeliveryRow
 * @property {Family} family
 * @property {number} sockets
 * @property {number} perTick
 * @property {string} payload
 * @property {Record<string, Outcome>} subjects
 */

/** What is measured, and how, for the head of the table. @param {number[]} sizes @param {number} rounds */
function aboutDelivery(sizes, rounds) {
  return [
    `Delivers broadcasts of another server to ${sizes.join(", ")} WebSocket clients, which count them and check their order in a`,
    `process of their own; medians of ${rounds} rounds after one that only warms up, subjects in turns. CPU time of the server per`,
    'delivered message, in us; "longest turn" of its event loop and "last client" (from the last emit until the last client',
    "has it) in ms, by the clock. x = ours / reference: below 1, ours takes less; fanOut: ours with that option. The in-memory",
    "adapter emits by itself.",
  ].join("\n");
}

/**
 * Resolves with everything that was measured, ready to be written as JSON.
 *
 * @param {{ quick: boolean, rounds: number, most?: number, sizes?: number[], families?: string[] | null, subjects?: string[] | null, onProgress?: (text: string) => void }} options
 */
async function runDelivery({
  quick,
  rounds,
  most = MESSAGES.most,
  families,
  subjects,
  onProgress = () => {},
  ...options
}) {
  onProgress("delivery: building the clients (cargo, release)");
  const program = buildClients();
  const sizes = deliverySizes(quick, options.sizes);
  const names = SUBJECT_NAMES.filter((name) => !subjects || subjects.includes(name));
  const redis = await startRedis();
  const wire = new Child("wire.js", [redis.url]);
  try {
    const { version } = await wire.ask("open");
    /** @type {DeliveryRow[]} */
    const rows = [];
    for (const family of /** @type {Family[]} */ (families ?? ["classic"])) {
      for (const sockets of sizes) {
        for (const compresses of sockets > MOST_COMPRESSED ? [false] : [false, true]) {
          const setting = { family, url: redis.url, sockets, compresses };
          /** @type {Map<string, Stage>} */
          const stages = new Map();
          try {
            for (const name of names) {
              onProgress(`delivery: ${family}, ${sockets} sockets: connecting (${name})`);
              stages.set(name, await Stage.open(name, program, setting));
            }
            for (const payload of compresses ? COMPRESSED : PAYLOADS)
              for (const perTick of payload.perTick) {
                onProgress(`delivery: ${family}, ${sockets} sockets, ${payload.title}, ${perTick} per turn`);
                rows.push(await measure(stages, { family, sockets, perTick, payload }, rounds, most));
              }
          } finally {
            for (const stage of stages.values()) await stage.close();
          }
        }
      }
    }
    return { ...measuredOn(version), rounds, ours: SUBJECTS["ours+redis"].adapter, rows };
  } finally {
    await wire.stop();
    await redis.stop();
  }
}

/** @param {boolean} quick @param {number[]} [given] */
function deliverySizes(quick, given) {
  return given ?? (quick ? QUICK_SIZES : SIZES);
}

/** Builds the clients, and returns their program. */
function buildClients() {
  const manifest = path.join(__dirname, "clients", "Cargo.toml");
  const target = path.join(ROOT, "target", "bench-clients");
  const args = ["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target];
  const { status, stderr } = spawnSync("cargo", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`the clients cannot be built:\n${stderr}`);
  return path.join(target, "release", `bench-clients${process.platform === "win32" ? ".exe" : ""}`);
}

/**
 * @param {Map<string, Stage>} stages
 * @param {{ family: Family, sockets: number, perTick: number, payload: Payload }} kind
 * @param {number} rounds
 * @param {number} most messages a round
 * @returns {Promise<DeliveryRow>}
 */
async function measure(stages, { family, sockets, perTick, payload }, rounds, most) {
  /** @type {Record<string, Outcome>} */
  const subjects = {};
  for (const name of stages.keys()) subjects[name] = { rounds: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const [name, outcome] of Object.entries(subjects)) {
      if (outcome.failed) continue;
      try {
        const measured = await stages.get(name)?.round(perTick, payload, most);
        if (measured && round > 0) outcome.rounds.push(measured);
      } catch (err) {
        outcome.failed = /** @type {Error} */ (err).message;
      }
    }
  }
  for (const outcome of Object.values(subjects))
    if (!outcome.failed) outcome.median = middleRound(outcome.rounds);
  return { family, sockets, perTick, payload: payload.title, subjects };
}

/** @typedef {{ family: Family, url: string, sockets: number, compresses: boolean }} Setting */

/** The server of one subject, its clients, and the server that emits to them. */
class Stage {
  #server;
  #sender;
  #clients;
  #setting;
  /** How many events all clients together have had. */
  #events = 0;

  /** @param {Child} server @param {Child} sender @param {Clients} clients @param {Setting} setting */
  constructor(server, sender, clients, setting) {
    this.#server = server;
    this.#sender = sender;
    this.#clients = clients;
    this.#setting = setting;
  }

  /** @param {string} name of the subject @param {string} program @param {Setting} setting */
  static async open(name, program, setting) {
    const { family, url, sockets, compresses } = setting;
    const module = moduleOf(SUBJECTS[name], family === "streams" ? family : null) ?? "";
    const options = JSON.stringify({ fanOut: SUBJECTS[name].fanOut === true, compresses });
    const args = [module, url, `delivery-${family}-${name}-${sockets}-${compresses}`, family, options];
    const server = new Child("delivery-node.js", args);
    const sender = module === "" ? server : new Child("delivery-node.js", args);
    const stage = new Stage(server, sender, new Clients(program), setting);
    try {
      const port = await server.ask("open");
      if (sender !== server) {
        await sender.ask("open");
        await Promise.all([server, sender].map((node) => node.ask("meet", { nodes: 2 })));
      }
      await stage.#clients.ask(`connect ${port} ${sockets}${compresses ? " compressed" : ""}`);
      return stage;
    } catch (err) {
      await stage.close();
      throw err;
    }
  }

  /** @param {number} perTick @param {Payload} payload @param {number} most messages @returns {Promise<Round>} */
  async round(perTick, { bytes, kind }, most) {
    const { sockets, compresses } = this.#setting;
    const dearness = compresses ? COMPRESSING : 1;
    const wanted = Math.min(
      Math.max(Math.round(DELIVERIES / dearness / sockets), compresses ? MESSAGES.least / 4 : MESSAGES.least),
      MESSAGES.most,
      most,
    );
    const count = Math.ceil(wanted / perTick) * perTick;
    const deliveries = count * sockets;
    const interval = Math.max(2, Math.ceil(2 * COST * dearness * perTick * sockets));
    this.#events += deliveries;
    await this.#server.ask("begin");
    const got = await this.#clients.expect(this.#events);
    const at = await this.#sender.ask("emit", { count, perTick, interval, bytes, kind });
    const [events, last, faults] = (await got.promise).map(Number);
    const { thread, process, ranMs, wallMs } = await this.#server.ask("end");
    if (events !== this.#events || faults > 0)
      throw new Error(`${events} events of ${this.#events}, ${faults} out of order`);
    return {
      threadUs: thread === null ? null : thread / 1e3 / deliveries,
      processUs: process / 1e3 / deliveries,
      longestRanMs: ranMs,
      longestWallMs: wallMs,
      lastMs: (last - at) / 1e6,
    };
  }

  async close() {
    await this.#clients.stop();
    await Promise.all([this.#server.stop(), this.#sender.stop()]);
  }
}

/** The process of the clients: an order is a line, and so is an answer. */
class Clients {
  #process;
  /** @type {((words: string[]) => void)[]} */
  #asked = [];
  /** @type {((error: Error) => void)[]} */
  #failed = [];

  /** @param {string} program */
  constructor(program) {
    this.#process = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      this.#failed.shift();
      this.#asked.shift()?.(line.split(" ").slice(1));
    });
    this.#process.once("exit", () => {
      for (const fail of this.#failed.splice(0)) fail(new Error("the clients have ended"));
    });
  }

  /** @param {string} order @returns {Promise<string[]>} */
  ask(order) {
    const answer = this.#answer();
    this.#process.stdin.write(`${order}\n`);
    return answer;
  }

  /** Resolves when they count to `total`, to a promise of what they say then. @param {number} total */
  async expect(total) {
    const isExpected = this.ask(`expect ${total}`);
    const promise = this.#answer();
    // It fails with the other one.
    promise.catch(() => {});
    await isExpected;
    return { promise };
  }

  /** The words of the next line that nobody waits for yet, but for the first. @returns {Promise<string[]>} */
  #answer() {
    return new Promise((resolve, reject) => {
      this.#asked.push(resolve);
      this.#failed.push(reject);
    });
  }

  async stop() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await gone;
  }
}

/** @type {{ name: keyof Round, title: string }[]} */
const METRICS = [
  { name: "threadUs", title: "JS thread" },
  { name: "processUs", title: "process" },
  { name: "longestWallMs", title: "longest turn" },
  { name: "lastMs", title: "last client" },
];

/** @param {Round[]} rounds @returns {Round} */
function middleRound(rounds) {
  const fields = /** @type {(keyof Round)[]} */ (Object.keys(rounds[0]));
  return /** @type {Round} */ (
    Object.fromEntries(fields.map((field) => [field, middle(rounds.map((round) => round[field]))]))
  );
}

/** The median; null where something was not measured. @param {(number | null)[]} values */
function middle(values) {
  if (values.includes(null)) return null;
  const sorted = /** @type {number[]} */ ([...values]).sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/**
 * Returns what was measured as tables, one for each number of messages in a turn: every row is there.
 *
 * @param {Awaited<ReturnType<typeof runDelivery>>} results
 */
function describeDelivery({ machine, versions, ours, rows }) {
  const lines = [
    `${machine.cpus} x ${machine.cpu}, ${machine.platform} ${machine.arch}, Node ${versions.node}, Redis ${versions.redisServer}; ` +
      `socket.io ${versions["socket.io"]}, @socket.io/redis-adapter ${versions["@socket.io/redis-adapter"]}, redis ${versions.redis}.`,
  ];
  if (ours !== "..") lines.push(`NOTE: BENCH_OURS: "ours" is ${ours}.`);
  for (const { name, title } of METRICS) {
    lines.push("", `${title}:`);
    const values = ["ours", "fanOut", "reference", "memory", "x", "x memory", "fanOut x", "fanOut x memory"];
    const head = ["  ", "payload", "per turn", "sockets", ...values];
    const body = rows.map(({ family, payload, perTick, sockets, subjects }) => {
      const measured = SUBJECT_NAMES.map((subject) => subjects[subject]?.median?.[name]);
      const [mine, fanned, theirs, memory] = measured;
      const cells = [payload, String(perTick), String(sockets), ...measured.map(shown)];
      const ratios = [mine, fanned].flatMap((own) => [ratio(own, theirs), ratio(own, memory)]);
      return [`  ${family}`, ...cells, ...ratios];
    });
    lines.push(...align([head, ...body]));
  }
  const failed = rows.flatMap(({ family, payload, perTick, sockets, subjects }) =>
    Object.entries(subjects)
      .filter(([, outcome]) => outcome.failed)
      .map(
        ([name, outcome]) => `  ${family}, ${payload}, ${perTick}, ${sockets}: ${name}: ${outcome.failed}`,
      ),
  );
  if (failed.length) lines.push("", "FAILED:", ...failed);
  return lines.join("\n");
}

/** @param {string[][]} rows the first two columns are words */
function align(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd(),
  );
}

/** @param {number | null | undefined} value */
function shown(value) {
  if (value == null) return "-";
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

/** @param {number | null | undefined} mine @param {number | null | undefined} theirs */
function ratio(mine, theirs) {
  return mine == null || !theirs ? "-" : (mine / theirs).toFixed(2);
}

module.exports = { SUBJECT_NAMES, aboutDelivery, deliverySizes, describeDelivery, runDelivery };
