// @ts-check
"use strict";

/**
 * The user's own clients carry the bytes of a link. What Rust wants done comes as records; a publish that nothing
 * waits for goes to the client in the same tick.
 */

const { encodeReply, encodeRefusal, isRefusal } = require("../clients/resp");
const { Hold, isPassing, messageOf } = require("./hold");
const { KIND } = require("./inbox");
const { Publisher, toCount } = require("./publisher");
const { Subscriptions } = require("./subscriptions");

/** How often Rust hears that there are publishes, in milliseconds: it counts the peers then. */
const TELL_EVERY = 200;

const NOT_CONNECTED = "the client is not connected";

const OVERTAKES = "what was to be added before is lost";

/** With what Rust looks at a stream before it adds to it again. */
const LOOKS = new Set(["XRANGE", "XREVRANGE"]);

/** @typedef {import("../../binding").Link} NativeLink */

class Carrier {
  /** @type {import("../clients").Clients} */
  #clients;
  /** @type {NativeLink} */
  #native;
  #events;
  #publisher;
  #subscriptions;
  /** Redis has refused what it takes later. */
  #hold;
  #up = false;
  /** The clients are on their first way to Redis. */
  #first = true;
  #stopped = false;
  /**
   * Streams to which something was added that is lost: what Rust has added behind it, and does not know yet, would
   * overtake it. Until it has looked what is there.
   *
   * @type {Set<string>}
   */
  #broken = new Set();
  /** When Rust last heard of what goes to the clients at once. */
  #told = -Infinity;
  /** What went to the clients in the same tick, and what they published too early: Rust knows nothing of it. */
  counts = { published: 0, acknowledged: 0, receivers: 0, refused: 0, early: 0 };
  /** That of it which the client has not answered for. @type {Set<Promise<boolean>>} */
  #unanswered = new Set();

