// @ts-check
"use strict";

/** The addon. Where it does not load, the error says why and what to do. */

const { describeLoadProblem } = require("./load-problem");

/** @returns {typeof import("../../binding")} */
function load() {
  try {
    return require("../../binding");
  } catch (error) {
    throw new Error(describeLoadProblem(error), { cause: error });
  }
}

module.exports = load();
