// @ts-check
"use strict";

/**
 * Sends an emitter's messages in the form of each family of servers.
 */

const { streamOf } = require("../base/native");
const { MESSAGE, encodeData, printMessage } = require("../messages/cluster-messages");
const msgpack = require("../msgpack");
const { toBuffer } = require("../delivery/outgoing");
const { REQUEST } = require("../messages/requests");
const { Routing } = require("../link/routing");
const { UID } = require("./options");
const debug = require("debug")("socket.io-emitter");

/** The type of an event packet. */
const EVENT = 2;

// As in lib/adapter/adapter.js, which needs socket.io-adapter: where there is no server there may be none of that.
/** @type {0} */ const BROADCASTS = 0;
/** @type {1} */ const REQUESTS = 1;

/**
 * @typedef {import("./options").EmitterOptions} EmitterOptions
 *
 * @typedef {object} Target who gets a message
 * @property {Set<any>} rooms
 * @property {Set<any>} except
 * @property {Record<string, any>} flags
 *
 * @typedef {object} EmitterLink what takes it to Redis: the class in emitter-link.js
 * @property {import("../link/link").Link} link
 * @property {(sender: Sender, routing: import("../link/routing").Routing) => number} join
 */

/** @type {Target} */
const EVERYBODY = Object.freeze({ rooms: new Set(), except: new Set(), flags: {} });

/** Sends for one namespace. @abstract */
class Sender {
  #emitterLink;
  #routing;
  #member = 0;

  /**
   * @param {EmitterLink} emitterLink
   * @param {EmitterOptions} options
   * @param {string} nsp
   */
  constructor(emitterLink, options, nsp) {
    this.#emitterLink = emitterLink;
    this.#routing = new Routing({ ...options.identity, nsp });
    this.nsp = nsp;
  }

  /** @abstract @param {any[]} _data @param {Target} _target */
  emit(_data, _target) {
    throw new Error("abstract");
  }
  /** @abstract @param {any[]} _rooms @param {Target} _target */
  join(_rooms, _target) {
    throw new Error("abstract");
  }
  /** @abstract @param {any[]} _rooms @param {Target} _target */
  leave(_rooms, _target) {
    throw new Error("abstract");
  }
  /** @abstract @param {any} _close @param {Target} _target */
  disconnect(_close, _target) {
    throw new Error("abstract");
  }
  /** @abstract @param {any[]} _args */
  serverSideEmit(_args) {
    throw new Error("abstract");
  }

  /** The names of its channels. */
  get channels() {
    return this.#routing.names;
  }

