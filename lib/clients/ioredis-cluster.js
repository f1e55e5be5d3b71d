// @ts-check
"use strict";

/**
 * The cluster clients of `ioredis`, 4 to 6, and `iovalkey`.
 */

const { answered, keyOf, ofKey, readCounts, sumCounts, within } = require("./client");
const { HeldSubscriptions } = require("./held-subscriptions");
const { DUPLICATE, IoredisClient, RUNNER, channelsOf, isSubscribed, plainOf } = require("./ioredis");
const { readCluster } = require("./ioredis-settings");
const { reading } = require("./settings");
const { ShardMasters } = require("./shard-masters");
const { ShardPublisher } = require("./shard-publisher");

/** @typedef {import("./client").OnMessage} OnMessage */

/** How often it is looked whether the subscriptions still hold, in milliseconds. */
const LOOK_EVERY = 250;

/** How many looks it may take to connect the subscriber of the global channels. */
const PATIENCE = 12;

/** How long it is waited for the client to find out where the slots are, in milliseconds. */
const DISCOVERY = 3000;

class IoredisCluster extends IoredisClient {
  /** The node that publishes: always the same one, or one message could overtake another. @type {any} */
  #publisher = null;
  /** Set while the client asks where the slots are. @type {Promise<void> | null} */
  #rediscovering = null;
  #masters = new ShardMasters(
    (address) => this.#askRole(address),
    () => this.rediscover(),
  );
  #shardPublisher = new ShardPublisher(
    (slot) => this.client.slots?.[slot]?.[0],
    (channel, payload) => super.publish(channel, payload),
    this.#masters,
    () => this.onTrouble?.(),
  );
  #held = new HeldSubscriptions(this.channelKind, this.#masters);
  /** The nodes at which it could not subscribe, since it last could at one. @type {Set<string>} */
  #mute = new Set();
  /** For how many looks in a row the subscriber of the global channels was connecting. */
  #unready = 0;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /** @param {any} client @param {import("./client").ChannelKind} channelKind */
  constructor(client, channelKind) {
    super(client, channelKind);
    this.isSilent = channelKind === "shard";
  }

  get hearsAll() {
    return false;
  }

  settings() {
    return reading(() => readCluster(this.client));
  }

  get isOpen() {
    // After `disconnect()` it stays at one of these.
    const isClosing = ["close", "disconnecting"].includes(this.client.status);
    return super.isOpen && !(isClosing && this.client.manuallyClosing);
  }

  get isReady() {
    if (!super.isReady || this.channelKind !== "shard") return super.isReady;
    /** @type {any[]} */
    const masters = this.client.nodes("master");
    // Publishes could overtake each other while a node is being connected.
    for (const node of masters) if (node.status === "wait") node.connect().catch(() => {});
    return masters.length > 0 && masters.every((node) => node.status === "ready");
  }

  get queues() {
    return super.queues && this.channelKind !== "shard";
  }

  get flaw() {
    if (this.channelKind !== "shard" || this.client.shardedSubscribers) return null;
    if (typeof this.client.createShardedSubscriberGroup === "function") {
      return "this Cluster listens to one node only: make it with shardedSubscribers: true";
    }
    return "a Cluster of this version listens to one node only: take a newer ioredis, with shardedSubscribers: true";
  }

  /** @param {string} channel @param {Buffer | string} payload */
  async publish(channel, payload) {
    if (this.channelKind === "shard") {
      this.#keepLooking();
      return this.#shardPublisher.publish(channel, payload);
    }
    const node = this.#choosePublisher();
    return node === null ? super.publish(channel, payload) : node.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    if (this.flaw !== null) throw new Error(this.flaw);
    // The client's map of the slots may be old. Global channels are at any node.
    if (this.channelKind === "shard") await this.unlessStopped(this.#rediscovering);
    const asked = this.#listening;
    await answered(super.subscribe(kind, name, onMessage), { onLate: () => this.#endWaiting(asked) });
    this.#mute.clear();
    const place = this.#placeOf(kind, name);
    // The client has replaced the connection meanwhile.
    if (place === "" && this.channelKind !== "shard") throw new Error("the connection that listens is lost");
    this.#held.hold(keyOf(kind, name), place);
    this.#keepLooking();
  }

  /**
   * When the slots have changed, ioredis waits for all its connections to shards. If one is ended meanwhile it waits for ever,
   * and does not follow the slots any more. This ends the wait.
   *
   * @param {any} asked the connection that had all global channels
   */
  #endWaiting(asked) {
    const group = this.client.shardedSubscribers;
    if (group?.isResetting === true) group.isResetting = false;
    this.rediscover();
    // Another subscription may have replaced it already.
    if (this.channelKind !== "shard" && asked === this.#listening) this.#leaveListening();
  }

  #keepLooking() {
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => {
      this.#look();
      this.#endConnecting();
    }, LOOK_EVERY).unref();
    this.client.on("nodeError", this.#look);
    this.client.subscriberGroupEmitter?.on("moved", this.#look);
  }

  get needsProof() {
    return true;
  }

  /** @param {number} kind @param {string} name */
  mistrust(kind, name) {
    this.rediscover();
    this.#disown(keyOf(kind, name));
  }

  /** @param {string} key */
  #disown(key) {
    this.#held.drop(key);
    // Otherwise it would be listed twice after the next subscription.
    if (this.channelKind === "shard") this.client.shardedSubscribers?.removeChannels?.([ofKey(key)[1]]);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    this.#held.drop(keyOf(kind, name));
    await super.unsubscribe(kind, name);
  }

  /** @param {number} kind @param {string} name */
  placeOf(kind, name) {
    return this.#held.placeOf(kind, name);
  }

  /** @param {number} kind @param {string} name @param {number} then */
  async holdsAtMaster(kind, name, then) {
    this.#look();
    return this.#held.holdsAtMaster(kind, name, then);
  }

  /** @param {string[]} channels */
  async count(channels) {
    // With lazyConnect it knows none.
    if (this.client.status === "wait") await this.client.connect();
    /** @type {any[]} */
    const nodes = this.client.nodes("all");
    return sumCounts(
      nodes.map((node) => ({
        isReady: () => node.status === "ready",
        count: async () => readCounts(await plainOf(node).call("pubsub", this.counter, ...channels)),
      })),
    );
  }

  /** @param {boolean} runsCommands */
  duplicateClient(runsCommands) {
    const { enableOfflineQueue, lazyConnect, ...ofNodes } = runsCommands ? RUNNER : DUPLICATE;
    const redisOptions = { ...this.client.options.redisOptions, ...ofNodes };
    return this.client.duplicate([], {
      ...DUPLICATE,
      // With a delay it runs commands again that were on a lost connection.
      ...(runsCommands && { retryDelayOnFailover: 0 }),
      redisOptions,
    });
  }

  stop() {
    super.stop();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.client.removeListener("nodeError", this.#look);
    this.client.subscriberGroupEmitter?.removeListener("moved", this.#look);
    this.#held.clear();
  }

  #choosePublisher() {
    /** @type {any[]} */
    const ready = this.client.nodes("master").filter((/** @type {any} */ { status }) => status === "ready");
    if (!ready.includes(this.#publisher)) this.#publisher = ready[0] ?? null;
    return this.#publisher;
  }

  rediscover() {
    this.onTrouble?.();
    if (this.client.status !== "ready" || this.#rediscovering !== null) return;
    const refreshed = new Promise((resolve) => this.client.refreshSlotsCache(resolve));
    this.#rediscovering = within(refreshed, DISCOVERY).then(() => void (this.#rediscovering = null));
  }

  /** @param {string} address */
  async #askRole(address) {
    /** @type {any[]} */
    const nodes = this.client.nodes("all");
    const node = nodes.find((one) => placeOf(one) === address);
    return node === undefined ? null : plainOf(node).call("role");
  }

  look() {
    this.#look();
  }

  askListening() {
    const listening = this.channelKind === "shard" ? null : this.#subscribers?.[0];
    return listening?.status === "ready" ? listening.ping() : null;
  }

  /** By itself it would wait for as long as the cluster knows the node, or choose the same node again. */
  listenElsewhere() {
    const { subscriber } = this.client;
    if (this.channelKind === "shard" || typeof subscriber?.selectSubscriber !== "function") return;
    this.#held.clear();
    this.#unready = 0;
    const pool = subscriber.connectionPool;
    const others = this.#nodesBut(this.#listening);
    // It chooses one of these at random.
    if (others.length > 0) subscriber.connectionPool = { getNodes: () => others };
    try {
      subscriber.selectSubscriber();
    } finally {
      subscriber.connectionPool = pool;
    }
  }

  /**
   * The nodes that it has not tried in vain; all but the last one, if it has tried all.
   *
   * @param {any} last the subscriber so far
   */
  #nodesBut(last) {
    /** @type {any[]} */
    const nodes = this.client.nodes("all");
    // A node that was sent nothing yet is not connected.
    const usable = nodes.filter(({ status }) => ["ready", "wait"].includes(status));
    const but = () => usable.filter((node) => !this.#mute.has(placeOf(node)));
    if (last) this.#mute.add(placeOf(last));
    if (but().length === 0) this.#mute = new Set(last && [placeOf(last)]);
    return but();
  }

  /** All global channels are lost with the connection that has them. */
  #leaveListening() {
    const lost = this.#held.keys;
    this.listenElsewhere();
    for (const key of lost) this.onLost?.(...ofKey(key));
  }

  /** Ends an attempt to connect that takes too long: a node that hangs accepts the connection, and does no more. */
  #endConnecting() {
    if (this.channelKind === "shard") return;
    const isConnecting = !this.#held.isEmpty && this.#subscribers === null;
    this.#unready = this.client.status === "ready" && isConnecting ? this.#unready + 1 : 0;
    if (this.#unready >= PATIENCE) this.#leaveListening();
  }

  /**
   * Finds what the client has lost. When a slot has moved, 4 and 5 wait until they happen to look where it is. When what
   * listens to all slots is lost twice in a row, it is forgotten what it has listened to. And with an old map of the
   * slots, of which nothing tells it, it goes on listening to what is a replica by now.
   */
  #look = () => {
    if (this.client.status !== "ready") return;
    const held = this.#keysHeld();
    if (held === null) return;
    const { lost, hasMoved } = this.#held.compare(held);
    if (hasMoved) this.onTrouble?.();
    if (this.channelKind === "shard") this.#masters.look(new Set(held.values()));
    if (lost.length > 0 && this.channelKind === "shard") this.rediscover();
    for (const key of lost) {
      this.#disown(key);
      this.onLost?.(...ofKey(key));
    }
  };

  /** The node that the connection is to which holds a subscription; empty if there is none. @param {number} kind @param {string} name */
  #placeOf(kind, name) {
    for (const redis of this.#subscribers ?? [])
      if (redis.status === "ready" && isSubscribed(redis.condition, kind, name))
        return this.#addressOf(redis);
    return "";
  }

  /** Where a connection is to: for global channels each stands for itself. @param {any} redis */
  #addressOf(redis) {
    if (this.channelKind === "shard") return placeOf(redis);
    // 4 makes it anew within the same object.
    return this.#held.connectionOf(redis, () =>
      redis.once("close", () => this.#held.forgetConnection(redis)),
    );
  }

  /**
   * What the connections listen to, and to which node each is; null if the client does not show it, or is about to.
   *
   * @returns {Map<string, string> | null}
   */
  #keysHeld() {
    const connections = this.#subscribers;
    if (connections === null) return null;
    const ready = connections.filter(({ status }) => status === "ready");
    return new Map(
      ready.flatMap((redis) =>
        [...channelsOf(redis.condition)].map(
          (key) => /** @type {[string, string]} */ ([key, this.#addressOf(redis)]),
        ),
      ),
    );
  }

  /** The connection that has all global channels, if there is one. @returns {any} */
  get #listening() {
    return this.client.subscriber?.getInstance?.();
  }

  /**
   * The connections that listen to channels of `channelKind`; null if they are not to be seen.
   *
   * @returns {any[] | null}
   */
  get #subscribers() {
    if (this.channelKind === "shard") {
      const all = this.client.shardedSubscribers?.shardedSubscribers;
      // It only publishes.
      if (this.#held.isEmpty) return [];
      if (!(all instanceof Map)) return null;
      return [...all.values()].map((one) => one.getInstance?.()).filter((redis) => redis);
    }
    const redis = this.#listening;
    // On its way to be connected it is about to subscribe.
    return ["ready", "wait"].includes(redis?.status) ? [redis] : null;
  }
}

/** The address of the node that a connection is to. @param {any} redis */
function placeOf({ options: { host, port } }) {
  return `${host}:${port}`;
}

module.exports = { IoredisCluster };
