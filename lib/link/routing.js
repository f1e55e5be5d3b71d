// @ts-check
"use strict";

/**
 * Describes a member to its link, and names the channels of its messages. src/core/routing.rs decides which message takes which
 * channel.
 */

const binding = require("../base/native");

/**
 * @typedef {object} Identity
 * @property {string} uid
 * @property {string} nsp
 * @property {string} prefix
 * @property {import("../options/options").Family} family what it speaks
 * @property {string} [mode] `subscriptionMode` of a sharded one
 * @property {import("../../binding").LinkStream} [stream] the streams of one of streams
 * @property {boolean} customParser
 * @property {boolean} specificResponses
 * @property {boolean} frames
 * @property {string} [emitter] the name of a channel of its own, if it is an emitter's
 */

class Routing {
  #constant;

  /** @param {Identity} identity */
  constructor(identity) {
    this.identity = identity;
    this.native = new binding.Routing(identity, identity.family);
    this.names = this.native.names();
    this.#constant = [this.names.broadcast, this.names.request, this.names.response];
  }

  /**
   * The channel of a message: of a broadcast (0, `name` the room if it is exactly one), a request (1) or a response (2,
   * `name` the uid of the requester).
   *
   * @param {0 | 1 | 2} to
   * @param {string | null} name
   */
  channelOf(to, name) {
    return name === null ? this.#constant[to] : this.native.channel(to, name);
  }
}

module.exports = { Routing };
