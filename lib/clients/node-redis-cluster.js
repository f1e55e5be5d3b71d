// @ts-check
"use strict";

/**
 * The cluster clients of the `redis` package, 4 to 6. They show their nodes, but hardly tell of changes.
 */

const { disconnect } = require("./duplicate");
const { slotOf } = require("../base/native");
const { SHARD, answered, keyOf, ofKey, readCounts, sumCounts, within } = require("./client");
const { AS_BUFFERS, NodeRedisClient } = require("./node-redis");
const { readCluster } = require("./node-redis-settings");
const { reading } = require("./settings");
const { ShardMasters } = require("./shard-masters");
const { ShardPublisher, UnheardError } = require("./shard-publisher");

/** @typedef {import("./client").OnMessage} OnMessage */
/** @typedef {{ address: string, since: number }} Place where a subscription sits, and since when */

/** How often it is looked whether subscriptions still sit where the client has a connection, in milliseconds. */
const LOOK_EVERY = 250;

/** What the client calls the kinds of subscriptions, in their order. */
const TYPES = ["CHANNELS", "PATTERNS", "SHARDED"];

/** How many looks a node that is away is waited for. */
const PATIENCE = 4;

/** How long it is waited for the client to find out where the slots are, in milliseconds. */
const DISCOVERY = 1500;

/**
 * How long a node may keep the client from finding out where the slots are, in milliseconds: doubled each time, since
 * there are networks that take long to connect.
 */
const CONNECTING = Object.freeze({ first: 3000, most: 60_000 });

/** How many looks another connection to listen by may take, to one node: doubled each time, for the same reason. */
const MOVING = Object.freeze({ first: 12, most: 240 });

