// @ts-check
"use strict";

/**
 * Whether the channels of shards that the user's client of a cluster listens to are still heard.
 *
 * The client only knows what it has asked for. A node that withdraws a subscription while the client asks for another is
 * misread, and a channel that the client moves by itself counts as subscribed before Redis has agreed. So each channel is
 * proven by what comes in on it: a message of anybody, or else a probe, which every server passes over. One probe proves
 * the channel for all servers that hear it.
 */

const { PROBE } = require("./doubt");

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

const PROBE_BYTES = Buffer.from(PROBE);

/** What is known of a channel. */
class Ear {
  /** Something has come in since the last look. */
  wasHeard = false;
  /** Whether the client says that it is subscribed to. */
  holds = true;
  /** The next look is to ask. */
  isDue = false;
  /** Looks since the probe was answered, or went out; negative if none is on its way. */
  looks = -1;
  /** Of the last probe. What is answered to others tells nothing. */
  number = 0;
  isAnswered = false;
  /** How often in a row Redis has said that nobody listens. */
  deserted = 0;
  /** @type {number} */
  patience = PATIENCE.first;
  #luck = 1 + Math.random();

  /** @param {string} channel @param {number} now */
  constructor(channel, now) {
    this.channel = channel;
    /** When it was last known to be heard. */
    this.provenAt = now;
  }

  /** Whether it is to be asked. @param {number} now @param {number} silence that is borne at least */
  isSilent(now, silence) {
    return this.isDue || now - this.provenAt > silence * this.#luck;
  }

  /** Nothing is expected of the probe any more. */
  end() {
    this.looks = -1;
    this.number++;
  }

  /** Something has come in. @param {number} heardAt at the earliest */
  prove(heardAt) {
    this.wasHeard = false;
    this.isDue = false;
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
  #onDeaf;
  /** By channel; the one that was asked last is the last. @type {Map<string, Ear>} */
  #ears = new Map();
  /** Whether what the one client publishes was ever heard by the other. */
  #isProven = false;
  #troubledUntil = -Infinity;
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
   * @param {(channel: string) => void} way.onDeaf a channel is not heard
   */
  constructor({ isUp, publish, onDeaf }) {
    this.#isUp = isUp;
    this.#publish = publish;
    this.#onDeaf = onDeaf;
  }

  /** The client says that it is subscribed to a channel. @param {string} channel */
  listens(channel) {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
    const ear = this.#ears.get(channel);
    if (ear === undefined) {
      const fresh = new Ear(channel, performance.now());
      fresh.isDue = !this.#isProven;
      this.#ears.set(channel, fresh);
      return;
    }
    ear.holds = true;
    ear.isDue = true;
    ear.end();
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
    return isSilent ? performance.now() - ear.provenAt : 0;
  }

  /** A channel is not wanted any more. @param {string} channel */
  forget(channel) {
    this.#ears.delete(channel);
  }

  /** Subscriptions may be elsewhere now, or nowhere: the channels are to be proven soon. */
  doubt() {
    this.#troubledUntil = performance.now() + TROUBLE;
  }

  /**
   * A message has come in. Returns whether it is a probe, which is nothing to anybody else.
   *
   * @param {Buffer} channel
   * @param {Buffer} payload
   */
  hears(channel, payload) {
    const ear = this.#ears.get(channel.toString());
    if (ear !== undefined) ear.wasHeard = true;
    return payload.length === PROBE_BYTES.length && payload.equals(PROBE_BYTES);
  }

  /** Nothing more is to be proven. */
  stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#ears.clear();
  }

  #look() {
    const now = performance.now();
    const silence = now < this.#troubledUntil ? SILENCE.troubled : SILENCE.calm;
    const isUp = this.#isUp();
    let probes = now < this.#pausedUntil ? 0 : PROBES_PER_LOOK;
    for (const ear of [...this.#ears.values()]) {
      // At some time since the last look.
      if (ear.wasHeard) {
        this.#isProven = true;
        ear.prove(this.#lookedAt);
      }
      // In an outage nothing is answered.
      else if (!ear.holds || !isUp) ear.end();
      else if (ear.looks >= 0) this.#await(ear, now);
      else if (probes > 0 && ear.isSilent(now, silence)) {
        probes--;
        this.#ask(ear);
      }
    }
    this.#lookedAt = now;
  }

  /** @param {Ear} ear */
  #ask(ear) {
    // Its turn comes again once all others have had theirs.
    this.#ears.delete(ear.channel);
    this.#ears.set(ear.channel, ear);
    ear.isDue = false;
    ear.isAnswered = false;
    ear.looks = 0;
    const number = ++ear.number;
    this.#publish(ear.channel, PROBE).then(
      (receivers) => {
        this.#pause = 0;
        if (ear.number !== number) return;
        ear.isAnswered = true;
        ear.looks = 0;
        if (Number(receivers) > 0) ear.deserted = 0;
        // The subscription may be about to move: it is asked once more.
        else if (++ear.deserted < DESERTED) this.#askAgain(ear);
      },
      (error) => {
        this.#rest(error);
        // It is not who listens that has failed.
        if (ear.number === number) this.#askAgain(ear);
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

  /** @param {Ear} ear */
  #askAgain(ear) {
    ear.end();
    ear.isDue = true;
  }

  /** @param {Ear} ear @param {number} now */
  #await(ear, now) {
    // What publishes may be held up, which says nothing of what listens.
    if (!ear.isAnswered) return void (++ear.looks > PATIENCE.most && this.#askAgain(ear));
    if (++ear.looks <= ear.patience && ear.deserted < DESERTED) return;
    ear.deserted = 0;
    if (this.#isProven) {
      ear.patience = Math.min(ear.patience * 2, PATIENCE.most);
      this.#onDeaf(ear.channel);
    }
    // Two clients that have never heard each other may reach different clusters: that is no loss.
    else ear.provenAt = now;
    ear.end();
  }
}

module.exports = { Hearing };
