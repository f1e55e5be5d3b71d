// @ts-check
"use strict";

/**
 * The user's Redis clients: one that publishes and one that subscribes, of whatever kind each is.
 */

const { disconnect } = require("./duplicate");
const { unset, wrong } = require("../options/options");
const { GenericClient } = require("./generic");
const { IoredisClient } = require("./ioredis");
const { IoredisCluster } = require("./ioredis-cluster");
const { listen } = require("./listeners");
const { NodeRedisClient } = require("./node-redis");
const { NodeRedisCluster } = require("./node-redis-cluster");
const { NodeRedisPool } = require("./node-redis-pool");
const { NodeRedisSentinel } = require("./node-redis-sentinel");
const { Redis3Client } = require("./redis3");
const { areSame } = require("./settings");

/**
 * @typedef {import("./client").UserClient} UserClient
 * @typedef {import("./client").ChannelKind} ChannelKind
 * @typedef {import("./client").OnMessage} OnMessage
 * @typedef {import("./settings").Settings} Settings
 */

/** How often a client that changes without an event is looked at, in milliseconds. */
const LOOK_EVERY = 100;

/** How long after a failure a duplicate connects again, in milliseconds: it may be refused at once. */
const WAKE_AFTER = 100;

/** The clients for which it was told that nobody listens to their errors. @type {WeakSet<object>} */
const warned = new WeakSet();

/**
 * A pair of clients (made by `clientsOf`), one that does everything (`clientOf`), or one that only publishes
 * (`publisherOf`).
 *
 * @typedef {object} Role what one client has to do
 * @property {boolean} subscribes what else that needs are duplicates of it
 * @property {boolean} runsCommands about keys
 */
class Clients {
  /** @type {UserClient} */
  #pub;
  /** The one that subscribes; the same, if nothing has to. @type {UserClient} */
  #sub;
  /** If the user has given one, rather than two. @type {Role | null} */
  #role;
  /**
   * Duplicates that run commands, by the number of the stream reader that each is for; empty: for commands that add.
   *
   * @type {Map<string, UserClient>}
   */
  #duplicates = new Map();
  /** What is called to end the watch. @type {(() => void)[]} */
  #endings = [];
  /** @type {{ onChange: () => void, onFailure: () => void } | null} */
  #watch = null;
  /** Until the duplicates connect again. @type {NodeJS.Timeout | null} */
  #waking = null;

  /**
   * @param {UserClient} pub
   * @param {UserClient} sub
   * @param {Role | null} [role]
   */
  constructor(pub, sub, role = null) {
    this.#pub = pub;
    this.#sub = sub;
    this.#role = role;
  }

  /**
   * The settings to connect with as these clients do, or the reason why that is not known.
   *
   * @returns {{ settings: Settings, reason: null } | { settings: null, reason: string }}
   */
  settings() {
    const pub = this.#pub.settings();
    const sub = this.#sub.settings();
    if (pub.settings === null || sub.settings === null) return pub.settings === null ? pub : sub;
    if (areSame(pub.settings, sub.settings)) return pub;
    return { settings: null, reason: "the two clients do not connect to the same place" };
  }

