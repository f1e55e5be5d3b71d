// @ts-check
"use strict";

/**
 * A promise of something that is only done if somebody asks for it: what `socketsJoin` waits for takes a message to
 * every server, and most callers do not wait.
 *
 * @template T
 */
class Later {
  #start;
  /** @type {Promise<T> | null} */
  #promise = null;

  /** @param {() => Promise<T>} start */
  constructor(start) {
    this.#start = start;
  }

  #begin() {
    return (this.#promise ??= this.#start());
  }

  /** @param {((value: T) => any) | null} [onDone] @param {((error: any) => any) | null} [onError] */
  then(onDone, onError) {
    return this.#begin().then(onDone, onError);
  }

  /** @param {((error: any) => any) | null} [onError] */
  catch(onError) {
    return this.#begin().catch(onError);
  }

  /** @param {(() => void) | null} [onEnd] */
  finally(onEnd) {
    return this.#begin().finally(onEnd);
  }

  get [Symbol.toStringTag]() {
    return "Promise";
  }
}

module.exports = { Later };
