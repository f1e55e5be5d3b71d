// @ts-check
"use strict";

/**
 * The user's Redis clients: what kind they are, where they connect to, and how they carry bytes.
 */

const { wrong } = require("./options");

/**
 * @typedef {object} Settings where the link's own connections go; as `LinkSettings` of binding.d.ts
 * @property {string} [url]
 * @property {string} [host]
 * @property {number} [port]
 * @property {string} [path]
 * @property {string} [username]
 * @property {string} [password]
 * @property {number} [database]
 * @property {string} [name] that the connections give themselves
 *
 * @typedef {(kind: number, glob: Buffer | null, channel: Buffer, payload: Buffer) => void} OnMessage with the kind of
 *   the subscription that it came by, and its name if that is a glob
 */

/** The kinds of subscriptions, as `SubscriptionKind` in src/transport/mod.rs. */
const CHANNEL = 0;
const PATTERN = 1;

/** The clients whose user has been told that he does not listen to their errors. @type {WeakSet<object>} */
const warned = new WeakSet();

/**
 * A pair of clients. Both kinds of the field speak through the same few methods.
 *
 * @abstract
 */
class Clients {
  /** @type {Map<any, (error: any) => void>} */
  #errorListeners = new Map();

  /**
   * @param {any} pub
   * @param {any} sub
   */
  constructor(pub, sub) {
    this.pub = pub;
    this.sub = sub;
    /** @type {Map<string, (...args: any[]) => void>} listeners for messages, by the name of the subscription */
    this.listeners = new Map();
  }

  /**
   * The settings to connect with as these clients do, or the reason why that is not known.
   *
   * @returns {{ settings: Settings, reason: null } | { settings: null, reason: string }}
   */
  settings() {
    const pub = this.settingsOf(this.pub);
    const sub = this.settingsOf(this.sub);
    if (typeof pub === "string") return { settings: null, reason: pub };
    if (typeof sub === "string") return { settings: null, reason: sub };
    if (JSON.stringify({ ...pub, name: "" }) !== JSON.stringify({ ...sub, name: "" })) {
      return { settings: null, reason: "the two clients do not connect to the same place" };
    }
    return { settings: pub, reason: null };
  }

  /** Whether neither client is connected nor on the way there. */
  hasEnded() {
    return !this.isClientOpen(this.pub) && !this.isClientOpen(this.sub);
  }

  /** Whether both clients are connected. */
  isReady() {
    return this.isClientReady(this.pub) && this.isClientReady(this.sub);
  }

  /** Whether what is given to a client that is on its way to Redis waits there. */
  queues() {
    return [this.pub, this.sub].every(
      (client) =>
        this.isClientOpen(client) &&
        client.options?.enableOfflineQueue !== false &&
        client.options?.disableOfflineQueue !== true,
    );
  }

  /** @param {string} event @param {(...args: any[]) => void} listener */
  on(event, listener) {
    this.pub.on(event, listener);
    if (this.sub !== this.pub) this.sub.on(event, listener);
  }

  /** @param {string} event @param {(...args: any[]) => void} listener */
  off(event, listener) {
    this.pub.removeListener(event, listener);
    if (this.sub !== this.pub) this.sub.removeListener(event, listener);
  }

  /**
   * Somebody has to listen to a client's errors, or they are uncaught exceptions. As with the reference, a user who
   * does not is told that he should: once for each client, with what he would have heard.
   */
  listenToErrors() {
    for (const client of new Set([this.pub, this.sub])) {
      const listener = (/** @type {any} */ error) => {
        if (warned.has(client) || client.listenerCount?.("error") !== 1) return;
        warned.add(client);
        console.warn(`missing 'error' handler on this Redis client (${error?.message || error})`);
      };
      this.#errorListeners.set(client, listener);
      client.on("error", listener);
    }
  }

