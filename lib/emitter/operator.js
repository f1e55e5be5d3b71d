// @ts-check
"use strict";

/**
 * Whom an emitter sends to: rooms, all but some rooms, with flags. As the operators of Socket.IO's servers, each call
 * makes another one.
 */

const { EVERYBODY } = require("./senders");

/** Names of events that mean something else to clients and servers. @type {ReadonlySet<any>} */
const RESERVED_EVENTS = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

class BroadcastOperator {
  /** @type {import("./session").Session | import("./session").NoSession} */
  #session;
  /** @type {import("./senders").Sender} */
  #sender;
  /** @type {import("./senders").Target} */
  #target;

  /**
   * @param {import("./session").Session | import("./session").NoSession} session
   * @param {import("./senders").Sender} sender
   * @param {import("./senders").Target} [target]
   */
  constructor(session, sender, target = EVERYBODY) {
    this.#session = session;
    this.#sender = sender;
    this.#target = target;
  }

  /** Targets rooms. @param {any} room or several */
  to(room) {
    return this.#with({ rooms: union(this.#target.rooms, room) });
  }

  /** The same. @param {any} room */
  in(room) {
    return this.to(room);
  }

  /** Leaves rooms out. @param {any} room or several */
  except(room) {
    return this.#with({ except: union(this.#target.except, room) });
  }

  /** @param {boolean} compress */
  compress(compress) {
    return this.#with({ flags: { ...this.#target.flags, compress } });
  }

  get volatile() {
    return this.#with({ flags: { ...this.#target.flags, volatile: true } });
  }

  /**
   * Emits to the clients, and returns true.
   *
   * @param {any} ev
   * @param {...any} args
   */
  emit(ev, ...args) {
    this.#session.check();
    if (RESERVED_EVENTS.has(ev)) throw new Error(`"${ev}" is a reserved event name`);
    checkNoCallback(args);
    this.#sender.emit([ev, ...args], this.#target);
    return true;
  }

  /** @param {any} rooms or one */
  socketsJoin(rooms) {
    this.#session.check();
    this.#sender.join(listOf(rooms), this.#target);
  }

  /** @param {any} rooms or one */
  socketsLeave(rooms) {
    this.#session.check();
    this.#sender.leave(listOf(rooms), this.#target);
  }

  /** @param {boolean} [close] whether the underlying connections end too */
  disconnectSockets(close = false) {
    this.#session.check();
    this.#sender.disconnect(close, this.#target);
  }

  /** @param {Partial<import("./senders").Target>} change */
  #with(change) {
    return new BroadcastOperator(this.#session, this.#sender, { ...this.#target, ...change });
  }
}

/** Throws if the last argument is a function: nobody would call it. @param {any[]} args */
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

module.exports = { BroadcastOperator, RESERVED_EVENTS, checkNoCallback };
