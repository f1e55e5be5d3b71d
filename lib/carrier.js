// @ts-check
"use strict";

/**
 * The user's own clients carry the bytes of a link. What Rust wants done comes as records; a publish that nothing
 * waits for goes to the client in the same tick.
 */

const { keyOf } = require("./clients/client");
const { encodeReply, encodeRefusal, isRefusal } = require("./clients/resp");
const { KIND } = require("./inbox");

/** How long a subscription that failed waits for its next attempt, in milliseconds: doubled each time. */
const RETRY = Object.freeze({ first: 50, most: 2000 });

/** How often Rust hears that there are publishes, in milliseconds: it counts the peers then. */
const TELL_EVERY = 200;

/** So many messages of the client are handed over before what came of earlier ones is handed on. */
const DRAIN_EVERY = 32;

const NOT_CONNECTED = "the client is not connected";

const OVERTAKES = "what was to be added before is lost";

/** With what Rust looks at a stream before it adds to it again. */
const LOOKS = new Set(["XRANGE", "XREVRANGE"]);

/**
 * @typedef {import("../binding").Link} NativeLink
 *
 * @typedef {object} Wanted
 * @property {number} kind
 * @property {string} name
 * @property {number} delay before the next attempt, in milliseconds
 */

class Carrier {
  /** @type {import("./clients").Clients} */
  #clients;
  /** @type {NativeLink} */
  #native;
  /** @type {(error: string) => void} */
  #onRefused;
  #drain;
  /** Messages handed over since Rust's were last handed on. */
  #handedOver = 0;
  #up = false;
  /** The clients are on their first way to Redis. */
  #first = true;
  #stopped = false;
  /** The subscriptions that Rust wants. @type {Map<string, Wanted>} */
  #wanted = new Map();
  /**
   * Streams to which something was added that is lost: what Rust has added behind it, and does not know yet, would
   * overtake it. Until it has looked what is there.
   *
   * @type {Set<string>}
   */
  #broken = new Set();
  /** When Rust last heard of what goes to the clients at once. */
  #told = -Infinity;
  /** What went to the clients in the same tick: Rust knows nothing of it. */
  counts = { published: 0, acknowledged: 0, receivers: 0, refused: 0 };
  /** That of it which the client has not answered for. @type {Set<Promise<void>>} */
  #unanswered = new Set();

  /**
   * @param {import("./clients").Clients} clients
   * @param {NativeLink} native
   * @param {(error: string) => void} onRefused a publish was refused
   * @param {() => void} drain hands on what Rust has made of messages
   */
  constructor(clients, native, onRefused, drain) {
    this.#clients = clients;
    this.#native = native;
    this.#onRefused = onRefused;
    this.#drain = drain;
    clients.begin();
    clients.onLost((kind, name) => this.#again(this.#wanted.get(keyOf(kind, name))));
    this.clientsChanged();
  }

  /**
   * Whether the clients take what is published. On their first way to Redis they queue it, as with the reference; in
   * an outage the backlog of the link, which waits for the other members too, is the better place.
   */
  get takes() {
    return this.#up || (this.#first && this.#clients.queues());
  }

  /** Tells Rust whether the clients are connected. */
  clientsChanged() {
    const up = this.#clients.isReady();
    if (up === this.#up) return;
    this.#first = false;
    this.#up = up;
    if (up) this.#native.clientUp();
    else this.#native.clientDown(NOT_CONNECTED);
  }

  /** A client has lost its connection, or could not make one. */
  clientsFailed() {
    if (this.#first) this.#native.clientDown(NOT_CONNECTED);
    this.#first = false;
    this.clientsChanged();
  }

  /** Nothing more is to be done, nor reported. */
  stop() {
    this.#stopped = true;
    this.#clients.stop();
  }

  /**
   * Publishes at once.
   *
   * @param {number} member
   * @param {string} channel
   * @param {Buffer | string} bytes
   */
  publish(member, channel, bytes) {
    const now = performance.now();
    if (now - this.#told > TELL_EVERY) {
      this.#told = now;
      this.#native.clientCarries(member);
    }
    this.#sent(this.#clients.publish(channel, bytes));
  }

  /**
   * Adds to a stream at once.
   *
   * @param {string} key
   * @param {Buffer[]} args
   */
  add(key, args) {
    this.#sent(this.#clients.command("", key, args).then(() => 0));
  }

  /** @param {Promise<number>} answer how many have received it */
  #sent(answer) {
    this.counts.published++;
    const done = answer.then(
      (receivers) => {
        this.#unanswered.delete(done);
        this.counts.acknowledged++;
        this.counts.receivers += toCount(receivers);
      },
      (error) => {
        this.#unanswered.delete(done);
        this.counts.refused++;
        this.#onRefused(messageOf(error));
      },
    );
    this.#unanswered.add(done);
  }

  /** Resolves when the client has answered for what went to it in the same tick. */
  async answered() {
    await Promise.all(this.#unanswered);
  }

  /**
   * Does what Rust wants done.
   *
   * @param {import("./inbox").InboxRecord} record
   */
  onRecord(record) {
    switch (record.kind) {
      case KIND.CARRY:
        return this.#carry(record.text(0), Buffer.from(record.part(1)));
      case KIND.SUBSCRIBE:
        return this.#want(record.n, record.text(0));
      case KIND.UNSUBSCRIBE:
        return this.#forget(record.n, record.text(0));
      case KIND.NUM_SUB:
        return this.#count(record.token, record.list(record.n).map(String));
      case KIND.COMMAND:
        return this.#run(
          record.token,
          record.text(1),
          record.text(0),
          record.list(record.n).map((bytes) => Buffer.from(bytes)),
        );
      case KIND.CLOSE_READER:
        return this.#clients.closeReader(String(record.n));
    }
  }

  /** @param {string} channel @param {Buffer} bytes */
  #carry(channel, bytes) {
    this.#clients.publish(channel, bytes).then(
      (receivers) => this.#native.clientPublished(toCount(receivers)),
      (error) => this.#native.clientPublishFailed(messageOf(error)),
    );
  }

