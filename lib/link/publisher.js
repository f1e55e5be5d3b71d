// @ts-check
"use strict";

/**
 * Publishes by the user's client, and decides whether to believe Redis' count of receivers: none, or fewer than before. A
 * publish that has certainly reached nobody is given back to Rust, which publishes it again.
 */

const { Audiences } = require("./audiences");
const { UnheardError } = require("../clients/shard-publisher");
const { SHARD } = require("../clients/client");
const { Echoes } = require("./echoes");
const { messageOf } = require("./hold");
const { Returns } = require("./returns");
const { ZeroReceivers } = require("./zero-receivers");

/** How long other servers may take to subscribe again after an outage, in milliseconds. */
const GAP = 5000;

class Publisher {
  #clients;
  #subscriptions;
  #hold;
  #events;
  #returns;
  #audiences;
  #echoes = new Echoes();
  /** How often a connection of the clients has broken. */
  #breaks = 0;
  /** Publishes that the client has not answered for. */
  #sending = 0;
  /** Those of them that the client got before a connection broke. */
  #carriedOver = 0;
  /** Those of them for which it is not decided yet whether they are given back. @type {Set<Promise<boolean>>} */
  #judging = new Set();
  #zeroReceivers = new ZeroReceivers();
  #up = false;
  #upSince = -Infinity;
  /** Until then other servers may not have all their subscriptions again. */
  #troubledUntil = 0;

  /**
   * @param {import("../clients").Clients} clients
   * @param {import("./subscriptions").Subscriptions} subscriptions of the same link
   * @param {import("./hold").Hold} hold of the same link
   * @param {object} events
   * @param {() => void} events.onReturn something will be given back: what comes is to wait
   * @param {() => void} events.onEarly others have missed a publish
   */
  constructor(clients, subscriptions, hold, events) {
    this.#clients = clients;
    this.#subscriptions = subscriptions;
    this.#hold = hold;
    this.#events = events;
    this.#returns = new Returns(events.onReturn);
    this.#audiences = new Audiences((channels) => clients.count(channels));
  }

  /** How many publishes were given back, as Rust counts them. */
  get returned() {
    return this.#returns.count;
  }