  /** Ends that. */
  ignoreErrors() {
    for (const [client, listener] of this.#errorListeners) client.removeListener("error", listener);
    this.#errorListeners.clear();
  }

  /**
   * Publishes and resolves to the number of receivers.
   *
   * @param {string | Buffer} channel
   * @param {Buffer | string} payload
   * @returns {Promise<number>}
   */
  async publish(channel, payload) {
    return this.pub.publish(channel, payload);
  }

  /* The rest is each kind's own. */

  /** @param {any} _client @returns {Settings | string} */
  settingsOf(_client) {
    throw new Error("abstract");
  }
  /** @param {any} _client @returns {boolean} */
  isClientOpen(_client) {
    throw new Error("abstract");
  }
  /** @param {any} _client @returns {boolean} */
  isClientReady(_client) {
    throw new Error("abstract");
  }
  /** @param {number} _kind @param {string} _name @param {OnMessage} _onMessage @returns {Promise<void>} */
  async subscribe(_kind, _name, _onMessage) {
    throw new Error("abstract");
  }
  /** @param {number} _kind @param {string} _name @returns {Promise<void>} */
  async unsubscribe(_kind, _name) {
    throw new Error("abstract");
  }
  /** @param {string[]} _channels @returns {Promise<number[]>} */
  async count(_channels) {
    throw new Error("abstract");
  }
}

/** The clients of the `redis` package, 4 and later. */
class NodeRedisClients extends Clients {
  /** @type {Map<string, Promise<void>>} */
  #turns = new Map();

  /** @param {any} client */
  settingsOf(client) {
    const options = client.options;
    if (!options || typeof options !== "object") return "the client does not show its options";
    if (client.masters !== undefined || options.rootNodes) return "a cluster client carries its own bytes";
    if (options.legacyMode) return "a client in legacy mode carries its own bytes";
    const { socket = {}, username, password, database } = options;
    if (socket.tls) return "the link's own connections do not speak TLS";
    if (options.credentialsProvider && password === undefined && username === undefined) {
      return "the credentials come from a provider";
    }
    if (typeof socket.stream === "function" || socket.proxy) return "the client has its own way to connect";
    return clean({
      host: socket.path ? undefined : (socket.host ?? "localhost"),
      port: socket.path ? undefined : Number(socket.port ?? 6379),
      path: socket.path,
      username,
      password,
      database: Number(database ?? 0),
      name: options.name,
    });
  }

  /** @param {any} client */
  isClientOpen(client) {
    return client.isOpen !== false;
  }

  /** @param {any} client */
  isClientReady(client) {
    return client.isReady ?? client.isOpen !== false;
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  subscribe(kind, name, onMessage) {
    return this.#inTurn(keyOf(kind, name), () => this.#subscribe(kind, name, onMessage));
  }

  /** @param {number} kind @param {string} name */
  unsubscribe(kind, name) {
    return this.#inTurn(keyOf(kind, name), () => this.#unsubscribe(kind, name));
  }

  /**
   * The client forgets what it is to unsubscribe from while the subscription is still on its way.
   *
   * @param {string} key
   * @param {() => Promise<void>} act
   */
  #inTurn(key, act) {
    const before = this.#turns.get(key);
    const turn = before === undefined ? act() : before.then(act, act);
    this.#turns.set(key, turn);
    const done = () => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    };
    turn.then(done, done);
    return turn;
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async #subscribe(kind, name, onMessage) {
    const key = keyOf(kind, name);
    // A listener of its own for each subscription: the client compares them when it unsubscribes.
    const glob = kind === PATTERN ? Buffer.from(name) : null;
    const listener = (/** @type {Buffer} */ payload, /** @type {Buffer | string} */ channel) => {
      onMessage(kind, glob, toBuffer(channel), payload);
    };
    this.listeners.set(key, listener);
    await (kind === PATTERN
      ? this.sub.pSubscribe(name, listener, true)
      : this.sub.subscribe(name, listener, true));
  }

  /** @param {number} kind @param {string} name */
  async #unsubscribe(kind, name) {
    const key = keyOf(kind, name);
    const listener = this.listeners.get(key);
    if (listener === undefined || !this.isClientOpen(this.sub)) return;
    this.listeners.delete(key);
    await (kind === PATTERN
      ? this.sub.pUnsubscribe(name, listener, true)
      : this.sub.unsubscribe(name, listener, true));
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.pub.sendCommand(["PUBSUB", "NUMSUB", ...channels]));
  }
}

/** The clients of the `ioredis` package, 5 and later. */
class IoredisClients extends Clients {
  /** @type {OnMessage | null} */
  #onMessage = null;

