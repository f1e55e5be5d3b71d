// @ts-check
"use strict";

/**
 * Whether an adapter hears the others, since when it does not, and who is told of that.
 */

const { keepFor } = require("../base/lifetime");
const { throwAlone } = require("../base/throw-alone");

/**
 * @typedef {object} Follower
 * @property {() => void} [onReady]
 * @property {(error: Error) => boolean | void} [onDegraded] may say that it was heard of
 * @property {(error: Error) => boolean} [onError] returns whether it has heard of it
 * @property {() => void} [onClose]
 */

/**
 * @typedef {object} Emitting the adapter, as one that emits
 * @property {(event: string, ...args: any[]) => boolean} emit
 * @property {(event: string) => number} listenerCount
 */

class Readiness {
  #emitting;
  #nsp;
  #closed = false;
  /** The last of the events that tell of it. */
  #state = "new";
  /** Since when this node does not hear the others, as `performance.now()` has it, and why. */
  /** @type {{ since: number, reason: string } | null} */
  #gap = null;
  /** Whether somebody was told of the outage. */
  #outageHeard = false;
  /** @type {Follower[]} */
  #followers = [];
  /** Made when somebody asks for it. @type {{ promise: Promise<void>, settle: () => void } | null} */
  #ready = null;
  /** Whether this node has ever heard the others. */
  #wasReady = false;
  /** Those who wait for the next time that it does. @type {Set<() => void>} */
  #waiters = new Set();

  /** @param {Emitting} emitting @param {string} nsp its name */
  constructor(emitting, nsp) {
    this.#emitting = emitting;
    this.#nsp = nsp;
  }

  /**
   * Resolves when this node hears the others, for the first time, or is closed: nobody handles a rejection of what is
   * only there to be waited for. Whoever has asked for it waits: the process is kept, however long Redis is away.
   *
   * @returns {Promise<void>}
   */
  get ready() {
    if (this.#ready === null) {
      let settle = () => {};
      const promise = new Promise((resolve) => (settle = () => resolve(undefined)));
      this.#ready = { promise: keepFor(promise, `"ready" of ${this.#nsp}`), settle };
      if (this.#wasReady || this.#closed) settle();
    }
    return this.#ready.promise;
  }

  /**
   * Tells somebody what becomes of this adapter. Not by listeners, which the user may remove.
   *
   * @param {Follower} follower
   */
  follow(follower) {
    this.#followers.push(follower);
  }

  /** Tells of an error, and says whether somebody has heard of it. @param {Error} error */
  tellError(error) {
    let heard = false;
    /** @param {() => boolean | undefined} tell */
    const tellOne = (tell) => {
      try {
        heard = (tell() ?? false) || heard;
      } catch (thrown) {
        // Somebody has heard it, who does not keep it from the others.
        heard = true;
        throwAlone(thrown);
      }
    };
    for (const follower of this.#followers) tellOne(() => follower.onError?.(error));
    if (this.#emitting.listenerCount("error") > 0) tellOne(() => this.#emitting.emit("error", error));
    return heard;
  }

  /** Whether this node hears the others now. */
  get isReady() {
    return this.#state === "ready" && !this.#closed;
  }

  /** Resolves when this node hears the others, or is closed, or after so many milliseconds. @param {number} timeout @returns {Promise<void>} */
  whenReady(timeout) {
    if (this.isReady || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeout).unref();
      this.#waiters.add(done);
    });
  }

  /**
   * What cannot be read is said, even in an outage that has begun otherwise. Says whether somebody has heard of it.
   *
   * @param {string} reason
   */
  onUnreadable(reason) {
    return this.#state === "degraded" ? this.tellError(new Error(reason)) : this.onLost(reason);
  }

  /**
   * @param {string} reason
   * @param {number} [silence] how long nothing may have come in already, in milliseconds
   * @returns {boolean} whether somebody has heard of the outage
   */
  onLost(reason, silence = 0) {
    const since = performance.now() - silence;
    // Once for an outage, not with every attempt to end it.
    if (this.#state === "degraded") {
      // It had begun before it was noticed.
      if (this.#gap !== null) this.#gap.since = Math.min(this.#gap.since, since);
      return this.#outageHeard;
    }
    if (this.#state === "ready") this.#gap = { since, reason };
    this.#outageHeard = this.#onDegraded(new Error(reason));
    return this.#outageHeard;
  }

  /** @param {Error} error @returns {boolean} whether somebody has heard of it */
  #onDegraded(error) {
    const before = this.#state;
    this.#state = "degraded";
    let heard = this.#emitting.listenerCount("degraded") > 0;
    for (const follower of this.#followers) heard = follower.onDegraded?.(error) === true || heard;
    this.#tell("degraded", error);
    if (before === "ready") this.#tell("disconnect", error);
    return this.tellError(error) || heard;
  }

  onReady() {
    this.#wasReady = true;
    this.#ready?.settle();
    if (this.#state === "ready") return;
    this.#state = "ready";
    const gap = this.#gap;
    this.#gap = null;
    for (const resume of this.#waiters) resume();
    for (const follower of this.#followers) follower.onReady?.();
    this.#tell("ready");
    // As a Redis client would say it, and socket.io-redis did.
    this.#tell("connect");
    if (gap === null) return;
    const { since, reason } = gap;
    this.#tell("gap", { milliseconds: Math.ceil(performance.now() - since), reason });
  }

  /**
   * Emits one of several events of a moment: what a listener throws does not keep the others from theirs. It is thrown
   * by itself, as from any listener.
   *
   * @param {string} event
   * @param {...any} args
   */
  #tell(event, ...args) {
    try {
      this.#emitting.emit(event, ...args);
    } catch (error) {
      throwAlone(error);
    }
  }

  /** The adapter is closed: nobody waits any more. */
  close() {
    this.#closed = true;
    for (const follower of this.#followers) follower.onClose?.();
    this.#ready?.settle();
    for (const resume of this.#waiters) resume();
  }
}

module.exports = { Readiness };