  /**
   * @param {import("../clients").Clients} clients
   * @param {NativeLink} native
   * @param {object} events
   * @param {(error: string, stream?: string) => void} events.onRefused a publish was refused, or what was to be added to a stream
   * @param {() => void} events.drain hands on what Rust has made of messages
   * @param {() => void} events.onHold what comes is for Rust: something that went before may have to go again
   * @param {() => void} events.onHandedOver Rust has been given a message: nothing may overtake it
   * @param {(channel: string) => boolean} events.isOwn whether a channel is that of a member of this link alone
   */
  constructor(clients, native, events) {
    this.#clients = clients;
    this.#native = native;
    this.#events = events;
    // It may make the client that subscribes.
    clients.begin();
    this.#hold = new Hold(
      (channels) => clients.count(channels),
      () => native.clientUp(),
    );
    this.#subscriptions = new Subscriptions(clients, native, {
      isUp: () => this.#up,
      drain: events.drain,
      onMessage: (payload) => this.#publisher.heard(payload),
      onLost: () => this.#publisher.trouble(),
      isOwn: events.isOwn,
    });
    this.#publisher = new Publisher(clients, this.#subscriptions, {
      onReturn: events.onHold,
      onTaken: () => this.#hold.taken(),
      holdsFor: (error, channel) => this.#holdsFor(error, channel),
      onEarly: () => void this.counts.early++,
    });
    this.clientsChanged();
  }

  /**
   * Whether the clients take what is published. On their first way to Redis they queue it, as with the reference; in
   * an outage the backlog of the link, which waits for the other members too, is the better place.
   */
  get takes() {
    return (this.#up && !this.#hold.isOn) || (this.#first && this.#clients.queues());
  }

  /** Tells Rust whether the clients are connected. */
  clientsChanged() {
    const up = this.#clients.isReady();
    if (up === this.#up) return;
    this.#first = false;
    this.#up = up;
    this.#hold.end();
    if (up) {
      this.#publisher.connected();
      return this.#native.clientUp();
    }
    this.#publisher.disconnected();
    this.#subscriptions.disconnected();
    // They may be back before Rust has said that what comes is to wait for the others.
    this.#events.onHold();
    this.#native.clientDown(NOT_CONNECTED);
  }

  /** A client has lost its connection, or could not make one. */
  clientsFailed() {
    if (this.#first) this.#native.clientDown(NOT_CONNECTED);
    this.#first = false;
    this.#publisher.broken();
    this.#subscriptions.doubt();
    this.clientsChanged();
  }

  /** Nothing more is to be done, nor reported. */
  stop() {
    this.#stopped = true;
    this.#hold.end();
    this.#publisher.stop();
    this.#subscriptions.stop();
    this.#clients.stop();
  }

  /** What is published to the channel of a shard in this tick may go out in it: see `Subscriptions`. @param {string} name @param {boolean} present */
  foresee(name, present) {
    this.#subscriptions.foresee(name, present);
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
    this.counts.published++;
    const again = () => {
      if (this.#stopped) return void this.counts.refused++;
      this.counts.published--;
      this.#events.onHandedOver();
      this.#native.publishAgain(Buffer.from(channel), Buffer.from(bytes));
    };
    this.#follow(this.#publisher.publish(channel, bytes, again));
  }

  /**
   * Adds to a stream at once.
   *
   * @param {string} key
   * @param {Buffer[]} args
   * @param {() => void} append has Rust add it, later
   */
  add(key, args, append) {
    this.counts.published++;
    const added = this.#clients.command("", key, args).then(
      () => {
        this.#hold.taken();
        return 0;
      },
      (error) => {
        if (this.#stopped || !this.#holdsFor(error, key)) throw error;
        this.counts.published--;
        append();
        return null;
      },
    );
    this.#follow(added, key);
  }

  /**
   * @param {Promise<number | null>} answer how many have received it; null if Rust has it now
   * @param {string} [stream] that it was to be added to
   */
  #follow(answer, stream) {
    const done = answer.then(
      (receivers) => {
        this.#unanswered.delete(done);
        if (receivers === null) return true;
        this.counts.acknowledged++;
        this.counts.receivers += toCount(receivers);
        return false;
      },
      (error) => {
        this.#unanswered.delete(done);
        this.counts.refused++;
        this.#events.onRefused(messageOf(error), stream);
        return false;
      },
    );
    this.#unanswered.add(done);
  }

  /** Resolves when the client has answered for what went to it in the same tick: to whether Rust has some of it now. */
  async answered() {
    return (await Promise.all(this.#unanswered)).includes(true);
  }

  /**
   * Does what Rust wants done.
   *
   * @param {import("./inbox").InboxRecord} record
   */
  onRecord(record) {
    switch (record.kind) {
      case KIND.CARRY:
        return this.#carry(record.token, record.text(0), Buffer.from(record.part(1)));
      case KIND.SUBSCRIBE:
        return this.#subscriptions.want(record.n, record.text(0));
      case KIND.UNSUBSCRIBE:
        return this.#subscriptions.forget(record.n, record.text(0));
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

  /** @param {number} returned how many Rust knew to be returned @param {string} channel @param {Buffer} bytes */
  #carry(returned, channel, bytes) {
    // It would overtake those that Rust does not know of yet; or the client would queue it, and send it before the others
    // listen again, since Rust did not know yet that it is not connected.
    const goes = returned === this.#publisher.returned && this.takes;
    const again = () => this.#native.clientReturned(Buffer.from(channel), bytes);
    this.#publisher.publish(channel, bytes, again, goes).then(
      (receivers) => receivers === null || this.#native.clientPublished(toCount(receivers)),
      (error) => this.#native.clientPublishFailed(messageOf(error)),
    );
  }

  /**
   * Whether an error says that Redis takes later what it has refused. Nothing more is given to the clients then, until
   * Redis counts: it refuses that as well.
   *
   * @param {any} error
   * @param {string} channel that it was published on
   */
  #holdsFor(error, channel) {
    if (!isPassing(error)) return false;
    if (!this.#hold.isOn && this.#up) {
      this.#hold.begin(channel);
      this.#events.onHold();
      this.#native.clientHeld(messageOf(error));
    }
    return true;
  }

  /** @param {number} token @param {string} reader @param {string} key @param {Buffer[]} args */
  #run(token, reader, key, args) {
    const adds = reader === "" && String(args[0]) === "XADD";
    if (adds && this.#broken.has(key)) return this.#native.clientReplied(token, null, OVERTAKES);
    if (reader === "" && LOOKS.has(String(args[0]))) this.#broken.delete(key);
    this.#clients.command(reader, key, args).then(
      (reply) => {
        if (adds) this.#hold.taken();
        this.#native.clientReplied(token, encodeReply(reply), null);
      },
      (error) => {
        if (isRefusal(error)) return this.#native.clientReplied(token, encodeRefusal(error), null);
        if (adds) this.#broken.add(key);
        this.#native.clientReplied(token, null, messageOf(error));
      },
    );
  }

  /** @param {number} token @param {string[]} channels */
  async #count(token, channels) {
    // Rust counts before it publishes again what was given back: no channels, if it knows of no other server.
    await this.#publisher.audienceGathered();
    /** @type {string | null} */
    let refusal = null;
    const counting = channels.length === 0 ? Promise.resolve([]) : this.#clients.count(channels);
    const counts = await counting.catch((error) => {
      if (isRefusal(error)) refusal = messageOf(error);
      return null;
    });
    // It publishes next, if all are there: what is to go again goes before.
    await this.#publisher.judged();
    this.#native.clientCounted(token, counts, refusal);
  }
}

module.exports = { Carrier };
