// @ts-check
"use strict";

/**
 * The user's Redis clients: one that publishes and one that subscribes, of whatever kind each is.
 */

const { wrong } = require("../options");
const { removeListener } = require("./client");
const { GenericClient } = require("./generic");
const { IoredisClient } = require("./ioredis");
const { IoredisCluster } = require("./ioredis-cluster");
const { NodeRedisClient } = require("./node-redis");
const { NodeRedisCluster } = require("./node-redis-cluster");
const { NodeRedisPool } = require("./node-redis-pool");
const { NodeRedisSentinel } = require("./node-redis-sentinel");
const { Redis3Client } = require("./redis3");
const { areSame } = require("./settings");

/**
 * @typedef {import("./client").UserClient} UserClient
 * @typedef {import("./client").Space} Space
 * @typedef {import("./client").OnMessage} OnMessage
 * @typedef {import("./settings").Settings} Settings
 */

/** How often a client that changes without an event is looked at, in milliseconds. */
const LOOK_EVERY = 100;

/** The clients whose user has been told that he does not listen to their errors. @type {WeakSet<object>} */
const warned = new WeakSet();

/** A pair of clients, made by `clientsOf`; or one that only publishes, made by `publisherOf`. */
class Clients {
  /** @type {UserClient} */
  #pub;
  /** Null if nothing is subscribed to. @type {UserClient | null} */
  #sub;
  /** What ends the watch. @type {(() => void)[]} */
  #endings = [];

  /**
   * @param {UserClient} pub
   * @param {UserClient | null} sub
   */
  constructor(pub, sub) {
    this.#pub = pub;
    this.#sub = sub;
  }

  /**
   * The settings to connect with as these clients do, or the reason why that is not known.
   *
   * @returns {{ settings: Settings, reason: null } | { settings: null, reason: string }}
   */
  settings() {
    const pub = this.#pub.settings();
    const sub = this.#sub === null || this.#sub === this.#pub ? pub : this.#sub.settings();
    if (pub.settings === null || sub.settings === null) return pub.settings === null ? pub : sub;
    if (areSame(pub.settings, sub.settings)) return pub;
    return { settings: null, reason: "the two clients do not connect to the same place" };
  }

  /** Why these clients cannot carry the bytes, and what would help; null if they can. */
  flaw() {
    return this.#sub?.flaw ?? null;
  }

  /** Whether neither client is connected nor on the way there. */
  hasEnded() {
    return !this.#pub.isOpen && !this.#sub?.isOpen;
  }

  /** Whether both clients are connected. */
  isReady() {
    return this.#pub.isReady && (this.#sub?.isReady ?? true);
  }

  /** Whether what is given to a client that is on its way to Redis waits there. */
  queues() {
    return this.#pub.queues && (this.#sub?.queues ?? true);
  }

  /**
   * Calls back when the clients may be connected, or no longer so, until `unwatch()`.
   *
   * Somebody has to listen to a client's errors meanwhile, or they are uncaught exceptions. As with the reference, a
   * user who does not is told that he should: once for each client, with what he would have heard.
   *
   * @param {() => void} onChange
   * @param {() => void} onFailure
   */
  watch(onChange, onFailure) {
    for (const one of this.#both) {
      one.begin();
      for (const event of one.changes) this.#listen(one.client, event, onChange);
      for (const event of one.failures) this.#listen(one.client, event, onFailure);
      this.#listen(one.client, "error", (error) => tellOnce(one.client, error));
      if (one.isSilent) this.#look(one, onChange, onFailure);
    }
  }

  /** Ends that. */
  unwatch() {
    for (const end of this.#endings.splice(0)) end();
  }

  /** @param {string} channel @param {Buffer | string} payload */
  publish(channel, payload) {
    return this.#pub.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    await this.#subscriber.subscribe(kind, name, onMessage);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    await this.#subscriber.unsubscribe(kind, name);
  }

  /** @param {string[]} channels */
  count(channels) {
    return this.#pub.count(channels);
  }

  /**
   * Wants to hear of subscriptions that are lost and have to be made again.
   *
   * @param {import("./client").OnLost} onLost
   */
  onLost(onLost) {
    if (this.#sub !== null) this.#sub.onLost = onLost;
  }

  /** Nothing more is to be carried. */
  stop() {
    for (const one of this.#both) one.stop();
  }

  get #both() {
    return new Set(this.#sub === null ? [this.#pub] : [this.#sub, this.#pub]);
  }

  get #subscriber() {
    if (this.#sub === null) throw new Error("the client only publishes");
    return this.#sub;
  }

  /** @param {any} client @param {string} event @param {(...args: any[]) => void} listener */
  #listen(client, event, listener) {
    // A mock that only publishes tells nothing.
    if (typeof client.on !== "function") return;
    client.on(event, listener);
    this.#endings.push(() => removeListener(client, event, listener));
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
 * Returns the pair for two clients of the user's. Throws a TypeError that says what they lack.
 *
 * @param {any} pub
 * @param {any} sub
 * @param {Space} space
 * @returns {Clients}
 */
function clientsOf(pub, sub, space) {
  for (const [name, client] of Object.entries({ pubClient: pub, subClient: sub })) {
    checkObject(name, client);
  }
  const [PubKind, SubKind] = [kindOf(pub), kindOf(sub)];
  check("pubClient", pub, PubKind.publishes(pub, space));
  check("subClient", sub, SubKind.subscribes(sub, space));
  const first = new PubKind(pub, space);
  return new Clients(first, sub === pub ? first : new SubKind(sub, space));
}

/**
 * Returns a client of the user's that has nothing to do but to publish, be it a mock that can nothing else. Throws a
 * TypeError that says what it lacks.
 *
 * @param {any} client
 * @param {Space} space
 * @returns {Clients}
 */
function publisherOf(client, space) {
  checkObject("redisClient", client);
  const Kind = kindOf(client);
  const needed = Kind.publishes(client, space).filter((method) => method !== "on");
  check("redisClient", client, needed);
  return new Clients(new Kind(client, space), null);
}

const EXPECTED = "a client of the redis or ioredis package";

/**
 * What kind a client is, by what it can do and no other can.
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
  if (client === null || typeof client !== "object") throw wrong(name, EXPECTED, client);
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

module.exports = { Clients, clientsOf, publisherOf };
