// @ts-check
"use strict";

/**
 * The classic adapter: msgpack broadcasts and JSON requests over plain pub/sub, as `createAdapter` of
 * `@socket.io/redis-adapter` sends them.
 */

const { AskingAdapter } = require("./adapter");
const { Link } = require("../link/link");
const { ClassicCodec, randomId } = require("../messages/classic-codec");
const { readOptions } = require("../options/options");
const { linkOf, readForm } = require("../place/forms");

class RedisAdapter extends AskingAdapter {
  /**
   * @param {any} nsp the namespace
   * @param {any} pubClient a client that publishes, or where a Redis is
   * @param {any} subClient a client that receives, or the options that go with an address
   * @param {any} opts
   */
  constructor(nsp, pubClient, subClient, opts = undefined) {
    const form = readForm([pubClient, subClient, opts], { clients: 2, taker: "classic" });
    const options = readOptions(form.opts);
    const link = linkOf(form, options);
    const uid = randomId();
    const identity = {
      uid,
      prefix: options.key,
      family: /** @type {const} */ ("classic"),
      customParser: options.customParser,
      specificResponses: options.publishOnSpecificResponseChannel,
    };
    super(nsp, link, identity, new ClassicCodec(uid, nsp.name, options.parser, options.customParser));
    const isMade = pubClient instanceof Link;
    this.pubClient = isMade ? null : (form.pub ?? null);
    this.subClient = isMade ? null : (form.sub ?? null);
    const { broadcast, request, response, ownResponse } = this._channels;
    this.channel = broadcast;
    this.requestChannel = request;
    this.responseChannel = response;
    this.specificResponseChannel = ownResponse;
    this.requestsTimeout = options.requestsTimeout;
    this.publishOnSpecificResponseChannel = options.publishOnSpecificResponseChannel;
    this.parser = options.parser;
    this._useFanOut(options.fanOut);
    // What a factory has made tells it of errors.
    this._join(isMade ? null : options.onError);
  }
}

module.exports = { RedisAdapter };
