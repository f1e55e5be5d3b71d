// @ts-check
"use strict";

/**
 * How the classic adapter says what members ask and answer: msgpack broadcasts, requests and responses in JSON, and what the
 * user's parser makes of the rest. Rust knows it as `src/wire/classic.rs`.
 */

const { randomBytes } = require("node:crypto");
const { eventOf, readTarget } = require("../delivery/delivery");
const { checkNesting, rawOptions, rawTarget } = require("../delivery/outgoing");
const msgpack = require("../msgpack");
const { ENCODING, REQUEST, checkRequest, checkResponse } = require("./requests");
const { textPrinter } = require("./sockets");
const debug = require("debug")("socket.io-redis");

const PRINTER = textPrinter(JSON.stringify);

class ClassicCodec {
  #uid;
  #nsp;
  #parser;
  #hasCustomParser;

  /** @param {string} uid @param {string} nsp @param {any} parser @param {boolean} hasCustomParser */
  constructor(uid, nsp, parser, hasCustomParser) {
    this.#uid = uid;
    this.#nsp = nsp;
    this.#parser = parser;
    this.#hasCustomParser = hasCustomParser;
  }

  /** A new id for a request, or an uid: six characters of A-Z a-z 0-9 - _. */
  newId() {
    return randomId();
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /** Whether Rust can encode what goes out. */
  isNative() {
    return !this.#hasCustomParser;
  }

  /** Whether the text says all that the values do. */
  isExact() {
    return false;
  }

  /** @param {any} packet @param {any} opts */
  encodeBroadcast({ type, data, nsp }, opts) {
    return this.#parser.encode([this.#uid, { type, data, nsp }, rawOptions(opts)]);
  }

  /** @param {any} opts */
  encodeOptions(opts) {
    return msgpack.encode(rawOptions(opts));
  }

  /** @param {Buffer} bytes */
  decodeBroadcast(bytes) {
    const [uid, packet, opts] = this.#parser.decode(bytes);
    if (uid === this.#uid) return null;
    if (packet.nsp === undefined) packet.nsp = "/";
    if (packet.nsp !== this.#nsp) return null;
    return { packet: eventOf(packet), opts: readTarget(opts) };
  }

  // --- what is asked -----------------------------------------------------------------------------------

  /** A request as it is asked here. @param {number} kind */
  kindOf(kind) {
    return kind;
  }

  /** @param {number} kind @param {string | undefined} requestId @param {import("./requests").Fields} fields */
  encodeRequest(kind, requestId, { opts, rooms, close, args }) {
    const request = { uid: this.#uid, requestId, type: kind };
    if (kind === REQUEST.SOCKETS) return json({ ...request, rooms: [...opts.rooms] });
    if (kind === REQUEST.ALL_ROOMS) return json(request);
    if (args !== undefined) return checkNesting(json({ ...request, data: args }));
    return json({ ...request, opts: rawTarget(opts), rooms: rooms && [...rooms], close });
  }

  /** An acknowledged broadcast. @param {string} requestId @param {any} packet @param {any} opts */
  encodeAckRequest(requestId, { type, data, nsp }, opts) {
    return this.#parser.encode({
      uid: this.#uid,
      requestId,
      type: REQUEST.BROADCAST,
      packet: { type, data, nsp },
      opts: rawOptions(opts),
    });
  }

  /**
   * A request of another member. Throws if it is malformed.
   *
   * @param {Buffer} bytes
   * @param {number} encoding
   * @param {(request: any) => boolean} isOwn
   * @returns {import("./requests").Asked | null} null if it is of this member itself
   */
  readRequest(bytes, encoding, isOwn) {
    const request = encoding === ENCODING.MSGPACK ? msgpack.decode(bytes) : this.#decode(bytes);
    // Rust has looked at it already, unless only the user's parser can read it.
    if (encoding === ENCODING.CUSTOM) {
      checkRequest(request);
      if (isOwn(request)) return null;
    }
    const { type, uid, requestId, opts, rooms, close, data, packet, sid, room } = request;
    if (type === REQUEST.BROADCAST) eventOf(packet);
    debug("received request %j", request);
    return {
      kind: type,
      requestId,
      requester: uid === undefined ? null : String(uid),
      wantsAnswer: requestId !== undefined,
      target: opts ? readTarget(opts) : null,
      rooms,
      close,
      args: data,
      packet,
      sid,
      room,
    };
  }

  // --- what is answered --------------------------------------------------------------------------------

  /** What prints the descriptions of sockets. @type {import("./sockets").Printer} */
  get printer() {
    return PRINTER;
  }

  /** JSON carries them all. @type {import("./sockets").Printer} */
  get packer() {
    return PRINTER;
  }

  /** A response of this kind. @param {number} kind @param {string | null | undefined} requestId @param {any} value */
  encodeResponse(kind, requestId, value) {
    switch (kind) {
      case REQUEST.SOCKETS:
        return JSON.stringify({ requestId, sockets: value });
      case REQUEST.ALL_ROOMS:
        return JSON.stringify({ requestId, rooms: value });
      case REQUEST.SERVER_SIDE_EMIT:
        return checkNesting(json({ type: kind, requestId, data: value }));
      case REQUEST.BROADCAST_CLIENT_COUNT:
        return JSON.stringify({ type: kind, requestId, clientCount: value });
      case REQUEST.BROADCAST_ACK:
        return this.#parser.encode({ type: kind, requestId, packet: value });
      default:
        return JSON.stringify({ requestId });
    }
  }

  /** The name of the list that answers this. @param {number} kind */
  listOf(kind) {
    return kind === REQUEST.ALL_ROOMS ? "rooms" : "sockets";
  }

  /** The list in an answer that came whole. @param {Buffer} bytes @param {number} kind @returns {any[]} */
  readList(bytes, kind) {
    return this.#decode(bytes)[this.listOf(kind)];
  }

  /** The rooms in a list that answers `ALL_ROOMS`. @param {any[]} list */
  roomsIn(list) {
    return list;
  }

  /** The ids in a list that answers `SOCKETS`. @param {any[]} list */
  idsIn(list) {
    return list;
  }

  /** How a request ends whose lists have not all come. @param {string} method that was called */
  lateText(method) {
    return `timeout reached while waiting for ${method} response`;
  }

  /** The answer to a `serverSideEmit`. @param {Buffer} bytes */
  readEmitted(bytes) {
    return this.#decode(bytes).data;
  }

  /**
   * The answer to an acknowledged broadcast. Throws if it is malformed.
   *
   * @param {Buffer} bytes
   * @param {boolean} isChecked whether Rust has looked at it
   */
  readAck(bytes, isChecked) {
    const response = this.#decode(bytes);
    if (!isChecked) checkResponse(response);
    const { type, requestId, clientCount, packet } = response;
    return { kind: type, requestId, value: type === REQUEST.BROADCAST_ACK ? packet : clientCount };
  }

  /** A message off the fast path. JSON where it begins with a brace, whatever the parser. @param {Buffer} bytes */
  #decode(bytes) {
    return bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : this.#parser.decode(bytes);
  }
}

/** Six characters of A-Z a-z 0-9 - _, for uids and request ids. */
function randomId() {
  return randomBytes(5).toString("base64url").slice(0, 6);
}

/** @param {object} value */
function json(value) {
  return Buffer.from(JSON.stringify(value));
}

module.exports = { ClassicCodec, randomId };
