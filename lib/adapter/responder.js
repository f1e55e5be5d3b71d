// @ts-check
"use strict";

/**
 * What a server does about the requests of others: the part of the answer that only its sockets, or the user's own functions, can
 * give. Rust has looked at the shape of what comes here.
 */

const { REQUEST } = require("../messages/requests");
const {
  BinaryError,
  broadcastWithAck,
  describeSockets,
  once,
  serverSideEmit,
} = require("../messages/sockets");
const { Adapter } = require("./parent");
const debug = require("debug")("socket.io-redis");

/** What the parent class does to the sockets of this server alone. */
const HERE = Adapter.prototype;

/**
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {import("../messages/requests").Asked} Asked
 * @typedef {import("../messages/classic-codec").ClassicCodec | import("../messages/cluster-codec").ClusterCodec} Codec
 * @typedef {import("../../binding").SocketsAnswer} SocketsAnswer
 *
 * @typedef {object} Answering what a responder needs of its adapter
 * @property {any} nsp
 * @property {Map<any, any>} rooms
 * @property {(packet: any, opts: any, count: Callback, ack: Callback) => string[] | null} _broadcastHere
 * @property {import("../messages/printed-sockets").PrintedSockets} _printed
 * @property {(request: any) => boolean} _isOwn
 * @property {(why: string) => void} _ignore
 * @property {() => void} _settled
 * @property {() => Promise<boolean> | null} _confirmation
 * @property {(requester: string | null, bytes: Buffer | string) => void} _respond
 * @property {(requester: string | null, answer: SocketsAnswer) => void} _respondSockets
 * @property {(requestId: string | null, isJson: boolean, count: number) => SocketsAnswer} _newAnswer
 */

class Responder {
  #adapter;
  #codec;

  /** @param {Answering} adapter @param {Codec} codec */
  constructor(adapter, codec) {
    this.#adapter = adapter;
    this.#codec = codec;
  }

  /**
   * A request of another member. Rejects with what a listener of the user's throws.
   *
   * @param {Buffer} bytes
   * @param {number} encoding
   */
  async onRequest(bytes, encoding) {
    const adapter = this.#adapter;
    try {
      let asked;
      try {
        asked = this.#codec.readRequest(bytes, encoding, (request) => adapter._isOwn(request));
      } catch (error) {
        return adapter._ignore(String(error));
      }
      if (asked !== null) await this.#answer(asked);
    } finally {
      adapter._settled();
    }
  }

  /** @param {Asked} asked */
  async #answer(asked) {
    const adapter = this.#adapter;
    const { nsp } = adapter;
    const { kind, target, rooms, close } = asked;
    switch (kind) {
      case REQUEST.SOCKETS:
        return this.#respond(asked, kind, [...(await HERE.sockets.call(adapter, new Set(rooms)))]);
      case REQUEST.ALL_ROOMS:
        return this.#respond(asked, kind, [...adapter.rooms.keys()]);
      case REQUEST.REMOTE_FETCH:
        return this.#describe(asked);
      case REQUEST.REMOTE_JOIN:
        if (target === null) return this.#withSocket(asked, (socket) => socket.join(asked.room));
        return HERE.addSockets.call(adapter, target, rooms);
      case REQUEST.REMOTE_LEAVE:
        if (target === null) return this.#withSocket(asked, (socket) => socket.leave(asked.room));
        return HERE.delSockets.call(adapter, target, rooms);
      case REQUEST.REMOTE_DISCONNECT:
        if (target === null) return this.#withSocket(asked, (socket) => socket.disconnect(close));
        return HERE.disconnectSockets.call(adapter, target, close);
      case REQUEST.SERVER_SIDE_EMIT: {
        const args = [...asked.args];
        if (asked.wantsAnswer) args.push(once((value) => this.#respond(asked, kind, value)));
        if (!serverSideEmit(nsp, args))
          adapter._ignore("a serverSideEmit of an error that nobody listens to");
        return;
      }
      case REQUEST.BROADCAST:
        return broadcastWithAck(
          adapter,
          asked.packet,
          target,
          (clientCount) => this.#respond(asked, REQUEST.BROADCAST_CLIENT_COUNT, clientCount),
          (value) => this.#passOn(asked, value),
        );
      default:
        debug("ignoring unknown request type: %s", kind);
    }
  }

  /** Passes on what a client has acknowledged with, unless it cannot be encoded: that must not end this server. @param {Asked} asked @param {any} value */
  #passOn(asked, value) {
    const encode = () => this.#codec.encodeResponse(REQUEST.BROADCAST_ACK, asked.requestId, value);
    try {
      this.#adapter._respond(asked.requester, encode());
    } catch (error) {
      this.#adapter._ignore(`an acknowledgement that cannot be passed on (${error})`);
    }
  }

  /** @param {Asked} asked @param {number} kind @param {any} [value] */
  #respond({ requestId, requester }, kind, value) {
    this.#adapter._respond(requester, this.#codec.encodeResponse(kind, requestId, value));
  }

  /**
   * A request of an older node: it names one socket.
   *
   * @param {Asked} asked
   * @param {(socket: any) => void} act
   */
  #withSocket(asked, act) {
    const socket = this.#adapter.nsp.sockets.get(asked.sid);
    if (!socket) return;
    act(socket);
    this.#respond(asked, asked.kind);
  }

  /** Tells the requester of the sockets that it has asked for. @param {Asked} asked */
  async #describe({ requestId, requester, target }) {
    const adapter = this.#adapter;
    const codec = this.#codec;
    const sockets = await HERE.fetchSockets.call(adapter, target);
    // Whoever asks may go on to publish to rooms that were joined before.
    const waiting = adapter._confirmation();
    if (waiting !== null) await waiting;
    const start = (/** @type {boolean} */ isJson) =>
      adapter._newAnswer(requestId ?? null, isJson, sockets.length);
    const { printer, packer } = codec;
    const describe = async () => {
      try {
        return await describeSockets(sockets, start(printer.text !== null), printer, adapter._printed);
      } catch (error) {
        if (!(error instanceof BinaryError)) throw error;
        return describeSockets(sockets, start(false), packer, null);
      }
    };
    adapter._respondSockets(requester, await describe());
  }
}

module.exports = { Responder };
