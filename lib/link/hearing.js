// @ts-check
"use strict";

/**
 * Whether the channels of shards that the user's client of a cluster listens to are still heard.
 *
 * The client only knows what it has asked for. A node that withdraws a subscription while the client asks for another is
 * misread, and a channel that the client moves by itself counts as subscribed before Redis has agreed. So each channel is
 * proven by what comes in on it: a message of anybody, or else a probe, which every server passes over. One probe proves
 * the channel for all servers that hear it.
 *
 * Nodes withdraw and take over slots, with all channels of a slot at once. So after trouble one channel of each slot is
 * asked before all others. If it is not heard, the others of its slot are next. All are asked in the end: a single reply
 * that is misread costs a single channel.
 */

const { PROBE } = require("./doubt");
const { slotOf } = require("../base/native");

/** How often the channels are looked at, in milliseconds. */
const LOOK_EVERY = 250;

/** So many probes go out with a look at most. */
const PROBES_PER_LOOK = 50;

/**
 * How long a channel may be silent before a probe goes out, in milliseconds: in quiet times, and after trouble. It is up to
 * twice as long, as chance has it: the probe of the first server spares the others theirs.
 */
const SILENCE = Object.freeze({ calm: 10_000, troubled: 1000 });

/** How long the nodes of a cluster may still be on their way to other roles after trouble, in milliseconds. */
const TROUBLE = 15_000;

/**
 * How many looks a probe may take. Looks are counted rather than time: an event loop that was blocked has read nothing.
 * Each verdict doubles it for its channel.
 */
const PATIENCE = Object.freeze({ first: 16, most: 240 });

/** So often in a row Redis has to say that nobody listens, to be believed at once. */
const DESERTED = 2;

/**
 * So many channels in a row have to be found not to be heard, with nothing heard by their connection since they were asked, and
 * for as long as a probe may take, to give up all channels of that connection.
 */
const DEAF_CONNECTION = 10;

const PROBE_BYTES = Buffer.from(PROBE);

/** The channels of a slot that are listened to. */
class Slot {
  /** @type {Set<Ear>} */
  ears = new Set();
  /** The last trouble after which one of its channels was put first. */
  wasFirstIn = 0;
  /** The last trouble in which one of its channels was not heard. */
  wasSuspectIn = 0;

  /** @param {number} number */
  constructor(number) {
    this.number = number;
  }
}

/** What is known of a channel. */
class Ear {
  /** Something has come in since the last look. */
  wasHeard = false;
  /** Whether the client says that it is subscribed to. */
  holds = true;
  /** Where it waits, or is waited for. @type {Set<Ear> | null} */
  queue = null;
  /** Looks since the probe was answered, or went out; negative if none is on its way. */
  looks = -1;
  /** When the last probe went out. */
  askedAt = -Infinity;
  /** Of the last probe. What is answered to others tells nothing. */
  number = 0;
  isAnswered = false;
  /** How often in a row Redis has said that nobody listens. */
  deserted = 0;
  /** @type {number} */
  patience = PATIENCE.first;
  #luck = 1 + Math.random();

  /** @param {string} channel @param {Slot} slot @param {number} now */
  constructor(channel, slot, now) {
    this.channel = channel;
    this.slot = slot;
    /** When it was last known to be heard. */
    this.provenAt = now;
  }

  /** When it is to be asked. @param {number} silence that is borne at least */
  dueAt(silence) {
    return this.provenAt + silence * this.#luck;
  }

  /** Moves it to another queue, or out of all. @param {Set<Ear> | null} queue */
  moveTo(queue) {
    this.queue?.delete(this);
    queue?.add(this);
    this.queue = queue;
  }

  /** Nothing is expected of the probe any more. */
  end() {
    this.looks = -1;
    this.number++;
  }

  /** Something has come in. @param {number} heardAt at the earliest */
  prove(heardAt) {
    this.wasHeard = false;
    this.end();
    this.deserted = 0;
    this.patience = PATIENCE.first;
    this.provenAt = Math.max(this.provenAt, heardAt);
    this.#luck = 1 + Math.random();
  }
}

class Hearing {
  #isUp;
  #publish;
  #placeOf;
  #onDeaf;
  /** By channel. @type {Map<string, Ear>} */
  #ears = new Map();
  /** By number. @type {Map<number, Slot>} */
  #slots = new Map();
  /** Those in which something has come in since the last look. @type {Set<Ear>} */
  #heard = new Set();
  /** Those of which a probe is on its way. @type {Set<Ear>} */
  #asked = new Set();
  /** Those that are to be asked before all others: nobody listens, or a channel of their slot is not heard. @type {Set<Ear>} */
  #suspects = new Set();
  /** Those that are next: one of each slot. @type {Set<Ear>} */
  #first = new Set();
  /** The others that are to be asked. @type {Set<Ear>} */
  #others = new Set();
  /**
   * Those that are not to be asked yet, by the number of the look that is to see to them. By then something may have come
   * in. @type {Map<number, Set<Ear>>}
   */
  #later = new Map();
  /** When something last came in by a connection, by its node. @type {Map<string | null, number>} */
  #heardAt = new Map();
  /** How many channels of a connection were found not to be heard since, by its node. @type {Map<string, number>} */
  #deaf = new Map();
  /** Whether what the one client publishes was ever heard by the other. */
  #isProven = false;
  #troubledUntil = -Infinity;
  /** How often trouble has begun. */
  #troubles = 0;
  #lookedAt = -Infinity;
  /** How long nothing is asked since a probe could not be published, and until when, in milliseconds. */
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