  /** The clients are connected. */
  connected() {
    this.#up = true;
    this.#upSince = performance.now();
    if (this.#breaks > 0) this.trouble();
  }

  /** The clients are not connected any more. */
  disconnected() {
    this.#up = false;
    this.broken();
  }

  /** A connection broke: the client may send again what it had not sent, or had no answer for. */
  broken() {
    this.#breaks++;
    this.trouble();
    this.#carriedOver = this.#sending;
    if (this.#carriedOver > 0) this.#echoes.begin();
  }

  /** Other servers may have lost subscriptions, too. */
  trouble() {
    this.#troubledUntil = performance.now() + GAP;
  }

  /** This link has received a message. @param {Buffer} payload */
  heard(payload) {
    this.#echoes.heard(payload);
  }

  stop() {
    this.#echoes.end();
  }

  /**
   * Resolves to how many have received a publish, or to null if it is given back.
   *
   * @param {string} channel
   * @param {Buffer | string} bytes
   * @param {() => void} giveBack
   * @param {boolean} goes false if it would overtake something
   */
  publish(channel, bytes, giveBack, goes = true) {
    return this.#returns.publish(goes ? () => this.#send(channel, bytes) : null, giveBack);
  }

  /** Resolves when the channels that lost their audience have as many subscribers as before, or after a while. */
  audienceGathered() {
    return this.#audiences.gathered();
  }

  /** Resolves when it is decided for all publishes so far whether they are given back. */
  async judged() {
    while (this.#judging.size > 0) {
      await Promise.all(this.#judging);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /**
   * Publishes, and resolves to the number of receivers; rejects with an `UnheardError` if the message has to be published
   * again.
   *
   * Zero receivers is wrong for a shard channel that this link is, or was just now, subscribed to: the subscriptions are
   * moving to another node, those of the other servers too. (If they have moved already and only the publishing client has
   * not followed, the nodes hand the message on.) Zero is also wrong for a single Redis right after an outage: clients of
   * ioredis then send first what was in flight.
   *
   * @param {string} channel
   * @param {Buffer | string} bytes
   */
  async #send(channel, bytes) {
    const wanted = this.#subscriptions.ofShard(channel);
    const [sentAt, breaks] = [performance.now(), this.#breaks];
    this.#sending++;
    try {
      const receivers = await this.#clients.publish(channel, bytes);
      this.#hold.taken();
      if (breaks !== this.#breaks && this.#clients.hearsAll)
        return await this.#judge(channel, bytes, toCount(receivers));
      if (receivers > 0) {
        if (this.#clients.hearsAll || this.#clients.channelKind === "shard")
          this.#noteAudience(channel, receivers);
        this.#zeroReceivers.isProven ||= wanted?.holds ?? this.#subscriptions.listensTo(channel);
        return receivers;
      }
      const isFalse =
        wanted === undefined ? this.#isGap() && this.#subscriptions.listensTo(channel) : wanted.since >= 0;
      if (!isFalse || !this.#zeroReceivers.isDoubtful(channel, bytes)) {
        // Subscribers that are moving between nodes have missed it. One that is subscribed at a replica has received it, and
        // would get it twice.
        if (this.#isShort(channel, 0)) this.#events.onEarly();
        return receivers;
      }
    } catch (error) {
      if (this.#hold.refuses(error, channel)) throw new UnheardError(messageOf(error), false);
      if (!(error instanceof UnheardError)) throw error;
      if (error.wasSent && wanted?.holds && wanted.since < sentAt)
        if (await this.#clients.holdsAtMaster(SHARD, channel, sentAt)) return 0;
      this.#lostAudience(channel);
      throw error;
    } finally {
      this.#sending--;
      if (breaks !== this.#breaks && --this.#carriedOver === 0) this.#echoes.end();
    }
    this.#clients.rediscover();
    this.#lostAudience(channel);
    throw new UnheardError("the subscriptions to the channel are on their way", true);
  }

  /**
   * Judges the answer for a publish that the client got before a connection broke. The client may have sent it again when
   * some servers were subscribed and others were not. It is published again if no other server has received it. If one has,
   * it would get the message twice: then the message is only counted as early.
   *
   * @param {string} channel
   * @param {Buffer | string} bytes
   * @param {number} receivers
   */
  async #judge(channel, bytes, receivers) {
    const beginning = this.#subscriptions.beginningOf(channel);
    const isAlike = beginning === null ? null : (/** @type {string} */ name) => name.startsWith(beginning);
    const size = this.#audiences.sizeOf(channel, isAlike);
    if (receivers > 0 && receivers >= size) return receivers;
    const listens =
      this.#subscriptions.listensTo(channel) || (this.#subscriptions.ofShard(channel)?.since ?? -1) >= 0;
    const isCounted = listens && this.#zeroReceivers.isProven;
    if (isCounted && (receivers === 0 || (receivers === 1 && (await this.#hasEchoed(bytes)))))
      throw new UnheardError("nobody else has heard it", false);
    if (receivers < size) this.#events.onEarly();
    return receivers;
  }

  /**
   * Some have received a publish. After a node was lost the subscribers of a shard channel come back one by one. Who is not
   * back yet has missed the message, unless it has just left the room.
   *
   * @param {string} channel
   * @param {number} receivers
   */
  #noteAudience(channel, receivers) {
    // The next publish is compared with the same number.
    if (this.#isShort(channel, receivers)) this.#events.onEarly();
    else this.#audiences.heard(channel, receivers);
  }

  /**
   * Whether a shard channel had more subscribers before a node was lost.
   *
   * @param {string} channel
   * @param {number} receivers
   */
  #isShort(channel, receivers) {
    const isTroubled = this.#clients.channelKind === "shard" && performance.now() < this.#troubledUntil;
    return isTroubled && receivers < this.#audiences.sizeOf(channel, null);
  }

  /** Whether this link has received a message itself. @param {Buffer | string} bytes */
  async #hasEchoed(bytes) {
    const heard = this.#echoes.has(bytes);
    this.#judging.add(heard);
    return heard.finally(() => this.#judging.delete(heard));
  }

  /** @param {string} channel */
  #lostAudience(channel) {
    this.trouble();
    // Subscribers of a pattern are not counted for the channel: Rust counts those.
    if (this.#clients.channelKind === "shard") this.#audiences.lost(channel);
  }

  /** Whether there is an outage, or was one just now, so that other servers may not be subscribed yet. */
  #isGap() {
    return this.#clients.hearsAll && (!this.#up || performance.now() - this.#upSince < GAP);
  }
}

/** The number that a client answers, 0 if it answers none. @param {unknown} count */
function toCount(count) {
  return typeof count === "number" || typeof count === "string" ? Number(count) || 0 : 0;
}

module.exports = { Publisher, toCount };
