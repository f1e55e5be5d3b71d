// @ts-check
"use strict";

/**
 * A broadcast on its way to the other servers: by what the server's parser has printed, or by what JS makes of the values.
 */

const { payloadOf } = require("../delivery/frames");
const { holdsDate, isPlain, readAttachments } = require("../delivery/outgoing");
const { SENT } = require("../link/link");
const { NestingError } = require("../msgpack/format");

/** What cannot be sent, since it is nested too deep. */
const TOO_DEEP = Symbol("too deep");

/**
 * @typedef {import("../delivery/outgoing").BroadcastOptions} BroadcastOptions
 *
 * @typedef {object} Sending what a publisher needs of its adapter
 * @property {(packet: any, opts: any, room: string | null) => void} _sendBroadcast
 * @property {() => void} _handedOver
 */

class Publisher {
  #membership;
  #codec;
  #standardText;
  #adapter;

  /**
   * @param {import("./member").Membership} membership
   * @param {import("./responder").Codec} codec
   * @param {boolean} standardText whether the server's parser prints the text that Rust reads and writes
   * @param {Sending} adapter
   */
  constructor(membership, codec, standardText, adapter) {
    this.#membership = membership;
    this.#codec = codec;
    this.#standardText = standardText;
    this.#adapter = adapter;
  }

  /**
   * @param {any} packet
   * @param {BroadcastOptions} opts
   * @param {any[]} encoded what the server's parser made of it
   * @param {any} frame the WebSocket frame, if there is one
   */
  publish(packet, opts, encoded, frame) {
    const { link, routing, number } = this.#membership;
    const codec = this.#codec;
    const { rooms } = opts;
    const room = rooms.size === 1 ? rooms.values().next().value : null;
    const name = room === null ? null : String(room);
    if (this.#standardText) {
      const attachments = readAttachments(encoded);
      if (attachments !== null && codec.isNative(attachments)) {
        const payload = payloadOf(frame) ?? Buffer.from("4" + encoded[0]);
        const encodeOptions = () => codec.encodeOptions(opts, attachments.length > 0);
        const options = isPlain(opts, room) ? null : encodeOptions();
        const hand = (/** @type {Buffer | null} */ options, /** @type {boolean} */ exact) =>
          link.broadcast(number, routing, payload, attachments, name, options, exact);
        const send = (/** @type {boolean} */ exact) => {
          const sent = hand(options, exact);
          return sent === SENT.AMBIGUOUS ? hand(encodeOptions(), exact) : sent;
        };
        if (send(codec.isExact(packet, attachments)) === SENT.YES) return this.#adapter._handedOver();
        // There may be a Date, printed as a string; for a server with another parser it is to stay a Date. Or an
        // object that looks like the place of an attachment.
        const datesMatter = this.encodable(() => attachments.length > 0 || holdsDate(packet.data));
        if (datesMatter === TOO_DEEP) return;
        if (!datesMatter) {
          send(true);
          return this.#adapter._handedOver();
        }
      }
    }
    this.encodable(() => this.#adapter._sendBroadcast(packet, opts, name));
  }

  /**
   * Does what is to be sent to the others, unless that is nested too deep for them. Then it is counted and told: it is no
   * reason to keep it from the local sockets. What a getter or a toJSON throws is the sender's.
   *
   * @template T
   * @param {() => T} act
   * @returns {T | typeof TOO_DEEP}
   */
  encodable(act) {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof NestingError)) throw error;
      this.#membership.link.unencodable();
      return TOO_DEEP;
    }
  }
}

module.exports = { Publisher, TOO_DEEP };
