// @ts-check
"use strict";

/**
 * Says who gets an emitter's messages: rooms, all but some rooms, with flags. Each call makes another operator, as with the
 * operators of Socket.IO's servers.
 */

const { readForm } = require("../place/forms");
const { prefixIn } = require("../base/native");
const { RESERVED_EVENTS } = require("../delivery/delivery");
const { readEmitterOptions } = require("./options");
const { EVERYBODY } = require("./senders");
const { sessionOf } = require("./emitter-session");

/**
 * What `broadcastOptions` of an operator stand for.
 *
 * @typedef {object} Route
 * @property {any} redisClient
 * @property {import("./emitter-session").EmitterSession | import("./emitter-session").NoSession} session
 * @property {import("./senders").Sender} sender
 */

/** The routes of the options that emitters have made. @type {WeakMap<object, Route>} */
const routes = new WeakMap();

/** The routes of operators that users have made, by their options and their client. @type {WeakMap<object, WeakMap<object, Route>>} */
const handMade = new WeakMap();

class BroadcastOperator {
  /** @type {Route} */
  #route;
  /** @type {import("./senders").Target} */
  #target;

  /**
   * Emitters make operators. Users who make one need a client.
   *
   * @param {any} redisClient
   * @param {any} broadcastOptions `{ nsp, broadcastChannel, requestChannel, parser }`
   * @param {Set<any>} [rooms]
   * @param {Set<any>} [exceptRooms]
   * @param {Record<string, any>} [flags]
   */
  constructor(redisClient, broadcastOptions, rooms = new Set(), exceptRooms = new Set(), flags = {}) {
    this.redisClient = redisClient;
    this.broadcastOptions = broadcastOptions;
    this.rooms = rooms;
    this.exceptRooms = exceptRooms;
    this.flags = flags;
    this.#route = routeOf(redisClient, broadcastOptions);
    const isForAll = rooms.size === 0 && exceptRooms.size === 0 && Object.keys(flags).length === 0;
    this.#target = isForAll ? EVERYBODY : { rooms, except: exceptRooms, flags };
  }

  /** Targets rooms. @param {any} room or several */
  to(room) {
    return this.#with({ rooms: union(this.rooms, room) });
  }

  /** The same. @param {any} room */
  in(room) {
    return this.to(room);
  }

  /** Leaves rooms out. @param {any} room or several */
  except(room) {
    return this.#with({ except: union(this.exceptRooms, room) });
  }

  /** @param {boolean} compress */
  compress(compress) {
    return this.#with({ flags: { ...this.flags, compress } });
  }

  get volatile() {
    return this.#with({ flags: { ...this.flags, volatile: true } });
  }

  /**
   * Emits to the clients, and returns true.
   *
   * @param {any} ev
   * @param {...any} args
   */
  emit(ev, ...args) {
    this.#route.session.check();
    if (RESERVED_EVENTS.has(ev)) throw new Error(`"${ev}" is a reserved event name`);
    checkNoCallback(args);
    this.#route.sender.emit([ev, ...args], this.#target);
    return true;
  }

  /** @param {any} rooms or one */
  socketsJoin(rooms) {
    this.#route.session.check();
    this.#route.sender.join(listOf(rooms), this.#target);
  }

  /** @param {any} rooms or one */
  socketsLeave(rooms) {
    this.#route.session.check();
    this.#route.sender.leave(listOf(rooms), this.#target);
  }

  /** @param {boolean} [close] whether the underlying connections end too */
  disconnectSockets(close = false) {
    this.#route.session.check();
    this.#route.sender.disconnect(close, this.#target);
  }

  /** @param {Partial<import("./senders").Target>} change */
  #with({ rooms = this.rooms, except = this.exceptRooms, flags = this.flags }) {
    return new BroadcastOperator(this.redisClient, this.broadcastOptions, rooms, except, flags);
  }
}

/**
 * The route of a client: that of the emitter that has made the options, or one like it.
 *
 * @param {any} redisClient
 * @param {any} broadcastOptions
 * @returns {Route}
 */
function routeOf(redisClient, broadcastOptions) {
  const own = routes.get(broadcastOptions);
  if (own !== undefined && own.redisClient === redisClient) return own;
  let others = handMade.get(broadcastOptions);
  if (others === undefined) handMade.set(broadcastOptions, (others = new WeakMap()));
  const isObject = typeof redisClient === "object" && redisClient !== null;
  const known = isObject ? others.get(redisClient) : undefined;
  if (known !== undefined) return known;
  const { nsp, broadcastChannel, parser } = broadcastOptions;
  const key = () => prefixIn(broadcastChannel, nsp);
  const options = own?.session.options ?? readEmitterOptions({ key: key(), parser });
  const session = sessionOf(readForm([redisClient], { clients: 1 }), options);
  const route = { redisClient, session, sender: session.sender(nsp) };
  if (isObject) others.set(redisClient, route);
  return route;
}

/** Throws if the last argument is a function: no acknowledgement would call it. @param {any[]} args */
function checkNoCallback(args) {
  if (typeof args[args.length - 1] === "function") throw new Error("Acknowledgements are not supported");
}

/** @param {Set<any>} rooms @param {any} room */
function union(rooms, room) {
  return new Set([...rooms, ...listOf(room)]);
}

/** @param {any} rooms @returns {any[]} */
function listOf(rooms) {
  return Array.isArray(rooms) ? rooms : [rooms];
}

module.exports = { BroadcastOperator, RESERVED_EVENTS, checkNoCallback, routes };
