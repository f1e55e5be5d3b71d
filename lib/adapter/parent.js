// @ts-check
"use strict";

/**
 * What is known of `socket.io-adapter` beyond its documentation: how it encodes, and how it broadcasts.
 */

// What it keeps private is where a packet becomes text: `encoder` and `_encode`.
const { Adapter } = /** @type {{ Adapter: any }} */ (require("socket.io-adapter"));
const { EVENT } = require("../delivery/delivery");
const { payloadOf } = require("../delivery/frames");

const encodeOfParent = Adapter.prototype._encode;

/**
 * Encodes as socket.io-adapter does.
 *
 * @param {any} adapter
 * @param {any} packet
 * @param {any} packetOpts
 */
function encodeInParent(adapter, packet, packetOpts) {
  return typeof encodeOfParent === "function"
    ? encodeOfParent.call(adapter, packet, packetOpts)
    : adapter.encoder.encode(packet);
}

/** Whether the parent class makes WebSocket frames of what an adapter broadcasts. @param {any} adapter */
function makesFrames(adapter) {
  /** @type {any} */
  const packetOpts = {};
  encodeInParent(adapter, { type: EVENT, nsp: "/", data: ["probe"] }, packetOpts);
  return payloadOf(packetOpts.wsPreEncodedFrame) !== null;
}

const broadcastOfParent = Adapter.prototype.broadcast;

/** Whether that is socket.io-adapter's own: it may have been replaced before this was loaded. */
const isOwnBroadcast = ["_encode(", ".apply(", "writeToEngine("].every((step) =>
  Function.prototype.toString.call(broadcastOfParent).includes(step),
);

/**
 * Whether the parent class writes to each socket what `_encode` returns, and does nothing else. uWebSockets.js brings another
 * `broadcast`, and users wrap it.
 */
function writesToEachSocket() {
  return isOwnBroadcast && Adapter.prototype.broadcast === broadcastOfParent;
}

module.exports = { Adapter, encodeInParent, makesFrames, writesToEachSocket };
