// @ts-check
"use strict";

/**
 * One of the user's Redis clients, of whatever package: where it connects to, and how it carries bytes.
 */

/**
 * @typedef {"global" | "shard"} ChannelKind which of Redis' two kinds of channels is meant, as `ChannelKind` in
 *   src/transport/pubsub.rs
 *
 * @typedef {(kind: number, glob: Buffer | null, channel: Buffer, payload: Buffer) => void} OnMessage with the kind of
 *   the subscription that it came by, and its name if that is a glob
 *
 * @typedef {(kind: number, name: string) => void} OnLost a subscription no longer holds, and the client does not make
 *   it again by itself
 *
 * @typedef {() => void} OnTrouble subscriptions may be elsewhere now, or nowhere
 */

const { connect, disconnect } = require("./duplicate");

/** The kinds of subscriptions, as `SubscriptionKind` in src/transport/mod.rs. */
const CHANNEL = 0;
const PATTERN = 1;
const SHARD = 2;

/** How long a client may take to do what it was told, in milliseconds. */
const ANSWER = 3000;

/**
 * How long the nodes of a cluster have to answer a count, in milliseconds: as long as those that the link itself asks, see
 * src/transport/redis/cluster/counting.rs.
 */
const COUNTING = 1000;

/**
 * What all kinds of clients have in common. No method throws: errors reject the promise that it returns.
 *
 * @abstract
 */
class UserClient {
  /** How often it was stopped: it may carry again. */
  #stops = 0;
  /** Events after which the client may be connected. */
  changes = ["ready"];
  /** Events after which the client is not connected. */
  failures = ["end", "close", "reconnecting"];
  /** Whether its state changes without an event. */
  isSilent = false;
  /** @type {Promise<any> | null} */
  #connecting = null;

  /**
   * @param {any} client
   * @param {ChannelKind} channelKind
   */
  constructor(client, channelKind) {
    this.client = client;
    this.channelKind = channelKind;
    /** @type {OnLost | null} */
    this.onLost = null;
    /** @type {OnTrouble | null} */
    this.onTrouble = null;
  }

  /**
   * Where it connects to, or the reason why that is not known.
   *
   * @abstract
   * @returns {ReturnType<typeof import("./settings").reading>}
   */
  settings() {
    throw new Error("abstract");
  }

  /**
   * Why it cannot subscribe to channels of `channelKind`, in words for its user; null if it can.
   *
   * @returns {string | null}
   */
  get flaw() {
    return null;
  }

  /** Why it cannot run commands about keys, in words for its user; null if it can. @returns {string | null} */
  get keyFlaw() {
    return null;
  }

  /**
   * Whether the client, when it loses a connection, may run a command twice, or out of order. Then commands that are to run
   * once, and in order, go by a duplicate.
   */
  get repeats() {
    return false;
  }

  /** Whether Redis counts all receivers of a publish: no node hands it on to others. */
  get hearsAll() {
    return false;
  }

  /**
   * Whether its subscriptions have to be proven: they move between nodes, or are at another node than the one that
   * publishes.
   */
  get needsProof() {
    return false;
  }

  /** The prefix that it puts before the names of keys. @returns {string} */
  get keyPrefix() {
    return String(this.client.options?.keyPrefix ?? "");
  }

  /** Whether it is connected, or on the way there. @abstract @returns {boolean} */
  get isOpen() {
    throw new Error("abstract");
  }

  /** Whether it is connected. @abstract @returns {boolean} */
  get isReady() {
    throw new Error("abstract");
  }

  /** Whether commands wait in it until it is connected. @returns {boolean} */
  get queues() {
    return this.isOpen;
  }

  /** Has it connect, if it waits for its first command to do so. */
  begin() {}

  /** Stops carrying: leaves no subscription and no listener behind. */
  stop() {
    this.#stops++;
    this.onLost = null;
    this.onTrouble = null;
  }

