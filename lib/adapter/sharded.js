// @ts-check
"use strict";

/**
 * The sharded adapter: envelopes over sharded pub/sub, as `createShardedAdapter` of `@socket.io/redis-adapter` sends
 * them. Rooms may have channels of their own, which only the servers with sockets in them listen to.
 */

const { BROADCASTS } = require("./broadcasting");
const { ClusterMemberAdapter } = require("./cluster");
const { JOIN_PATIENCE } = require("./member");
const { ClusterCodec, randomId } = require("../messages/cluster-codec");
const { MESSAGE } = require("../messages/cluster-messages");
const { REQUEST } = require("../messages/requests");
const { linkOf, readForm } = require("../place/forms");
const { Link } = require("../link/link");
const { readShardedOptions } = require("../options/options");

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
    const identity = {
      uid,
      prefix: options.key,
      family: "sharded",
      mode: options.subscriptionMode,
      customParser: false,
      specificResponses: true,
    };
    super(nsp, link, identity, new ClusterCodec(uid, nsp.name));
    const isMade = pubClient instanceof Link;
    this.pubClient = isMade ? null : (form.pub ?? null);
    this.subClient = isMade ? null : (form.sub ?? null);
    this.opts = { ...form.opts, channelPrefix: options.key, subscriptionMode: options.subscriptionMode };
    const { broadcast, ownResponse } = this._channels;
    this.channel = broadcast;
    this.responseChannel = ownResponse;
    this.requestsTimeout = options.requestsTimeout;
    this._useFanOut(options.fanOut);
    // What a factory has made tells it of errors.
    this._join(isMade ? null : options.onError);
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

  /** @param {number} kind @param {import("../messages/requests").Fields} fields */
  _tell(kind, fields) {
    if (kind === REQUEST.REMOTE_JOIN) this._cover([...(fields.rooms ?? [])]);
    super._tell(kind, fields);
  }

  /** @param {number} type @param {any} data */
  _sendMessage(type, data) {
    const { requestId, opts } = data ?? {};
    // As in the reference: answers are counted, so that what is to be acknowledged goes to all servers.
    const isForRoom = type === MESSAGE.BROADCAST && requestId === undefined && opts?.rooms?.length === 1;
    const room = isForRoom ? String(opts.rooms[0]) : null;
    this._send(BROADCASTS, room, this._codec.encode(type, data));
  }

  /** As the reference's, it returns a promise; there is nothing to wait for. */
  close() {
    super.close();
    return Promise.resolve();
  }
}

module.exports = { ShardedRedisAdapter };
