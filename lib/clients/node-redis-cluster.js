// @ts-check
"use strict";

/**
 * The cluster clients of the `redis` package, 4 to 6. They show their nodes, but hardly tell of changes.
 */

const { SHARD, answered, keyOf, ofKey, readCounts, sumCounts } = require("./client");
const { HeldSubscriptions } = require("./held-subscriptions");
const { AS_BUFFERS, NodeRedisClient } = require("./node-redis");
const { Discovery } = require("./node-redis-discovery");
const { listenElsewhere } = require("./node-redis-mover");
const nodes = require("./node-redis-nodes");
const { readCluster } = require("./node-redis-settings");
const { reading } = require("./settings");
const { ShardMasters } = require("./shard-masters");
const { ShardPublisher, UnheardError } = require("./shard-publisher");

const { TYPES, isUp, shardSubscriberOf } = nodes;

/** @typedef {import("./client").OnMessage} OnMessage */

/** How often it is looked whether subscriptions still sit where the client has a connection, in milliseconds. */
const LOOK_EVERY = 250;

/** How many looks a node that is away is waited for. */
const PATIENCE = 4;

/** The pause between two searches for a slot that is missing in the client's map, in milliseconds: doubled each time. */
const FILLING = Object.freeze({ first: 250, most: 4000 });

