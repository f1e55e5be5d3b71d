// @ts-check
"use strict";

/**
 * What the adapters have in common whose messages are `{ type, data, uid, nsp }`: the sharded one and that of streams. They
 * have what a `ClusterAdapter` has, and what they do returns promises.
 */

const { Adapter, ClusterAdapter } = /** @type {{ Adapter: any, ClusterAdapter: any }} */ (
  require("socket.io-adapter")
);
const { AskingAdapter } = require("./adapter");
const { BroadcastingAdapter } = require("./broadcasting");
const { MemberAdapter } = require("./member");

/** What the methods return that are asynchronous in the reference: there is nothing to wait for. */
const DONE = Promise.resolve();

/** @abstract */
class ClusterMemberAdapter extends AskingAdapter {
  /** @param {any} nsp @param {any} link @param {any} identity @param {import("../messages/cluster-codec").ClusterCodec} codec */
  constructor(nsp, link, identity, codec) {
    super(nsp, link, identity, codec);
    this._codec = codec;
  }

  /** Sends any message, as its type has it. @param {number} _type @param {any} _data */
  _sendMessage(_type, _data) {
    throw new Error("abstract");
  }

  // --- what a ClusterAdapter has ------------------------------------------------------------------------

  /**
   * Sends a message that is complete, for a subclass or another package that does so.
   *
   * @param {{ type: number, data: any }} message
   * @returns {Promise<string>}
   */
  async doPublish({ type, data }) {
    this._sendMessage(type, data);
    return "";
  }

  /** @param {string} requester its uid @param {{ type: number, data: any }} response */
  async doPublishResponse(requester, { type, data }) {
    this._respond(requester, this._codec.encode(type, data));
  }

  /** What waits for answers here is told of them by Rust, all at once: one alone is of no use. @param {any} response */
  onResponse(response) {
    if (!this.requests.has(response.data?.requestId)) super.onResponse(response);
  }

  // --- what returns promises ----------------------------------------------------------------------------

  /** @param {any} packet @param {any} opts @returns {Promise<void>} */
  broadcast(packet, opts) {
    super.broadcast(packet, opts);
    return DONE;
  }

  /** @param {any} opts @param {any[]} rooms @returns {Promise<void>} */
  addSockets(opts, rooms) {
    super.addSockets(opts, rooms);
    return DONE;
  }

  /** @param {any} opts @param {any[]} rooms @returns {Promise<void>} */
  delSockets(opts, rooms) {
    super.delSockets(opts, rooms);
    return DONE;
  }

  /** @param {any} opts @param {boolean} close @returns {Promise<void>} */
  disconnectSockets(opts, close) {
    super.disconnectSockets(opts, close);
    return DONE;
  }

  /** @param {any[]} packet the arguments, with a callback at the end if answers are wanted @returns {Promise<void>} */
  serverSideEmit(packet) {
    super.serverSideEmit(packet);
    return DONE;
  }
}

// As those of the reference, these are `ClusterAdapter`s: behind what all members have comes what that class has. The
// `super` of the members' methods stays what it is, `Adapter`: nothing of theirs is done by `ClusterAdapter`.
const layers = [MemberAdapter, BroadcastingAdapter, AskingAdapter];
const { constructor: _, ...members } = Object.assign(
  {},
  ...layers.map(({ prototype }) => Object.getOwnPropertyDescriptors(prototype)),
);
Object.setPrototypeOf(
  ClusterMemberAdapter.prototype,
  Object.create(ClusterAdapter?.prototype ?? Adapter.prototype, members),
);

module.exports = { ClusterMemberAdapter, DONE };