  /** @param {any} client */
  settingsOf(client) {
    const options = client.options;
    if (!options || typeof options !== "object") return "the client does not show its options";
    if (client.isCluster) return "a cluster client carries its own bytes";
    if (options.sentinels) return "a client behind sentinels carries its own bytes";
    if (options.tls) return "the link's own connections do not speak TLS";
    if (options.Connector) return "the client has its own way to connect";
    const { host, port, path, username, password, db } = options;
    return clean({
      host: path ? undefined : (host ?? "localhost"),
      port: path ? undefined : Number(port ?? 6379),
      path: path ?? undefined,
      username: username ?? undefined,
      password: password ?? undefined,
      database: Number(db ?? 0),
      name: options.connectionName ?? undefined,
    });
  }

  /** @param {any} client */
  isClientOpen(client) {
    return client.status !== "end";
  }

  /** @param {any} client */
  isClientReady(client) {
    // "wait": connects with the first command.
    return client.status === "ready" || client.status === "wait" || client.status === undefined;
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    if (this.#onMessage === null) this.#listen(onMessage);
    this.listeners.set(keyOf(kind, name), () => {});
    await (kind === PATTERN ? this.sub.psubscribe(name) : this.sub.subscribe(name));
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    if (!this.listeners.delete(keyOf(kind, name)) || !this.isClientOpen(this.sub)) return;
    if (this.listeners.size === 0) this.#unlisten();
    await (kind === PATTERN ? this.sub.punsubscribe(name) : this.sub.unsubscribe(name));
  }

  /** @param {string[]} channels */
  async count(channels) {
    return readCounts(await this.pub.call("PUBSUB", "NUMSUB", ...channels));
  }

  /** @param {OnMessage} onMessage */
  #listen(onMessage) {
    this.#onMessage = onMessage;
    this.sub.on("messageBuffer", this.#onChannel);
    this.sub.on("pmessageBuffer", this.#onPattern);
  }

  #unlisten() {
    this.#onMessage = null;
    this.sub.removeListener("messageBuffer", this.#onChannel);
    this.sub.removeListener("pmessageBuffer", this.#onPattern);
  }

  // One listener for all subscriptions, ours and the user's: what is not ours is passed over.
  #onChannel = (/** @type {Buffer} */ channel, /** @type {Buffer} */ payload) => {
    if (this.listeners.has(keyOf(CHANNEL, channel.toString())))
      this.#onMessage?.(CHANNEL, null, channel, payload);
  };

  #onPattern = (/** @type {string} */ glob, /** @type {Buffer} */ channel, /** @type {Buffer} */ payload) => {
    if (this.listeners.has(keyOf(PATTERN, String(glob))))
      this.#onMessage?.(PATTERN, toBuffer(glob), channel, payload);
  };
}

/**
 * Returns the pair for two clients of the user's. Throws a TypeError that says what they lack.
 *
 * @param {any} pub
 * @param {any} sub
 * @returns {Clients}
 */
function clientsOf(pub, sub) {
  checkClient("pubClient", pub, ["publish", "on"]);
  checkClient("subClient", sub, ["subscribe", "unsubscribe", "on"]);
  // As the reference tells them apart.
  const Kind = typeof pub.pSubscribe === "function" ? NodeRedisClients : IoredisClients;
  checkClient("subClient", sub, Kind === NodeRedisClients ? ["pSubscribe"] : ["psubscribe"]);
  return new Kind(pub, sub);
}

/**
 * @param {string} what
 * @param {any} client
 * @param {string[]} methods
 */
function checkClient(what, client, methods) {
  const expected = "a client of the redis or ioredis package";
  if (client === null || typeof client !== "object") throw wrong(what, expected, client);
  for (const method of methods) {
    if (typeof client[method] !== "function") {
      throw new TypeError(`${what} must be ${expected}: this one has no ${method}()`);
    }
  }
}

/** @param {number} kind @param {string} name */
function keyOf(kind, name) {
  return (kind === PATTERN ? "p" : "c") + name;
}

/** @param {Buffer | string} text */
function toBuffer(text) {
  return typeof text === "string" ? Buffer.from(text) : text;
}

/**
 * Leaves out what is undefined, so that settings can be compared.
 *
 * @param {Settings} settings
 * @returns {Settings}
 */
function clean(settings) {
  return JSON.parse(JSON.stringify(settings));
}

/**
 * The counts in a reply of PUBSUB NUMSUB: a list of names and numbers in turn, or a map.
 *
 * @param {any} reply
 * @returns {number[]}
 */
function readCounts(reply) {
  if (Array.isArray(reply)) return reply.filter((_, index) => index % 2 === 1).map(Number);
  return Object.values(reply ?? {}).map(Number);
}

module.exports = { Clients, clientsOf };
