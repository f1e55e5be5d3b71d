// @ts-check
"use strict";

/** Runs cases: Redis, the processes around it, and the rounds, in which the subjects take turns. */

const { setTimeout: sleep } = require("node:timers/promises");
const { startRedis } = require("../__test__/support/redis.js");
const { SUBJECTS, familyOf, moduleOf } = require("./cases.js");
const { Child } = require("./child.js");
const { measuredOn } = require("./machine.js");

/** A warm-up round takes this part of the messages: one in so many. */
const WARM_UP = 4;

/** How many empty windows are measured of each subject. */
const WINDOWS = 9;

/**
 * @typedef {import("./cases.js").Case} Case
 * @typedef {import("./cases.js").Mode} Mode
 *
 * @typedef {object} Round what one round cost, per message
 * @property {number | null} threadNs CPU time of the JS thread; null where there is no clock for it
 * @property {number} processNs CPU time of all threads
 * @property {number} elapsedMs of the whole round
 *
 * @typedef {object} Outcome of one subject in one case
 * @property {Round[]} [rounds] publish and receive
 * @property {{ threadNs: number | null, processNs: number }} [median]
 * @property {number[][]} [latenciesNs] latency: each message of each round
 * @property {{ p50Ns: number, p99Ns: number }} [latency]
 * @property {string} [failed] why there is nothing
 *
 * @typedef {Omit<Case, "subjects"> & { subjects: Record<string, Outcome> }} Row
 */

/**
 * Resolves with everything that was measured, ready to be written as JSON.
 *
 * @param {{ cases: Case[], rounds: number, subjects: string[] | null, onProgress?: (text: string) => void }} options
 */
async function run({ cases, rounds, subjects, onProgress = () => {} }) {
  const bench = new Bench();
  try {
    const redisVersion = await bench.open();
    /** @type {Row[]} */
    const rows = [];
    for (const [i, one] of cases.entries()) {
      onProgress(`${i + 1}/${cases.length} ${one.section}: ${one.name}, ${one.payload}`);
      const names = one.subjects.filter((name) => !subjects || subjects.includes(name));
      rows.push(await bench.measure(one, names, rounds));
    }
    return {
      ...measuredOn(redisVersion),
      rounds,
      ours: SUBJECTS["ours+redis"].adapter,
      threadClock: bench.threadClock,
      transports: await bench.transports(),
      emptyWindow: await bench.emptyWindows(),
      rows,
    };
  } finally {
    await bench.close();
  }
}

/** One node in a process of its own. */
class Node {
  port = 0;

  /**
   * @param {string} name of the subject
   * @param {Mode | null} mode
   * @param {string} key the prefix of its channels: each cluster has its own, so that no other is disturbed
   * @param {string} redisUrl
   */
  constructor(name, mode, key, redisUrl) {
    const { client } = SUBJECTS[name];
    const adapter = moduleOf(SUBJECTS[name], mode);
    /** What the other end of the wire has to know of it. */
    this.isEmitter = mode === "emitter";
    this.cluster = { key, mode: mode === "emitter" ? null : mode };
    this.inMemory = !adapter;
    const file = this.isEmitter ? "emitter.js" : "subject.js";
    this.child = new Child(file, [adapter ?? "", client ?? "", redisUrl, key, mode ?? ""]);
  }
}

class Bench {
  /** @type {{ name: string | null, reason: string | null }} */
  threadClock = { name: null, reason: null };

  /** @type {Awaited<ReturnType<typeof startRedis>> | null} */
  #redis = null;
  /** @type {Child[]} */
  #children = [];
  /** How many markers there were in streams. */
  #markers = 0;
  /** @type {Map<string, Node>} the measured node of each subject, one for each kind of adapter */
  #nodes = new Map();
  /** @type {Map<string, [Node, Node]>} two nodes of one cluster, for latency */
  #pairs = new Map();

  async open() {
    this.#redis = await startRedis();
    this.wire = this.#start(new Child("wire.js", [this.#redis.url]));
    this.clients = this.#start(new Child("clients.js", []));
    return (await this.wire.ask("open")).version;
  }

