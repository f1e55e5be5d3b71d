// @ts-check
"use strict";

/**
 * The messages of the cluster family, `{ type, data, uid, nsp }`: how they look, and what a server does about those
 * of others. Rust knows them as `src/wire/cluster/`.
 */

const { eventOf, readTarget } = require("../delivery/delivery");
const msgpack = require("../msgpack");
const {
  BinaryError,
  broadcastWithAck,
  describeSockets,
  once,
  printJson,
  serverSideEmit,
} = require("./sockets");
const debug = require("debug")("socket.io-redis");

/** What messages are; the numbers are the wire's. */
const MESSAGE = Object.freeze({
  BROADCAST: 3,
  SOCKETS_JOIN: 4,
  SOCKETS_LEAVE: 5,
  DISCONNECT_SOCKETS: 6,
  FETCH_SOCKETS: 7,
  FETCH_SOCKETS_RESPONSE: 8,
  SERVER_SIDE_EMIT: 9,
  SERVER_SIDE_EMIT_RESPONSE: 10,
  BROADCAST_CLIENT_COUNT: 11,
  BROADCAST_ACK: 12,
});

/** Those that may hold something binary, and are msgpack if they do. @type {Set<number>} */
const MAY_BE_BINARY = new Set([
  MESSAGE.BROADCAST,
  MESSAGE.FETCH_SOCKETS_RESPONSE,
  MESSAGE.SERVER_SIDE_EMIT,
  MESSAGE.SERVER_SIDE_EMIT_RESPONSE,
  MESSAGE.BROADCAST_ACK,
]);

/**
 * A message of the sharded adapter.
 *
 * @param {number} type
 * @param {object} data
 * @param {string} uid
 * @param {string} nsp
 * @returns {Buffer}
 */
function encodeMessage(type, data, uid, nsp) {
  const message = printMessage(type, data, uid, nsp);
  return typeof message === "string" ? Buffer.from(message) : message;
}

/**
 * The same, as a string if it is JSON.
 *
 * @param {number} type
 * @param {object} data
 * @param {string} uid
 * @param {string} nsp
 * @returns {Buffer | string}
 */
function printMessage(type, data, uid, nsp) {
  const message = { type, data, uid, nsp };
  return MAY_BE_BINARY.has(type) && holdsBinary(data) ? msgpack.encode(message) : JSON.stringify(message);
}

/**
 * What stands in the field `data` of an entry of a stream.
 *
 * @param {number} type
 * @param {object} data
 * @param {boolean} onlyPlaintext whether nothing is binary, as the user has said
 * @returns {string}
 */
function encodeData(type, data, onlyPlaintext) {
  return !onlyPlaintext && MAY_BE_BINARY.has(type) && holdsBinary(data)
    ? msgpack.encodeAsIs(data).toString("base64")
    : JSON.stringify(data);
}

/** The same, decoded. Throws if it makes no sense. @param {string} text @returns {any} */
function decodeData(text) {
  return text.startsWith("{") ? JSON.parse(text) : msgpack.decode(Buffer.from(text, "base64"));
}

/** @param {Buffer} bytes @returns {any} */
function decodeMessage(bytes) {
  return bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : msgpack.decode(bytes);
}

/** Whether there is something in it that JSON cannot carry. @param {any} value @param {boolean} [printed] @returns {boolean} */
function holdsBinary(value, printed = false) {
  if (value === null || typeof value !== "object") return false;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return true;
  if (Array.isArray(value)) return value.some((item) => holdsBinary(item));
  for (const key of Object.keys(value)) if (holdsBinary(value[key])) return true;
  return typeof value.toJSON === "function" && !printed && holdsBinary(value.toJSON(), true);
}

