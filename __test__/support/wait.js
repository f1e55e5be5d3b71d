// @ts-check
"use strict";

/**
 * Waiting for what must happen, never for time to pass.
 */

/** How long a test waits, in milliseconds, unless it says otherwise. */
const DEFAULT_TIMEOUT = 5000;

/** The pause between two looks at a predicate, in milliseconds. */
const POLL_INTERVAL = 5;

/** How long that may take, in milliseconds: servers may hang. */
const LOOKING = 2000;

/** Says how things stand when something was waited for in vain: later the test has torn them down. @type {() => Promise<string[]>} */
let look = async () => [];

/** @param {() => Promise<string[]>} describe is called before a wait in vain rejects; its lines are the error's `seen` */
function lookBeforeGivingUp(describe) {
  look = describe;
}

/**
 * Resolves with the first truthy value of `fn`; rejects when there was none in time. A predicate that throws
 * or rejects counts as false; its last error is named when time runs out.
 *
 * @template T
 * @param {() => T | Promise<T>} fn
 * @param {{ timeout?: number, what?: string }} [options] `timeout` in milliseconds; `what` is waited for, in
 *   words, for the message
 * @returns {Promise<NonNullable<T>>}
 */
async function waitFor(fn, { timeout = DEFAULT_TIMEOUT, what = String(fn) } = {}) {
  // Made here, so that its stack leads to the test that waits.
  const error = new Error();
  const deadline = Date.now() + timeout;
  for (;;) {
    /** @type {unknown} */
    let failure;
    try {
      const value = await fn();
      if (value) return value;
    } catch (err) {
      failure = err;
    }
    if (Date.now() >= deadline) {
      error.message = `waited ${timeout} ms in vain for ${what}`;
      if (failure) error.cause = failure;
      if (failure) error.message += ` (last: ${failure instanceof Error ? failure.message : failure})`;
      const late = new Promise((resolve) => setTimeout(resolve, LOOKING, []));
      throw Object.assign(error, { seen: await Promise.race([look().catch(() => []), late]) });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
  }
}

/** How often `once` looks whether its time is over, in milliseconds. */
const LOOK_EVERY = 50;

/**
 * Resolves with the arguments of the next `event`; rejects when it does not come in time. Unlike
 * `events.once`, an `error` event does not reject: wait for it like any other. Time in which the event loop is blocked does not
 * count: nothing can come then.
 *
 * @param {{ on: Function, removeListener?: Function, off?: Function }} emitter an EventEmitter, or a
 *   Socket.IO socket of either side
 * @param {string} event
 * @param {number} [timeout] milliseconds
 * @returns {Promise<any[]>}
 */
function once(emitter, event, timeout = DEFAULT_TIMEOUT) {
  const error = new Error(`waited ${timeout} ms in vain for "${event}"`);
  return new Promise((resolve, reject) => {
    let looks = 0;
    const timer = setInterval(() => {
      if (++looks * LOOK_EVERY < timeout) return;
      stop();
      reject(error);
    }, LOOK_EVERY);
    /** @param {any[]} args */
    const listener = (...args) => {
      stop();
      resolve(args);
    };
    const stop = () => {
      clearInterval(timer);
      const remove = emitter.removeListener ?? emitter.off;
      remove?.call(emitter, event, listener);
    };
    emitter.on(event, listener);
  });
}

module.exports = { waitFor, once, lookBeforeGivingUp };