  /**
   * Waits for something; rejects if it is stopped meanwhile: nobody wants then what was to follow.
   *
   * @param {Promise<unknown> | null} something
   */
  async unlessStopped(something) {
    const stops = this.#stops;
    await something;
    if (this.#stops !== stops) throw new Error("nobody wants it any more");
  }

  /**
   * Publishes on a channel of `channelKind`, and resolves to the number of receivers.
   *
   * @abstract
   * @param {string} _channel
   * @param {Buffer | string} _payload
   * @returns {Promise<number>}
   */
  async publish(_channel, _payload) {
    throw new Error("abstract");
  }

  /**
   * Resolves when the subscription holds.
   *
   * @abstract
   * @param {number} _kind
   * @param {string} _name
   * @param {OnMessage} _onMessage
   * @returns {Promise<void>}
   */
  async subscribe(_kind, _name, _onMessage) {
    throw new Error("abstract");
  }

  /** @abstract @param {number} _kind @param {string} _name @returns {Promise<void>} */
  async unsubscribe(_kind, _name) {
    throw new Error("abstract");
  }

  /**
   * Resolves to the number of subscribers of each channel of `channelKind`.
   *
   * @abstract
   * @param {string[]} _channels
   * @returns {Promise<number[]>}
   */
  async count(_channels) {
    throw new Error("abstract");
  }

  /**
   * Runs a command about a key, without a prefix. Resolves to the reply, with Buffers for texts.
   *
   * @abstract
   * @param {string} _key
   * @param {Buffer[]} _args the command and its arguments
   * @returns {Promise<any>}
   */
  async command(_key, _args) {
    throw new Error("abstract");
  }

  /**
   * Makes a client that connects in the same way, and that nobody else uses. Throws if it cannot be made.
   *
   * @param {boolean} [runsCommands] rather than to listen
   * @returns {UserClient}
   */
  duplicate(runsCommands = false) {
    const twin = this.duplicateClient(runsCommands);
    // Its errors show in the commands that fail.
    twin.on("error", () => {});
    const Kind = /** @type {any} */ (this.constructor);
    const one = new Kind(twin, this.channelKind);
    void one.wake();
    return one;
  }

  /** @param {boolean} _runsCommands @returns {any} */
  duplicateClient(_runsCommands) {
    return this.client.duplicate();
  }

  /** Connects it, if it has ended; resolves when it can be given something. Only for duplicates. @returns {Promise<void>} */
  async wake() {
    // A cluster client refuses commands before it is connected.
    this.#connecting = connect(this.client) ?? this.#connecting;
    this.begin();
    await this.#connecting;
  }

  /** Ends it. Only for duplicates. */
  end() {
    this.stop();
    disconnect(this.client);
  }

  /**
   * Resolves to whether it has held a subscription since before a time, at a node that is a master.
   *
   * @param {number} _kind
   * @param {string} _name
   * @param {number} _then as `performance.now()` has it
   */
  async holdsAtMaster(_kind, _name, _then) {
    return false;
  }

  /**
   * The node at which it holds a subscription, as the client says; null if that is not known.
   *
   * @param {number} _kind
   * @param {string} _name
   * @returns {string | null}
   */
  placeOf(_kind, _name) {
    return null;
  }

  /** The nodes of its cluster may have changed their roles: has it find out where the slots are. */
  rediscover() {}

  /** A subscription does not hold, though the client says so. @param {number} _kind @param {string} _name */
  mistrust(_kind, _name) {}

  /** Looks at once for subscriptions that are lost. */
  look() {}

  /** The connection that has all global channels receives nothing: has the client subscribe by another one. */
  listenElsewhere() {}

  /**
   * Asks the connection that has all global channels for a reply; null if there is none that stands.
   *
   * @returns {Promise<unknown> | null}
   */
  askListening() {
    return null;
  }

  /** Unsubscribes from these, without waiting. @param {Iterable<string>} keys as `keyOf` makes them */
  drop(keys) {
    for (const key of [...keys]) this.unsubscribe(...ofKey(key)).catch(() => {});
  }

  /** The subcommand of PUBSUB that counts channels of `channelKind`. */
  get counter() {
    return this.channelKind === "shard" ? "SHARDNUMSUB" : "NUMSUB";
  }
}

/** @param {number} kind @param {string} name */
function keyOf(kind, name) {
  return "cps"[kind] + name;
}

/** The kind and the name that `keyOf` was given. @param {string} key @returns {[number, string]} */
function ofKey(key) {
  return ["cps".indexOf(key[0]), key.slice(1)];
}

/** @param {Buffer | string} text */
function toBuffer(text) {
  return typeof text === "string" ? Buffer.from(text) : text;
}

/**
 * The counts in a reply of PUBSUB NUMSUB: a list of names and numbers in turn, or a map.
 *
 * @param {any} reply
 * @returns {number[]}
 */
function readCounts(reply) {
  if (Array.isArray(reply)) return reply.filter((_, index) => index % 2 === 1).map(Number);
  if (reply instanceof Map) return [...reply.values()].map(Number);
  return Object.values(reply ?? {}).map(Number);
}

/**
 * Adds up what the nodes of a cluster count. A node that is away has no subscribers. If a node is connected and does not
 * answer in time, the count fails.
 *
 * @param {{ isReady(): boolean, count(): Promise<number[]> }[]} nodes
 * @returns {Promise<number[]>}
 */
async function sumCounts(nodes) {
  const counts = await Promise.all(
    nodes.map(({ isReady, count }) =>
      answered(count(), { patience: COUNTING }).catch((error) => {
        if (isReady()) throw error;
        return null;
      }),
    ),
  );
  const known = counts.filter((list) => list !== null);
  if (known.length === 0) throw new Error("no node of the cluster can be asked");
  return known.reduce((sums, list) => sums.map((sum, index) => sum + (list[index] ?? 0)));
}

/**
 * Resolves when a promise has settled, or after so many milliseconds: what waits for a node that is away may never end.
 *
 * @param {Promise<any>} promise
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
async function within(promise, milliseconds) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = afterReading(() => resolve(null), milliseconds).unref()));
  await Promise.race([promise.catch(() => {}), late]).finally(() => clearTimeout(timer));
}

/**
 * Calls back after so many milliseconds, once all input is read that is there by then. If the event loop was blocked, the
 * answer that is waited for may be among it; Node reads it before it runs immediates.
 *
 * @param {() => void} act
 * @param {number} milliseconds
 */
function afterReading(act, milliseconds) {
  return setTimeout(() => setImmediate(act), milliseconds);
}

/**
 * Settles as a promise of a client does. Rejects if the client does not answer in time.
 *
 * @template T
 * @param {Promise<T>} done
 * @param {object} [options]
 * @param {() => void} [options.onLate] is called before it rejects for that
 * @param {number} [options.patience] in milliseconds
 * @returns {Promise<T>}
 */
async function answered(done, { onLate, patience = ANSWER } = {}) {
  let isDone = false;
  const end = () => void (isDone = true);
  done.then(end, end);
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    const giveUp = () => {
      if (isDone) return;
      onLate?.();
      reject(new Error("the client does not answer"));
    };
    timer = afterReading(giveUp, patience).unref();
  });
  return Promise.race([done, late]).finally(() => clearTimeout(timer));
}

/** @param {any} client @param {string} event @param {(...args: any[]) => void} listener */
function removeListener(client, event, listener) {
  if (typeof client.removeListener === "function") client.removeListener(event, listener);
  else client.off?.(event, listener);
}

module.exports = {
  CHANNEL,
  PATTERN,
  SHARD,
  UserClient,
  afterReading,
  answered,
  keyOf,
  ofKey,
  readCounts,
  removeListener,
  sumCounts,
  toBuffer,
  within,
};
