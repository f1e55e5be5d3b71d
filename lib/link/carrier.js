// @ts-check
"use strict";

/**
 * Has the user's clients carry the bytes of a link. Rust says in records what to do. A publish that has nothing to wait for
 * goes to the client in the same tick.
 */

const { encodeReply, encodeRefusal, isRefusal } = require("../clients/resp");
const { Hold, messageOf } = require("./hold");
const { KIND } = require("./inbox");
const { Publisher, toCount } = require("./publisher");
const { Subscriptions } = require("./subscriptions");

/** How often Rust hears that there are publishes, in milliseconds: it counts the peers then. */
const TELL_EVERY = 200;

const NOT_CONNECTED = "the client is not connected";

const OVERTAKES = "what was to be added before is lost";

/** The commands by which Rust looks at a stream before it adds to it again. */
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
  /** Active while Redis refuses commands for now. */
  #hold;
  #up = false;
  /** Whether the clients have never been connected, nor failed. */
  #first = true;
  #stopped = false;
  /**
   * Streams where an added entry was lost. Entries that Rust sent behind it, before it knew, would overtake it. They are
   * refused until Rust has looked at the stream.
   *
   * @type {Set<string>}
   */
  #broken = new Set();
  /** When Rust was last told that the clients get publishes directly. */
  #told = -Infinity;
  /** What Rust does not count: publishes that went to the clients directly, and those that went out too early. */
  counts = { published: 0, acknowledged: 0, receivers: 0, refused: 0, early: 0 };
  /** The direct ones that the client has not answered. @type {Set<Promise<boolean>>} */
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
    // This may make the client that subscribes.
    clients.begin();
    const isUp = () => this.#up;
    this.#hold = new Hold(clients, native, { isUp, onHold: events.onHold });
    this.#subscriptions = new Subscriptions(clients, native, {
      isUp,
      drain: events.drain,
      onMessage: (payload) => this.#publisher.heard(payload),
      onTrouble: () => this.#publisher.trouble(),
      isOwn: events.isOwn,
    });
    this.#publisher = new Publisher(clients, this.#subscriptions, this.#hold, {
      onReturn: events.onHold,
      onEarly: () => void this.counts.early++,
    });
    this.clientsChanged();
  }

  /**
   * Whether the clients take publishes. Before they are first connected they queue them, as with the reference. In an outage
   * the backlog of the link is the better place, since it also waits for the other members.
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
    // The clients may be back before Rust has said that publishes wait for the other servers.
    this.#events.onHold();
    this.#native.clientDown(NOT_CONNECTED);
  }

  /** A client has lost its connection, or could not make one. */
  clientsFailed() {
    if (this.#first) this.#native.clientDown(NOT_CONNECTED);
    this.#first = false;
    this.#publisher.broken();
    this.#subscriptions.probeSoon();
    this.clientsChanged();
  }

  /** Stops everything, and reports nothing more. */
  stop() {
    this.#stopped = true;
    this.#hold.end();
    this.#publisher.stop();
    this.#subscriptions.stop();
    this.#clients.stop();
  }

  /** Rust is about to subscribe to a shard channel, or to unsubscribe: see `Subscriptions`. @param {string} name @param {boolean} present */
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
        if (this.#stopped || !this.#hold.refuses(error, key)) throw error;
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

  /** Resolves when the client has answered all direct publishes: to whether some were given back to Rust. */
  async answered() {
    return (await Promise.all(this.#unanswered)).includes(true);
  }

  /**
   * Does what a record of Rust says.
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
    // Otherwise it would overtake publishes that were given back and that Rust does not know of yet. Or the client, which is
    // not connected, would queue it, and send it before the other servers are subscribed again.
    const goes = returned === this.#publisher.returned && this.takes;
    const again = () => this.#native.clientReturned(Buffer.from(channel), bytes);
    this.#publisher.publish(channel, bytes, again, goes).then(
      (receivers) => receivers === null || this.#native.clientPublished(toCount(receivers)),
      (error) => this.#native.clientPublishFailed(messageOf(error)),
    );
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
    // Rust counts before it publishes again what was given back; it counts no channels if it knows of no other server.
    await this.#publisher.audienceGathered();
    /** @type {string | null} */
    let refusal = null;
    const counting = channels.length === 0 ? Promise.resolve([]) : this.#clients.count(channels);
    const counts = await counting.catch((error) => {
      if (isRefusal(error)) refusal = messageOf(error);
      return null;
    });
    // Rust publishes next if all servers are there: what is given back has to be there first.
    await this.#publisher.judged();
    this.#native.clientCounted(token, counts, refusal);
  }
}

module.exports = { Carrier };
