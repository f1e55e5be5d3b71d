// @ts-check
"use strict";

/**
 * A broadcast's way out, and in: what the parent class encodes is published, and what others have published is handed to it.
 */

const { checkSocketIo } = require("../base/socket-io-version");
const { Compressed, mayCompress, termsOf } = require("../delivery/compressed");
const { decodeTarget, lazyPacket, printsStandardText } = require("../delivery/delivery");
const { frameOf, framesOf, messageOf } = require("../delivery/frames");
const { readAttachments } = require("../delivery/outgoing");
const { Run, isObserved } = require("../delivery/run");
const { Recipients } = require("../fan-out/recipients");
const { MemberAdapter } = require("./member");
const { encodeInParent, makesFrames, writesToEachSocket } = require("./parent");
const { Publisher } = require("./publisher");

/** @type {0} */ const BROADCASTS = 0;

/**
 * @typedef {import("../delivery/outgoing").BroadcastOptions} BroadcastOptions
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {{ packet: any, encoded: any[], frame: Buffer | null }} Incoming
 */

/** @abstract */
class BroadcastingAdapter extends MemberAdapter {
  _codec;
  _publisher;
  /** Whether the server's parser prints the text that Rust reads and writes. */
  #standardText;
  /** Whether socket.io-adapter makes WebSocket frames of it. */
  #makesFrames;
  /** The broadcast that is being encoded by the parent class, to be published when it is. */
  /** @type {{ packet: any, opts: BroadcastOptions, done: boolean } | null} */
  #outgoing = null;
  /** The broadcast from another node that the parent class is delivering. */
  /** @type {Incoming | null} */
  #incoming = null;
  /** With `fanOut`. @type {Recipients | null} */
  #recipients = null;
  /** The ids of those that the next broadcast goes to, if somebody wants to know. @type {string[] | null} */
  #receivers = null;

  /**
   * @param {any} nsp the namespace
   * @param {import("../link/link").Link} link
   * @param {Omit<import("../link/routing").Identity, "nsp" | "frames">} identity
   * @param {import("./responder").Codec} codec how its messages look
   */
  constructor(nsp, link, identity, codec) {
    checkSocketIo(nsp.server);
    const standardText = printsStandardText(nsp.server.encoder);
    super(nsp, link, { ...identity, frames: standardText });
    this._codec = codec;
    this.#standardText = standardText;
    this.#makesFrames = standardText && makesFrames(this);
    this._publisher = new Publisher(this._membership, codec, standardText, this);
  }

  /** Has a thread of Rust's write broadcasts to the local sockets. @param {boolean} isWanted as the option says */
  _useFanOut(isWanted) {
    if (isWanted && this.#makesFrames) this.#recipients = new Recipients(this);
  }

  stats() {
    const stats = super.stats();
    return stats === null || this.#recipients === null ? stats : { ...stats, fanOut: this.#recipients.stats };
  }

  /**
   * Sends a broadcast that Rust does not encode.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {string | null} room if it is exactly one
   */
  _sendBroadcast(packet, opts, room) {
    this._send(BROADCASTS, room, this._codec.encodeBroadcast(packet, opts));
  }
  /** Rust has got a broadcast. */
  _handedOver() {}
  /** Does something to the local sockets, behind what has to be done before. @param {() => void} act */
  _inOrder(act) {
    act();
  }

  // --- out ---------------------------------------------------------------------------------------------

  /**
   * @param {any} packet
   * @param {any} opts
   */
  broadcast(packet, opts) {
    packet.nsp = this.nsp.name;
    if (opts?.flags?.local) return this.#toSockets(packet, opts);
    const outer = this.#outgoing;
    const outgoing = { packet, opts, done: false };
    this.#outgoing = outgoing;
    try {
      this.#toSockets(packet, opts);
    } finally {
      this.#outgoing = outer;
      // Another implementation (uWebSockets.js brings one) does not come by `_encode`.
      if (!outgoing.done) this._publisher.publish(packet, opts, this.encoder.encode(packet), null);
    }
  }

  /** Sends a packet to the local sockets. @param {any} packet @param {any} opts */
  #toSockets(packet, opts) {
    const fansOut = this.#fansOut(opts);
    const isCompressedOnce = this.#compressesOnce(opts);
    if (!fansOut && !isCompressedOnce) return super.broadcast(packet, opts);
    const { volatile, compress } = opts.flags ?? {};
    /** @type {any} */
    const packetOpts = { preEncoded: true, volatile, compress };
    const encoded = this._encode(packet, packetOpts);
    const attachments = readAttachments(encoded);
    // The bytes of a Blob are not at hand.
    const compressed = attachments !== null && isCompressedOnce ? new Compressed() : null;
    compressed?.add(messageOf(encoded[0]), attachments ?? []);
    const isWorthIt = compressed?.isWorthIt(this._reach(opts)) === true;
    const send = (/** @type {any} */ socket) => {
      socket.notifyOutgoingListeners(packet);
      const terms = isWorthIt && !isObserved(socket) ? termsOf(socket.client.conn) : null;
      if (terms !== null && compressed?.writeTo(socket.client.conn, terms)) return;
      socket.client.writeToEngine(encoded, packetOpts);
    };
    if (attachments === null || !fansOut || this.#recipients === null) return this.apply(opts, send);
    this.#recipients.deliver(framesOf(encoded[0], packetOpts.wsPreEncodedFrame, attachments), opts, send);
  }

  /** Whether native code writes to the sockets of a broadcast. @param {any} opts */
  #fansOut(opts) {
    return (
      this.#recipients !== null &&
      writesToEachSocket() &&
      !Object.hasOwn(this, "apply") &&
      !this._notesReceivers &&
      this.#recipients.wants(opts)
    );
  }