  /** @param {number} kind @param {string} name */
  #want(kind, name) {
    const wanted = { kind, name, delay: RETRY.first };
    this.#wanted.set(keyOf(kind, name), wanted);
    this.#subscribe(wanted);
  }

  /** @param {number} kind @param {string} name */
  #forget(kind, name) {
    this.#wanted.delete(keyOf(kind, name));
    this.#clients.unsubscribe(kind, name).catch(() => {});
  }

  /** Whether it is to be made yet: meanwhile Rust may have changed its mind, even twice. @param {Wanted} wanted */
  #isWanted(wanted) {
    return !this.#stopped && this.#wanted.get(keyOf(wanted.kind, wanted.name)) === wanted;
  }

  /** @param {Wanted} wanted */
  #subscribe(wanted) {
    if (!this.#isWanted(wanted)) return;
    const { kind, name } = wanted;
    this.#clients
      .subscribe(kind, name, (by, glob, channel, payload) => {
        this.#native.clientMessage(by, glob, channel, payload);
        // The client cannot be told to read less; but it does, while what came before is worked off.
        if (++this.#handedOver % DRAIN_EVERY === 0) this.#drain();
      })
      .then(
        () => {
          if (!this.#isWanted(wanted)) return;
          wanted.delay = RETRY.first;
          this.#native.clientSubscribed(kind, Buffer.from(name));
        },
        (error) => {
          if (!this.#isWanted(wanted)) return;
          this.#native.clientSubscribeFailed(messageOf(error));
          this.#again(wanted);
        },
      );
  }

  /** Makes a subscription anew that failed, or that the client has lost. @param {Wanted | undefined} wanted */
  #again(wanted) {
    if (wanted === undefined) return;
    setTimeout(() => this.#subscribe(wanted), wanted.delay).unref();
    wanted.delay = Math.min(wanted.delay * 2, RETRY.most);
  }

  /** @param {number} token @param {string} reader @param {string} key @param {Buffer[]} args */
  #run(token, reader, key, args) {
    const adds = reader === "" && String(args[0]) === "XADD";
    if (adds && this.#broken.has(key)) return this.#native.clientReplied(token, null, OVERTAKES);
    if (reader === "" && LOOKS.has(String(args[0]))) this.#broken.delete(key);
    this.#clients.command(reader, key, args).then(
      (reply) => this.#native.clientReplied(token, encodeReply(reply), null),
      (error) => {
        if (isRefusal(error)) return this.#native.clientReplied(token, encodeRefusal(error), null);
        if (adds) this.#broken.add(key);
        this.#native.clientReplied(token, null, messageOf(error));
      },
    );
  }

  /** @param {number} token @param {string[]} channels */
  #count(token, channels) {
    this.#clients.count(channels).then(
      (counts) => this.#native.clientCounted(token, counts),
      () => this.#native.clientCounted(token, null),
    );
  }
}

/** What a client says how many there are, if it does. @param {unknown} count */
function toCount(count) {
  return typeof count === "number" || typeof count === "string" ? Number(count) || 0 : 0;
}

/** @param {any} error */
function messageOf(error) {
  return String(error?.message ?? error);
}

module.exports = { Carrier };