/**
 * @typedef {object} Context what a responder needs of its adapter
 * @property {() => any} nsp the namespace
 * @property {(requesterUid: string, type: number, data: object) => void} respond
 * @property {() => boolean} isText whether messages are JSON where that can carry them
 * @property {(requestId: string, isJson: boolean, count: number) => import("../../binding").SocketsAnswer} newAnswer
 * @property {import("./printed-handshakes").PrintedHandshakes} printed in JSON if messages are text
 * @property {(value: any) => Buffer} pack makes msgpack of a value
 * @property {(requesterUid: string, answer: import("../../binding").SocketsAnswer) => void} respondSockets
 * @property {(error: string) => void} ignore
 * @property {() => void} settled the request is worked off, whatever it has done to the rooms
 * @property {() => Promise<boolean> | null} subscribed when Redis has confirmed the rooms of by now, or after a while;
 *   null if it has
 * @property {import("./sockets").Local} local
 */

/** Does what other members ask, and answers them. Rust has looked at the shape of what comes here. */
class ClusterResponder {
  #context;

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * A request of another member. Rejects with what a listener of the user's throws.
   *
   * @param {Buffer} bytes
   */
  async onRequest(bytes) {
    const { ignore, settled } = this.#context;
    try {
      let message;
      try {
        message = decodeMessage(bytes);
        if (message.type === MESSAGE.BROADCAST) eventOf(message.data.packet);
      } catch (error) {
        return ignore(String(error));
      }
      debug("received message %j", message);
      await this.#answer(message);
    } finally {
      settled();
    }
  }

  /** @param {string} requestId @param {any[]} sockets @returns {Promise<import("../../binding").SocketsAnswer>} */
  async #describe(requestId, sockets) {
    const { isText, newAnswer, pack, printed } = this.#context;
    const answer = (/** @type {boolean} */ isJson) => newAnswer(requestId, isJson, sockets.length);
    const printPacked = (/** @type {object[]} */ descriptions) => Buffer.concat(descriptions.map(pack));
    if (!isText()) return describeSockets(sockets, answer(false), printPacked, printed);
    try {
      return await describeSockets(sockets, answer(true), printText, printed);
    } catch (error) {
      if (!(error instanceof BinaryError)) throw error;
      return describeSockets(sockets, answer(false), printPacked, null);
    }
  }

  /** @param {any} message */
  async #answer({ type, data, uid }) {
    const { nsp, local, respond, respondSockets, subscribed, ignore } = this.#context;
    const { requestId } = data;
    switch (type) {
      case MESSAGE.SOCKETS_JOIN:
        return local.addSockets(readTarget(data.opts), data.rooms);
      case MESSAGE.SOCKETS_LEAVE:
        return local.delSockets(readTarget(data.opts), data.rooms);
      case MESSAGE.DISCONNECT_SOCKETS:
        return local.disconnectSockets(readTarget(data.opts), data.close);
      case MESSAGE.FETCH_SOCKETS: {
        const sockets = await local.fetchSockets(readTarget(data.opts));
        // Whoever asks may go on to publish to rooms that were joined before.
        const waiting = subscribed();
        if (waiting !== null) await waiting;
        return respondSockets(uid, await this.#describe(requestId, sockets));
      }
      case MESSAGE.SERVER_SIDE_EMIT: {
        const args = [...data.packet];
        if (present(requestId)) {
          args.push(once((packet) => respond(uid, MESSAGE.SERVER_SIDE_EMIT_RESPONSE, { requestId, packet })));
        }
        if (!serverSideEmit(nsp(), args)) ignore("a serverSideEmit of an error that nobody listens to");
        return;
      }
      case MESSAGE.BROADCAST:
        return broadcastWithAck(
          nsp(),
          local,
          data.packet,
          readTarget(data.opts),
          (clientCount) => respond(uid, MESSAGE.BROADCAST_CLIENT_COUNT, { requestId, clientCount }),
          (packet) => respond(uid, MESSAGE.BROADCAST_ACK, { requestId, packet }),
        );
    }
  }
}

/** Descriptions of sockets in JSON, unless that cannot carry them. @param {object[]} descriptions */
function printText(descriptions) {
  if (holdsBinary(descriptions)) throw new BinaryError("JSON has no bytes");
  return printJson(descriptions);
}

/** @param {any} value */
function present(value) {
  return value !== undefined && value !== null;
}

module.exports = {
  ClusterResponder,
  MESSAGE,
  decodeData,
  decodeMessage,
  encodeData,
  encodeMessage,
  printMessage,
};
