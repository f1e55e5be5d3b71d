// @ts-check
"use strict";

/**
 * Whether the connection lives by which the user's client of a cluster listens to all global channels. To a subscriber a
 * node that stands still looks like silence, while the others take what is published and cannot hand it on to this one:
 * what they give up on nobody hears. So the connection is asked for a reply once in a while.
 */

/** How often that is looked at, in milliseconds. */
const LOOK_EVERY = 250;

/** So many looks lie between an answer and the next question. */
const PERIOD = 4;

/** So many looks an answer may take. They are counted rather than time: an event loop that was blocked has read nothing. */
const PATIENCE = 16;

class SignsOfLife {
  #ask;
  #onMute;
  /** When it was last asked for something that it answered: a question or a subscription. */
  #livedAt = performance.now();
  /** Looks since the question that is on its way, or since its answer. */
  #looks = 0;
  /** The question that is on its way. @type {object | null} */
  #question = null;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /**
   * @param {object} connection
   * @param {() => Promise<unknown> | null} connection.ask null if there is none that stands
   * @param {() => void} connection.onMute it does not answer
   */
  constructor({ ask, onMute }) {
    this.#ask = ask;
    this.#onMute = onMute;
  }

  /**
   * The connection is listened by. That it is subscribed proves it, too: one that replaces another owes it nothing.
   *
   * @param {number} askedAt when it was asked to subscribe
   */
  begin(askedAt) {
    this.#livedAt = Math.max(this.#livedAt, askedAt);
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  /** How long it may not have brought anything, in milliseconds. */
  get silence() {
    return performance.now() - this.#livedAt;
  }

  stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#question = null;
  }

  #look() {
    this.#looks++;
    if (this.#question === null) return void (this.#looks >= PERIOD && this.#askNow());
    if (this.#looks <= PATIENCE) return;
    this.#end();
    this.#onMute();
  }

  #askNow() {
    const askedAt = performance.now();
    const answered = this.#ask();
    if (answered === null) return;
    const question = (this.#question = {});
    this.#looks = 0;
    answered.then(
      () => {
        if (this.#question !== question) return;
        this.#livedAt = askedAt;
        this.#end();
      },
      // It is lost, which the client sees, too.
      () => void (this.#question === question && this.#end()),
    );
  }

  #end() {
    this.#question = null;
    this.#looks = 0;
  }
}

module.exports = { SignsOfLife };
