// @ts-check
"use strict";

/**
 * One of the user's Redis clients, whatever package it comes from: where it connects to, how it does, and how it
 * carries bytes.
 */

/**
 * @typedef {"global" | "shard"} Space which of Redis' two spaces of channels is meant, as `Space` in
 *   src/transport/mod.rs
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
 * What is common to all kinds. No method throws but by the promise that it returns.
 *
 * @abstract
 */
class UserClient {
  /** Events after which it may be connected. */
  changes = ["ready"];
  /** Events after which it is not, or could not be made to be. */
  failures = ["end", "close", "reconnecting"];
  /** Whether it changes without an event. */
  isSilent = false;
  /** @type {Promise<any> | null} */
  #connecting = null;

  /**
   * @param {any} client
   * @param {Space} space
   */
  constructor(client, space) {
    this.client = client;
    this.space = space;
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

  /** Why it cannot subscribe in the space, in words for its user; null if it can. @returns {string | null} */
  get flaw() {
    return null;
  }

  /** Why it cannot run commands about keys, in words for its user; null if it can. @returns {string | null} */
  get keyFlaw() {
    return null;
  }

  /**
   * Whether it may run a command twice when a connection is lost, or what it was given behind it: then what is to be run
   * once, and in order, goes by a duplicate.
   */
  get repeats() {
    return false;
  }

  /** Whether those that have received a publish are all there are: no node hands it on to another. */
  get hearsAll() {
    return false;
  }

  /**
   * Whether what it says of its subscriptions has to be proven: they move between nodes, or the node that they are at is
   * not the one that publishes.
   */
  get needsProof() {
    return false;
  }

  /** What it prepends to the names of keys. @returns {string} */
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

  /** Whether what it is given on its way to Redis waits. @returns {boolean} */
  get queues() {
    return this.isOpen;
  }

  /** Somebody waits for it to be connected. */
  begin() {}

  /** Nothing more is to be carried: leaves no subscription and no listener behind. */
  stop() {
    this.onLost = null;
    this.onTrouble = null;
  }

  /**
   * Publishes in the space, and resolves to the number of receivers.
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
   * Resolves to the number of subscribers of each channel in the space.
   *
   * @abstract
   * @param {string[]} _channels
   * @returns {Promise<number[]>}
   */
  async count(_channels) {
    throw new Error("abstract");
  }

  /**
   * Runs a command about a key, which is taken as it is, and resolves to the reply, its texts as Buffers.
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
   * One like it, that connects as it does, and that nobody else uses. Throws if it cannot be had.
   *
   * @param {boolean} [runsCommands] rather than to listen
   * @returns {UserClient}
   */
  duplicate(runsCommands = false) {
    const twin = this.duplicateClient(runsCommands);
    // What goes wrong is told by what it does not do.
    twin.on("error", () => {});
    const Kind = /** @type {any} */ (this.constructor);
    const one = new Kind(twin, this.space);
    void one.wake();
    return one;
  }

  /** @param {boolean} _runsCommands @returns {any} */
  duplicateClient(_runsCommands) {
    return this.client.duplicate();
  }

  /** Connects it, if it has ended; resolves when it can be given something. Only for duplicates. @returns {Promise<void>} */
  async wake() {
    // One of a cluster refuses what it is given before.
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
   * Whether it has held a subscription since before then, and to a node that is a master.
   *
   * @param {number} _kind
   * @param {string} _name
   * @param {number} _then as `performance.now()` has it
   */
  async holdsAtMaster(_kind, _name, _then) {
    return false;
  }

  /**
   * The node to which a subscription's connection is, as the client says; null if that is not known.
   *
   * @param {number} _kind
   * @param {string} _name
   * @returns {string | null}
   */
  placeOf(_kind, _name) {
    return null;
  }

  /** The nodes of its cluster may have other roles now: it is to look where the slots are. */
  rediscover() {}

  /** A subscription does not hold, whatever it says. @param {number} _kind @param {string} _name */
  mistrust(_kind, _name) {}

  /** Says at once what it has lost since it last looked. */
  look() {}

  /** The connection that has all global channels brings nothing: it is to listen by another one. */
  listenElsewhere() {}

  /**
   * Asks the connection that has all global channels for a reply; null if there is none that stands.
   *
   * @returns {Promise<unknown> | null}
   */
  askListening() {
    return null;
  }

  /** Unsubscribes from all of these, without waiting. @param {Iterable<string>} keys as `keyOf` makes them */
  drop(keys) {
    for (const key of [...keys]) this.unsubscribe(...ofKey(key)).catch(() => {});
  }

  /** The subcommand of PUBSUB that counts in the space. */
  get counter() {
    return this.space === "shard" ? "SHARDNUMSUB" : "NUMSUB";
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
 * The sums of what the nodes of a cluster count. A node that is away has no subscribers; one that is there and does
 * not answer, or not in time, spoils the count.
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
 * Resolves when a promise has settled, whatever to, or after so many milliseconds: what waits for a node that is away may
 * never end.
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
 * Calls back after so many milliseconds, behind what has come in by then: if the event loop was blocked, the answer that is
 * waited for may be there, and Node reads it before it calls back immediates.
 *
 * @param {() => void} act
 * @param {number} milliseconds
 */
function afterReading(act, milliseconds) {
  return setTimeout(() => setImmediate(act), milliseconds);
}

/**
 * Resolves, or rejects, as what a client was told to do does. Rejects if the client does not answer in time.
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
