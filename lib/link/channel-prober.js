// @ts-check
"use strict";

/**
 * Checks whether the subscriptions of the user's cluster client still receive messages.
 *
 * The client only knows what it has asked for. It misreads a node that withdraws a subscription while it asks for another.
 * A channel that it moves by itself counts as subscribed before Redis has confirmed that. So each channel is proven by what
 * is received on it: any message, or else a probe, which every server ignores. One probe proves the channel for all servers
 * that receive it.
 *
 * Nodes withdraw and take over whole slots. So after trouble one channel of each slot is probed first. If nothing is received
 * on it, the others of its slot are next. All are probed in the end: a misread reply costs a single channel.
 */

const { slotOf } = require("../base/native");

/** The interval between two looks at the channels, in milliseconds. */
const LOOK_EVERY = 250;

/** The most probes that one look sends. */
const PROBES_PER_LOOK = 50;

/**
 * How long a channel may be silent before it is probed, in milliseconds: in quiet times, and after trouble. A random part,
 * up to as long again, is added: the probe of the first server proves the channel for the others, too.
 */
const SILENCE = Object.freeze({ calm: 10_000, troubled: 1000 });

/** How long the nodes of a cluster may go on changing their roles after trouble, in milliseconds. */
const TROUBLE = 15_000;

/**
 * How many looks a probe may take. Looks are counted rather than time: an event loop that was blocked has read nothing.
 * Each time that the channel is found deaf, the number doubles for it.
 */
const PATIENCE = Object.freeze({ first: 16, most: 240 });

/** How often in a row Redis has to count no subscriber to be believed at once. */
const DESERTED = 2;

/**
 * How many channels of a connection have to be found deaf in a row to give up all channels of it. Nothing may have been
 * received by the connection since they were probed, nor for as long as a probe may take.
 */
const DEAF_CONNECTION = 10;

/** What every member passes over. */
const PROBE = JSON.stringify({ type: 0 });
const PROBE_BYTES = Buffer.from(PROBE);

/** The subscribed channels of a slot. */
class Slot {
  /** @type {Set<ProbedChannel>} */
  channels = new Set();
  /** The last trouble after which one of its channels was probed first. */
  wasFirstIn = 0;
  /** The last trouble in which one of its channels was deaf. */
  wasSuspectIn = 0;

  /** @param {number} number */
  constructor(number) {
    this.number = number;
  }
}

/** A subscribed channel, and what is known of it. */
class ProbedChannel {
  /** Whether something was received since the last look. */
  wasHeard = false;
  /** Whether the client says that it is subscribed. */
  holds = true;
  /** The queue that it is in. @type {Set<ProbedChannel> | null} */
  queue = null;
  /** Looks since the probe was answered, or sent; negative if none is on its way. */
  looks = -1;
  /** When the last probe was sent. */
  askedAt = -Infinity;
  /** The number of the last probe: answers to earlier ones are ignored. */
  number = 0;
  isAnswered = false;
  /** How often in a row Redis has counted no subscriber. */
  deserted = 0;
  /** @type {number} */
  patience = PATIENCE.first;
  #luck = 1 + Math.random();

  /** @param {string} channel @param {Slot} slot @param {number} now */
  constructor(channel, slot, now) {
    this.channel = channel;
    this.slot = slot;
    /** When it was last proven. */
    this.provenAt = now;
  }

  /** When it is to be probed. @param {number} silence the shortest that is accepted */
  dueAt(silence) {
    return this.provenAt + silence * this.#luck;
  }

  /** Moves it to another queue, or out of all. @param {Set<ProbedChannel> | null} queue */
  moveTo(queue) {
    this.queue?.delete(this);
    queue?.add(this);
    this.queue = queue;
  }

  /** The probe is not waited for any more. */
  end() {
    this.looks = -1;
    this.number++;
  }

  /** Something was received. @param {number} heardAt at the earliest */
  prove(heardAt) {
    this.wasHeard = false;
    this.end();
    this.deserted = 0;
    this.patience = PATIENCE.first;
    this.provenAt = Math.max(this.provenAt, heardAt);
    this.#luck = 1 + Math.random();
  }
}

