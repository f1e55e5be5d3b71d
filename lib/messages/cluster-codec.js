// @ts-check
"use strict";

/**
 * How the sharded adapter and that of streams say what members ask and answer: in messages `{ type, data, uid, nsp }`.
 */

const { randomBytes } = require("node:crypto");
const { eventOf, readTarget } = require("../delivery/delivery");
const { checkNesting, rawOptions } = require("../delivery/outgoing");
const msgpack = require("../msgpack");
const { MESSAGE, decodeMessage, encodeMessage, holdsBinary } = require("./cluster-messages");
const { REQUEST } = require("./requests");
const { BinaryError, LEVELS_AROUND, packer, textPrinter } = require("./sockets");
const debug = require("debug")("socket.io-redis");

/** What is asked, as the wire has it. @type {Record<number, number>} */
const TYPES = {
  [REQUEST.REMOTE_JOIN]: MESSAGE.SOCKETS_JOIN,
  [REQUEST.REMOTE_LEAVE]: MESSAGE.SOCKETS_LEAVE,
  [REQUEST.REMOTE_DISCONNECT]: MESSAGE.DISCONNECT_SOCKETS,
  [REQUEST.REMOTE_FETCH]: MESSAGE.FETCH_SOCKETS,
  [REQUEST.SERVER_SIDE_EMIT]: MESSAGE.SERVER_SIDE_EMIT,
  [REQUEST.BROADCAST]: MESSAGE.BROADCAST,
};

/** What is answered. @type {Record<number, number>} */
const RESPONSES = {
  [REQUEST.SERVER_SIDE_EMIT]: MESSAGE.SERVER_SIDE_EMIT_RESPONSE,
  [REQUEST.BROADCAST_CLIENT_COUNT]: MESSAGE.BROADCAST_CLIENT_COUNT,
  [REQUEST.BROADCAST_ACK]: MESSAGE.BROADCAST_ACK,
};

/** The kind of a message that is none of these. */
const UNKNOWN = -1;

/** @param {Record<number, number>} types @returns {Map<number, number>} */
function turned(types) {
  return new Map(Object.entries(types).map(([kind, type]) => [type, Number(kind)]));
}

const KINDS = turned({ ...TYPES, ...RESPONSES, [REQUEST.SERVER_SIDE_EMIT]: MESSAGE.SERVER_SIDE_EMIT });

const PRINTER = textPrinter((description) => {
  if (holdsBinary(description)) throw new BinaryError("JSON has no bytes");
  return JSON.stringify(description);
});

const PACKER = packer((description) => msgpack.encode(description, LEVELS_AROUND));

/** What streams take: a Date is one there. */
const PACKER_AS_IS = packer((description) => msgpack.encodeAsIs(description, LEVELS_AROUND));

class ClusterCodec {
  uid;
  nsp;

  /** @param {string} uid @param {string} nsp */
  constructor(uid, nsp) {
    this.uid = uid;
    this.nsp = nsp;
  }

  /** A message as it goes over a channel. @param {number} type @param {object} data @returns {Buffer} */
  encode(type, data) {
    return encodeMessage(type, data, this.uid, this.nsp);
  }