  /** Joins the link, if it has not. */
  open() {
    if (this.#member === 0) this.#member = this.#emitterLink.join(this, this.#routing);
  }

  /** Leaves the link until it has something to send again. */
  close() {
    this.#emitterLink.link.leave(this.#member);
    this.#member = 0;
  }

  /** @param {0 | 1} to @param {string | null} room @param {Buffer | string} bytes */
  _send(to, room, bytes) {
    this.open();
    if (debug.enabled && to === BROADCASTS)
      debug("publishing message to channel %s", this.#routing.channelOf(to, room));
    this.#emitterLink.link.send(this.#member, this.#routing, to, room, bytes);
  }

  /** @param {string} key @param {string[]} command @param {number} type @param {string} data */
  _add(key, command, type, data) {
    this.open();
    debug("adding message to stream %s", key);
    this.#emitterLink.link.add(this.#member, key, command, type, data);
  }

  /** Sockets on any server are told to join rooms. @param {any[]} rooms */
  _cover(rooms) {
    this.#routing.native.cover(rooms.map(String));
  }
}

/** The beginning of broadcasts of the classic family: `[uid, { type, data: …`, in msgpack. */
const HEAD = Buffer.concat([
  Buffer.of(0x93),
  msgpack.encode(UID),
  Buffer.of(0x83),
  ...["type", EVENT, "data"].map(msgpack.encode),
]);

/** To servers with the classic adapter, and those of `socket.io-redis`. */
class ClassicSender extends Sender {
  /** @type {import("./options").Encoder | null} */
  #parser;
  /** What follows the arguments: up to the options, and for a broadcast to everybody up to the end. */
  #tail;
  #wholeTail;

  /**
   * @param {EmitterLink} emitterLink
   * @param {EmitterOptions} options
   * @param {string} nsp
   */
  constructor(emitterLink, options, nsp) {
    super(emitterLink, options, nsp);
    this.#parser = options.customParser ? options.parser : null;
    this.#tail = Buffer.concat(["nsp", nsp].map(msgpack.encode));
    this.#wholeTail = Buffer.concat([this.#tail, msgpack.encode(orderedOptions(EVERYBODY))]);
  }

  /** @param {any[]} data @param {Target} target */
  emit(data, target) {
    const bytes =
      this.#parser !== null
        ? this.#parse(this.#parser, data, target)
        : target === EVERYBODY
          ? msgpack.encodeBetween(HEAD, data, this.#wholeTail)
          : msgpack.encodeBetween(HEAD, data, this.#tail, orderedOptions(target));
    this._send(BROADCASTS, roomOf(target), bytes);
  }

  /**
   * @param {import("./options").Encoder} parser
   * @param {any[]} data
   * @param {Target} target
   * @returns {Buffer | string}
   */
  #parse(parser, data, target) {
    const bytes = parser.encode([UID, { type: EVENT, data, nsp: this.nsp }, orderedOptions(target)]);
    return typeof bytes === "string" ? bytes : toBuffer(bytes);
  }

  /** @param {any[]} rooms @param {Target} target */
  join(rooms, target) {
    this.#request({ type: REQUEST.REMOTE_JOIN, opts: targetOf(target), rooms });
  }

  /** @param {any[]} rooms @param {Target} target */
  leave(rooms, target) {
    this.#request({ type: REQUEST.REMOTE_LEAVE, opts: targetOf(target), rooms });
  }

  /** @param {any} close @param {Target} target */
  disconnect(close, target) {
    this.#request({ type: REQUEST.REMOTE_DISCONNECT, opts: targetOf(target), close });
  }

  /** @param {any[]} args */
  serverSideEmit(args) {
    this.#request({ uid: UID, type: REQUEST.SERVER_SIDE_EMIT, data: args });
  }

  /** @param {object} request */
  #request(request) {
    this._send(REQUESTS, null, JSON.stringify(request));
  }
}

/** To servers whose messages are envelopes, or entries of streams. @abstract */
class EnvelopeSender extends Sender {
  /**
   * Tells all servers something.
   *
   * @abstract
   * @param {number} _type
   * @param {object} _data
   * @param {Target} [_target] of a broadcast
   */
  _tell(_type, _data, _target) {
    throw new Error("abstract");
  }

  /** @param {any[]} data @param {Target} target */
  emit(data, target) {
    this._tell(MESSAGE.BROADCAST, { packet: { type: EVENT, data }, opts: optionsOf(target) }, target);
  }

  /** @param {any[]} rooms @param {Target} target */
  join(rooms, target) {
    this._tell(MESSAGE.SOCKETS_JOIN, { opts: optionsOf(target), rooms });
  }

  /** @param {any[]} rooms @param {Target} target */
  leave(rooms, target) {
    this._tell(MESSAGE.SOCKETS_LEAVE, { opts: optionsOf(target), rooms });
  }

  /** @param {any} close @param {Target} target */
  disconnect(close, target) {
    this._tell(MESSAGE.DISCONNECT_SOCKETS, { opts: optionsOf(target), close });
  }
}

/** To servers with the sharded adapter. */
class ShardedSender extends EnvelopeSender {
  /** @param {number} type @param {object} data @param {Target} [target] */
  _tell(type, data, target) {
    const room = target === undefined ? null : roomOf(target);
    this._send(target === undefined ? REQUESTS : BROADCASTS, room, printMessage(type, data, UID, this.nsp));
  }

  /** @param {any[]} rooms @param {Target} target */
  join(rooms, target) {
    this._cover(rooms);
    super.join(rooms, target);
  }

  /** @param {any[]} args */
  serverSideEmit(args) {
    this._tell(MESSAGE.SERVER_SIDE_EMIT, { packet: args });
  }
}

/** To servers with the streams adapter. */
class StreamsSender extends EnvelopeSender {
  #onlyPlaintext;
  #key;
  /** The command that adds an entry, without its last arguments. */
  #command;

  /**
   * @param {EmitterLink} emitterLink
   * @param {EmitterOptions} options
   * @param {string} nsp
   */
  constructor(emitterLink, options, nsp) {
    const given = /** @type {import("../../binding").LinkStream} */ (options.identity.stream);
    // The name is a key, and the user's client may have a prefix for keys.
    const stream = { ...given, name: emitterLink.link.keyPrefix + given.name };
    super(emitterLink, { ...options, identity: { ...options.identity, stream } }, nsp);
    this.#onlyPlaintext = options.onlyPlaintext;
    this.#key = streamOf(stream.name, stream.count, nsp);
    const maxLen = String(stream.maxLen);
    this.#command = ["XADD", this.#key, "MAXLEN", "~", maxLen, "*", "uid", UID, "nsp", nsp];
  }

  /** @param {any[]} args */
  serverSideEmit(args) {
    const message = { type: MESSAGE.SERVER_SIDE_EMIT, data: { packet: args }, uid: UID, nsp: this.nsp };
    this._send(REQUESTS, null, msgpack.encodeAsIs(message));
  }

  /** Adds an entry to the stream of the namespace. @param {number} type @param {object} data */
  _tell(type, data) {
    this._add(this.#key, this.#command, type, encodeData(type, data, this.#onlyPlaintext));
  }
}

/** The room, if it is exactly one. @param {Target} target @returns {string | null} */
function roomOf({ rooms }) {
  if (rooms.size !== 1) return null;
  const [room] = rooms;
  return String(room);
}

/** @param {Target} target */
function targetOf({ rooms, except }) {
  return { rooms: [...rooms], except: [...except] };
}

/** In the order of the reference's emitter. @param {Target} target */
function orderedOptions({ rooms, except, flags }) {
  return { rooms: [...rooms], flags, except: [...except] };
}

/** @param {Target} target */
function optionsOf({ rooms, except, flags }) {
  return { rooms: [...rooms], except: [...except], flags };
}

const SENDERS = { classic: ClassicSender, sharded: ShardedSender, streams: StreamsSender };

/**
 * Makes the sender of a namespace for the options.
 *
 * @param {EmitterLink} emitterLink
 * @param {EmitterOptions} options
 * @param {string} nsp
 * @returns {Sender}
 */
function senderOf(emitterLink, options, nsp) {
  return new SENDERS[options.mode](emitterLink, options, nsp);
}

module.exports = { EVERYBODY, Sender, senderOf };
