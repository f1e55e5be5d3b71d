// @ts-check
"use strict";

/**
 * The clients of the `ioredis` package, 4 to 6, and of `iovalkey`: of a single Redis, and of one behind sentinels.
 */

const { SHARD, keyOf, ofKey, readCounts } = require("./client");
const { EventClient } = require("./event-client");
const { readClient } = require("./ioredis-settings");
const { reading } = require("./settings");

/** @typedef {import("./client").OnMessage} OnMessage */

/** What subscribes and unsubscribes, by the kind of the subscription. */
const COMMANDS = Object.freeze([
  { subscribe: "subscribe", unsubscribe: "unsubscribe" },
  { subscribe: "psubscribe", unsubscribe: "punsubscribe" },
  { subscribe: "ssubscribe", unsubscribe: "sunsubscribe" },
]);

/** How long it may take to subscribe anew once it is connected again, in milliseconds. */
const SETTLING = 500;

/** The options in which duplicates differ. */
const DUPLICATE = Object.freeze({
  keyPrefix: "",
  enableAutoPipelining: false,
  enableOfflineQueue: true,
  lazyConnect: false,
});

/**
 * Those of duplicates that run commands: they report at once what is lost, run nothing twice, and have no queue, since
 * commands that wait would overtake lost ones. Not for duplicates that subscribe: when these subscribe again by themselves,
 * a failure would be a rejection that nobody handles.
 */
const RUNNER = Object.freeze({
  ...DUPLICATE,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  // A command that blocks takes its time.
  commandTimeout: undefined,
});

class IoredisClient extends EventClient {
  /** @type {Promise<void> | null} */
  #settling = null;
  /** The client without options that are not meant for channels. @type {any} */
  #plain;

  /** @param {any} client @param {import("./client").ChannelKind} channelKind */
  constructor(client, channelKind) {
    super(client, channelKind);
    this.#plain = plainOf(client);
  }

  /** @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static publishes(_client, channelKind) {
    return [channelKind === "shard" ? "spublish" : "publish", "on"];
  }

  /** @param {any} _client @param {import("./client").ChannelKind} channelKind */
  static subscribes(_client, channelKind) {
    return channelKind === "shard"
      ? ["ssubscribe", "sunsubscribe", "on"]
      : ["subscribe", "unsubscribe", "psubscribe", "on"];
  }

  get hearsAll() {
    return true;
  }

  settings() {
    return reading(() => readClient(this.client));
  }

  get isOpen() {
    return this.client.status !== "end";
  }

  get isReady() {
    const { status } = this.client;
    // "wait": connects with the first command, which has to wait for that.
    return status === "ready" || (status === "wait" && this.queues);
  }

  begin() {
    // It connects with the first command, which it would refuse.
    if (this.client.status === "wait" && !this.queues) this.client.connect().catch(() => {});
  }

  get queues() {
    return this.isOpen && this.client.options?.enableOfflineQueue !== false;
  }

  /** @param {string} channel @param {Buffer | string} payload @returns {Promise<number>} */
  async publish(channel, payload) {
    this.#checkOpen();
    const settled = this.#settled();
    if (settled !== null) await settled;
    return this.channelKind === "shard"
      ? this.#plain.spublish(channel, payload)
      : this.client.publish(channel, payload);
  }

  /** @param {number} kind @param {string} name @param {OnMessage} onMessage */
  async subscribe(kind, name, onMessage) {
    if (!this.queues && this.client.status !== "ready") throw new Error("the client is not connected");
    const settled = this.#settled();
    if (settled !== null) await settled;
    this.expect(kind, name, onMessage);
    await this.#plain[COMMANDS[kind].subscribe](name);
  }

  /** @param {number} kind @param {string} name */
  async unsubscribe(kind, name) {
    if (!this.forget(kind, name)) return;
    const settled = this.#settled();
    if (settled !== null) await settled;
    if (this.isOpen && !this.client.manuallyClosing) await this.#plain[COMMANDS[kind].unsubscribe](name);
  }

