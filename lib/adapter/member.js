// @ts-check
"use strict";

/**
 * A member of a link: the rooms and sockets that Rust is told of, what becomes of the link, and who is told of that.
 */

const { toBuffer } = require("../delivery/outgoing");
const { explainEvent } = require("../link/refusals");
const { Routing } = require("../link/routing");
const { toDelay } = require("../options/options");
const { Adapter } = require("./parent");
const { Readiness } = require("./readiness");
const debug = require("debug")("socket.io-redis");

/** What tells a member of a link, of whatever class and copy of this package. */
const MEMBER = Symbol.for("socket.io-redis-native.member");

/** How long a subscription to the room of another server's sockets is waited for, in milliseconds. */
const JOIN_PATIENCE = 1000;

/**
 * @typedef {object} Membership of an adapter in a link
 * @property {import("../link/link").Link} link
 * @property {Routing} routing
 * @property {number} number
 */

/** @abstract */
class MemberAdapter extends Adapter {
  /** @type {Membership} */
  _membership;
  _readiness;
  #closed = false;

  /**
   * @param {any} nsp the namespace
   * @param {import("../link/link").Link} link
   * @param {Omit<import("../link/routing").Identity, "nsp">} identity
   */
  constructor(nsp, link, identity) {
    super(nsp);
    this.uid = identity.uid;
    this._membership = { link, routing: new Routing({ ...identity, nsp: nsp.name }), number: 0 };
    const emit = (/** @type {string} */ event, /** @type {any[]} */ ...args) => super.emit(event, ...args);
    const listenerCount = (/** @type {string} */ event) => this.listenerCount(event);
    this._readiness = new Readiness({ emit, listenerCount }, nsp.name);
  }

  /**
   * Resolves when this node hears the others, for the first time, or is closed: nobody handles a rejection of what is
   * only there to be waited for. Whoever has asked for it waits: the process is kept, however long Redis is away.
   *
   * @returns {Promise<void>}
   */
  get ready() {
    return this._readiness.ready;
  }

  /** Tells somebody what becomes of this adapter. Not by listeners, which the user may remove. @param {import("./readiness").Follower} follower */
  _follow(follower) {
    this._readiness.follow(follower);
  }

  /**
   * Tells what a listener or a callback of the user's has thrown that was called for another server: to those who listen
   * to errors, or on stderr. Some of the reference's adapters hide it, others end the process for it.
   *
   * @param {any} error
   */
  _tellThrown(error) {
    if (!this._readiness.tellError(error))
      console.error("socket.io-redis: a listener or a callback has thrown:", error);
  }

  /** Tells what a promise is rejected with. @param {Promise<any>} promise */
  _guard(promise) {
    promise.catch((error) => this._tellThrown(error));
  }

  /**
   * Joins the cluster; to be called when the subclass is complete.
   *
   * @param {((error: Error) => void) | null} onError as the option
   */
  _join(onError) {
    if (onError !== null) this._follow({ onError: (error) => (onError(error), true) });
    // The namespace gets a new adapter: the one that it had would go on listening, and be counted.
    if (this.nsp.adapter?.[MEMBER]) this.nsp.adapter.close();
    const { stream } = this._membership.routing.identity;
    if (stream === undefined && this.nsp.server.opts?.connectionStateRecovery) warnOfRecovery(this.nsp.name);
    this._membership.number = this._membership.link.join(this._membership.routing, {
      onRecord: (record) => this._onRecord(record),
      onEvent: (event) => this.#onEvent(event),
      onRejoin: () => this._onRejoin(),
    });
  }

  /** @returns {boolean} */
  get [MEMBER]() {
    return true;
  }

  /** The names of its channels. */
  get _channels() {
    return this._membership.routing.names;
  }

  /** Who carries the bytes, whether that is proven, and why. */
  get transport() {
    return this._membership.link.transport;
  }

  /** The counters of the link that this namespace shares with the others of its clients; null if it is closed. */
  stats() {
    return this._membership.link.stats();
  }

  // --- what a subclass does -----------------------------------------------------------------------------

  /** The link has something for this member. @param {import("../link/inbox").InboxRecord} _record */
  _onRecord(_record) {
    throw new Error("abstract");
  }
  /** Rooms were joined that Redis is asked for something for. */
  _onSubscribing() {}
  /** The link has failed: nothing that it was asked is answered any more. */
  _onFailed() {}
  /** It was made anew, and knows of no rooms. */
  _onRejoin() {
    for (const room of this.rooms.keys()) this.#setRoom(room, true);
    if (this.sids.size > 0) this.#occupied(true);
  }
  /** What is told to some families only. @param {import("../link/link").LinkEvent} _event */
  _onEvent(_event) {}

