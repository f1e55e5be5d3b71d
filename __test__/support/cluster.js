// @ts-check
"use strict";

/**
 * Redis Clusters for tests: real servers, formed by commands, and what can befall them.
 */

const { startRedis } = require("./redis");
const { waitFor } = require("./wait");

/** @typedef {import("./redis").RedisServer} RedisServer */

/**
 * @typedef {object} ClusterOptions
 * @property {number} [masters] 3 unless given
 * @property {number} [replicas] of each master; 1 unless given
 * @property {number} [nodeTimeout] after which a node that is silent is given up, in milliseconds; 1000 unless given
 * @property {import("./redis").TlsOptions} [tls]
 * @property {Record<string, string>} [users] ACL rules by user name
 * @property {string} [password] of the default user
 *
 * @typedef {{ start: number, end: number, node: RedisServer }} SlotRange both ends included
 *
 * @typedef {object} Member a line of CLUSTER NODES
 * @property {string} id
 * @property {RedisServer} node
 * @property {Set<string>} flags
 * @property {string} master the id of the master of a replica, else "-"
 * @property {[number, number][]} slots
 */

const SLOTS = 16384;

/** What may take as long as an election or two. In milliseconds. */
const PATIENCE = 20_000;

/** When a failover that was asked for is over, as it may be in Redis, in milliseconds. */
const FAILOVER_ENDS = 6000;

/** How long clients may take to follow a slot to its master, in milliseconds. */
const FOLLOWING = 15_000;

/** Made by `startCluster`. */
class RedisCluster {
  /** The masters at the start, then their replicas: the nth of them is of the nth master. @type {RedisServer[]} */
  nodes;
  /** @type {Map<RedisServer, string>} */
  #ids = new Map();
  /** @type {Set<RedisServer>} */
  #frozen = new Set();

  /** @param {RedisServer[]} nodes */
  constructor(nodes) {
    this.nodes = nodes;
  }

  /** What a client needs to speak TLS with any of the nodes, or null. */
  get tls() {
    return this.nodes[0].tls;
  }

  /** Those that run and are not frozen. */
  get live() {
    return this.nodes.filter((node) => this.#isLive(node));
  }

  /** @param {RedisServer} node */
  #isLive(node) {
    return node.isUp && !this.#frozen.has(node);
  }

