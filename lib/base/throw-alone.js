// @ts-check
"use strict";

/**
 * Throws what a listener of the user's has thrown by itself, as an uncaught exception: his to hear of, but what comes
 * behind it goes on.
 *
 * @param {unknown} error
 */
function throwAlone(error) {
  process.nextTick(() => {
    throw error;
  });
}

module.exports = { throwAlone };