  /** Throws if the user has told it to quit: a command behind that would reject the promise of `quit()`. */
  #checkOpen() {
    if (this.client.manuallyClosing) throw new Error("the client is closing");
  }

  /**
   * Resolves when the client is ready. While its status is "connect" it would send some commands, SUBSCRIBE and PUBLISH among
   * them, into its own handshake, which may then fail. Null at other times: nothing has to wait.
   *
   * @returns {Promise<void> | null}
   */
  #settled() {
    if (this.client.status !== "connect" || this.client.isCluster) return null;
    return (this.#settling ??= new Promise((resolve) => {
      const done = () => {
        for (const event of ["ready", "close", "end"]) this.client.removeListener(event, done);
        this.#settling = null;
        resolve();
      };
      for (const event of ["ready", "close", "end"]) this.client.on(event, done);
    }));
  }

  /** @param {string[]} channels */
  async count(channels) {
    this.#checkOpen();
    const settled = this.#settled();
    if (settled !== null) await settled;
    return readCounts(await this.#plain.call("pubsub", this.counter, ...channels));
  }

  /** @param {string} _key @param {Buffer[]} args @returns {Promise<any>} */
  async command(_key, [name, ...args]) {
    this.#checkOpen();
    const settled = this.#settled();
    if (settled !== null) await settled;
    // Older versions find the key only if the name of the command is in lower case.
    const reply = await this.#plain.callBuffer(String(name).toLowerCase(), ...args);
    // With RESP3, 6 hands out maps as flat lists.
    return Array.isArray(reply) && String(name) === "XREAD" && Buffer.isBuffer(reply[0])
      ? inPairs(reply)
      : reply;
  }

  get repeats() {
    return true;
  }

  /** @param {boolean} runsCommands */
  duplicateClient(runsCommands) {
    return this.client.duplicate(runsCommands ? RUNNER : DUPLICATE);
  }

  /** @param {OnMessage} onMessage */
  listen(onMessage) {
    super.listen(onMessage);
    this.client.on("ready", this.#onReady);
  }

  unlisten() {
    super.unlisten();
    this.client.removeListener("ready", this.#onReady);
  }

  // It may be told not to subscribe again by itself. If it has a prefix, it subscribes to other shard channels.
  #onReady = () => {
    const { autoResubscribe, keyPrefix } = this.client.options ?? {};
    for (const [kind, name] of [...this.names].map(ofKey)) {
      if (autoResubscribe === false || (kind === SHARD && keyPrefix)) this.onLost?.(kind, name);
    }
    setTimeout(() => this.#verify(), SETTLING).unref();
  };

  /** Checks whether it has subscribed again, as it should have. */
  #verify() {
    const { condition, status } = this.client;
    if (status !== "ready" || condition === undefined || !this.isListening) return;
    const held = channelsOf(condition);
    for (const key of this.names) if (!held.has(key)) this.onLost?.(...ofKey(key));
  }
}

/**
 * What a connection is subscribed to: that of the client, or one that it has made.
 *
 * @param {any} condition
 * @returns {Set<string>}
 */
function channelsOf(condition) {
  /** @type {any} */
  const set = condition?.subscriber || null;
  return new Set(
    COMMANDS.flatMap(({ subscribe }, kind) =>
      (set?.channels?.(subscribe) ?? []).map((/** @type {string} */ name) => keyOf(kind, String(name))),
    ),
  );
}

/** Whether a connection holds a subscription. @param {any} condition @param {number} kind @param {string} name */
function isSubscribed(condition, kind, name) {
  const names = condition?.subscriber?.set?.[COMMANDS[kind].subscribe];
  return names === undefined ? channelsOf(condition).has(keyOf(kind, name)) : Object.hasOwn(names, name);
}

/** @param {any[]} list */
function inPairs(list) {
  return Array.from({ length: list.length / 2 }, (_, index) => list.slice(2 * index, 2 * index + 2));
}

/** @type {WeakMap<object, any>} */
const plains = new WeakMap();

/**
 * The same client without its `keyPrefix`, and without autopipelining. It would put the prefix before shard channels, which
 * Redis takes for keys, and hand out their messages with it. Autopipelining does not suit SUBSCRIBE, nor `call` in 4.
 *
 * @param {any} client
 */
function plainOf(client) {
  if (!client.options?.keyPrefix && !client.options?.enableAutoPipelining) return client;
  let plain = plains.get(client);
  if (plain !== undefined) return plain;
  plain = Object.create(client, {
    options: { value: { ...client.options, keyPrefix: "", enableAutoPipelining: false } },
    // It is the client that keeps the state.
    sendCommand: { value: client.sendCommand.bind(client) },
  });
  plains.set(client, plain);
  return plain;
}

module.exports = { DUPLICATE, IoredisClient, RUNNER, channelsOf, isSubscribed, plainOf };