  /** Whether a broadcast may be compressed once for many connections. @param {any} opts */
  #compressesOnce({ flags }) {
    return (
      this.#makesFrames &&
      mayCompress(this.nsp.server) &&
      flags?.compress !== false &&
      !flags?.volatile &&
      writesToEachSocket()
    );
  }

  /** How many sockets a broadcast is for, at most. @param {any} opts */
  _reach({ rooms }) {
    let size = rooms.size === 0 ? this.sids.size : 0;
    for (const room of rooms) size += this.rooms.get(room)?.size ?? 0;
    return size;
  }

  /** Whether it has to be known what each socket was sent. */
  get _notesReceivers() {
    return false;
  }

  /**
   * The one place where a packet becomes text, for the local sockets and for the other nodes alike.
   *
   * @param {any} packet
   * @param {any} packetOpts
   * @returns {any[]}
   */
  _encode(packet, packetOpts) {
    const incoming = this.#incoming;
    if (incoming !== null && packet === incoming.packet) {
      if (incoming.frame !== null) packetOpts.wsPreEncodedFrame = [incoming.frame];
      return incoming.encoded;
    }
    const outgoing = this.#outgoing;
    if (outgoing === null || packet !== outgoing.packet || outgoing.done)
      return encodeInParent(this, packet, packetOpts);
    outgoing.done = true;
    const encoded = encodeInParent(this, packet, packetOpts);
    this._publisher.publish(packet, outgoing.opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
  }

  /**
   * Sends a broadcast to the other nodes alone, and returns what the server's parser made of it.
   *
   * @param {any} packet
   * @param {any} opts
   * @returns {any[]}
   */
  _publish(packet, opts) {
    packet.nsp = this.nsp.name;
    /** @type {any} */
    const packetOpts = {};
    const encoded = encodeInParent(this, packet, packetOpts);
    this._publisher.publish(packet, opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
  }

  /**
   * What the parent class needs not encode again; null if only the server's parser knows how.
   *
   * @param {any} packet
   * @param {string} text
   * @param {any[]} attachments
   * @returns {Incoming | null}
   */
  _encodedTo(packet, text, attachments) {
    if (!this.#standardText) return null;
    const frame = attachments.length === 0 && this.#makesFrames ? frameOf(text) : null;
    return { packet, encoded: [text, ...attachments], frame };
  }

  /**
   * Sends an acknowledged broadcast to the local sockets alone. Returns the ids of those that have got it, if they are known.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {Callback} count
   * @param {Callback} ack
   * @returns {string[] | null}
   */
  _broadcastHere(packet, opts, count, ack) {
    const receivers = (this.#receivers = /** @type {string[]} */ ([]));
    try {
      super.broadcastWithAck(packet, opts, count, ack);
      // Another implementation does not come by `apply`.
      return this.#receivers === receivers ? null : receivers;
    } finally {
      this.#receivers = null;
    }
  }

  /**
   * Does something to each local socket that a broadcast is for.
   *
   * @param {any} opts
   * @param {(socket: any) => void} callback
   */
  apply(opts, callback) {
    const receivers = this.#receivers;
    if (receivers === null) return super.apply(opts, callback);
    this.#receivers = null;
    super.apply(opts, (/** @type {any} */ socket) => {
      receivers.push(socket.id);
      callback(socket);
    });
  }

  // --- who is where ------------------------------------------------------------------------------------

  /**
   * The parent class tells of sockets that join and leave rooms. It is known here before listeners of the user's hear of it.
   *
   * @param {string | symbol} event
   * @param {any[]} args
   * @returns {boolean}
   */
  emit(event, ...args) {
    if (event === "join-room") this.#recipients?.joined(args[1], args[0]);
    else if (event === "leave-room") this.#recipients?.left(args[1], args[0]);
    return super.emit(event, ...args);
  }

  /** @param {any} id @param {Set<any>} rooms */
  addAll(id, rooms) {
    this.#recipients?.arrived(id);
    super.addAll(id, rooms);
  }

  /** @param {any} id */
  delAll(id) {
    try {
      super.delAll(id);
    } finally {
      // If a listener of the user's has thrown, the parent class still has it.
      if (!this.sids.has(id)) this.#recipients?.gone(id);
    }
  }

  // --- in ----------------------------------------------------------------------------------------------

  /** Broadcasts for the same sockets, one behind the other. @param {import("../link/inbox").InboxRecord} record */
  _onFrames(record) {
    let opts;
    try {
      opts = decodeTarget(record.part(2));
    } catch (error) {
      return this._membership.link.ignore(String(error));
    }
    const fansOut = this.#fansOut(opts);
    const isRun = record.length > 1 || record.count > 0 || fansOut;
    if (isRun && this.#joinsFrames(opts) && !this.#isObserved(opts, fansOut)) {
      const run = new Run(this.nsp.name, record, opts, this._reach(opts), (error) => this._tellThrown(error));
      return this._deliverRun(run, opts, fansOut);
    }
    for (const _ of record.each()) this.#onFrame(record, opts);
  }

  /**
   * Whether the frames of broadcasts may be written at once. Not if they are volatile: of these a socket gets the first
   * one only, while it is busy with that.
   *
   * @param {any} opts
   */
  #joinsFrames({ flags }) {
    return this.#makesFrames && !flags.volatile && writesToEachSocket();
  }

  /**
   * Whether functions of the user's run when one of these sockets is sent something: they may change what is sent next, and to
   * whom.
   *
   * @param {any} opts
   * @param {boolean} fansOut
   */
  #isObserved(opts, fansOut) {
    if (this.#recipients !== null && fansOut) return this.#recipients.isObserved(opts);
    let isOne = false;
    super.apply(opts, (/** @type {any} */ socket) => (isOne ||= isObserved(socket)));
    return isOne;
  }

  /**
   * @param {Run} run
   * @param {any} opts whom it is for
   * @param {boolean} fansOut
   */
  _deliverRun(run, opts, fansOut) {
    const send = (/** @type {any} */ socket) => run.deliver(socket);
    if (this.#recipients !== null && fansOut) this.#recipients.deliver(run.view, opts, send);
    else this.apply(opts, send);
  }

  /** @param {import("../link/inbox").InboxRecord} record @param {any} opts */
  #onFrame(record, opts) {
    const text = record.text(1);
    const packet = lazyPacket(this.nsp.name, { text, data: record.isExact ? null : copy(record.part(3)) });
    const incoming = {
      packet,
      encoded: [text, ...record.attachments().map(copy)],
      frame: record.count === 0 && this.#makesFrames ? copy(record.part(0)) : null,
    };
    this._deliver(packet, opts, incoming, record.offset);
  }

  /** A broadcast that Rust could not read, or not make a frame of. @param {Buffer} bytes @param {string} offset */
  _onBroadcast(bytes, offset) {
    let decoded;
    try {
      decoded = this._codec.decodeBroadcast(bytes, offset);
    } catch (error) {
      return this._membership.link.ignore(String(error));
    }
    if (decoded !== null) this._deliver(decoded.packet, decoded.opts, null, offset);
  }

  /**
   * Hands a broadcast that needs no publishing to the parent class.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {Incoming | null} incoming what it is encoded to
   * @param {string} [_offset] that its clients know it by, if it has one
   */
  _deliver(packet, opts, incoming, _offset) {
    const outer = this.#incoming;
    this.#incoming = incoming;
    try {
      this.#toSockets(packet, opts);
    } catch (error) {
      // An outgoing listener of the user's has thrown.
      this._tellThrown(error);
    } finally {
      this.#incoming = outer;
    }
  }
}

/** Of its own memory: the next fetch writes the slab anew. @param {Buffer} bytes */
function copy(bytes) {
  return Buffer.from(bytes);
}

module.exports = { BROADCASTS, BroadcastingAdapter };
