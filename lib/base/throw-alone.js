// @ts-check
"use strict";

/**
 * Throws an error of a user's listener again as an uncaught exception, so that it is reported and the caller can go on.
 *
 * @param {unknown} error
 */
function throwAlone(error) {
  process.nextTick(() => {
    throw error;
  });
}

module.exports = { throwAlone };
