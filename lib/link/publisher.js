// @ts-check
"use strict";

/**
 * What a link publishes by the user's client, and whether what Redis answers can be believed: that nobody has heard it, or
 * fewer than before. What is certain to have reached nobody is given back, to be published again.
 */

const { Audiences } = require("./audiences");
const { UnheardError } = require("../clients/shard-publisher");
const { SHARD } = require("../clients/client");
const { Echoes } = require("./echoes");
const { messageOf } = require("./hold");
const { Returns } = require("./returns");
const { Unheard } = require("./unheard");

/** How long others may take to listen again after an outage, in milliseconds. */
const GAP = 5000;

class Publisher {
  #clients;
  #subscriptions;
  #events;
  #returns;
  #audiences;
  #echoes = new Echoes();
  /** How often a connection of the clients has broken. */
  #breaks = 0;
  /** Publishes that the client has not answered for. */
  #sending = 0;
  /** Those of them that it was given before a connection broke. */
  #carriedOver = 0;
  /** Those of them of which it is not known yet whether they go again. @type {Set<Promise<boolean>>} */
  #judging = new Set();
  #unheard = new Unheard();
  #up = false;
  #upSince = -Infinity;
  /** Until then others may not listen again to what they have listened to. */
  #troubledUntil = 0;

  /**
   * @param {import("../clients").Clients} clients
   * @param {import("./subscriptions").Subscriptions} subscriptions of the same link
   * @param {object} events
   * @param {() => void} events.onReturn something will be given back: what comes is to wait
   * @param {() => void} events.onTaken Redis has taken a publish
   * @param {(error: any, channel: string) => boolean} events.holdsFor whether an error says that Redis takes it later
   * @param {() => void} events.onEarly others have missed a publish
   */
  constructor(clients, subscriptions, events) {
    this.#clients = clients;
    this.#subscriptions = subscriptions;
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

  /** They are not any more. */
  disconnected() {
    this.#up = false;
    this.broken();
  }

  /** A connection broke: what the client was given before it may publish again, by itself. */
  broken() {
    this.#breaks++;
    this.trouble();
    this.#carriedOver = this.#sending;
    if (this.#carriedOver > 0) this.#echoes.begin();
  }

  /** Others may have lost subscriptions, too. */
  trouble() {
    this.#troubledUntil = performance.now() + GAP;
  }

  /** This link has heard a message. @param {Buffer} payload */
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

  /** Resolves when as many listen as before to the channels whose audience was lost, or after a while. */
  audienceGathered() {
    return this.#audiences.gathered();
  }

  /** Resolves when it is known of all publishes so far whether they go again. */
  async judged() {
    while (this.#judging.size > 0) {
      await Promise.all(this.#judging);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /**
   * Publishes, and resolves to how many have received it; rejects with an `UnheardError` if it has to go again.
   *
   * Nobody cannot be true of a channel of a shard that this link listens to, or has until a moment ago: the subscriptions
   * to it are on their way to another node, those of the others too. Unless they are there already, and what publishes
   * has not followed: then the nodes have handed it on. Nor is it true of a single Redis right after an outage, of which
   * a client of ioredis, for one, first sends again what was in flight.
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
      this.#events.onTaken();
      if (breaks !== this.#breaks && this.#clients.hearsAll)
        return await this.#judge(channel, bytes, toCount(receivers));
      if (receivers > 0) {
        if (this.#clients.hearsAll || this.#clients.space === "shard") this.#noteAudience(channel, receivers);
        this.#unheard.isProven ||= wanted?.holds ?? this.#subscriptions.listensTo(channel);
        return receivers;
      }
      const isFalse =
        wanted === undefined ? this.#isGap() && this.#subscriptions.listensTo(channel) : wanted.since >= 0;
      if (!isFalse || !this.#unheard.isDoubtful(channel, bytes)) {
        // Those who are on their way from node to node have missed it; one that listens at a replica has not, and would
        // hear it twice.
        if (this.#isShort(channel, 0)) this.#events.onEarly();
        return receivers;
      }
    } catch (error) {
      if (this.#events.holdsFor(error, channel)) throw new UnheardError(messageOf(error), false);
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
   * Takes what Redis has answered for a publish that the client was given before a connection broke. The client may have
   * sent it again, when some were back and others were not: it goes again if nobody else has heard it, and is counted if
   * somebody has, who would get it twice.
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
    const isCounted = listens && this.#unheard.isProven;
    if (isCounted && (receivers === 0 || (receivers === 1 && (await this.#hasEchoed(bytes)))))
      throw new UnheardError("nobody else has heard it", false);
    if (receivers < size) this.#events.onEarly();
    return receivers;
  }

  /**
   * Some have heard what was published. Those who listened to the channel of a shard before its node was lost are back one
   * by one: who is missing yet has missed it, unless he has left the room just then.
   *
   * @param {string} channel
   * @param {number} receivers
   */
  #noteAudience(channel, receivers) {
    // What comes next is held against the same number.
    if (this.#isShort(channel, receivers)) this.#events.onEarly();
    else this.#audiences.heard(channel, receivers);
  }

  /**
   * Whether more have listened to the channel of a shard before a node was lost.
   *
   * @param {string} channel
   * @param {number} receivers
   */
  #isShort(channel, receivers) {
    const isTroubled = this.#clients.space === "shard" && performance.now() < this.#troubledUntil;
    return isTroubled && receivers < this.#audiences.sizeOf(channel, null);
  }

  /** Whether this link has heard a message itself. @param {Buffer | string} bytes */
  async #hasEchoed(bytes) {
    const heard = this.#echoes.has(bytes);
    this.#judging.add(heard);
    return heard.finally(() => this.#judging.delete(heard));
  }

  /** @param {string} channel */
  #lostAudience(channel) {
    this.trouble();
    // Who listens by a pattern is not counted by the channel: Rust looks for those.
    if (this.#clients.space === "shard") this.#audiences.lost(channel);
  }

  /** Whether there is an outage, or was one a moment ago, after which others may not listen yet. */
  #isGap() {
    return this.#clients.hearsAll && (!this.#up || performance.now() - this.#upSince < GAP);
  }
}

/** What a client says how many there are, if it does. @param {unknown} count */
function toCount(count) {
  return typeof count === "number" || typeof count === "string" ? Number(count) || 0 : 0;
}

module.exports = { Publisher, toCount };
