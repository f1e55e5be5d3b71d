// @ts-check
"use strict";

/**
 * Sends to the clients of a cluster of Socket.IO servers from a process that is none of them, as `Emitter` of
 * `@socket.io/redis-emitter` does.
 */

const { isOwn, readForm } = require("../place/forms");
const { BroadcastOperator, checkNoCallback, routes } = require("./broadcast-operator");
const { readEmitterOptions } = require("./options");
const { NoSession, EmitterSession, sessionOf } = require("./emitter-session");

class Emitter {
  /** @type {EmitterSession | NoSession} */
  #session;
  /** @type {import("./senders").Sender} */
  #sender;
  /** To everybody. @type {BroadcastOperator} */
  #operator;

  /**
   * @param {any} redisClient a client that publishes, or where a Redis is
   * @param {any} [opts]
   * @param {string} [nsp]
   */
  constructor(redisClient, opts, nsp = "/") {
    // Of `of()`, which hands on what is common.
    const session = opts instanceof EmitterSession || opts instanceof NoSession ? opts : null;
    this.redisClient = redisClient;
    if (session === null) {
      const form = readForm([redisClient, opts], { clients: 1 });
      const options = readEmitterOptions(form.opts);
      if (isOwn(form)) this.redisClient = null;
      this.#session = sessionOf(form, options);
      this.opts = { ...options.shown, ...opts };
    } else {
      this.#session = session;
    }
    this.nsp = nsp;
    this.#sender = this.#session.sender(nsp);
    const { parser } = this.#session.options;
    const { broadcast: broadcastChannel, request: requestChannel } = this.#sender.channels;
    this.broadcastOptions = { nsp, broadcastChannel, requestChannel, parser };
    const route = { redisClient: this.redisClient, session: this.#session, sender: this.#sender };
    routes.set(this.broadcastOptions, route);
    this.#operator = new BroadcastOperator(this.redisClient, this.broadcastOptions);
    // Connects now rather than with the first message.
    if (session === null) this.#sender.open();
  }

  /**
   * An emitter for another namespace, by the same connection: `close()` of one closes the other.
   *
   * @param {string} nsp
   */
  of(nsp) {
    const emitter = new Emitter(this.redisClient, this.#session, (nsp[0] !== "/" ? "/" : "") + nsp);
    emitter.opts = this.opts;
    return emitter;
  }

  /**
   * Emits to all clients, and returns true.
   *
   * @param {any} ev
   * @param {...any} args
   */
  emit(ev, ...args) {
    return this.#operator.emit(ev, ...args);
  }

  /** @param {any} room or several */
  to(room) {
    return this.#operator.to(room);
  }

  /** @param {any} room or several */
  in(room) {
    return this.#operator.to(room);
  }

  /** @param {any} room or several */
  except(room) {
    return this.#operator.except(room);
  }

  get volatile() {
    return this.#operator.volatile;
  }

  /** @param {boolean} compress */
  compress(compress) {
    return this.#operator.compress(compress);
  }

  /** Makes sockets join rooms. @param {any} rooms or one */
  socketsJoin(rooms) {
    this.#operator.socketsJoin(rooms);
  }

  /** Makes sockets leave rooms. @param {any} rooms or one */
  socketsLeave(rooms) {
    this.#operator.socketsLeave(rooms);
  }

  /** Makes sockets disconnect. @param {boolean} [close] whether the underlying connections end too */
  disconnectSockets(close = false) {
    this.#operator.disconnectSockets(close);
  }

  /** Sends an event to the servers. @param {...any} args */
  serverSideEmit(...args) {
    this.#session.check();
    checkNoCallback(args);
    this.#sender.serverSideEmit(args);
  }

  /** Who carries the bytes, whether that is certain, and why. */
  get transport() {
    return this.#session.transport;
  }

  /** The counters of what all emitters of this client have sent; null once this one is closed. */
  stats() {
    return this.#session.stats();
  }

  /**
   * Resolves when Redis has answered for everything that was emitted before: to how much that was since the last time.
   * Rejects if something has not reached Redis.
   *
   * @param {{ timeout?: number }} [options] how long it may take, in milliseconds
   */
  flush(options) {
    return this.#session.flush(options);
  }

  /**
   * The same, and ends what the emitter has opened: its own connections. The user's client stays as it is.
   *
   * @param {{ timeout?: number }} [options]
   */
  close(options) {
    return this.#session.close(options);
  }
}

// Node 18 has it from 18.18 on.
const { asyncDispose } = /** @type {{ asyncDispose?: symbol }} */ (/** @type {unknown} */ (Symbol));
if (asyncDispose !== undefined) {
  Object.defineProperty(Emitter.prototype, asyncDispose, {
    configurable: true,
    writable: true,
    /** @this {Emitter} */
    async value() {
      await this.close();
    },
  });
}

module.exports = { Emitter };
