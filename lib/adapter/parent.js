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

/** An implementation of `broadcast`, and whether it does nothing but encode and write to each socket. */
let known = { broadcast: /** @type {any} */ (null), isPlain: false };

/** Whether the parent class writes to each socket what `_encode` returns. uWebSockets.js brings another one that does not. */
function writesToEachSocket() {
  const { broadcast } = Adapter.prototype;
  if (known.broadcast !== broadcast) known = { broadcast, isPlain: isPlainBroadcast(broadcast) };
  return known.isPlain;
}

/** @param {any} broadcast */
function isPlainBroadcast(broadcast) {
  /** @type {string[]} */
  const steps = [];
  const nobody = Object.assign(Object.create(Adapter.prototype), {
    // No namespace is called so, and nobody is in it.
    nsp: { name: "\u0000probe", sockets: new Map() },
    rooms: new Map(),
    sids: new Map(),
    encoder: { encode: () => ["2"] },
    _encode: () => (steps.push("encode"), ["2"]),
    apply: () => void steps.push("apply"),
  });
  try {
    for (const rooms of [new Set(), new Set(["room"]), new Set(["room", "other"])])
      broadcast.call(nobody, { type: EVENT, data: ["probe"] }, { rooms, except: new Set(), flags: {} });
  } catch {
    return false;
  }
  return steps.join() === "encode,apply,encode,apply,encode,apply";
}

module.exports = { Adapter, encodeInParent, makesFrames, writesToEachSocket };
