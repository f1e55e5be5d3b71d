// @ts-check
"use strict";

/**
 * Has a cluster client of `redis`, 4 to 6, find out where the slots are: by itself it does not see that a node is gone.
 */

const { within } = require("./client");
const { endNode, isUp, mastersOf, nodesOf } = require("./node-redis-nodes");
const { rootsOf } = require("./node-redis-settings");

/** How long it is waited for the client to find out where the slots are, in milliseconds. */
const DISCOVERY = 1500;

/** How often it is looked whether the client was closed meanwhile, in milliseconds. */
const LOOK_EVERY = 250;

/**
 * For how long that is looked at when nobody needs the client any more, in milliseconds. It may be looking for the slots by
 * itself, and try one node after another.
 */
const SEEN_OUT = 60_000;

/**
 * How long a node may keep the client from finding out where the slots are, in milliseconds: doubled each time, since
 * there are networks that take long to connect.
 */
const CONNECTING = Object.freeze({ first: 3000, most: 60_000 });

class Discovery {
  #cluster;
  #shardMasters;
  #shardPublisher;
  /** Set while the client asks where the slots are. @type {Promise<void> | null} */
  #running = null;
  /** When the client began to find that out; null if it does not. @type {number | null} */
  #since = null;
  /** @type {number} */
  #connectingFor = CONNECTING.first;
  /** The nodes that the client listed while it was open, without those that it has left. @type {Set<any>} */
  #seen = new Set();
  /** How many searches are under way, and what looks meanwhile. */
  #searches = 0;
  /** @type {NodeJS.Timeout | null} */
  #looking = null;
  /** Whether the client has listed nodes since it was opened. */
  #hasListed = false;
  /** Nodes that could not be connected to, for which the client makes another connection. @type {WeakSet<any>} */
  #givenUp = new WeakSet();

  /**
   * @param {any} cluster
   * @param {import("./shard-masters").ShardMasters} shardMasters
   * @param {import("./shard-publisher").ShardPublisher} shardPublisher
   */
  constructor(cluster, shardMasters, shardPublisher) {
    this.#cluster = cluster;
    this.#shardMasters = shardMasters;
    this.#shardPublisher = shardPublisher;
  }

  /** What resolves when the client has found out, or has been at it for long; null if it is not at it. */
  get running() {
    return this.#running;
  }

  /** Whether the client makes another connection to a node. @param {any} node */
  hasGivenUp(node) {
    return this.#givenUp.has(node);
  }

  /** The client has listed nodes: it has connected. If it lists none, it has to look for them again. */
  hasListed() {
    this.#hasListed = true;
  }