  /** The client says that it is subscribed to a channel. @param {string} channel */
  listens(channel) {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
    const now = performance.now();
    const ear = this.#ears.get(channel);
    if (ear === undefined) {
      const fresh = new Ear(channel, this.#slotOf(channel), now);
      this.#ears.set(channel, fresh);
      fresh.slot.ears.add(fresh);
      if (this.#isProven) this.#defer(fresh, now);
      else this.#queue(fresh, now);
      return;
    }
    ear.holds = true;
    this.#queue(ear, now);
  }

  /** @param {string} channel */
  #slotOf(channel) {
    const number = slotOf(channel);
    let slot = this.#slots.get(number);
    if (slot === undefined) this.#slots.set(number, (slot = new Slot(number)));
    return slot;
  }

  /**
   * The client says that it is not, for the moment. Returns how long nothing may have come in already, in milliseconds:
   * 0 unless a probe has not come back.
   *
   * @param {string} channel
   */
  loses(channel) {
    this.doubt();
    const ear = this.#ears.get(channel);
    if (ear === undefined) return 0;
    const isSilent = ear.holds && ear.looks >= 0 && !ear.wasHeard;
    ear.holds = false;
    ear.deserted = 0;
    ear.end();
    ear.moveTo(null);
    return isSilent ? performance.now() - ear.provenAt : 0;
  }

  /** How long nothing may have come in by a channel, in milliseconds: since it was last proven. @param {string} channel */
  silenceOf(channel) {
    const ear = this.#ears.get(channel);
    return ear === undefined ? 0 : performance.now() - ear.provenAt;
  }

  /** A channel is not wanted any more. @param {string} channel */
  forget(channel) {
    const ear = this.#ears.get(channel);
    if (ear === undefined) return;
    ear.end();
    ear.moveTo(null);
    this.#heard.delete(ear);
    this.#ears.delete(channel);
    ear.slot.ears.delete(ear);
    if (ear.slot.ears.size === 0) this.#slots.delete(ear.slot.number);
  }

  /** Subscriptions may be elsewhere now, or nowhere: the channels are to be proven soon. */
  doubt() {
    const now = performance.now();
    const isNew = now >= this.#troubledUntil;
    this.#troubledUntil = now + TROUBLE;
    if (!isNew) return;
    this.#troubles++;
    const deferred = [...this.#later.values()];
    this.#later.clear();
    for (const ears of deferred) for (const ear of ears) this.#defer(ear, now);
  }

  /**
   * A message has come in. Returns whether it is a probe, which is nothing to anybody else.
   *
   * @param {Buffer | string} channel
   * @param {Buffer} payload
   */
  hears(channel, payload) {
    const ear = this.#ears.get(channel.toString());
    if (ear !== undefined && !ear.wasHeard) {
      ear.wasHeard = true;
      this.#heard.add(ear);
    }
    return payload.length === PROBE_BYTES.length && payload.equals(PROBE_BYTES);
  }

  /** Nothing more is to be proven. */
  stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const channel of [...this.#ears.keys()]) this.forget(channel);
  }

  #look() {
    const now = performance.now();
    // In an outage nothing is answered.
    const isUp = this.#isUp();
    for (const ear of this.#heard) this.#prove(ear, now);
    this.#heard.clear();
    // One that is given up with others of its connection leaves it ahead of its turn.
    for (const ear of this.#asked) {
      if (isUp) this.#await(ear, now);
      else this.#defer(ear, now);
    }
    this.#lookedAt = now;
    if (!isUp) return;
    this.#queueSilent(now);
    if (now >= this.#pausedUntil) this.#askSome();
  }

  /** Something has come in, at some time since the last look. @param {Ear} ear @param {number} now */
  #prove(ear, now) {
    this.#isProven = true;
    this.#heardAt.set(this.#placeOf(ear.channel), now);
    const isDeferred = !this.#isDue(ear) && ear.looks < 0;
    ear.prove(this.#lookedAt);
    // The look for which it waits sees that.
    if (ear.holds && !isDeferred) this.#defer(ear, now);
  }

  /** @param {Ear} ear */
  #isDue(ear) {
    return [this.#suspects, this.#first, this.#others].some((queue) => queue === ear.queue);
  }

  /** How long a channel may be silent. @param {number} now */
  #silenceAt(now) {
    return now < this.#troubledUntil ? SILENCE.troubled : SILENCE.calm;
  }

  /** It is not asked before it has been silent for long enough. @param {Ear} ear @param {number} now */
  #defer(ear, now) {
    ear.end();
    const look = Math.ceil(ear.dueAt(this.#silenceAt(now)) / LOOK_EVERY);
    let ears = this.#later.get(look);
    if (ears === undefined) this.#later.set(look, (ears = new Set()));
    ear.moveTo(ears);
  }

  /** It is to be asked in its turn. After trouble, one of each slot is asked first. @param {Ear} ear @param {number} now */
  #queue(ear, now) {
    ear.end();
    const goesFirst = now < this.#troubledUntil && ear.slot.wasFirstIn !== this.#troubles;
    if (goesFirst) ear.slot.wasFirstIn = this.#troubles;
    ear.moveTo(goesFirst ? this.#first : this.#others);
  }

  /** Those that have been silent for too long are to be asked. @param {number} now */
  #queueSilent(now) {
    for (const [look, ears] of this.#later) {
      if (look * LOOK_EVERY > now) continue;
      this.#later.delete(look);
      for (const ear of ears) {
        if (ear.dueAt(this.#silenceAt(now)) <= now) this.#queue(ear, now);
        else this.#defer(ear, now);
      }
    }
  }

  #askSome() {
    let probes = PROBES_PER_LOOK;
    for (const queue of [this.#suspects, this.#first, this.#others]) {
      for (const ear of queue) {
        if (probes-- === 0) return;
        this.#ask(ear);
      }
    }
  }

  /** @param {Ear} ear */
  #ask(ear) {
    ear.moveTo(this.#asked);
    ear.isAnswered = false;
    ear.looks = 0;
    ear.askedAt = performance.now();
    const number = ++ear.number;
    this.#publish(ear.channel, PROBE).then(
      (receivers) => {
        this.#pause = 0;
        if (ear.number !== number) return;
        ear.isAnswered = true;
        ear.looks = 0;
        if (Number(receivers) > 0) ear.deserted = 0;
        // The subscription may be about to move: it is asked once more.
        else if (++ear.deserted < DESERTED) {
          ear.end();
          ear.moveTo(this.#suspects);
        }
      },
      (error) => {
        this.#rest(error);
        // It is not who listens that has failed.
        if (ear.number === number) this.#queue(ear, performance.now());
      },
    );
  }

  /** Asks less often as long as nothing can be published; no more, if that is not allowed. @param {any} error */
  #rest(error) {
    if (String(error?.message).startsWith("NOPERM")) this.#pausedUntil = Infinity;
    const now = performance.now();
    if (now < this.#pausedUntil) return;
    this.#pause = Math.min(Math.max(2 * this.#pause, LOOK_EVERY), SILENCE.troubled);
    this.#pausedUntil = now + this.#pause;
  }

  /** @param {Ear} ear @param {number} now */
  #await(ear, now) {
    // What publishes may be held up, which says nothing of what listens.
    if (!ear.isAnswered) return void (++ear.looks > PATIENCE.most && this.#queue(ear, now));
    if (++ear.looks <= ear.patience && ear.deserted < DESERTED) return;
    ear.deserted = 0;
    if (this.#isProven) return this.#find(ear, now);
    // Two clients that have never heard each other may reach different clusters: that is no loss.
    ear.provenAt = now;
    this.#defer(ear, now);
  }

  /** A channel is found not to be heard. @param {Ear} ear @param {number} now */
  #find(ear, now) {
    const place = this.#placeOf(ear.channel);
    this.#suspect(ear.slot);
    this.#giveUp(ear, now);
    if (place === null) return;
    // That nobody listens is said at once, of a slot that moves too. Others of the connection may be silent for a moment.
    const since = Math.min(ear.askedAt, now - PATIENCE.first * LOOK_EVERY);
    const isConnectionHeard = (this.#heardAt.get(place) ?? -Infinity) >= since;
    const count = isConnectionHeard ? 0 : (this.#deaf.get(place) ?? 0) + 1;
    this.#deaf.set(place, count);
    if (count < DEAF_CONNECTION) return;
    this.#deaf.delete(place);
    for (const other of [...this.#ears.values()])
      if (other.holds && !other.wasHeard && this.#placeOf(other.channel) === place) this.#giveUp(other, now);
  }

  /** @param {Ear} ear @param {number} now */
  #giveUp(ear, now) {
    ear.patience = Math.min(ear.patience * 2, PATIENCE.most);
    ear.moveTo(this.#asked);
    ear.looks = Math.max(ear.looks, 0);
    this.#onDeaf(ear.channel);
    // It may be nothing that can be mended now.
    if (ear.queue === this.#asked) this.#defer(ear, now);
  }

  /** A channel is not heard: the others of its slot are asked before those of other slots. @param {Slot} slot */
  #suspect(slot) {
    this.doubt();
    if (slot.wasSuspectIn === this.#troubles) return;
    slot.wasSuspectIn = this.#troubles;
    for (const ear of slot.ears) if (ear.holds && ear.looks < 0) ear.moveTo(this.#suspects);
  }
}

module.exports = { Hearing };