class NodeRedisCluster extends NodeRedisClient {
  changes = ["connect", "node-ready"];
  failures = ["disconnect"];
  isSilent = true;
  /** The node that publishes: always the same one, or one message could overtake another. @type {any} */
  #publisher = null;
  #shardMasters = new ShardMasters(
    async (address) => this.#askRole(address),
    (address) => this.#rediscover(address),
  );
  #shardPublisher = new ShardPublisher(
    (slot) => this.client.slots?.[slot]?.master?.address,
    (channel, payload) => this.#sendToShard(channel, payload),
    this.#shardMasters,
    () => this.onTrouble?.(),
  );
  #discovery = new Discovery(this.client, this.#shardMasters, this.#shardPublisher);
  #held = new HeldSubscriptions(this.channelKind, this.#shardMasters);
  /** The clients of nodes whose events are listened to, with the listeners. @type {Map<any, () => void>} */
  #nodes = new Map();
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** When a slot was last sought that is missing in the client's map, and how long the next search waits. */
  #gap = { soughtAt: -Infinity, pause: 0 };
  /** How many looks in a row the client was not ready. */
  #unready = 0;

  get hearsAll() {
    return false;
  }

  settings() {
    return reading(() => readCluster(this.client));
  }

  get isReady() {
    if (!this.isOpen || this.client.isReady === false) return false;
    const masters = nodes.mastersOf(this.client);
    // A node without a connection gets one when it is needed.
    const isUsable = (/** @type {any} */ node) =>
      isUp(node) || (node.client === undefined && !this.#discovery.hasGivenUp(node));
    const usable = masters.filter(isUsable).length;
    const enough = this.channelKind === "shard" ? usable === masters.length : usable > 0;
    return masters.length > 0 && enough && this.#subscribers.every((node) => node.isReady !== false);
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    this.#keepLooking();
    // By itself it would also publish at replicas, if it has been told to use them.
    if (this.channelKind === "shard") return this.#shardPublisher.publish(channel, payload);
    const node = this.#choosePublisher();
    return node === null ? super.publish(channel, payload) : node.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    this.#keepLooking();
    // The client's map of the slots may be old, or have gaps. Global channels are at any node.
    if (this.channelKind === "shard") {
      if (!nodes.masterOf(this.client, name)) this.#fillGap(name);
      await this.unlessStopped(this.#discovery.running);
    }
    if (kind === SHARD && this.#isAway(name)) throw new Error("the node of this channel is away");
    const key = keyOf(kind, name);
    await this.#unnoted(kind, name, () => super.subscribe(kind, name, onMessage));
    // The client does not reject if the node is away and it has subscribed there before.
    const address = this.#placeOf(kind, name);
    if (address === null) throw new Error("the node of this channel is away");
    this.#discovery.hasListed();
    this.#held.hold(key, address);
    this.#listenToNodes();
  }

  /**
   * Whether the client's connection to the node of a channel is broken. When 4 looks for the slots it would wait for a new
   * subscriber connection to that node: for ever, if the node is gone.
   *
   * @param {string} channel
   */
  #isAway(channel) {
    const master = nodes.masterOf(this.client, channel);
    return typeof master?.client?.isReady === "boolean" && !isUp(master);
  }

  /**
   * Subscribes so that Redis is asked even if the client has the channel in its list. It lists a channel that it moves by
   * itself before Redis has confirmed that, and sends no SUBSCRIBE for a channel in its list.
   *
   * @param {number} kind
   * @param {string} name
   * @param {() => Promise<void>} subscribe
   */
  async #unnoted(kind, name, subscribe) {
    const noted = this.#listenersFor(kind, name)?.get(name);
    // It subscribes again to a channel that it is unsubscribing from. Messages are received meanwhile.
    if (noted !== undefined) noted.unsubscribing = true;
    try {
      await subscribe();
    } finally {
      if (noted !== undefined) noted.unsubscribing = false;
    }
  }

  /**
   * The node at which a connection of the client holds a subscription; null if there is none.
   *
   * @param {number} kind
   * @param {string} name
   * @returns {string | null}
   */
  #placeOf(kind, name) {
    const isShard = this.channelKind === "shard";
    const master = isShard ? nodes.masterOf(this.client, name) : null;
    const subscriber = isShard ? shardSubscriberOf(master) : nodes.globalSubscriberOf(this.client);
    if (!subscriber?.isReady || !subscriber.getPubSubListeners(TYPES[kind]).has(name)) return null;
    return isShard ? master.address : this.#held.connectionOf(subscriber);
  }

  /**
   * The client's list of subscriptions on the connection that a subscription belongs to.
   *
   * @param {number} kind
   * @param {string} name
   * @returns {Map<string, any> | null}
   */
  #listenersFor(kind, name) {
    const subscriber =
      kind === SHARD
        ? shardSubscriberOf(nodes.masterOf(this.client, name))
        : nodes.globalSubscriberOf(this.client);
    return subscriber?.getPubSubListeners(TYPES[kind]) ?? null;
  }

  /**
   * Settles in time: a connection that the client has just given up never answers.
   *
   * @param {Promise<void>} done
   */
  inTime(done) {
    const asked = nodes.globalSubscriberOf(this.client);
    const onLate = () => {
      this.#rediscover();
      // Another subscription may have had it replaced already.
      if (this.channelKind !== "shard" && asked !== null && asked === nodes.globalSubscriberOf(this.client))
        this.#leaveListening();
    };
    return answered(done, { onLate });
  }

  /** All global channels are lost with the connection that has them. */
  #leaveListening() {
    const lost = this.#held.keys;
    this.listenElsewhere();
    // That has forgotten them.
    for (const key of lost) this.onLost?.(...ofKey(key));
  }

  get needsProof() {
    return true;
  }

  /** @param {number} kind @param {string} name */
  mistrust(kind, name) {
    this.#held.drop(keyOf(kind, name));
    this.#rediscover();
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

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async #sendToShard(channel, payload) {
    try {
      return await this.client.sendCommand(channel, false, ["SPUBLISH", channel, payload]);
    } catch (/** @type {any} */ error) {
      // It fails like this while it does not know where the slot is.
      if (!(error instanceof TypeError)) throw error;
      this.#fillGap(channel);
      throw new UnheardError(error.message, false);
    }
  }

  /**
   * The slot of a channel is missing in the client's map: it has asked a node that did not know its master just then, and does
   * not ask again by itself. There may be none.
   *
   * @param {string} channel
   */
  #fillGap(channel) {
    // While it connects it has no map.
    if (!this.isOpen || nodes.mastersOf(this.client).length === 0) return;
    const now = performance.now();
    const gap = this.#gap;
    if (this.#discovery.running !== null || now - gap.soughtAt < gap.pause) return;
    const isAnother = now - gap.soughtAt > 4 * FILLING.most;
    gap.pause = isAnother ? FILLING.first : Math.min(2 * gap.pause, FILLING.most);
    gap.soughtAt = now;
    this.#rediscover(undefined, channel);
  }

  /** @param {string[]} channels */
  async count(channels) {
    // A client that is closed would connect to the nodes that it still lists, and nobody would end that.
    if (!this.isOpen) throw new Error("the client is closed");
    return sumCounts(
      nodes
        .nodesOf(this.client)
        .filter((node) => node.client === undefined || isUp(node))
        .map((node) => ({
          isReady: () => isUp(node),
          count: async () => {
            const client = await this.client.nodeClient(node);
            return readCounts(await client.sendCommand(["PUBSUB", this.counter, ...channels]));
          },
        })),
    );
  }

  /** @param {string} key @param {Buffer[]} args @returns {Promise<any>} */
  async command(key, [name, ...args]) {
    return this.client.sendCommand(key, false, [String(name), ...args], AS_BUFFERS);
  }

  /** Each node runs its commands in order, and commands that wait for a node stay in order. */
  get repeats() {
    return false;
  }

  stop() {
    if (this.channelKind === "shard") this.#leaveReplicas();
    this.#discovery.stop();
    super.stop();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const [node, onReconnecting] of this.#nodes) {
      node.removeListener("sharded-channel-moved", this.#onMoved);
      node.removeListener("reconnecting", onReconnecting);
    }
    this.#nodes.clear();
    this.#held.clear();
  }

  /** The subscriber connections for channels of `channelKind`. @returns {any[]} */
  get #subscribers() {
    const all =
      this.channelKind === "shard"
        ? nodes.mastersOf(this.client).map(shardSubscriberOf)
        : [nodes.globalSubscriberOf(this.client)];
    return all.filter((subscriber) => subscriber !== null);
  }

  #choosePublisher() {
    const ready = nodes
      .mastersOf(this.client)
      .filter(isUp)
      .map(({ client }) => client);
    if (!ready.includes(this.#publisher)) this.#publisher = ready[0] ?? null;
    return this.#publisher;
  }

  /** Listens for slots that move, which 4 and 5 do not do, and for connections that are made anew. */
  #listenToNodes() {
    for (const node of this.#subscribers) {
      if (this.#nodes.has(node)) continue;
      const onReconnecting = () => {
        this.#held.forgetConnection(node);
        this.#disburden(node);
      };
      this.#nodes.set(node, onReconnecting);
      node.on("sharded-channel-moved", this.#onMoved);
      node.on("reconnecting", onReconnecting);
    }
  }

  /**
   * When 4 has lost a connection it subscribes to all channels again by a single command. Redis refuses that if they have
   * several slots, and 4 tries it for ever. So our channels are taken out of its list.
   *
   * @param {any} node
   */
  #disburden(node) {
    if (!nodes.isOfFour(this.client)) return;
    const channels = node.getPubSubListeners("SHARDED");
    for (const name of channels.keys()) if (this.hasShard(String(name))) channels.delete(name);
  }

  // 6 subscribes again by itself, and does not do it twice. 4 and 5 do not even look where the slot is.
  #onMoved = (/** @type {Buffer | string} */ channel) => {
    const key = keyOf(SHARD, String(channel));
    this.#rediscover(this.placeOf(SHARD, String(channel)) ?? undefined);
    this.#lose(key);
  };

  #keepLooking() {
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY).unref();
    // It notes the nodes, if there are any by now.
    this.#discovery.endForgotten();
  }

  look() {
    this.#findLost();
  }

  askListening() {
    const [listening] = this.#subscribers;
    return this.channelKind !== "shard" && listening?.isReady ? listening.sendCommand(["PING"]) : null;
  }

  listenElsewhere() {
    listenElsewhere(this.client, () => this.#held.clear());
  }

  /** Finds what the client has lost without telling, with a node for example. */
  #look() {
    this.#discovery.endForgotten();
    if (!this.isOpen) return;
    if (this.isReady) this.#unready = 0;
    // A node that does not come back is a replica by now, or gone.
    else if (++this.#unready % PATIENCE === 0) this.rediscover();
    this.#discovery.endConnecting();
    const held = this.#findLost();
    if (this.channelKind !== "shard") return;
    this.#shardMasters.look(new Set(held.values()));
    this.#leaveReplicas();
  }

  /** Returns the subscriptions that hold, as `#keysHeld` does. */
  #findLost() {
    const held = this.#keysHeld();
    this.#listenToNodes();
    const { lost, hasMoved } = this.#held.compare(held);
    if (hasMoved) this.onTrouble?.();
    for (const key of lost) this.#lose(key);
    return held;
  }

  /** The subscriptions for which the client has a connection that stands, and to which node. */
  #keysHeld() {
    /** @type {Map<string, string>} */
    const held = new Map();
    const add = (/** @type {any} */ subscriber, /** @type {string} */ address) => {
      if (!subscriber?.isReady) return;
      for (const [kind, type] of TYPES.entries())
        for (const name of subscriber.getPubSubListeners(type).keys())
          held.set(keyOf(kind, String(name)), address);
    };
    const listening = nodes.globalSubscriberOf(this.client);
    if (this.channelKind === "shard")
      for (const node of nodes.mastersOf(this.client)) add(shardSubscriberOf(node), node.address);
    else if (listening) add(listening, this.#held.connectionOf(listening));
    return held;
  }

  /** Ends subscriptions at replicas: a master that has become one keeps them, if the client uses replicas. */
  #leaveReplicas() {
    for (const node of nodes.replicasOf(this.client)) {
      const subscriber = shardSubscriberOf(node);
      if (subscriber === null) continue;
      const names = [...subscriber.getPubSubListeners("SHARDED").keys()].map(String);
      const ours = names.filter((name) => this.listenerOf(SHARD, name) !== undefined);
      if (ours.length === names.length) nodes.endSubscriber(node, subscriber);
      else if (subscriber.isReady)
        for (const name of ours)
          subscriber.sUnsubscribe(name, this.listenerOf(SHARD, name), true).catch(() => {});
    }
  }

  /** @param {string} key */
  #lose(key) {
    if (this.#held.drop(key)) this.onLost?.(...ofKey(key));
  }

  rediscover() {
    this.#rediscover();
  }

  /**
   * Has the client find out where the slots are: by itself it does not see that a node is gone.
   *
   * @param {string} [address] a node that is to be asked rather than another: it knows best what it has lost
   * @param {string} [channel] whose slot is missing in the client's map
   */
  #rediscover(address, channel) {
    if (!this.isOpen) return;
    this.onTrouble?.();
    this.#discovery.begin(address, channel);
  }

  /** @param {string} address */
  async #askRole(address) {
    const node = nodes.mastersOf(this.client).find((one) => one.address === address);
    if (node === undefined || !this.isOpen) return null;
    const client = await this.client.nodeClient(node);
    return client.sendCommand(["ROLE"]);
  }
}

module.exports = { NodeRedisCluster };