class NodeRedisCluster extends NodeRedisClient {
  changes = ["connect", "node-ready"];
  failures = ["disconnect"];
  isSilent = true;
  /** What publishes: always the same node, or one message could overtake another. @type {any} */
  #publisher = null;
  /** The subscriptions that held when last looked at, and at which node. @type {Map<string, Place>} */
  #held = new Map();
  #shardMasters = new ShardMasters(
    async (address) => this.#askRole(address),
    (address) => this.#rediscover(address),
  );
  #shardPublisher = new ShardPublisher(
    (slot) => this.client.slots?.[slot]?.master?.address,
    (channel, payload) => this.#sendToShard(channel, payload),
    this.#shardMasters,
  );
  /** Clients of nodes that are listened to, and what by. @type {Map<any, () => void>} */
  #nodes = new Map();
  /** What tells the connections apart that listen in the global space. @type {WeakMap<any, number>} */
  #connections = new WeakMap();
  #connectionsMade = 0;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** While the client asks where the slots are. @type {Promise<void> | null} */
  #rediscovering = null;
  /** When the client began to find that out; null if it does not. @type {number | null} */
  #discoveringSince = null;
  /** @type {number} */
  #connectingFor = CONNECTING.first;
  /** Nodes that could not be connected to, for which the client makes another connection. @type {WeakSet<any>} */
  #givenUp = new WeakSet();
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
    const masters = this.#masters;
    // What has no connection yet gets one when it is needed.
    const isUsable = (/** @type {any} */ node) =>
      isUp(node) || (node.client === undefined && !this.#givenUp.has(node));
    const usable = masters.filter(isUsable).length;
    const enough = this.space === "shard" ? usable === masters.length : usable > 0;
    return masters.length > 0 && enough && this.#subscribers.every((node) => node.isReady !== false);
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    this.#keepLooking();
    // By itself it would take replicas by turns, if it has been told to use them.
    if (this.space === "shard") return this.#shardPublisher.publish(channel, payload);
    const node = this.#choosePublisher();
    return node === null ? super.publish(channel, payload) : node.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    this.#keepLooking();
    // By the map that the client has the channel may be a replica's. Global channels are at any node.
    if (this.space === "shard") await this.#rediscovering;
    if (kind === SHARD && this.#isAway(name)) throw new Error("the node of this channel is away");
    const key = keyOf(kind, name);
    await this.#unnoted(kind, name, () => super.subscribe(kind, name, onMessage));
    // The client is content with a node that is away, if it has subscribed there before.
    const address = this.#placeOf(kind, name);
    if (address === null) throw new Error("the node of this channel is away");
    this.#moveTo(key, address);
    this.#listenToNodes();
  }

  /**
   * Whether the client's connection to the node of a channel is broken. Another one to that node, to listen by, would be
   * waited for by 4 when it looks for the slots: for ever, if the node is gone.
   *
   * @param {string} channel
   */
  #isAway(channel) {
    const master = this.#masterOf(channel);
    return typeof master?.client?.isReady === "boolean" && !isUp(master);
  }

  /**
   * Subscribes so that Redis is asked, even if the client has noted the channel. It does when it moves a subscription by
   * itself, before Redis has agreed, and does not take that back; what it has noted it subscribes to without a word.
   *
   * @param {number} kind
   * @param {string} name
   * @param {() => Promise<void>} subscribe
   */
  async #unnoted(kind, name, subscribe) {
    const noted = this.#listenersFor(kind, name)?.get(name);
    // What is on its way out it asks for again. Messages come in all the same.
    if (noted !== undefined) noted.unsubscribing = true;
    try {
      await subscribe();
    } finally {
      if (noted !== undefined) noted.unsubscribing = false;
    }
  }

  /**
   * The node at which the client has a connection that stands and holds a subscription; null if there is none.
   *
   * @param {number} kind
   * @param {string} name
   * @returns {string | null}
   */
  #placeOf(kind, name) {
    const isShard = this.space === "shard";
    const master = isShard ? this.#masterOf(name) : null;
    const subscriber = isShard ? shardSubscriberOf(master) : this.#globalSubscriber;
    if (!subscriber?.isReady || !subscriber.getPubSubListeners(TYPES[kind]).has(name)) return null;
    return isShard ? master.address : this.#connectionOf(subscriber);
  }

  /**
   * What the client has noted to listen to, by the connection that a subscription is for.
   *
   * @param {number} kind
   * @param {string} name
   * @returns {Map<string, any> | null}
   */
  #listenersFor(kind, name) {
    const subscriber = kind === SHARD ? shardSubscriberOf(this.#masterOf(name)) : this.#globalSubscriber;
    return subscriber?.getPubSubListeners(TYPES[kind]) ?? null;
  }

  /**
   * What stands for the place of subscriptions in the global space: another connection, be it of the same client of a node
   * and to the same node, has missed what was published before it stood.
   *
   * @param {any} client of a node
   */
  #connectionOf(client) {
    if (!this.#connections.has(client)) this.#connections.set(client, ++this.#connectionsMade);
    return String(this.#connections.get(client));
  }

  /**
   * A connection that the client has given up, and which it still had at hand, never answers.
   *
   * @param {Promise<void>} done
   */
  inTime(done) {
    const asked = this.#globalSubscriber;
    const onLate = () => {
      this.#rediscover();
      // Another subscription may have had it replaced already.
      if (this.space !== "shard" && asked !== null && asked === this.#globalSubscriber)
        this.#leaveListening();
    };
    return answered(done, { onLate });
  }

  /** All global channels are lost with the connection that has them. */
  #leaveListening() {
    const lost = [...this.#held.keys()];
    this.listenElsewhere();
    for (const key of lost) this.#lose(key);
  }

  get needsProof() {
    return true;
  }

  /** @param {number} kind @param {string} name */
  mistrust(kind, name) {
    this.#held.delete(keyOf(kind, name));
    this.#rediscover();
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    this.#held.delete(keyOf(kind, name));
    await super.unsubscribe(kind, name);
  }

  /** @param {number} kind @param {string} name */
  placeOf(kind, name) {
    return this.#held.get(keyOf(kind, name))?.address || null;
  }

  /** @param {number} kind @param {string} name @param {number} then */
  async holdsAtMaster(kind, name, then) {
    this.#look();
    const place = this.#held.get(keyOf(kind, name));
    return place !== undefined && place.since < then && this.#shardMasters.isMaster(place.address);
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async #sendToShard(channel, payload) {
    try {
      return await this.client.sendCommand(channel, false, ["SPUBLISH", channel, payload]);
    } catch (/** @type {any} */ error) {
      // So 5 fails while it does not know where the slots are.
      if (error instanceof TypeError) throw new UnheardError(error.message, false);
      throw error;
    }
  }

  /** @param {string[]} channels */
  async count(channels) {
    const nodes = [...new Set([...this.#masters, ...(this.client.replicas ?? [])])];
    return sumCounts(
      nodes
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

  /** Each node has its own order, and what waits in front of one stays there. */
  get repeats() {
    return false;
  }

  stop() {
    if (this.space === "shard") this.#leaveReplicas();
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

  /** One that has its slots in several places stands there several times. @returns {any[]} */
  get #masters() {
    return [...new Set(this.client.masters ?? [])];
  }

  /** The node that the client takes for the master of a channel's slot. @param {string} channel @returns {any} */
  #masterOf(channel) {
    return this.client.slots?.[slotOf(channel)]?.master;
  }

  /** The connection by which the client listens to the channels of all; null if there is none. @returns {any} */
  get #globalSubscriber() {
    return asSubscriber(this.client.pubSubNode?.client);
  }

  /** The clients of the nodes that listen in this space. @returns {any[]} */
  get #subscribers() {
    const all = this.space === "shard" ? this.#masters.map(shardSubscriberOf) : [this.#globalSubscriber];
    return all.filter((subscriber) => subscriber !== null);
  }

  #choosePublisher() {
    const ready = this.#masters.filter(isUp).map(({ client }) => client);
    if (!ready.includes(this.#publisher)) this.#publisher = ready[0] ?? null;
    return this.#publisher;
  }

  /** Nobody else does, in 4 and 5, when a slot has moved; or in any, when a connection is made anew. */
  #listenToNodes() {
    for (const node of this.#subscribers) {
      if (this.#nodes.has(node)) continue;
      const onReconnecting = () => {
        this.#connections.delete(node);
        this.#disburden(node);
      };
      this.#nodes.set(node, onReconnecting);
      node.on("sharded-channel-moved", this.#onMoved);
      node.on("reconnecting", onReconnecting);
    }
  }

  /**
   * When 4 has lost a connection it subscribes anew to all channels by a single command, which Redis refuses if they
   * have several slots, and tries that for ever: it is not to know of ours.
   *
   * @param {any} node
   */
  #disburden(node) {
    if (this.client._slots !== undefined) return;
    const channels = node.getPubSubListeners("SHARDED");
    for (const name of channels.keys()) if (this.hasShard(String(name))) channels.delete(name);
  }

  // The client of 6 makes it anew by itself, and it is asked for once only; 4 and 5 do not even look where the slot is.
  #onMoved = (/** @type {Buffer | string} */ channel) => {
    const key = keyOf(SHARD, String(channel));
    this.#rediscover(this.#held.get(key)?.address);
    this.#lose(key);
  };

  #keepLooking() {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  look() {
    this.#findLost();
  }

  askListening() {
    const [listening] = this.#subscribers;
    return this.space !== "shard" && listening?.isReady ? listening.sendCommand(["PING"]) : null;
  }

  /** By itself it would wait for as long as the cluster has the node. */
  listenElsewhere() {
    const place = this.client.pubSubNode;
    const mute = this.#globalSubscriber;
    if (mute === null || place.connectPromise !== undefined || !this.#masters.some(isUp)) return;
    this.#held.clear();
    const moved = this.#move(place, mute);
    // Who subscribes meanwhile hears of it.
    moved.catch(() => {});
    // 4 has the promise instead of the client.
    if (this.client._slots === undefined) place.client = moved;
    else place.connectPromise = moved;
  }

  /**
   * Has another client of a node listen to what a mute one does: to what the user has subscribed to, too. Tries one node
   * after another. Resolves to that client; rejects if the cluster client listens by yet another one meanwhile, or is closed.
   *
   * @param {any} place as the cluster client has it
   * @param {any} mute
   */
  async #move(place, mute) {
    const listeners = TYPES.slice(0, SHARD).map((type) => mute.getPubSubListeners(type));
    const isWanted = () => this.isOpen && this.client.pubSubNode === place;
    const tried = new Set([place.address]);
    let endLast = () => endNow(mute);
    /** @type {number} */
    let patience = MOVING.first;
    while (isWanted()) {
      const node = this.#nodeBut(tried);
      if (node !== undefined) {
        tried.add((place.address = node.address));
        const client = likeAt(mute, node);
        const end = endable(client);
        const listens = takeOver(client, listeners);
        if (this.client._slots !== undefined) place.client = client;
        // The cluster client ends what it has at hand when it is closed: that has to be open.
        endLast();
        if ((await isInTime(listens, isWanted, patience)) && isWanted()) {
          place.client = client;
          place.connectPromise = undefined;
          return client;
        }
        endLast = end;
        patience = Math.min(patience * 2, MOVING.most);
      }
      if (isWanted()) await pause(LOOK_EVERY);
    }
    endLast();
    throw new Error("the client listens elsewhere by now");
  }

  /** One of the nodes that were not tried, by chance; if all were, of all. @param {Set<string>} tried the last one last */
  #nodeBut(tried) {
    const up = this.#masters.filter(isUp);
    const others = up.filter(({ address }) => !tried.has(address));
    if (others.length > 0) return pick(others);
    const [last] = [...tried].slice(-1);
    tried.clear();
    return pick(up.filter(({ address }) => address !== last)) ?? up[0];
  }

  /** Finds what the client has lost without a word: with a node, for one. */
  #look() {
    if (!this.isOpen) return;
    if (this.isReady) this.#unready = 0;
    // A node that does not come back is another's replica by now, or gone.
    else if (++this.#unready % PATIENCE === 0) this.rediscover();
    this.#giveUpConnecting();
    const held = this.#findLost();
    if (this.space !== "shard") return;
    this.#shardMasters.look(new Set(held.values()));
    this.#leaveReplicas();
  }

  /** Returns the subscriptions that hold, as `#keysHeld` does. */
  #findLost() {
    const held = this.#keysHeld();
    this.#listenToNodes();
    for (const [key, before] of [...this.#held]) {
      const address = held.get(key);
      const isOther = address !== before.address;
      // A channel of a shard is withdrawn by its node before another one has it: what others publish goes nowhere else.
      if (address === undefined || (isOther && this.space !== "shard")) this.#lose(key);
      else if (isOther) {
        this.#moveTo(key, address);
        this.onTrouble?.();
      }
    }
    return held;
  }

  /** @param {string} key @param {string} address */
  #moveTo(key, address) {
    this.#held.set(key, { address, since: performance.now() });
    if (this.space === "shard") this.#shardMasters.doubt(address);
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
    const listening = this.#globalSubscriber;
    if (this.space === "shard") for (const node of this.#masters) add(shardSubscriberOf(node), node.address);
    else if (listening) add(listening, this.#connectionOf(listening));
    return held;
  }

  /** A master that has become a replica keeps what listens to it, if the client has been told to use replicas. */
  #leaveReplicas() {
    for (const node of new Set(this.client.replicas ?? [])) {
      const subscriber = shardSubscriberOf(node);
      if (subscriber === null) continue;
      const names = [...subscriber.getPubSubListeners("SHARDED").keys()].map(String);
      const ours = names.filter((name) => this.listenerOf(SHARD, name) !== undefined);
      if (ours.length === names.length) endSubscriber(node, subscriber);
      else if (subscriber.isReady)
        for (const name of ours)
          subscriber.sUnsubscribe(name, this.listenerOf(SHARD, name), true).catch(() => {});
    }
  }

  /** @param {string} key */
  #lose(key) {
    if (this.#held.delete(key)) this.onLost?.(...ofKey(key));
  }

  rediscover() {
    this.#rediscover();
  }

  /**
   * Has the client ask where the slots are: it would not know that a node is gone.
   *
   * @param {string} [address] a node that is to be asked rather than another: it knows best what it has lost
   */
  #rediscover(address) {
    this.onTrouble?.();
    this.#rediscovering ??= within(this.#discover(address), DISCOVERY).then(
      () => void (this.#rediscovering = null),
    );
  }

  /** @param {string} [address] */
  async #discover(address) {
    // The client drops the connection to a node that is a master no longer, with all that is on its way there.
    await this.#shardPublisher.landed();
    const up = this.#masters.filter(isUp);
    // The client waits for the one that it asks: for ever, if that stands still.
    const talking = up.filter((one) => !this.#shardMasters.isMute(one.address));
    const node = talking.find((one) => one.address === address) ?? talking[0] ?? up[0];
    const slots = this.client._slots;
    if (typeof slots?.rediscover === "function") {
      // 5 begins with a node in any case. One that is away it passes over.
      const first = node ?? this.#masters[0];
      if (first === undefined) return;
      // The client may be at it by itself already: then this waits for the same.
      this.#discoveringSince ??= performance.now();
      await this.#seenThrough(slots.rediscover(toStartWith(first))).finally(
        () => (this.#discoveringSince = null),
      );
      this.#connectingFor = CONNECTING.first;
      return;
    }
    if (node === undefined) return;
    // 4 does after a MOVED, with which all nodes but one answer.
    const asked = this.#masters.map(() => this.client.sendCommand(undefined, true, ["GET", "x"]));
    await this.#seenThrough(Promise.allSettled(asked));
  }

  /**
   * Settles as the client's search for the slots does. If the client is closed meanwhile, it goes on, connects to the nodes
   * that it finds, and forgets them: then their connections are ended here.
   *
   * @param {Promise<any>} search
   */
  async #seenThrough(search) {
    const endForgotten = () => {
      if (this.isOpen) return;
      for (const node of [...(this.client.masters ?? []), ...(this.client.replicas ?? [])]) endNode(node);
    };
    const timer = setInterval(endForgotten, LOOK_EVERY).unref();
    await search.finally(() => clearInterval(timer));
    endForgotten();
  }

  /**
   * Ends attempts to connect that do not come about. When the client of 5 or 6 has found a node it waits for the connection
   * to it, for ever if the node is gone, and looks for the slots no more meanwhile.
   */
  #giveUpConnecting() {
    const since = this.#discoveringSince;
    if (since === null || performance.now() - since < this.#connectingFor) return;
    this.#discoveringSince = performance.now();
    this.#connectingFor = Math.min(this.#connectingFor * 2, CONNECTING.most);
    const nodes = new Set([...this.#masters, ...(this.client.replicas ?? [])]);
    for (const node of nodes) {
      const { client, connectPromise } = node;
      if (connectPromise === undefined || !client?.isOpen || isUp(node)) continue;
      this.#givenUp.add(node);
      node.client = undefined;
      client.destroy();
      // If it is still wanted by then, it is connected to anew.
      connectPromise.catch(() => {}).then(() => this.#connectAgain(node));
    }
  }

  /** @param {any} node */
  async #connectAgain(node) {
    await this.#rediscovering;
    if (this.isOpen && this.#masters.includes(node)) this.client.nodeClient(node).catch(() => {});
    this.#givenUp.delete(node);
  }

  /** @param {string} address */
  async #askRole(address) {
    const node = this.#masters.find((one) => one.address === address);
    if (node === undefined) return null;
    const client = await this.client.nodeClient(node);
    return client.sendCommand(["ROLE"]);
  }
}

/** One of them, by chance. @template T @param {T[]} all @returns {T | undefined} */
function pick(all) {
  return all[Math.floor(Math.random() * all.length)];
}

/**
 * A client like one that listens, of another node. Not like what the cluster client runs commands by: that of a first node
 * never connects again, in 4.
 *
 * @param {any} listening
 * @param {any} node
 */
function likeAt(listening, node) {
  const { host, port } = node.client.options.socket;
  const client = listening.duplicate({ socket: { ...listening.options.socket, host, port } });
  // What goes wrong is told by what it does not do.
  client.on("error", () => {});
  return client;
}

/**
 * Has a client of a node listen to what another one did.
 *
 * @param {any} client
 * @param {Map<string, any>[]} listeners by the kinds of subscriptions
 */
async function takeOver(client, listeners) {
  await client.connect();
  for (const [kind, ofKind] of listeners.entries())
    if (ofKind.size > 0) await client.extendPubSubListeners(TYPES[kind], ofKind);
}

/**
 * Resolves to whether a client listens. It does not if that fails, takes too many looks, or is not wanted any more.
 *
 * @param {Promise<void>} listens
 * @param {() => boolean} isWanted
 * @param {number} patience so many looks
 */
async function isInTime(listens, isWanted, patience) {
  /** @type {boolean | null} */
  let answer = null;
  const told = listens.then(
    () => (answer = true),
    () => (answer = false),
  );
  for (let looks = 0; looks < patience && answer === null && isWanted(); looks++)
    await within(told, LOOK_EVERY);
  return answer === true;
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

/**
 * Returns what ends a client of a node that may never connect. One that greets its node can be ended at once; one that has
 * no connection yet would forget it, and keep it.
 *
 * @param {any} client that has not begun to connect
 */
function endable(client) {
  let isConnected = false;
  client.on("connect", () => (isConnected = true));
  client.on("reconnecting", () => (isConnected = false));
  return () => (isConnected ? endNow(client) : disconnect(client));
}

/** @param {any} client of a node */
function endNow(client) {
  if (client.isOpen === false) return;
  if (client.destroy) client.destroy();
  else client.disconnect().catch(() => {});
}

/** Ends all connections to a node. @param {any} node */
function endNode({ client, pubSub, pubSubClient }) {
  // In 4 there is a promise while it connects.
  for (const one of [client, pubSub?.client, pubSubClient])
    Promise.resolve(one).then(
      (it) => it && disconnect(it),
      () => {},
    );
}

/** Whether there is a connection to a node of the cluster. @param {any} node */
function isUp(node) {
  return node.client?.isReady === true;
}

/**
 * What 5 and 6 need to begin with a node when they look for the slots. A copy: they write into it that no connection is to
 * be tried again, and the next one to that node would be made by the same.
 *
 * @param {any} node
 */
function toStartWith({ client, host, port }) {
  return { options: { ...client?.options, socket: { host, port, ...client?.options?.socket } } };
}

/** The connection by which the client listens to shards at a node; null if there is none. @param {any} node @returns {any} */
function shardSubscriberOf(node) {
  return asSubscriber(node?.pubSub?.client ?? node?.pubSubClient);
}

/**
 * Ends the connection by which the client listens to shards at a node. When the client is closed it forgets those of nodes
 * that are replicas by then: they go on trying to connect for ever.
 *
 * @param {any} node
 * @param {any} subscriber
 */
function endSubscriber(node, subscriber) {
  const forget = () => {
    if (node.pubSub?.client === subscriber) node.pubSub = undefined;
    if (node.pubSubClient === subscriber) node.pubSubClient = undefined;
  };
  const connecting = node.pubSub?.connectPromise;
  disconnect(subscriber);
  // Until then the client writes to what it has noted of it.
  if (connecting === undefined) forget();
  else connecting.then(forget, forget);
}

/** Null if it is none yet: while it connects, 4 has a promise there. @param {any} client @returns {any} */
function asSubscriber(client) {
  return typeof client?.getPubSubListeners === "function" ? client : null;
}

module.exports = { NodeRedisCluster };
