// @ts-check
"use strict";

/**
 * Checks the connection by which the user's cluster client is subscribed to all global channels: a PING asks it for a reply
 * now and then. To a subscriber, a node that hangs looks like silence. Meanwhile the other nodes accept publishes, cannot hand
 * them on to that node, and give them up in the end.
 */

/** The interval between two looks, in milliseconds. */
const LOOK_EVERY = 250;

/** The number of looks between an answer and the next question. */
const PERIOD = 4;

/** The number of looks that an answer may take. Looks are counted rather than time: an event loop that was blocked has read nothing. */
const PATIENCE = 16;

class Keepalive {
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
   * The connection is subscribed, which proves it, too. A connection that replaces another is judged by itself.
   *
   * @param {number} askedAt when it was asked to subscribe
   */
  begin(askedAt) {
    this.#livedAt = Math.max(this.#livedAt, askedAt);
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  /** For how long it may have received nothing, in milliseconds. */
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
      // The connection is lost, which the client sees, too.
      () => void (this.#question === question && this.#end()),
    );
  }

  #end() {
    this.#question = null;
    this.#looks = 0;
  }
}

module.exports = { Keepalive };