  /** A new id for a request, or an uid: sixteen hexadecimal digits. */
  newId() {
    return randomId();
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /** Whether Rust can encode what goes out. @param {Buffer[]} _attachments */
  isNative(_attachments) {
    return true;
  }

  /** The text goes into the message as it is. @param {any} _packet @param {Buffer[]} attachments */
  isExact(_packet, attachments) {
    return attachments.length === 0;
  }

  /** @param {any} packet @param {any} opts */
  encodeBroadcast({ type, data }, opts) {
    return this.encode(MESSAGE.BROADCAST, { packet: { type, data }, opts: rawOptions(opts) });
  }

  /** @param {any} opts @param {boolean} binary whether there are attachments */
  encodeOptions(opts, binary) {
    const options = rawOptions(opts);
    return binary ? msgpack.encode(options) : Buffer.from(JSON.stringify(options));
  }

  /** @param {Buffer} bytes @param {string} offset that is to be added to it, or none */
  decodeBroadcast(bytes, offset) {
    const { data } = decodeMessage(bytes);
    const { type, id } = data.packet;
    const packet = eventOf({ type, data: data.packet.data, nsp: this.nsp, ...(id !== undefined && { id }) });
    if (offset !== "") packet.data.push(offset);
    return { packet, opts: readTarget(data.opts ?? {}) };
  }

  // --- what is asked -----------------------------------------------------------------------------------

  /** A request as it is asked here: who lists sockets says their ids and rooms, too. @param {number} kind */
  kindOf(kind) {
    return kind === REQUEST.SOCKETS || kind === REQUEST.ALL_ROOMS ? REQUEST.REMOTE_FETCH : kind;
  }

  /** The message of a request. @param {number} kind @param {string | undefined} requestId @param {import("./requests").Fields} fields */
  message(kind, requestId, { opts, rooms, close, args }) {
    const type = TYPES[this.kindOf(kind)];
    if (args !== undefined)
      return { type, data: requestId === undefined ? { packet: args } : { requestId, packet: args } };
    const target = rawOptions(opts);
    if (rooms !== undefined) return { type, data: { opts: target, rooms: [...rooms] } };
    return { type, data: { opts: target, ...(requestId === undefined ? { close } : { requestId }) } };
  }

  /** @param {number} kind @param {string | undefined} requestId @param {import("./requests").Fields} fields */
  encodeRequest(kind, requestId, fields) {
    const { type, data } = this.message(kind, requestId, fields);
    const bytes = this.encode(type, data);
    return fields.args === undefined ? bytes : checkNesting(bytes);
  }

  /** An acknowledged broadcast. @param {string} requestId @param {any} packet @param {any} opts */
  encodeAckRequest(requestId, { type, data }, opts) {
    const message = { packet: { type, data }, requestId, opts: rawOptions(opts) };
    return checkNesting(this.encode(MESSAGE.BROADCAST, message));
  }

  /**
   * A request of another member. Throws if it is malformed.
   *
   * @param {Buffer} bytes
   * @returns {import("./requests").Asked}
   */
  readRequest(bytes) {
    const message = decodeMessage(bytes);
    const { type, data, uid } = message;
    if (type === MESSAGE.BROADCAST) eventOf(data.packet);
    debug("received message %j", message);
    const { requestId, opts, rooms, close, packet } = data;
    return {
      kind: KINDS.get(type) ?? UNKNOWN,
      requestId,
      requester: uid,
      wantsAnswer: requestId !== undefined && requestId !== null,
      target: readTarget(opts ?? {}),
      rooms,
      close,
      args: packet,
      packet,
    };
  }

  // --- what is answered --------------------------------------------------------------------------------

  /** What prints the descriptions of sockets, and how else that is done if JSON cannot carry them. @type {import("./sockets").Printer} */
  get printer() {
    return PRINTER;
  }

  /** @type {import("./sockets").Printer} */
  get packer() {
    return PACKER;
  }

  /** A response of this kind. @param {number} kind @param {string | null | undefined} requestId @param {any} value */
  encodeResponse(kind, requestId, value) {
    const isCount = kind === REQUEST.BROADCAST_CLIENT_COUNT;
    const answer = isCount ? { clientCount: value } : { packet: value };
    return checkNesting(this.encode(RESPONSES[kind], { requestId, ...answer }));
  }

  /** The name of the list that answers this. @param {number} _kind */
  listOf(_kind) {
    return "sockets";
  }

  /** The list in an answer that came whole. @param {Buffer} bytes @param {number} _kind @returns {any[]} */
  readList(bytes, _kind) {
    return decodeMessage(bytes).data.sockets;
  }

  /** The rooms in a list that answers `ALL_ROOMS`. @param {any[]} list @returns {any[]} */
  roomsIn(list) {
    return list.flatMap(({ rooms }) => [...rooms]);
  }

  /** The ids in a list that answers `SOCKETS`. @param {any[]} list */
  idsIn(list) {
    return list.map(({ id }) => id);
  }

  /** How a request ends whose lists have not all come. @param {string} _method @param {number} came @param {number} expected */
  lateText(_method, came, expected) {
    return `timeout reached: only ${came} responses received out of ${expected}`;
  }

  /** The answer to a `serverSideEmit`. @param {Buffer} bytes */
  readEmitted(bytes) {
    return decodeMessage(bytes).data.packet;
  }

  /** The answer to an acknowledged broadcast. Throws if it is malformed. @param {Buffer} bytes @param {boolean} _isChecked */
  readAck(bytes, _isChecked) {
    const { type, data } = decodeMessage(bytes);
    const isCount = type === MESSAGE.BROADCAST_CLIENT_COUNT;
    return {
      kind: KINDS.get(type) ?? UNKNOWN,
      requestId: data.requestId,
      value: isCount ? data.clientCount : data.packet,
    };
  }
}

/** The same for streams: what goes by pub/sub is msgpack. */
class StreamsCodec extends ClusterCodec {
  /** @param {number} type @param {object} data */
  encode(type, data) {
    return msgpack.encodeAsIs({ type, data, uid: this.uid, nsp: this.nsp });
  }

  /** @param {Buffer[]} attachments */
  isNative(attachments) {
    return attachments.length === 0;
  }

  get printer() {
    return PACKER_AS_IS;
  }
}

/** Sixteen hexadecimal digits, for uids and request ids. */
function randomId() {
  return randomBytes(8).toString("hex");
}

module.exports = { ClusterCodec, StreamsCodec, randomId };