class ChannelProber {
  #isUp;
  #publish;
  #placeOf;
  #onDeaf;
  /** By channel. @type {Map<string, ProbedChannel>} */
  #channels = new Map();
  /** By number. @type {Map<number, Slot>} */
  #slots = new Map();
  /** Those on which something was received since the last look. @type {Set<ProbedChannel>} */
  #heard = new Set();
  /** Those whose probe is on its way. @type {Set<ProbedChannel>} */
  #asked = new Set();
  /** Those that are probed before all others: Redis counts no subscriber, or a channel of their slot is deaf. @type {Set<ProbedChannel>} */
  #suspects = new Set();
  /** Those that are probed next: one of each slot. @type {Set<ProbedChannel>} */
  #first = new Set();
  /** The others that are to be probed. @type {Set<ProbedChannel>} */
  #others = new Set();
  /**
   * Those that are not to be probed yet, by the number of the look that checks them again. By then something may have come
   * in. @type {Map<number, Set<ProbedChannel>>}
   */
  #later = new Map();
  /** When something was last received by a connection, by its node. @type {Map<string | null, number>} */
  #heardAt = new Map();
  /** How many channels of a connection were found deaf since, by its node. @type {Map<string, number>} */
  #deaf = new Map();
  /** Whether one client has ever received what the other published. */
  #isProven = false;
  #troubledUntil = -Infinity;
  /** How often trouble has begun. */
  #troubles = 0;
  #lookedAt = -Infinity;
  /** How long no probe is sent since one could not be published, and until when, in milliseconds. */
  #pause = 0;
  #pausedUntil = -Infinity;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /**
   * @param {object} way
   * @param {() => boolean} way.isUp whether the clients are connected
   * @param {(channel: string, payload: string) => Promise<number>} way.publish resolves to the number of receivers
   * @param {(channel: string) => string | null} way.placeOf the node to which the connection is that listens to a channel
   * @param {(channel: string) => void} way.onDeaf a channel is not heard
   */
  constructor({ isUp, publish, placeOf, onDeaf }) {
    this.#isUp = isUp;
    this.#publish = publish;
    this.#placeOf = placeOf;
    this.#onDeaf = onDeaf;
  }

