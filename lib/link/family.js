// @ts-check
"use strict";

/** What the families of members differ in for a link. */

/** @typedef {import("../options/options").Family} Family */

/** Which of Redis' two kinds of channels a family publishes on. @param {Family} family @returns {import("../clients/client").Space} */
function spaceOf(family) {
  return family === "sharded" || family === "streams-sharded" ? "shard" : "global";
}

/** @param {Family} family */
function hasStreams(family) {
  return family === "streams" || family === "streams-sharded";
}

module.exports = { hasStreams, spaceOf };