  /**
   * @param {string} [address] a node that is to be asked rather than another: it knows best what it has lost
   * @param {string} [key] whose slot is missing in the client's map
   */
  begin(address, key = "x") {
    if (mastersOf(this.#cluster).length > 0) this.hasListed();
    this.#running ??= within(this.#discover(address, key), DISCOVERY).then(() => void (this.#running = null));
  }

  /** @param {string | undefined} address @param {string} key */
  async #discover(address, key) {
    // The client drops the connection to a node that is no longer a master, with all that is on its way there.
    await this.#shardPublisher.landed();
    if (this.#cluster.isOpen === false) return;
    const masters = mastersOf(this.#cluster);
    const up = masters.filter(isUp);
    // The client waits for the node that it asks: for ever, if that hangs.
    const talking = up.filter((one) => !this.#shardMasters.isMute(one.address));
    const node = talking.find((one) => one.address === address) ?? talking[0] ?? up[0];
    const slots = this.#cluster._slots;
    if (typeof slots?.rediscover === "function") {
      // 5 has to begin with a node. It skips one that is away.
      const first = node ?? masters[0];
      const start = first === undefined ? this.#root() : toStartWith(first);
      if (start === null) return;
      // If the client is already looking by itself, this waits for the same.
      this.#since ??= performance.now();
      await this.#seenThrough(slots.rediscover(start)).finally(() => (this.#since = null));
      this.#connectingFor = CONNECTING.first;
      return;
    }
    if (node === undefined) return;
    // 4 looks after a MOVED, which all nodes answer that do not have the key's slot.
    const asked = masters.map(() => this.#cluster.sendCommand(undefined, true, ["GET", key]));
    await this.#seenThrough(Promise.allSettled(asked));
  }

  /**
   * What a client begins with that lists no node any more: it has asked one that knew of no master just then. Null while it
   * connects, when it asks by itself.
   */
  #root() {
    const roots = this.#hasListed ? rootsOf(this.#cluster) : [];
    // One of them may be what it has asked.
    const root = roots[Math.floor(Math.random() * roots.length)];
    return root === undefined ? null : { options: { ...root, socket: { ...root.socket } } };
  }

  /**
   * Settles as the client's search for the slots does, and ends what that leaves.
   *
   * @param {Promise<any>} search
   */
  async #seenThrough(search) {
    this.#searches++;
    this.#looking ??= setInterval(() => this.endForgotten(), LOOK_EVERY).unref();
    const ended = () => {
      if (--this.#searches > 0 || this.#looking === null) return;
      clearInterval(this.#looking);
      this.#looking = null;
    };
    await search.finally(ended);
    this.endForgotten();
  }

  /** Nobody needs the client any more. It is about to be closed, and may be looking for the slots by itself. */
  stop() {
    this.endForgotten();
    const timer = setInterval(() => this.endForgotten(), LOOK_EVERY).unref();
    setTimeout(() => clearInterval(timer), SEEN_OUT).unref();
  }

  /**
   * While the client is open, notes its nodes. Once it is closed, ends connections that nobody could end any more. If it is
   * closed while it looks for the slots, the search goes on, connects to the nodes that it finds, and the client forgets
   * them. It also forgets the subscriber of a node that has just become a replica.
   */
  endForgotten() {
    const listed = nodesOf(this.#cluster);
    if (this.#cluster.isOpen !== false) {
      if (listed.length > 0) this.hasListed();
      const left = [...this.#seen].filter(listensStill);
      this.#seen = new Set([...listed, ...left]);
      return;
    }
    this.#hasListed = false;
    for (const node of [...this.#seen, ...listed]) endNode(node);
    this.#seen.clear();
  }

  /**
   * Ends attempts to connect that take too long. When 5 or 6 has found a node it waits for the connection to it, for ever if
   * the node is gone, and does not look for the slots meanwhile.
   */
  endConnecting() {
    if (this.#since === null || performance.now() - this.#since < this.#connectingFor) return;
    this.#since = performance.now();
    this.#connectingFor = Math.min(this.#connectingFor * 2, CONNECTING.most);
    for (const node of nodesOf(this.#cluster)) {
      const { client, connectPromise } = node;
      if (connectPromise === undefined || !client?.isOpen || isUp(node)) continue;
      this.#givenUp.add(node);
      node.client = undefined;
      client.destroy();
      // It is connected again, if it is still wanted by then.
      connectPromise.catch(() => {}).then(() => this.#connectAgain(node));
    }
  }

  /** @param {any} node */
  async #connectAgain(node) {
    await this.#running;
    if (this.#cluster.isOpen !== false && mastersOf(this.#cluster).includes(node))
      this.#cluster.nodeClient(node).catch(() => {});
    this.#givenUp.delete(node);
  }
}

/** Whether the client listens by a node. @param {any} node */
function listensStill({ pubSub, pubSubClient }) {
  return pubSub?.client?.isOpen === true || pubSubClient?.isOpen === true;
}

/**
 * What 5 and 6 need to begin with a node when they look for the slots. It is a copy, since they turn reconnecting off in it,
 * and would use the same options for the next connection to that node.
 *
 * @param {any} node
 */
function toStartWith({ client, host, port }) {
  return { options: { ...client?.options, socket: { host, port, ...client?.options?.socket } } };
}

module.exports = { Discovery };
