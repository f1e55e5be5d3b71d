// @ts-check
"use strict";

/**
 * The sharded adapter: envelopes over sharded pub/sub, as `createShardedAdapter` of `@socket.io/redis-adapter` sends
 * them. Rooms may have channels of their own, which only the servers with sockets in them listen to.
 */

const { BROADCASTS, JOIN_PATIENCE, REQUESTS } = require("./adapter");
const { ClusterMemberAdapter, randomId } = require("./cluster");
const { MESSAGE, encodeMessage } = require("../messages/cluster-messages");
const { linkOf, readForm } = require("../place/forms");
const { Link } = require("../link/link");
const { readShardedOptions } = require("../options/options");
const { rawOptions } = require("../delivery/outgoing");

class ShardedRedisAdapter extends ClusterMemberAdapter {
  /** Whether rooms were subscribed to since Redis last confirmed everything. */
  #unconfirmed = false;

  /**
   * @param {any} nsp the namespace
   * @param {any} pubClient a client that publishes, or where a Redis is
   * @param {any} subClient a client that receives, or the options that go with an address
   * @param {any} [opts]
   */
  constructor(nsp, pubClient, subClient, opts) {
    const form = readForm([pubClient, subClient, opts], { clients: 2, taker: "sharded" });
    const options = readShardedOptions(form.opts);
    const link = linkOf(form, options);
    const uid = randomId();
    super(nsp, link, {
      uid,
      prefix: options.key,
      family: "sharded",
      mode: options.subscriptionMode,
      customParser: false,
      specificResponses: true,
    });
    const isMade = pubClient instanceof Link;
    this.pubClient = isMade ? null : (form.pub ?? null);
    this.subClient = isMade ? null : (form.sub ?? null);
    this.opts = { ...form.opts, channelPrefix: options.key, subscriptionMode: options.subscriptionMode };
    const { broadcast, ownResponse } = this._channels;
    this.channel = broadcast;
    this.responseChannel = ownResponse;
    this.requestsTimeout = options.requestsTimeout;
    // What a factory has made tells it of errors.
    this._join(isMade ? null : options.onError);
  }

  // --- how messages look -------------------------------------------------------------------------------

  /** @param {number} type @param {object} data */
  _encodeMessage(type, data) {
    return encodeMessage(type, data, this.uid, this.nsp.name);
  }

  /** @param {any} packet @param {any} opts */
  _encodeBroadcast({ type, data }, opts) {
    return this._encodeMessage(MESSAGE.BROADCAST, { packet: { type, data }, opts: rawOptions(opts) });
  }

  _onSubscribing() {
    this.#unconfirmed = true;
  }

  _confirmation() {
    return this.#unconfirmed ? this._subscribed(JOIN_PATIENCE) : null;
  }

  /** @param {number} timeout */
  async _subscribed(timeout) {
    this.#unconfirmed = false;
    const confirmed = await super._subscribed(timeout);
    this.#unconfirmed ||= !confirmed;
    return confirmed;
  }

  /** @param {number} type @param {any} data */
  _tell(type, data) {
    this._send(REQUESTS, null, this._encodeMessage(type, data));
  }

  /** @param {number} type @param {any} data */
  _sendMessage(type, data) {
    const { requestId, opts } = data ?? {};
    // As in the reference: answers are counted, so that what is to be acknowledged goes to all servers.
    const isForRoom = type === MESSAGE.BROADCAST && requestId === undefined && opts?.rooms?.length === 1;
    const room = isForRoom ? String(opts.rooms[0]) : null;
    this._send(BROADCASTS, room, this._encodeMessage(type, data));
  }

  /** As the reference's, it returns a promise; there is nothing to wait for. */
  close() {
    super.close();
    return Promise.resolve();
  }
}

module.exports = { ShardedRedisAdapter };
