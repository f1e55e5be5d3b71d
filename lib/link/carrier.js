// @ts-check
"use strict";

/**
 * The user's own clients carry the bytes of a link. What Rust wants done comes as records; a publish that nothing
 * waits for goes to the client in the same tick.
 */

const { Audiences } = require("./audiences");
const { CHANNEL, PATTERN, SHARD, keyOf } = require("../clients/client");
const { encodeReply, encodeRefusal, isRefusal } = require("../clients/resp");
const { UnheardError } = require("../clients/shard-publisher");
const { Echoes } = require("./echoes");
const { Hearing } = require("./hearing");
const { KIND } = require("./inbox");
const { isTakenLater } = require("../base/native");
const { Returns } = require("./returns");
const { SignsOfLife } = require("./signs-of-life");
const { Unheard } = require("./unheard");

/** How long a subscription that failed waits for its next attempt, in milliseconds: doubled each time. */
const RETRY = Object.freeze({ first: 50, most: 2000 });

/** How long what Redis takes later waits until it is asked whether it does, in milliseconds: doubled each time. */
const HOLD = Object.freeze({ first: 25, most: 1000 });

/** How often Rust hears that there are publishes, in milliseconds: it counts the peers then. */
const TELL_EVERY = 200;

/** So many messages of the client are handed over before what came of earlier ones is handed on. */
const DRAIN_EVERY = 32;

const NOT_CONNECTED = "the client is not connected";

/** How long others may take to listen again after an outage, in milliseconds. */
const GAP = 5000;

const LOST = "the client has lost the subscription";

const DEAF = "the client is subscribed, as it says, and hears nothing";

const MUTE = "the node that the client listens to does not answer";

const OVERTAKES = "what was to be added before is lost";

/** With what Rust looks at a stream before it adds to it again. */
const LOOKS = new Set(["XRANGE", "XREVRANGE"]);

/**
 * @typedef {import("../../binding").Link} NativeLink
 *
 * @typedef {object} Wanted
 * @property {number} kind
 * @property {string} name
 * @property {number} delay before the next attempt, in milliseconds
 * @property {boolean} holds
 * @property {boolean} isForeseen Rust has not asked for it yet
 * @property {number} since when it has held last; never, if negative
 */