  async close() {
    await Promise.all(this.#children.map((child) => child.stop()));
    await this.#redis?.stop();
  }

  /**
   * Resolves with what the subjects did in one case.
   *
   * @param {Case} one
   * @param {string[]} names
   * @param {number} rounds
   * @returns {Promise<Row>}
   */
  async measure(one, names, rounds) {
    /** @type {Row["subjects"]} */
    const subjects = {};
    for (const name of names)
      subjects[name] = one.section === "latency" ? { latenciesNs: [] } : { rounds: [] };
    // A subject that does not even start is no result: this rejects.
    for (const name of names)
      await (one.section === "latency" ? this.#pair(name, one.mode) : this.#node(name, one.mode));
    const warmUp = { ...one, messages: Math.ceil(one.messages / WARM_UP) };
    for (let round = 0; round <= rounds; round++) {
      for (const name of names) {
        const outcome = subjects[name];
        if (outcome.failed) continue;
        try {
          // Round 0 only warms up.
          await this.#round(name, round === 0 ? warmUp : one, round === 0 ? {} : outcome);
        } catch (err) {
          outcome.failed = /** @type {Error} */ (err).message;
        }
      }
    }
    for (const outcome of Object.values(subjects)) if (!outcome.failed) summarise(outcome);
    return { ...one, subjects };
  }

  /** What carries the messages of each subject, where the adapter tells. */
  async transports() {
    return this.#ofEachNode((node) => node.child.ask("transport"));
  }

  /** What a round without a message costs each subject, in nanoseconds: the error of all the others. */
  async emptyWindows() {
    return this.#ofEachNode(async (node) => {
      /** @type {Outcome} */
      const outcome = { rounds: [] };
      for (let i = 0; i < WINDOWS; i++) {
        await node.child.ask("begin");
        await this.#settle(node);
        const { thread, process, elapsedMs } = await node.child.ask("end");
        outcome.rounds?.push({ threadNs: thread, processNs: process, elapsedMs });
      }
      summarise(outcome);
      return /** @type {{ threadNs: number | null, processNs: number }} */ (outcome.median);
    });
  }

  /**
   * @param {string} name
   * @param {Case} one
   * @param {Outcome} outcome
   */
  async #round(name, one, outcome) {
    if (one.section === "latency") {
      outcome.latenciesNs?.push(await this.#latency(await this.#pair(name, one.mode), one));
      return;
    }
    const node = await this.#node(name, one.mode);
    const used = one.section === "publish" ? await this.#publish(node, one) : await this.#receive(node, one);
    outcome.rounds?.push({
      threadNs: used.thread === null ? null : used.thread / one.messages,
      processNs: used.process / one.messages,
      elapsedMs: used.elapsedMs,
    });
  }

