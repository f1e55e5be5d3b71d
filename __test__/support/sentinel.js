// @ts-check
"use strict";

/**
 * A master, its replicas and the sentinels over them, for tests.
 */

const { OPERATOR, startRedis } = require("./redis");
const { waitFor } = require("./wait");

/** @typedef {import("./redis").RedisServer} RedisServer */

/**
 * @typedef {object} SentinelOptions
 * @property {number} [replicas] 2 unless given
 * @property {number} [sentinels] 3 unless given
 * @property {string} [name] of the master; "mymaster" unless given
 * @property {number} [downAfter] after which a silent master is given up, in milliseconds; 900 unless given
 * @property {string} [password] of the default user of the Redis servers
 * @property {Record<string, string>} [users] ACL rules by user name
 * @property {string} [sentinelPassword] of the sentinels themselves
 */

/** What may take as long as an election or two. In milliseconds. */
const PATIENCE = 20_000;

/**
 * The periods of sentinels, in milliseconds, made for years of quiet, and for machines with nothing else to do. That of
 * their pings is a third of what makes a master down, and five of them are longer than the second after which a replica
 * sends its INFO again while the master is down: with an older one it is not promoted.
 */
const PERIODS = { "info-period": 200, "publish-period": 200, "ping-period": 300, "tilt-trigger": 60_000 };

/** Made by `startSentinel`. */
class RedisSentinel {
  /**
   * @param {string} name
   * @param {RedisServer[]} nodes
   * @param {RedisServer[]} sentinels
   */
  constructor(name, nodes, sentinels) {
    this.name = name;
    /** The master at the start, then its replicas. */
    this.nodes = nodes;
    /** For their ports, and for `cli()`. */
    this.sentinels = sentinels;
  }

  /** Those that run, whether or not they are frozen. */
  get live() {
    return this.nodes.filter((node) => node.isUp);
  }

  /** Resolves with the master that all sentinels name; rejects while they do not agree. */
  async master() {
    const ports = await Promise.all(
      this.sentinels
        .filter((sentinel) => sentinel.isUp)
        .map(async (sentinel) => {
          const address = await sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.name);
          return Number(address?.[1]);
        }),
    );
    const master = this.nodes.find(({ port }) => port === ports[0]);
    if (!master || ports.some((port) => port !== master.port)) throw new Error(`sentinels differ: ${ports}`);
    return master;
  }

  /** Resolves with the nodes that run and are not the master. */
  async replicas() {
    const master = await this.master();
    return this.live.filter((node) => node !== master);
  }

  /** Has the sentinels replace the master, which lives; resolves with the new one, once all is well again. */
  async failover() {
    const before = await this.master();
    // Refused while there is no good replica, or a failover is not over. One that does not get on is given up.
    const ask = () => this.sentinels[0].cli("SENTINEL", "FAILOVER", this.name).catch(() => {});
    const isReplaced = async () => (await this.master()) !== before || (await ask(), false);
    await waitFor(isReplaced, { timeout: PATIENCE, what: "another master" });
    return this.replaced(before);
  }

  /** Kills the master by SIGKILL; resolves with it once it is gone. */
  async killMaster() {
    const master = await this.master();
    await master.kill();
    return master;
  }

  /** Resolves with the new master, once all is well under one. @param {RedisServer} before the old one */
  async replaced(before) {
    await waitFor(async () => (await this.master()) !== before, {
      timeout: PATIENCE,
      what: "another master",
    });
    await this.healed();
    return this.master();
  }

  /**
   * Resolves once all sentinels name the same master, which knows that it is one, know all of its replicas and
   * each other, and all the nodes that run follow it.
   */
  async healed() {
    await waitFor(
      async () => {
        const master = await this.master();
        if (!master.isUp) return false;
        for (const node of this.live) {
          const { role, master_port, master_link_status } = await node.info("replication");
          if (node === master ? role !== "master" : role !== "slave") return false;
          if (node !== master && (Number(master_port) !== master.port || master_link_status !== "up"))
            return false;
        }
        for (const sentinel of this.sentinels.filter((sentinel) => sentinel.isUp)) {
          const view = fields(await sentinel.cli("SENTINEL", "MASTER", this.name));
          if (view.flags !== "master") return false;
          if (Number(view["num-slaves"]) !== this.nodes.length - 1) return false;
          if (Number(view["num-other-sentinels"]) !== this.sentinels.length - 1) return false;
          const replicas = await sentinel.cli("SENTINEL", "REPLICAS", this.name);
          const well = replicas.map(fields).filter((/** @type {any} */ replica) => replica.flags === "slave");
          if (well.length < this.live.length - 1) return false;
        }
        return true;
      },
      { timeout: PATIENCE, what: "the sentinels to be content" },
    );
  }

  /** Closes the connections of a type on all nodes. @param {"pubsub" | "normal"} type */
  async clientKill(type) {
    await Promise.all(this.live.map((node) => node.cli("CLIENT", "KILL", "TYPE", type)));
  }

  /** Ends it all. */
  async stop() {
    await Promise.all(this.sentinels.map((sentinel) => sentinel.stop()));
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

/**
 * Resolves with a master, its replicas and sentinels of the test's own, once they all know each other: in some three
 * seconds.
 *
 * @param {SentinelOptions} [options]
 * @returns {Promise<RedisSentinel>}
 */
async function startSentinel({
  replicas = 2,
  sentinels = 3,
  name = "mymaster",
  downAfter = 900,
  password,
  users,
  sentinelPassword,
} = {}) {
  const made = new RedisSentinel(name, [], []);
  try {
    const quick = ["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"];
    const master = await startRedis({ password, users, extra: quick });
    made.nodes.push(master);
    await Promise.all(
      Array.from({ length: replicas }, async () => {
        const extra = [...quick, `replicaof 127.0.0.1 ${master.port}`];
        made.nodes.push(await startRedis({ password, users, extra }));
      }),
    );
    const auth = users ? OPERATOR : password ? { name: null, password } : null;
    const extra = [
      `sentinel monitor ${name} 127.0.0.1 ${master.port} ${Math.floor(sentinels / 2) + 1}`,
      `sentinel down-after-milliseconds ${name} ${downAfter}`,
      // Twice that passes before an election that failed is held again.
      `sentinel failover-timeout ${name} 2000`,
      `sentinel parallel-syncs ${name} ${replicas}`,
      ...(auth ? [`sentinel auth-pass ${name} ${auth.password}`] : []),
      ...(auth?.name ? [`sentinel auth-user ${name} ${auth.name}`] : []),
      ...(sentinelPassword ? [`sentinel sentinel-pass ${sentinelPassword}`] : []),
    ];
    await Promise.all(
      Array.from({ length: sentinels }, async () => {
        const sentinel = await startRedis({ sentinel: true, password: sentinelPassword, extra });
        made.sentinels.push(sentinel);
        await sentinel.cli("SENTINEL", "DEBUG", ...Object.entries(PERIODS).flat());
      }),
    );
    await made.healed();
    return made;
  } catch (error) {
    await made.stop();
    throw error;
  }
}

/** Returns an answer in pairs as an object. @param {string[]} pairs @returns {Record<string, string>} */
function fields(pairs) {
  return Object.fromEntries(pairs.flatMap((name, i) => (i % 2 === 0 ? [[name, pairs[i + 1]]] : [])));
}

module.exports = { startSentinel, RedisSentinel };