  /** The client is subscribed to a channel, as it says. @param {string} channel */
  listens(channel) {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
    const now = performance.now();
    const probed = this.#channels.get(channel);
    if (probed === undefined) {
      const fresh = new ProbedChannel(channel, this.#slotOf(channel), now);
      this.#channels.set(channel, fresh);
      fresh.slot.channels.add(fresh);
      if (this.#isProven) this.#defer(fresh, now);
      else this.#queue(fresh, now);
      return;
    }
    probed.holds = true;
    this.#queue(probed, now);
  }

  /** @param {string} channel */
  #slotOf(channel) {
    const number = slotOf(channel);
    let slot = this.#slots.get(number);
    if (slot === undefined) this.#slots.set(number, (slot = new Slot(number)));
    return slot;
  }

  /**
   * The client is not subscribed for the moment, as it says. Returns for how long nothing may have been received already, in
   * milliseconds: 0 unless a probe is missing.
   *
   * @param {string} channel
   */
  loses(channel) {
    this.probeSoon();
    const probed = this.#channels.get(channel);
    if (probed === undefined) return 0;
    const isSilent = probed.holds && probed.looks >= 0 && !probed.wasHeard;
    probed.holds = false;
    probed.deserted = 0;
    probed.end();
    probed.moveTo(null);
    return isSilent ? performance.now() - probed.provenAt : 0;
  }

  /** For how long nothing may have been received on a channel, in milliseconds: since it was last proven. @param {string} channel */
  silenceOf(channel) {
    const probed = this.#channels.get(channel);
    return probed === undefined ? 0 : performance.now() - probed.provenAt;
  }

  /** A channel is not wanted any more. @param {string} channel */
  forget(channel) {
    const probed = this.#channels.get(channel);
    if (probed === undefined) return;
    probed.end();
    probed.moveTo(null);
    this.#heard.delete(probed);
    this.#channels.delete(channel);
    probed.slot.channels.delete(probed);
    if (probed.slot.channels.size === 0) this.#slots.delete(probed.slot.number);
  }

  /** Subscriptions may have moved, or be lost: the channels are probed soon. */
  probeSoon() {
    const now = performance.now();
    const isNew = now >= this.#troubledUntil;
    this.#troubledUntil = now + TROUBLE;
    if (!isNew) return;
    this.#troubles++;
    const deferred = [...this.#later.values()];
    this.#later.clear();
    for (const channels of deferred) for (const probed of channels) this.#defer(probed, now);
  }

  /**
   * A message was received. Returns whether it is a probe, which nobody else is to see.
   *
   * @param {Buffer | string} channel
   * @param {Buffer} payload
   */
  hears(channel, payload) {
    const probed = this.#channels.get(channel.toString());
    if (probed !== undefined && !probed.wasHeard) {
      probed.wasHeard = true;
      this.#heard.add(probed);
    }
    return payload.length === PROBE_BYTES.length && payload.equals(PROBE_BYTES);
  }

  /** Stops probing. */
  stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const channel of [...this.#channels.keys()]) this.forget(channel);
  }

  #look() {
    const now = performance.now();
    // In an outage no probe is answered.
    const isUp = this.#isUp();
    for (const probed of this.#heard) this.#prove(probed, now);
    this.#heard.clear();
    // One that is given up together with its connection leaves the set before its turn.
    for (const probed of this.#asked) {
      if (isUp) this.#await(probed, now);
      else this.#defer(probed, now);
    }
    this.#lookedAt = now;
    if (!isUp) return;
    this.#queueSilent(now);
    if (now >= this.#pausedUntil) this.#askSome();
  }

  /** Something was received, at some time since the last look. @param {ProbedChannel} probed @param {number} now */
  #prove(probed, now) {
    this.#isProven = true;
    this.#heardAt.set(this.#placeOf(probed.channel), now);
    const isDeferred = !this.#isDue(probed) && probed.looks < 0;
    probed.prove(this.#lookedAt);
    // The look that it waits for sees that.
    if (probed.holds && !isDeferred) this.#defer(probed, now);
  }

  /** @param {ProbedChannel} probed */
  #isDue(probed) {
    return [this.#suspects, this.#first, this.#others].some((queue) => queue === probed.queue);
  }

  /** How long a channel may be silent. @param {number} now */
  #silenceAt(now) {
    return now < this.#troubledUntil ? SILENCE.troubled : SILENCE.calm;
  }

  /** Waits until the channel has been silent for long enough. @param {ProbedChannel} probed @param {number} now */
  #defer(probed, now) {
    probed.end();
    const look = Math.ceil(probed.dueAt(this.#silenceAt(now)) / LOOK_EVERY);
    let channels = this.#later.get(look);
    if (channels === undefined) this.#later.set(look, (channels = new Set()));
    probed.moveTo(channels);
  }

  /** Queues a channel to be probed. After trouble, one of each slot goes first. @param {ProbedChannel} probed @param {number} now */
  #queue(probed, now) {
    probed.end();
    const goesFirst = now < this.#troubledUntil && probed.slot.wasFirstIn !== this.#troubles;
    if (goesFirst) probed.slot.wasFirstIn = this.#troubles;
    probed.moveTo(goesFirst ? this.#first : this.#others);
  }

  /** Queues the channels that have been silent for too long. @param {number} now */
  #queueSilent(now) {
    for (const [look, channels] of this.#later) {
      if (look * LOOK_EVERY > now) continue;
      this.#later.delete(look);
      for (const probed of channels) {
        if (probed.dueAt(this.#silenceAt(now)) <= now) this.#queue(probed, now);
        else this.#defer(probed, now);
      }
    }
  }

  #askSome() {
    let probes = PROBES_PER_LOOK;
    for (const queue of [this.#suspects, this.#first, this.#others]) {
      for (const probed of queue) {
        if (probes-- === 0) return;
        this.#ask(probed);
      }
    }
  }

  /** @param {ProbedChannel} probed */
  #ask(probed) {
    probed.moveTo(this.#asked);
    probed.isAnswered = false;
    probed.looks = 0;
    probed.askedAt = performance.now();
    const number = ++probed.number;
    this.#publish(probed.channel, PROBE).then(
      (receivers) => {
        this.#pause = 0;
        if (probed.number !== number) return;
        probed.isAnswered = true;
        probed.looks = 0;
        if (Number(receivers) > 0) probed.deserted = 0;
        // The subscription may be moving: the channel is probed once more.
        else if (++probed.deserted < DESERTED) {
          probed.end();
          probed.moveTo(this.#suspects);
        }
      },
      (error) => {
        this.#rest(error);
        // The client that publishes has failed, not the one that is subscribed.
        if (probed.number === number) this.#queue(probed, performance.now());
      },
    );
  }

  /** Probes less often while nothing can be published; never again, if that is not allowed. @param {any} error */
  #rest(error) {
    if (String(error?.message).startsWith("NOPERM")) this.#pausedUntil = Infinity;
    const now = performance.now();
    if (now < this.#pausedUntil) return;
    this.#pause = Math.min(Math.max(2 * this.#pause, LOOK_EVERY), SILENCE.troubled);
    this.#pausedUntil = now + this.#pause;
  }

  /** @param {ProbedChannel} probed @param {number} now */
  #await(probed, now) {
    // The client that publishes may be slow, which says nothing about the one that is subscribed.
    if (!probed.isAnswered) return void (++probed.looks > PATIENCE.most && this.#queue(probed, now));
    if (++probed.looks <= probed.patience && probed.deserted < DESERTED) return;
    probed.deserted = 0;
    if (this.#isProven) return this.#find(probed, now);
    // If one client has never received what the other published, they may be at different clusters: that is no loss.
    probed.provenAt = now;
    this.#defer(probed, now);
  }

  /** A channel is found deaf. @param {ProbedChannel} probed @param {number} now */
  #find(probed, now) {
    const place = this.#placeOf(probed.channel);
    this.#suspect(probed.slot);
    this.#giveUp(probed, now);
    if (place === null) return;
    // A slot that moves has no subscribers at once. Other channels of the connection may just be silent for a moment.
    const since = Math.min(probed.askedAt, now - PATIENCE.first * LOOK_EVERY);
    const isConnectionHeard = (this.#heardAt.get(place) ?? -Infinity) >= since;
    const count = isConnectionHeard ? 0 : (this.#deaf.get(place) ?? 0) + 1;
    this.#deaf.set(place, count);
    if (count < DEAF_CONNECTION) return;
    this.#deaf.delete(place);
    for (const other of [...this.#channels.values()])
      if (other.holds && !other.wasHeard && this.#placeOf(other.channel) === place) this.#giveUp(other, now);
  }

  /** @param {ProbedChannel} probed @param {number} now */
  #giveUp(probed, now) {
    probed.patience = Math.min(probed.patience * 2, PATIENCE.most);
    probed.moveTo(this.#asked);
    probed.looks = Math.max(probed.looks, 0);
    this.#onDeaf(probed.channel);
    // The carrier may not be able to do anything about it now.
    if (probed.queue === this.#asked) this.#defer(probed, now);
  }

  /** A channel is deaf: the others of its slot are probed before those of other slots. @param {Slot} slot */
  #suspect(slot) {
    this.probeSoon();
    if (slot.wasSuspectIn === this.#troubles) return;
    slot.wasSuspectIn = this.#troubles;
    for (const probed of slot.channels) if (probed.holds && probed.looks < 0) probed.moveTo(this.#suspects);
  }
}

module.exports = { ChannelProber, PROBE };