  /** @param {Required<Pick<ClusterOptions, "masters" | "replicas">>} shape */
  async form({ masters }) {
    await Promise.all(
      this.nodes.map(async (node, index) => {
        this.#ids.set(node, await node.cli("CLUSTER", "MYID"));
        await node.cli("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
        if (index >= masters) return;
        const [start, end] = [index, index + 1].map((i) => Math.round((i * SLOTS) / masters));
        await node.cli("CLUSTER", "ADDSLOTSRANGE", start, end - 1);
      }),
    );
    // Everyone meets everyone: gossip would take its time.
    const pairs = this.nodes.flatMap((node, i) => this.nodes.slice(i + 1).map((other) => ({ node, other })));
    await Promise.all(pairs.map(({ node, other }) => node.cli("CLUSTER", "MEET", "127.0.0.1", other.port)));
    await Promise.all(
      this.nodes.slice(masters).map((replica, index) =>
        // Until it knows its master.
        waitFor(() => replica.cli("CLUSTER", "REPLICATE", this.idOf(this.nodes[index % masters])), {
          timeout: PATIENCE,
          what: `node ${replica.port} to become a replica`,
        }),
      ),
    );
    await this.healed();
    return this;
  }

  /** @param {RedisServer} node */
  idOf(node) {
    const id = this.#ids.get(node);
    if (!id) throw new Error("that is no node of this cluster");
    return id;
  }

  /**
   * Resolves with the nodes, as one of those that run sees them.
   *
   * @param {RedisServer} [witness]
   * @returns {Promise<Member[]>}
   */
  async members(witness = this.live[0]) {
    const text = String(await witness.cli("CLUSTER", "NODES"));
    const members = [];
    for (const line of text.trim().split("\n")) {
      const [id, , flags, master, , , , , ...slots] = line.split(" ");
      const node = this.nodes.find((node) => this.#ids.get(node) === id);
      if (!node) continue;
      members.push({
        id,
        node,
        flags: new Set(flags.split(",")),
        master,
        slots: slots.filter((slot) => !slot.startsWith("[")).map(rangeOf),
      });
    }
    return members;
  }

  /** Resolves with the masters that run. */
  async masters() {
    const members = await this.members();
    return members
      .filter(({ node, flags }) => this.#isLive(node) && flags.has("master"))
      .map(({ node }) => node);
  }

  /** Resolves with the replicas that run, those of one master if it is given. @param {RedisServer} [master] */
  async replicas(master) {
    const members = await this.members();
    return members
      .filter(({ node, flags }) => this.#isLive(node) && flags.has("slave"))
      .filter((member) => !master || member.master === this.idOf(master))
      .map(({ node }) => node);
  }

  /** Resolves with who has which slots, in their order. @returns {Promise<SlotRange[]>} */
  async slots() {
    return slotsOf(await this.members());
  }

  /** Resolves with the master of a channel's or key's slot, or of a slot. @param {string | number} channel */
  async ownerOf(channel) {
    const slot = typeof channel === "number" ? channel : slotOf(channel);
    const range = (await this.slots()).find(({ start, end }) => start <= slot && slot <= end);
    if (!range) throw new Error(`nobody has slot ${slot}`);
    return range.node;
  }

  /** Kills a node by SIGKILL; resolves once it is gone. @param {RedisServer} node */
  kill(node) {
    return node.kill();
  }

  /** Starts a node that was killed. @param {RedisServer} node */
  restart(node) {
    return node.restart();
  }

  /** Freezes a node: its connections stay open and nothing is answered. @param {RedisServer} node */
  pause(node) {
    this.#frozen.add(node);
    node.pause();
  }

  /** Ends a `pause()`. @param {RedisServer} node */
  resume(node) {
    this.#frozen.delete(node);
    node.resume();
  }

  /**
   * Resolves once all nodes that run say that all is well, that each slot has a master that runs, and the same
   * one, and that each replica follows its master.
   */
  async healed() {
    await waitFor(
      async () => {
        const { live } = this;
        const views = await Promise.all(
          live.map(async (node) => {
            const info = String(await node.cli("CLUSTER", "INFO"));
            const replication = await node.info("replication");
            if (!info.includes("cluster_state:ok") || !info.includes(`cluster_slots_ok:${SLOTS}`))
              return null;
            if (replication.role === "slave" && replication.master_link_status !== "up") return null;
            const members = await this.members(node);
            const known = members.filter(({ flags }) => !flags.has("handshake"));
            if (known.length !== this.nodes.length) return null;
            if (
              known.some(
                (member) =>
                  this.#isLive(member.node) && (member.flags.has("fail?") || member.flags.has("fail")),
              )
            )
              return null;
            // A replica counts once its master knows of it as such.
            return JSON.stringify(
              known
                .filter((member) => this.#isLive(member.node))
                .map(({ id, master, slots }) => [id, master, slots])
                .sort(),
            );
          }),
        );
        if (views.some((view) => view === null || view !== views[0])) return false;
        return (await this.slots()).every(({ node }) => this.#isLive(node));
      },
      { timeout: PATIENCE, what: "the cluster to be well" },
    );
  }

  /**
   * Makes a replica the master, in agreement with the one that it has unless told otherwise; resolves when all know.
   *
   * @param {RedisServer} replica
   * @param {"FORCE" | "TAKEOVER"} [how]
   */
  async failover(replica, how) {
    let askedAt = -Infinity;
    const isMaster = async () => {
      // Redis gives it up after five seconds, if the master may not vote yet: it does so once in twice the node timeout.
      if (performance.now() - askedAt > FAILOVER_ENDS) {
        askedAt = performance.now();
        await replica.cli("CLUSTER", "FAILOVER", ...(how ? [how] : []));
      }
      return (await this.masters()).includes(replica);
    };
    await waitFor(isMaster, { timeout: PATIENCE, what: `node ${replica.port} to become a master` });
    await this.healed();
  }

  /**
   * Moves a slot to another master, with its keys; resolves when all know.
   *
   * @param {number} slot
   * @param {RedisServer} to
   * @param {() => any} [during] run while the slot is on its way
   */
  async moveSlot(slot, to, during) {
    const from = await this.ownerOf(slot);
    if (from === to) return;
    await to.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", this.idOf(from));
    await from.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", this.idOf(to));
    await during?.();
    const keys = /** @type {string[]} */ (await from.cli("CLUSTER", "GETKEYSINSLOT", slot, 1000));
    if (keys.length > 0) await from.cli("MIGRATE", "127.0.0.1", to.port, "", 0, PATIENCE, "KEYS", ...keys);
    // The new one first: it then has an epoch of its own, and all believe it.
    const others = (await this.masters()).filter((node) => node !== to && node !== from);
    for (const node of [to, from, ...others])
      await node.cli("CLUSTER", "SETSLOT", slot, "NODE", this.idOf(to));
    await this.healed();
  }

  /** Closes the connections of a type on all nodes. @param {"pubsub" | "normal"} type */
  async clientKill(type) {
    await Promise.all(this.live.map((node) => node.cli("CLIENT", "KILL", "TYPE", type)));
  }

  /** Resolves with the number of sharded subscribers of a channel at each of `nodes`. @param {string} channel */
  shardNumSub(channel) {
    return this.#count("SHARDNUMSUB", channel);
  }

  /**
   * Resolves once a channel has one sharded subscriber, at the master of its slot: a client that has just been deserted by a
   * node may listen at a replica first, or at both.
   *
   * @param {string} channel
   * @param {string} what is waited for
   */
  async followed(channel, what) {
    /** @type {number[]} */
    let counts = [];
    const isFollowed = async () => {
      const owner = this.nodes.indexOf(await this.ownerOf(channel));
      counts = await this.shardNumSub(channel);
      return counts.every((count, index) => count === (index === owner ? 1 : 0));
    };
    await waitFor(isFollowed, { timeout: FOLLOWING, what }).catch((error) => {
      error.message += `; there are ${counts}`;
      throw error;
    });
  }

  /** Resolves with the number of plain subscribers of a channel at each of `nodes`. @param {string} channel */
  numSub(channel) {
    return this.#count("NUMSUB", channel);
  }

  /** @param {string} what @param {string} channel @returns {Promise<number[]>} */
  #count(what, channel) {
    return Promise.all(
      this.nodes.map(async (node) =>
        this.#isLive(node) ? Number((await node.cli("PUBSUB", what, channel))[1]) : 0,
      ),
    );
  }

  /** Ends all nodes. */
  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

/**
 * Resolves with a cluster of the test's own, once all its nodes say that it is well: in some three seconds.
 *
 * @param {ClusterOptions} [options]
 * @returns {Promise<RedisCluster>}
 */
async function startCluster({ masters = 3, replicas = 1, nodeTimeout = 1000, ...options } = {}) {
  const extra = [
    `cluster-node-timeout ${nodeTimeout}`,
    "repl-diskless-sync-delay 0",
    "repl-ping-replica-period 1",
  ];
  const starting = Array.from({ length: masters * (1 + replicas) }, () =>
    startRedis({ ...options, cluster: true, extra }),
  );
  const started = await Promise.allSettled(starting);
  const nodes = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const cluster = new RedisCluster(nodes);
  try {
    await Promise.all(starting);
    return await cluster.form({ masters, replicas });
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** @param {string} text `7` or `7-9` @returns {[number, number]} */
function rangeOf(text) {
  const [start, end = start] = text.split("-").map(Number);
  return [start, end];
}

/** @param {Member[]} members @returns {SlotRange[]} */
function slotsOf(members) {
  return members
    .flatMap(({ node, slots }) => slots.map(([start, end]) => ({ start, end, node })))
    .sort((a, b) => a.start - b.start);
}

/**
 * Returns the slot of a key or channel: that of what is between its first braces, if there is something.
 *
 * @param {string} key
 */
function slotOf(key) {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  // CRC16 as in XMODEM.
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    crc &= 0xffff;
  }
  return crc % SLOTS;
}

module.exports = { startCluster, slotOf, RedisCluster };