class Carrier {
  /** @type {import("../clients").Clients} */
  #clients;
  /** @type {NativeLink} */
  #native;
  #events;
  /** Messages handed over since Rust's were last handed on. */
  #handedOver = 0;
  #returns;
  #audiences;
  #echoes = new Echoes();
  /** If the client does not know whether its subscriptions hold. @type {Hearing | null} */
  #hearing = null;
  /** The same for the connection that has all global channels. @type {SignsOfLife | null} */
  #life = null;
  /**
   * The channel by which it is proven that this connection brings something; null while none is subscribed to on which a
   * probe means nothing to anybody. Those of shards are each proven by themselves.
   *
   * @type {string | null}
   */
  #lead = null;
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
  /** Redis has refused what it takes later: until it is asked again. @type {NodeJS.Timeout | null} */
  #hold = null;
  /** @type {number} */
  #holdDelay = HOLD.first;
  /** The clients are on their first way to Redis. */
  #first = true;
  #stopped = false;
  /** The subscriptions that Rust wants. @type {Map<string, Wanted>} */
  #wanted = new Map();
  /** The patterns among them, by how the channels begin that they mean. @type {Map<string, Wanted>} */
  #patterns = new Map();
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
    this.#returns = new Returns(events.onHold);
    this.#audiences = new Audiences((channels) => clients.count(channels));
    if (clients.needsProof) {
      this.#hearing = new Hearing({
        isUp: () => {
          // What comes in by another connection proves nothing of the one before. A look passes all subscriptions, of which
          // there is one for each room where shards are listened to: there the client's own look has to do.
          if (clients.space === "global") clients.look();
          return this.#up;
        },
        // What a node answers counts those that listen at it, and another one may be listened at.
        publish: (channel, probe) =>
          clients.publish(channel, probe).then((receivers) => (clients.space === "shard" ? receivers : 1)),
        placeOf: (channel) => clients.placeOf(SHARD, channel),
        onDeaf: (channel) => this.#deafen(channel),
      });
      clients.onTrouble(() => this.#hearing?.doubt());
      if (clients.space !== "shard") this.#life = this.#followLife();
    }
    clients.begin();
    clients.onLost((kind, name) => this.#lose(this.#wanted.get(keyOf(kind, name))));
    this.clientsChanged();
  }

  /**
   * Whether the clients take what is published. On their first way to Redis they queue it, as with the reference; in
   * an outage the backlog of the link, which waits for the other members too, is the better place.
   */
  get takes() {
    return (this.#up && this.#hold === null) || (this.#first && this.#clients.queues());
  }

  /** Tells Rust whether the clients are connected. */
  clientsChanged() {
    const up = this.#clients.isReady();
    if (up === this.#up) return;
    this.#first = false;
    this.#up = up;
    this.#endHold();
    if (up) this.#upSince = performance.now();
    if (up && this.#breaks > 0) this.#troubledUntil = this.#upSince + GAP;
    if (up) return this.#native.clientUp();
    this.#break();
    // The connection that has all global channels was last known to live before this was seen: the gap begins then.
    if (this.#life !== null) this.#clients.look();
    // They may be back before Rust has said that what comes is to wait for the others.
    this.#events.onHold();
    this.#native.clientDown(NOT_CONNECTED);
  }

  /** A connection broke: what the client was given before it may publish again, by itself. */
  #break() {
    this.#breaks++;
    this.#troubledUntil = performance.now() + GAP;
    this.#hearing?.doubt();
    this.#carriedOver = this.#sending;
    if (this.#carriedOver > 0) this.#echoes.begin();
  }

  /** A client has lost its connection, or could not make one. */
  clientsFailed() {
    if (this.#first) this.#native.clientDown(NOT_CONNECTED);
    this.#first = false;
    this.#break();
    this.clientsChanged();
  }

  /** Nothing more is to be done, nor reported. */
  stop() {
    this.#stopped = true;
    this.#endHold();
    this.#echoes.end();
    this.#hearing?.stop();
    this.#life?.stop();
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
    this.counts.published++;
    const again = () => {
      if (this.#stopped) return void this.counts.refused++;
      this.counts.published--;
      this.#events.onHandedOver();
      this.#native.publishAgain(Buffer.from(channel), Buffer.from(bytes));
    };
    this.#follow(this.#returns.publish(() => this.#send(channel, bytes), again));
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
        this.#taken();
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

  /** @param {number} returned how many Rust knew to be returned @param {string} channel @param {Buffer} bytes */
  #carry(returned, channel, bytes) {
    // It would overtake those that Rust does not know of yet; or the client would queue it, and send it before the others
    // listen again, since Rust did not know yet that it is not connected.
    const goes = returned === this.#returns.count && this.takes;
    const send = goes ? () => this.#send(channel, bytes) : null;
    const again = () => this.#native.clientReturned(Buffer.from(channel), bytes);
    this.#returns.publish(send, again).then(
      (receivers) => receivers === null || this.#native.clientPublished(toCount(receivers)),
      (error) => this.#native.clientPublishFailed(messageOf(error)),
    );
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
    const wanted = this.#wanted.get(keyOf(SHARD, channel));
    const [sentAt, breaks] = [performance.now(), this.#breaks];
    this.#sending++;
    try {
      const receivers = await this.#clients.publish(channel, bytes);
      this.#taken();
      if (breaks !== this.#breaks && this.#clients.hearsAll)
        return await this.#judge(channel, bytes, toCount(receivers));
      if (receivers > 0) {
        if (this.#clients.hearsAll || this.#clients.space === "shard") this.#noteAudience(channel, receivers);
        this.#unheard.isProven ||= wanted?.holds ?? this.#listensTo(channel);
        return receivers;
      }
      const isFalse = wanted === undefined ? this.#isGap() && this.#listensTo(channel) : wanted.since >= 0;
      if (!isFalse || !this.#unheard.isDoubtful(channel, bytes)) {
        // Those who are on their way from node to node have missed it; one that listens at a replica has not, and would
        // hear it twice.
        if (this.#isShort(channel, 0)) this.counts.early++;
        return receivers;
      }
    } catch (error) {
      if (this.#holdsFor(error, channel)) throw new UnheardError(messageOf(error), false);
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
   * Whether an error says that Redis takes later what it has refused. Nothing more is given to the clients then, until
   * Redis counts: it refuses that as well.
   *
   * @param {any} error
   * @param {string} channel that it was published on
   */
  #holdsFor(error, channel) {
    if (!isPassing(error)) return false;
    if (this.#hold === null && this.#up) {
      this.#rest(channel);
      this.#events.onHold();
      this.#native.clientHeld(messageOf(error));
    }
    return true;
  }

  /** @param {string} channel */
  #rest(channel) {
    this.#hold = setTimeout(async () => {
      const hold = this.#hold;
      const isHeld = await this.#clients.count([channel]).then(() => false, isPassing);
      if (this.#hold !== hold) return;
      if (isHeld) return this.#rest(channel);
      this.#hold = null;
      this.#native.clientUp();
    }, this.#holdDelay);
    this.#hold.unref();
    this.#holdDelay = Math.min(this.#holdDelay * 2, HOLD.most);
  }

  /** Redis has taken something: the next time that it refuses begins anew. */
  #taken() {
    if (this.#hold === null) this.#holdDelay = HOLD.first;
  }

  #endHold() {
    if (this.#hold !== null) clearTimeout(this.#hold);
    this.#hold = null;
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
    const beginning = this.#beginningOf(channel);
    const isAlike = beginning === null ? null : (/** @type {string} */ name) => name.startsWith(beginning);
    const size = this.#audiences.sizeOf(channel, isAlike);
    if (receivers > 0 && receivers >= size) return receivers;
    const listens = this.#listensTo(channel) || (this.#wanted.get(keyOf(SHARD, channel))?.since ?? -1) >= 0;
    const isCounted = listens && this.#unheard.isProven;
    if (isCounted && (receivers === 0 || (receivers === 1 && (await this.#hasEchoed(bytes)))))
      throw new UnheardError("nobody else has heard it", false);
    if (receivers < size) this.counts.early++;
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
    if (this.#isShort(channel, receivers)) this.counts.early++;
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
    this.#troubledUntil = performance.now() + GAP;
    // Who listens by a pattern is not counted by the channel: Rust looks for those.
    if (this.#clients.space === "shard") this.#audiences.lost(channel);
  }

  /** Whether there is an outage, or was one a moment ago, after which others may not listen yet. */
  #isGap() {
    return this.#clients.hearsAll && (!this.#up || performance.now() - this.#upSince < GAP);
  }

  /** Whether this link has listened to a channel of all. @param {string} channel */
  #listensTo(channel) {
    return (
      (this.#wanted.get(keyOf(CHANNEL, channel))?.since ?? -1) >= 0 || this.#beginningOf(channel) !== null
    );
  }

  /**
   * How all channels begin that belong to the same pattern as this one, if this link has listened to it by a pattern.
   *
   * @param {string} channel
   */
  #beginningOf(channel) {
    // A pattern of ours means what begins alike, up to a "#".
    for (let end = channel.indexOf("#"); end >= 0; end = channel.indexOf("#", end + 1)) {
      const beginning = channel.slice(0, end + 1);
      if ((this.#patterns.get(beginning)?.since ?? -1) >= 0) return beginning;
    }
    return null;
  }

  /**
   * Rust will want a channel of a shard, or no longer so: subscribes before what is published in the same tick goes out.
   *
   * @param {string} name
   * @param {boolean} present
   */
  foresee(name, present) {
    const wanted = this.#wanted.get(keyOf(SHARD, name));
    if (present && wanted === undefined) this.#add(SHARD, name, true);
    // What came and went in one tick Rust never asks for.
    else if (!present && wanted?.isForeseen) this.#forget(SHARD, name);
  }

  /** @param {number} kind @param {string} name */
  #want(kind, name) {
    const wanted = this.#wanted.get(keyOf(kind, name));
    if (!wanted?.isForeseen) return this.#add(kind, name, false);
    wanted.isForeseen = false;
    if (wanted.holds) this.#native.clientSubscribed(kind, Buffer.from(name));
  }

  /** @param {number} kind @param {string} name @param {boolean} isForeseen */
  #add(kind, name, isForeseen) {
    const wanted = { kind, name, delay: RETRY.first, holds: false, since: -1, isForeseen };
    this.#wanted.set(keyOf(kind, name), wanted);
    if (kind === PATTERN) this.#patterns.set(beginningOf(name), wanted);
    this.#subscribe(wanted);
  }

  /** @param {number} kind @param {string} name */
  #forget(kind, name) {
    this.#wanted.delete(keyOf(kind, name));
    if (kind === PATTERN) this.#patterns.delete(beginningOf(name));
    if (kind === SHARD) this.#hearing?.forget(name);
    else if (kind === CHANNEL && name === this.#lead) this.#changeLead();
    this.#unsubscribe(kind, name, RETRY.first);
  }

  /** Lets Redis forget a subscription, also if that is to be tried again. @param {number} kind @param {string} name @param {number} delay */
  #unsubscribe(kind, name, delay) {
    this.#clients.unsubscribe(kind, name).catch((error) => {
      if (!isPassing(error)) return;
      const again = () => {
        if (this.#stopped || this.#wanted.has(keyOf(kind, name))) return;
        this.#unsubscribe(kind, name, Math.min(delay * 2, RETRY.most));
      };
      setTimeout(again, delay).unref();
    });
  }

  /** The channel that proves the connection is not wanted any more: another one is to, if there is one. */
  #changeLead() {
    if (this.#lead !== null) this.#hearing?.forget(this.#lead);
    this.#lead = null;
    for (const { kind, name, holds } of this.#wanted.values()) if (holds) this.#listens(kind, name);
  }

  /** A subscription holds. @param {number} kind @param {string} name */
  #listens(kind, name) {
    if (this.#lead === null && kind === CHANNEL && this.#events.isOwn(name)) this.#lead = name;
    if (kind === SHARD || name === this.#lead) this.#hearing?.listens(name);
  }

  /**
   * Something has come in. Returns whether it is a probe.
   *
   * @param {number} by the kind of the subscription
   * @param {Buffer} channel
   * @param {Buffer} payload
   */
  #hears(by, channel, payload) {
    if (this.#hearing === null) return false;
    if (by === SHARD) return this.#hearing.hears(channel, payload);
    return this.#lead !== null && this.#hearing.hears(this.#lead, payload);
  }

  /** Whether it is to be made yet: meanwhile Rust may have changed its mind, even twice. @param {Wanted} wanted */
  #isWanted(wanted) {
    return !this.#stopped && this.#wanted.get(keyOf(wanted.kind, wanted.name)) === wanted;
  }

  /** @param {Wanted} wanted */
  #subscribe(wanted) {
    if (!this.#isWanted(wanted)) return;
    const { kind, name } = wanted;
    const askedAt = performance.now();
    this.#clients
      .subscribe(kind, name, (by, glob, channel, payload) => {
        if (this.#hears(by, channel, payload)) return;
        this.#echoes.heard(payload);
        this.#native.clientMessage(by, glob, channel, payload);
        // The client cannot be told to read less; but it does, while what came before is worked off.
        if (++this.#handedOver % DRAIN_EVERY === 0) this.#events.drain();
      })
      .then(
        () => {
          if (!this.#isWanted(wanted)) return;
          wanted.delay = RETRY.first;
          wanted.holds = true;
          wanted.since = performance.now();
          this.#life?.begin(askedAt);
          this.#listens(kind, name);
          if (!wanted.isForeseen) this.#native.clientSubscribed(kind, Buffer.from(name));
        },
        (error) => {
          if (!this.#isWanted(wanted)) return;
          this.#native.clientSubscribeFailed(messageOf(error));
          this.#again(wanted);
        },
      );
  }

  /**
   * What is published on a channel does not come in, though the client says that it is subscribed to.
   *
   * @param {string} channel
   */
  #deafen(channel) {
    if (this.#clients.space !== "shard") return void (this.#up && this.#deafenAll(DEAF));
    const wanted = this.#wanted.get(keyOf(SHARD, channel));
    if (wanted === undefined || !wanted.holds || !this.#up) return;
    this.#clients.mistrust(SHARD, channel);
    this.#lose(wanted, DEAF);
  }

  /** Nothing comes in by the connection that has all global channels. @param {string} reason */
  #deafenAll(reason) {
    this.#clients.listenElsewhere();
    for (const wanted of this.#wanted.values()) if (wanted.holds) this.#lose(wanted, reason);
  }

  #followLife() {
    return new SignsOfLife({
      ask: () => {
        // What another connection answers says nothing of the one before.
        this.#clients.look();
        return this.#clients.askListening()?.then(() => this.#clients.look()) ?? null;
      },
      onMute: () => this.#deafenAll(MUTE),
    });
  }

  /**
   * The client has lost a subscription, and does not make it anew by itself.
   *
   * @param {Wanted | undefined} wanted
   * @param {string} [reason]
   */
  #lose(wanted, reason = LOST) {
    if (wanted === undefined) return;
    const silence = this.#loses(wanted, reason);
    this.#troubledUntil = performance.now() + GAP;
    // What is published meanwhile waits for the other members, who may have lost theirs.
    if (wanted.holds && !wanted.isForeseen)
      this.#native.clientLost(wanted.kind, Buffer.from(wanted.name), reason, Math.ceil(silence));
    wanted.holds = false;
    this.#again(wanted);
  }

  /**
   * How long nothing may have come in already by a subscription that is lost, in milliseconds.
   *
   * @param {Wanted} wanted
   * @param {string} reason
   */
  #loses({ kind, name }, reason) {
    if (this.#hearing === null) return 0;
    if (kind === SHARD) return this.#hearing.loses(name);
    const silence = reason === DEAF ? this.#hearing.silenceOf(String(this.#lead)) : this.#life?.silence;
    if (name === this.#lead) this.#hearing.loses(name);
    return silence ?? 0;
  }

  /** Makes a subscription anew that failed or is lost. @param {Wanted} wanted */
  #again(wanted) {
    setTimeout(() => this.#subscribe(wanted), wanted.delay).unref();
    wanted.delay = Math.min(wanted.delay * 2, RETRY.most);
  }

  /** @param {number} token @param {string} reader @param {string} key @param {Buffer[]} args */
  #run(token, reader, key, args) {
    const adds = reader === "" && String(args[0]) === "XADD";
    if (adds && this.#broken.has(key)) return this.#native.clientReplied(token, null, OVERTAKES);
    if (reader === "" && LOOKS.has(String(args[0]))) this.#broken.delete(key);
    this.#clients.command(reader, key, args).then(
      (reply) => {
        if (adds) this.#taken();
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
    await this.#audiences.gathered();
    /** @type {string | null} */
    let refusal = null;
    const counting = channels.length === 0 ? Promise.resolve([]) : this.#clients.count(channels);
    const counts = await counting.catch((error) => {
      if (isRefusal(error)) refusal = messageOf(error);
      return null;
    });
    // It publishes next, if all are there: what is to go again goes before.
    while (this.#judging.size > 0) {
      await Promise.all(this.#judging);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#native.clientCounted(token, counts, refusal);
  }
}

/** What a client says how many there are, if it does. @param {unknown} count */
function toCount(count) {
  return typeof count === "number" || typeof count === "string" ? Number(count) || 0 : 0;
}

/** How the channels begin that a glob of ours means. @param {string} glob */
function beginningOf(glob) {
  return glob.slice(0, -1).replace(/\\(.)/gs, "$1");
}

/** Whether an error is Redis' own, and says that it takes later what it has refused. @param {any} error */
function isPassing(error) {
  return isRefusal(error) && isTakenLater(messageOf(error));
}

/** @param {any} error */
function messageOf(error) {
  return String(error?.message ?? error);
}

module.exports = { Carrier };