  /** Why these clients cannot carry the bytes, and what would help; null if they can. */
  flaw() {
    const { subscribes = true, runsCommands = false } = this.#role ?? {};
    return (subscribes ? this.#sub.flaw : null) ?? (runsCommands ? this.#pub.keyFlaw : null);
  }

  /** Whether those that have received a publish are all there are. */
  get hearsAll() {
    return this.#pub.hearsAll;
  }

  /** Whether what they say of their subscriptions has to be proven. */
  get needsProof() {
    return this.#sub.needsProof;
  }

  /** The kind of the channels that they publish on. */
  get channelKind() {
    return this.#pub.channelKind;
  }

  /** What they prepend to the names of keys. */
  get keyPrefix() {
    return this.#pub.keyPrefix;
  }

  /** They are to carry the bytes. Makes duplicates where needed: a client that subscribes can do nothing else. */
  begin() {
    const before = this.#vital;
    if (this.#needsTwin) this.#duplicates.set("", this.#pub.duplicate(true));
    if (this.#role?.subscribes && this.#sub === this.#pub) this.#sub = this.#pub.duplicate();
    if (this.#watch === null) return;
    for (const one of this.#vital) if (!before.has(one)) this.#watchOne(one, this.#watch);
  }

  /**
   * Whether commands that are to run once go by a duplicate. Not those of an emitter: its client gets them in the same tick,
   * and so sends them before it quits.
   */
  get #needsTwin() {
    return this.#role !== null && this.#role.subscribes && this.#role.runsCommands && this.#pub.repeats;
  }

  /** The clients that all have to be connected. @returns {Set<UserClient>} */
  get #vital() {
    return new Set([this.#pub, this.#sub, this.#duplicates.get("") ?? this.#pub]);
  }

  /** Whether neither client is connected nor on the way there. */
  hasEnded() {
    return !this.#pub.isOpen && (this.#role !== null || !this.#sub.isOpen);
  }

  /** Whether all of them are connected. If the user's own has ended, only the duplicate that has commands left counts. */
  isReady() {
    const runs = this.#duplicates.get("");
    if (runs !== undefined && !this.#pub.isOpen) return runs.isReady;
    return this.#pub.isReady && this.#sub.isReady && (runs?.isReady ?? true);
  }

  /** Whether commands wait in the clients until these are connected. */
  queues() {
    return this.#pub.queues && this.#sub.queues;
  }

  /**
   * Calls back when the clients may be connected, or no longer so, until `unwatch()`.
   *
   * Somebody has to listen to a client's errors meanwhile, or they are uncaught exceptions. As with the reference, users who
   * do not are warned, once for each client, with the first error.
   *
   * @param {() => void} onChange
   * @param {() => void} onFailure
   */
  watch(onChange, onFailure) {
    this.#watch = {
      onChange: () => {
        this.#followFirst();
        onChange();
      },
      onFailure: () => {
        if (this.#pub.isOpen) this.#waking ??= setTimeout(() => this.#followFirst(), WAKE_AFTER).unref();
        else this.#followFirst();
        onFailure();
      },
    };
    for (const one of this.#vital) this.#watchOne(one, this.#watch);
  }

  /** Ends that. */
  unwatch() {
    this.#watch = null;
    this.#stopWaking();
    for (const end of this.#endings.splice(0)) end();
  }

  /** @param {UserClient} one @param {{ onChange: () => void, onFailure: () => void }} watch */
  #watchOne(one, { onChange, onFailure }) {
    one.begin();
    for (const event of one.changes) this.#listen(one.client, event, onChange);
    for (const event of one.failures) this.#listen(one.client, event, onFailure);
    this.#listen(one.client, "error", (error) => tellOnce(one.client, error));
    if (one.isSilent) this.#look(one, onChange, onFailure);
  }

  /** Duplicates connect and end with the user's own client. The one that has commands left ends with these. */
  #followFirst() {
    this.#stopWaking();
    if (this.#role === null) return;
    if (this.#pub.isOpen) {
      for (const one of this.#vital) if (one !== this.#pub) void one.wake();
      return;
    }
    if (this.#sub !== this.#pub && this.#sub.isOpen) disconnect(this.#sub.client);
    for (const [reader, one] of this.#duplicates) if (reader !== "" && one.isOpen) disconnect(one.client);
  }

  #stopWaking() {
    if (this.#waking !== null) clearTimeout(this.#waking);
    this.#waking = null;
  }

  /** No commands are left, and the user's client has ended. */
  release() {
    this.closeReader("");
  }

  /** @param {string} channel @param {Buffer | string} payload */
  publish(channel, payload) {
    return this.#pub.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  subscribe(kind, name, onMessage) {
    return this.#sub.subscribe(kind, name, onMessage);
  }

  /** @param {number} kind @param {string} name */
  unsubscribe(kind, name) {
    return this.#sub.unsubscribe(kind, name);
  }

  /** @param {string[]} channels */
  count(channels) {
    return this.#pub.count(channels);
  }

  /**
   * Runs a command, and resolves to the reply.
   *
   * @param {string} reader whose client of its own it is for; empty if it is for the one that publishes
   * @param {string} key
   * @param {Buffer[]} args the command and its arguments
   * @returns {Promise<any>}
   */
  async command(reader, key, args) {
    if (reader === "" && !this.#needsTwin) return this.#pub.command(key, args);
    let one = this.#duplicates.get(reader);
    if (!this.#pub.isOpen && (reader !== "" || one === undefined)) throw new Error("the client has ended");
    if (one === undefined) {
      this.#duplicates.set(reader, (one = this.#pub.duplicate(true)));
      // That which has the commands of the client counts as one of the clients.
      if (reader === "" && this.#watch !== null) this.#watchOne(one, this.#watch);
    }
    await one.wake();
    return one.command(key, args);
  }

  /** @param {string} reader that is not needed any more */
  closeReader(reader) {
    const one = this.#duplicates.get(reader);
    // First: who is told that it has ended would have it connect again.
    this.#duplicates.delete(reader);
    one?.end();
  }

  /**
   * Resolves to whether the client has been subscribed since before a time, at the master of the slot.
   *
   * @param {number} kind
   * @param {string} name
   * @param {number} then as `performance.now()` has it
   */
  holdsAtMaster(kind, name, then) {
    return this.#sub.holdsAtMaster(kind, name, then);
  }

  /** The node at which a subscription holds; null if that is not known. @param {number} kind @param {string} name */
  placeOf(kind, name) {
    return this.#sub.placeOf(kind, name);
  }

  /** The nodes of a cluster may have changed their roles: has both clients find out where the slots are. */
  rediscover() {
    this.#pub.rediscover();
    if (this.#sub !== this.#pub) this.#sub.rediscover();
  }

  /**
   * Registers who is told of subscriptions that are lost and have to be made again.
   *
   * @param {import("./client").OnLost} onLost
   */
  onLost(onLost) {
    this.#sub.onLost = (kind, name) => {
      // The slots have moved for the other client, too, which may not be told.
      this.#pub.rediscover();
      onLost(kind, name);
    };
  }

  /**
   * Registers who is told when subscriptions may have moved, or be lost.
   *
   * @param {import("./client").OnTrouble} onTrouble
   */
  onTrouble(onTrouble) {
    this.#pub.onTrouble = onTrouble;
    this.#sub.onTrouble = onTrouble;
  }

  /** A subscription does not hold, whatever the client says. @param {number} kind @param {string} name */
  mistrust(kind, name) {
    this.#pub.rediscover();
    this.#sub.mistrust(kind, name);
  }

  /** Looks at once for subscriptions that are lost. */
  look() {
    this.#sub.look();
  }

  /** Asks the connection that has all global channels for a reply; null if there is none that stands. */
  askListening() {
    return this.#sub.askListening();
  }

  /** The connection that has all global channels receives nothing: has the client subscribe by another one. */
  listenElsewhere() {
    this.rediscover();
    this.#sub.listenElsewhere();
  }

  /** Stops carrying. */
  stop() {
    for (const reader of [...this.#duplicates.keys()]) this.closeReader(reader);
    const sub = this.#sub;
    sub.stop();
    this.#pub.stop();
    if (this.#role === null || sub === this.#pub) return;
    this.#sub = this.#pub;
    sub.end();
  }

  /** @param {any} client @param {string} event @param {(...args: any[]) => void} listener */
  #listen(client, event, listener) {
    // A client that only publishes may be a mock without events.
    if (typeof client.on !== "function") return;
    this.#endings.push(listen(client, event, listener));
  }

  /** @param {UserClient} one @param {() => void} onChange @param {() => void} onFailure */
  #look(one, onChange, onFailure) {
    let [open, ready] = [one.isOpen, one.isReady];
    const timer = setInterval(() => {
      if (one.isOpen === open && one.isReady === ready) return;
      const failed = (open && !one.isOpen) || (ready && !one.isReady);
      [open, ready] = [one.isOpen, one.isReady];
      if (failed) onFailure();
      else onChange();
    }, LOOK_EVERY);
    timer.unref();
    this.#endings.push(() => clearInterval(timer));
  }
}

/** @param {any} client @param {any} error */
function tellOnce(client, error) {
  if (warned.has(client) || client.listenerCount?.("error") !== 1) return;
  warned.add(client);
  console.warn(`missing 'error' handler on this Redis client (${error?.message || error})`);
}

/**
 * Makes the pair of two clients of the user. Throws a TypeError that says what they lack.
 *
 * @param {any} pub
 * @param {any} sub
 * @param {ChannelKind} channelKind
 * @returns {Clients}
 */
function clientsOf(pub, sub, channelKind) {
  checkObject("pubClient", pub);
  checkObject("subClient", sub);
  const [PubKind, SubKind] = [kindOf(pub), kindOf(sub)];
  check("pubClient", pub, PubKind.publishes(pub, channelKind));
  check("subClient", sub, SubKind.subscribes(sub, channelKind));
  const first = new PubKind(pub, channelKind);
  return new Clients(first, sub === pub ? first : new SubKind(sub, channelKind));
}

/**
 * The same for one that does everything.
 *
 * @param {any} client
 * @param {ChannelKind} channelKind
 * @returns {Clients}
 */
function clientOf(client, channelKind) {
  checkObject("redisClient", client);
  const Kind = kindOf(client);
  check("redisClient", client, [
    ...Kind.publishes(client, channelKind),
    ...Kind.subscribes(client, channelKind),
  ]);
  const one = new Kind(client, channelKind);
  return new Clients(one, one, { subscribes: true, runsCommands: true });
}

/**
 * The same for one that only publishes. It may be a mock that can do nothing else.
 *
 * @param {any} client
 * @param {ChannelKind} channelKind
 * @param {boolean} runsCommands
 * @returns {Clients}
 */
function publisherOf(client, channelKind, runsCommands) {
  checkPublisher(client, channelKind);
  const Kind = kindOf(client);
  const one = new Kind(client, channelKind);
  return new Clients(one, one, { subscribes: false, runsCommands });
}

/** Throws a TypeError unless it is a client that can send. @param {any} client @param {ChannelKind} channelKind */
function checkPublisher(client, channelKind) {
  checkObject("redisClient", client);
  const needed = kindOf(client).publishes(client, channelKind);
  check(
    "redisClient",
    client,
    needed.filter((method) => method !== "on"),
  );
}

const EXPECTED = "a client of the redis or ioredis package";

/**
 * The kind of a client, by the methods that only this kind has.
 *
 * @param {any} client
 */
function kindOf(client) {
  const has = (/** @type {string} */ method) => typeof client[method] === "function";
  if (has("internal_send_command") && has("psubscribe")) return Redis3Client;
  if (has("psubscribe") && has("call") && has("sendCommand") && typeof client.status === "string") {
    return client.isCluster ? IoredisCluster : IoredisClient;
  }
  if (has("sendCommand") && typeof client.isOpen === "boolean") {
    if (!has("pSubscribe")) return has("execute") ? NodeRedisPool : GenericClient;
    if (has("getSentinelNode") && has("use")) return NodeRedisSentinel;
    return has("nodeClient") && Array.isArray(client.masters) ? NodeRedisCluster : NodeRedisClient;
  }
  return GenericClient;
}

/** @param {string} name @param {any} client */
function checkObject(name, client) {
  if (client !== null && typeof client === "object") return;
  if (name === "subClient") throw wrong(name, EXPECTED, client);
  const error = wrong(name, `${EXPECTED}, or the URL of a Redis`, client);
  throw client === undefined ? unset(error) : error;
}

/**
 * @param {string} name
 * @param {any} client
 * @param {string[]} methods what it needs: `a|b` is one of them
 */
function check(name, client, methods) {
  for (const method of methods) {
    const names = method.split("|");
    if (names.some((one) => typeof client[one] === "function")) continue;
    throw new TypeError(
      `${name} must be ${EXPECTED}: this one has no ${names.map((one) => `${one}()`).join(" or ")}`,
    );
  }
}

module.exports = { Clients, checkPublisher, clientOf, clientsOf, publisherOf };