  /**
   * The window closes when all messages were seen on the other side of Redis and the node has done with its own
   * echo of them.
   *
   * @param {Node} node
   * @param {Case} one
   */
  async #publish(node, one) {
    const wire = this.#wire;
    if (!node.inMemory) await wire.ask("expect", { ...one, ...node.cluster });
    await node.child.ask("emit", one);
    if (!node.inMemory) {
      await wire.ask("seen", node.cluster);
      await this.#settle(node);
    }
    return node.child.ask("end");
  }

  /**
   * The window closes when the clients have received everything; without clients, when the node has answered a
   * request that came last.
   *
   * @param {Node} node
   * @param {Case} one
   */
  async #receive(node, one) {
    const { clients } = this;
    await this.#wire.ask("unwatch");
    if (one.sockets) {
      await clients?.ask("connect", { port: node.port, sockets: one.sockets });
      await clients?.ask("expect", { messages: one.messages });
    }
    try {
      await node.child.ask("begin");
      await this.#wire.ask("write", { ...one, ...node.cluster });
      if (one.sockets) await clients?.ask("seen");
      else await this.#settle(node);
      return await node.child.ask("end");
    } finally {
      if (one.sockets) await clients?.ask("disconnect");
    }
  }

  /**
   * @param {[Node, Node]} pair
   * @param {Case} one
   * @returns {Promise<number[]>}
   */
  async #latency([from, to], one) {
    await this.clients?.ask("connect", { port: to.port, sockets: 1 });
    await this.clients?.ask("expect", one);
    await from.child.ask("pulse", one);
    await this.clients?.ask("seen");
    const latencies = await this.clients?.ask("latencies");
    await this.clients?.ask("disconnect");
    return latencies;
  }

  /** Resolves once a node has done with all that was published, or added to its stream. @param {Node} node */
  async #settle(node) {
    if (node.inMemory) return;
    if (node.isEmitter) return node.child.ask("settled");
    if (node.cluster.mode !== "streams") return this.#wire.ask("settle", node.cluster);
    const id = ++this.#markers;
    const settled = node.child.ask("settled", { id });
    await this.#wire.ask("mark", { ...node.cluster, id });
    await settled;
  }

  /** Resolves once a node reads its stream: the reference tells nobody. @param {Node} node */
  async #reads(node) {
    const id = ++this.#markers;
    const settled = node.child.ask("settled", { id });
    let reads = false;
    settled.then(
      () => (reads = true),
      () => {},
    );
    while (!reads) {
      await this.#wire.ask("mark", { ...node.cluster, id });
      await Promise.race([settled, sleep(50)]);
    }
  }

  get #wire() {
    if (!this.wire) throw new Error("the bench is not open");
    return this.wire;
  }

  /**
   * @param {string} name
   * @param {Mode | null} mode
   * @returns {Promise<Node>}
   */
  async #node(name, mode) {
    const title = titleOf(name, mode);
    let node = this.#nodes.get(title);
    if (!node) {
      node = await this.#startNode(name, mode, `bench-${title}`, 1);
      this.#nodes.set(title, node);
      if (!node.inMemory && !node.isEmitter && mode !== "streams")
        await this.#wire.ask("attend", node.cluster);
    }
    return node;
  }

  /**
   * @param {string} name
   * @param {Mode | null} mode
   * @returns {Promise<[Node, Node]>}
   */
  async #pair(name, mode) {
    const title = titleOf(name, mode);
    let pair = this.#pairs.get(title);
    if (!pair) {
      const key = `bench-pair-${title}`;
      pair = [await this.#startNode(name, mode, key, 1), await this.#startNode(name, mode, key, 2)];
      this.#pairs.set(title, pair);
    }
    return pair;
  }

  /**
   * @param {string} name
   * @param {Mode | null} mode
   * @param {string} key
   * @param {number} nodes how many there are in its cluster then
   */
  async #startNode(name, mode, key, nodes) {
    const url = /** @type {{ url: string }} */ (this.#redis).url;
    const node = new Node(name, mode, key, url);
    this.#start(node.child);
    const { port, threadClock } = await node.child.ask("open", { nodes });
    node.port = port;
    this.threadClock = threadClock;
    if (mode === "streams") await this.#reads(node);
    return node;
  }

  /** @param {Child} child */
  #start(child) {
    this.#children.push(child);
    return child;
  }

  /**
   * @template T
   * @param {(node: Node) => Promise<T>} question
   */
  async #ofEachNode(question) {
    /** @type {Record<string, T>} */
    const answers = {};
    for (const [name, node] of this.#nodes) answers[name] = await question(node);
    return answers;
  }
}

/** @param {string} name @param {Mode | null} mode */
function titleOf(name, mode) {
  const family = familyOf(mode);
  if (family === "classic") return name;
  return family === "sharded" ? `${name} sharded ${mode}` : `${name} ${family}`;
}

/** @param {Outcome} outcome */
function summarise(outcome) {
  const { rounds, latenciesNs } = outcome;
  if (rounds) {
    const threads = rounds.map(({ threadNs }) => threadNs);
    outcome.median = {
      threadNs: threads.includes(null) ? null : quantile(/** @type {number[]} */ (threads), 0.5),
      processNs: quantile(
        rounds.map(({ processNs }) => processNs),
        0.5,
      ),
    };
  }
  if (latenciesNs) {
    const all = latenciesNs.flat();
    outcome.latency = { p50Ns: quantile(all, 0.5), p99Ns: quantile(all, 0.99) };
  }
}

/**
 * The value below which `share` of the values lie; of an even number, the median is the mean of the middle two.
 *
 * @param {number[]} values
 * @param {number} share
 */
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}

module.exports = { run };
