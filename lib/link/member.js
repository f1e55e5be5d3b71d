// @ts-check
"use strict";

/** What a link has to know of its members, and what their families differ in. */

/**
 * @typedef {import("../options/options").Family} Family
 *
 * @typedef {object} MemberHandlers what a member wants to hear
 * @property {(record: import("./inbox").InboxRecord) => void} onRecord
 * @property {(event: import("./inbox").LinkEvent) => boolean | void} onEvent true if somebody listens
 * @property {() => void} [onRejoin] the link was made anew, and knows of no rooms
 *
 * @typedef {{ routing: import("./routing").Routing, handlers: MemberHandlers }} Member
 *
 * @typedef {Pick<import("../options/options").AdapterOptions, "family" | "transport" | "maxBacklogBytes" | "maxInboxBytes" | "allowedHosts">} LinkOptions those of the first member
 */

/**
 * Which of Redis' two kinds of channels a family publishes on.
 *
 * @param {Family} family
 * @returns {import("../clients/client").ChannelKind}
 */
function channelKindOf(family) {
  return family === "sharded" || family === "streams-sharded" ? "shard" : "global";
}

/** @param {Family} family */
function hasStreams(family) {
  return family === "streams" || family === "streams-sharded";
}

module.exports = { hasStreams, channelKindOf };
