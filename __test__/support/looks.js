// @ts-check
"use strict";

/**
 * A clock of the test's own for what looks at something at regular times: it moves by whole looks, and nobody waits.
 */

const assert = require("node:assert");

/** How often is looked, in milliseconds. */
const LOOK = 250;

class Looks {
  /** In milliseconds. */
  now = 1000;
  /** What is to be called with each look. */
  look = () => {};

  /** Has looks happen, and what they wait for. @param {number} count */
  async looks(count) {
    for (let n = 0; n < count; n++) {
      this.now += LOOK;
      this.look();
      await settled();
    }
  }
}

/** Resolves when all promises that wait for nothing else have settled. */
async function settled() {
  for (let turn = 0; turn < 10; turn++) await null;
}

/**
 * Returns a test that runs by a clock which only it moves. It may wait for nothing but promises, so that nobody else sees
 * that clock. What chance decides is in the middle.
 *
 * @template {Looks} T
 * @param {() => T} make what the test is given
 * @param {(looks: T) => Promise<void>} test
 * @returns {() => Promise<void>}
 */
function byLooks(make, test) {
  return async () => {
    const { setInterval, clearInterval } = globalThis;
    const { random } = Math;
    const looks = make();
    performance.now = () => looks.now;
    Math.random = () => 0.5;
    /** @type {any} */ (globalThis).setInterval = (
      /** @type {() => void} */ look,
      /** @type {number} */ time,
    ) => {
      assert.strictEqual(time, LOOK);
      looks.look = look;
      return { unref: () => looks };
    };
    globalThis.clearInterval = () => void (looks.look = () => {});
    try {
      await test(looks);
    } finally {
      Object.assign(globalThis, { setInterval, clearInterval });
      Math.random = random;
      // That of its prototype is seen again.
      delete (/** @type {any} */ (performance).now);
    }
  };
}

module.exports = { LOOK, Looks, byLooks, settled };