  // --- what it does that with --------------------------------------------------------------------------

  /** @param {0 | 1 | 2} to @param {string | null} name @param {Buffer | string} bytes */
  _send(to, name, bytes) {
    const { link, routing, number } = this._membership;
    link.send(number, routing, to, name, toBuffer(bytes));
  }

  /** Sockets somewhere are told to join rooms: what is sent there next is not to miss them. @param {any[]} rooms */
  _cover(rooms) {
    this._membership.routing.native.cover(rooms.map(nameOf));
  }
  /** Whether this node hears the others now. */
  get _isReady() {
    return this._readiness.isReady;
  }

  get _isClosed() {
    return this.#closed;
  }

  /** A message is malformed. @param {string} why */
  _ignore(why) {
    this._membership.link.ignore(why);
  }

  /** A request of another member is worked off, whatever it has done to the rooms. */
  _settled() {
    this._membership.link.settled(this._membership.number);
  }

  /**
   * Resolves when Redis has confirmed all that this node listens to by now, to true; or to false, if it has not after
   * so many milliseconds.
   *
   * @param {any} timeout
   * @returns {Promise<boolean>}
   */
  _subscribed(timeout) {
    const { link, number } = this._membership;
    return this._isClosed ? Promise.resolve(false) : link.subscribed(number, toDelay(timeout));
  }

  // --- which sockets are here --------------------------------------------------------------------------

  /**
   * Tells Rust of rooms that come and go. Not by a listener, which the user may remove.
   *
   * @param {any} event
   * @param {any[]} args
   * @returns {boolean}
   */
  emit(event, ...args) {
    if (event === "create-room") this.#setRoom(args[0], true);
    else if (event === "delete-room") this.#setRoom(args[0], false);
    return super.emit(event, ...args);
  }

  /** @param {any} room @param {boolean} present */
  #setRoom(room, present) {
    const { link, number } = this._membership;
    if (link.room(number, nameOf(room), present, typeof room === "string")) this._onSubscribing();
  }

  /** @param {boolean} isOccupied whether there are any sockets */
  #occupied(isOccupied) {
    this._membership.link.occupied(this._membership.number, isOccupied);
  }

  /**
   * @param {any} id
   * @param {Set<any>} rooms
   */
  addAll(id, rooms) {
    const first = this.sids.size === 0;
    try {
      super.addAll(id, rooms);
    } finally {
      // A listener of the user's may have thrown, and the socket is here all the same.
      if (first && this.sids.size > 0) this.#occupied(true);
    }
  }

  /** @param {any} id */
  delAll(id) {
    const occupied = this.sids.size > 0;
    try {
      super.delAll(id);
    } finally {
      if (occupied && this.sids.size === 0) this.#occupied(false);
    }
  }

  /** Ends the subscriptions of this namespace. The user's clients stay as they are. */
  close() {
    this.#closed = true;
    this._membership.link.leave(this._membership.number);
    this._readiness.close();
  }

  /** @param {import("../link/link").LinkEvent} event @returns {boolean | void} whether somebody has heard of it */
  #onEvent(event) {
    switch (event.type) {
      case "ready":
        return this._readiness.onReady();
      case "failed":
        this._onFailed();
        return this._readiness.onLost(explainEvent(event), event.age);
      case "down":
      case "deaf":
        // An event loop that was blocked hears of it late.
        return this._readiness.onLost(explainEvent(event), (event.silence ?? 0) + (event.age ?? 0));
      case "refused":
        debug("Redis refused to %s: %s", event.what, event.error);
        return this._readiness.tellError(new Error(explainEvent(event, this._membership.routing)));
      default:
        this._onEvent(event);
    }
  }
}

/** The namespaces whose connections are not recovered, and that this was said of. @type {Set<string>} */
const unrecovered = new Set();

/** @param {string} nsp */
function warnOfRecovery(nsp) {
  if (unrecovered.has(nsp)) return;
  unrecovered.add(nsp);
  console.warn(
    `socket.io-redis: connectionStateRecovery has no effect in ${nsp}: it needs the adapter of socket.io-redis-native/streams`,
  );
}

/** The name of a room in a channel. @param {any} room */
function nameOf(room) {
  if (typeof room === "string") return room;
  try {
    return String(room);
  } catch {
    // No broadcast can name it either.
    return "";
  }
}

module.exports = { JOIN_PATIENCE, MemberAdapter };
