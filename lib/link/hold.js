// @ts-check
"use strict";

/**
 * Redis has refused a publish for now (BUSY, LOADING and the like): nothing more is given to the user's clients until it
 * takes commands again. A count asks whether it does.
 */

const { isRefusal } = require("../clients/resp");
const { isTakenLater } = require("../base/native");

/** How long to wait before Redis is asked, in milliseconds: doubled each time. */
const PAUSE = Object.freeze({ first: 25, most: 1000 });

class Hold {
  #clients;
  #native;
  #events;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;
  /** @type {number} */
  #pause = PAUSE.first;

  /**
   * @param {import("../clients").Clients} clients
   * @param {import("../../binding").Link} native
   * @param {object} events
   * @param {() => boolean} events.isUp whether the clients are connected
   * @param {() => void} events.onHold it begins
   */
  constructor(clients, native, events) {
    this.#clients = clients;
    this.#native = native;
    this.#events = events;
  }

  get isOn() {
    return this.#timer !== null;
  }

  /**
   * Whether an error says that Redis refuses commands for now. Then the clients get nothing more until Redis answers a count.
   *
   * @param {any} error
   * @param {string} channel what is counted to ask Redis
   */
  refuses(error, channel) {
    if (!isPassing(error)) return false;
    if (!this.isOn && this.#events.isUp()) {
      this.#ask(channel);
      this.#events.onHold();
      this.#native.clientHeld(messageOf(error));
    }
    return true;
  }

  /** @param {string} channel */
  #ask(channel) {
    this.#timer = setTimeout(async () => {
      const timer = this.#timer;
      const isRefused = await this.#clients.count([channel]).then(() => false, isPassing);
      if (this.#timer !== timer) return;
      if (isRefused) return this.#ask(channel);
      this.#timer = null;
      this.#native.clientUp();
    }, this.#pause);
    this.#timer.unref();
    this.#pause = Math.min(this.#pause * 2, PAUSE.most);
  }

  /** Redis has taken something: the next hold begins with the shortest pause. */
  taken() {
    if (!this.isOn) this.#pause = PAUSE.first;
  }

  /** Ends it without asking. */
  end() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Whether an error is Redis' own, and says that it takes later what it has refused. @param {any} error */
function isPassing(error) {
  return isRefusal(error) && isTakenLater(messageOf(error));
}

/** @param {any} error */
function messageOf(error) {
  return String(error?.message ?? error);
}

module.exports = { Hold, isPassing, messageOf };
