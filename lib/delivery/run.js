// @ts-check
"use strict";

/**
 * Broadcasts for the same sockets, one right behind the other: their WebSocket frames stand in one buffer, which is
 * written once to each socket. A broadcast with attachments is a run by itself: its frames are written together, too.
 *
 * A socket whose transport takes no such buffer gets message by message, or what was compressed for all. If somebody looks at the
 * packets of one of the sockets, there is no run: each broadcast is one by itself.
 */

const { Compressed, termsOf } = require("./compressed");
const { lazyPacket } = require("./delivery");
const { BINARY, bodyOf, headSize, writeHead } = require("./frames");

/** What goes with the frames as the text of a packet: no transport that takes the frames reads it. */
const NO_TEXT = Object.freeze([""]);

/** What a transport is asked whether it takes frames. */
const PROBE = Object.freeze({
  type: "message",
  options: Object.freeze({ wsPreEncodedFrame: Object.freeze([]) }),
});

/** What Socket.IO is given with a packet. @typedef {{ preEncoded: true, compress: any, wsPreEncodedFrame?: Buffer[] }} PacketOptions */

/** @typedef {{ packet: any, encoded: any[], options: PacketOptions, offset: string }} Message one broadcast of a run */

class Run {
  #nsp;
  #record;
  #compress;
  #recipients;
  /** @type {Buffer | null} */
  #frames = null;
  /** @type {PacketOptions | null} */
  #joined = null;
  /** @type {Message[] | null} */
  #messages = null;
  /** @type {Compressed | null} */
  #compressed = null;
  #tell;

  /**
   * @param {string} nsp
   * @param {import("../link/inbox").InboxRecord} record it is read as long as the run is delivered
   * @param {{ flags: any }} opts whom all of them are for
   * @param {number} recipients how many sockets these are at most
   * @param {(error: any) => void} tell takes what an outgoing listener throws
   */
  constructor(nsp, record, { flags }, recipients, tell) {
    this.#nsp = nsp;
    this.#record = record;
    this.#compress = flags.compress;
    this.#recipients = recipients;
    this.#tell = tell;
  }

  /** @param {any} socket */
  deliver(socket) {
    try {
      const { conn } = socket.client;
      if (takesFrames(conn)) return socket.client.writeToEngine(NO_TEXT, this.#options);
      if (this.#compress !== false && this.#writeCompressed(conn)) return;
      for (const { encoded, options } of this.messages) socket.client.writeToEngine(encoded, options);
    } catch (error) {
      this.#tell(error);
    }
  }

  /** All frames, one behind the other, as long as the record is read. */
  get view() {
    const isOne = this.#record.length === 1 && this.#record.count === 0;
    return isOne && this.#frames === null ? this.#record.part(0) : this.frames;
  }

  /** The same in memory of its own. */
  get frames() {
    return (this.#frames ??= this.#join());
  }

  get #options() {
    return (this.#joined ??= {
      preEncoded: true,
      compress: this.#compress,
      wsPreEncodedFrame: [this.frames],
    });
  }

  /** @param {any} conn */
  #writeCompressed(conn) {
    const terms = termsOf(conn);
    if (terms === null) return false;
    this.#compressed ??= this.#compressAll();
    return this.#compressed.isWorthIt(this.#recipients) && this.#compressed.writeTo(conn, terms);
  }

  #compressAll() {
    const compressed = new Compressed();
    const copy = (/** @type {Buffer} */ bytes) => Buffer.from(bytes);
    for (const record of this.#record.each())
      compressed.add(copy(bodyOf(record.part(0))), record.attachments().map(copy));
    return compressed;
  }

  /** The broadcasts one by one. @returns {Message[]} */
  get messages() {
    return (this.#messages ??= this.#part());
  }

  /** The offset of the last broadcast that has one, or none. */
  get offset() {
    let offset = "";
    for (const _ of this.#record.each()) offset = this.#record.offset || offset;
    return offset;
  }

  #join() {
    const record = this.#record;
    let size = 0;
    for (const _ of record.each()) {
      size += record.size(0);
      for (const { length } of record.attachments()) size += headSize(length) + length;
    }
    const frames = Buffer.allocUnsafe(size);
    let at = 0;
    for (const _ of record.each()) {
      at += record.part(0).copy(frames, at);
      for (const attachment of record.attachments()) {
        at = writeHead(frames, at, BINARY, attachment.length);
        at += attachment.copy(frames, at);
      }
    }
    return frames;
  }

  /** @returns {Message[]} */
  #part() {
    const record = this.#record;
    const messages = [];
    for (const _ of record.each()) {
      const text = record.text(1);
      const attachments = record.attachments().map((bytes) => Buffer.from(bytes));
      const data = record.isExact ? null : Buffer.from(record.part(3));
      /** @type {PacketOptions} */
      const options = { preEncoded: true, compress: this.#compress };
      if (attachments.length === 0) options.wsPreEncodedFrame = [Buffer.from(record.part(0))];
      messages.push({
        packet: lazyPacket(this.#nsp, { text, data }),
        encoded: [text, ...attachments],
        options,
        offset: record.offset,
      });
    }
    return messages;
  }
}

/**
 * Whether a connection's transport writes frames as they are, those of attachments too.
 *
 * @param {any} conn
 */
function takesFrames(conn) {
  const { transport } = conn;
  return (
    transport.name === "websocket" &&
    conn.protocol === 4 &&
    transport.supportsBinary === true &&
    transport._canSendPreEncodedFrame?.(PROBE) === true
  );
}

/**
 * Whether functions of the user's see the packets that a socket is sent: listeners, or what was put in the place of functions of
 * Socket.IO and Engine.IO.
 *
 * @param {any} socket
 */
function isObserved(socket) {
  const conn = socket.client.conn;
  // There are other transports, and tests.
  if (conn?.transport === undefined) return true;
  return (
    socket.listenersAnyOutgoing?.().length !== 0 ||
    isWatched(conn) ||
    isWatched(conn.server) ||
    isReplaced(socket)
  );
}

/** Whether other functions send its packets than those of Socket.IO and Engine.IO. @param {any} socket */
function isReplaced(socket) {
  const { client } = socket;
  const { conn } = client;
  return !(
    isOriginal(socket.notifyOutgoingListeners, "_anyOutgoingListeners") &&
    isOriginal(client.writeToEngine, "conn.write(") &&
    isOriginal(conn.write, "sendPacket(") &&
    isOriginal(conn.sendPacket, "writeBuffer.push(") &&
    isOriginal(conn.flush, "transport.send(") &&
    (conn.transport.name !== "websocket" || isOriginal(conn.transport.send, "wsPreEncodedFrame"))
  );
}

/** Functions, and whether they are originals. @type {WeakMap<Function, boolean>} */
const originals = new WeakMap();

/** Whether a function does what its original does, as far as its source tells. @param {any} fn @param {string} step a part of the source */
function isOriginal(fn, step) {
  if (typeof fn !== "function") return false;
  const known = originals.get(fn);
  if (known !== undefined) return known;
  const is = Function.prototype.toString.call(fn).includes(step);
  originals.set(fn, is);
  return is;
}

/** Events of a connection, and of Engine.IO's server, that tell of packets. */
const WATCHES = ["packetCreate", "flush", "drain"];

/** Whether somebody listens to the packets that go out. @param {import("node:events").EventEmitter} emitter */
function isWatched(emitter) {
  return WATCHES.some((event) => emitter.listenerCount(event) > 0);
}

module.exports = { Run, WATCHES, isObserved, isReplaced, isWatched, takesFrames };
