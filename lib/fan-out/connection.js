// @ts-check
"use strict";

/**
 * A connection that is lent to the thread. The invariant: Node and the thread never both hold bytes of a connection that are not
 * written. The thread takes frames only while Node holds nothing (`flags`). Before Node writes, the thread gives back what it has
 * (`settle`): the methods here stand before those of the `net.Socket`.
 */

const { Socket: NetSocket } = require("node:net");
const { WATCHES, isWatched, takesFrames } = require("../delivery/run");

/** Why the thread may not have a connection, as bits of its flags. */
const FLAG = Object.freeze({
  /** Node has written to it, and may hold something yet. */
  TOUCHED: 1,
  /** Somebody listens to its packets. */
  WATCHED: 2,
  /** Somebody listens to what a socket of it is sent. */
  OUTGOING: 4,
  /** It has ended, or is not lent any more. */
  GONE: 8,
  /** No reason: the thread may hold something. */
  HELD: 1 << 16,
});

/** What `settle` returns, but for bytes that the kernel has not taken. */
const SETTLED = Object.freeze({ NOTHING: 0, WRITTEN: 1, BUSY: 2 });

/** Where a connection, and its `net.Socket`, have what is known of their being lent. */
const LENT = Symbol("lent connection");

/** What Node does to the socket goes through these. */
const HOOKS = /** @type {const} */ (["_write", "_writev", "_final", "_destroy", "cork"]);

/**
 * @typedef {(error?: Error | null) => void} Callback
 *
 * @typedef {object} Lender who has all that are lent: the hub
 * @property {Int32Array} flags
 * @property {import("../../binding").FanOut} native
 * @property {Set<LentConnection>} touched
 * @property {number} observed of how many functions of the user's see what they are sent
 * @property {number} returned how many were given back
 * @property {(lent: LentConnection) => void} ended it is not lent any more
 * @property {(lent: LentConnection) => void} forget nobody has its slot any more
 */

class LentConnection {
  #hub;
  /** A write of Node's that the writer is in the way of. @type {{ again: () => void, callback: Callback } | null} */
  #delayed = null;
  /** Whether it is to be given back when that is done. */
  #isUnwanted = false;
  /** The sockets of it whose outgoing packets somebody listens to. @type {Set<any>} */
  #listened = new Set();
  /** How many adapters have its slot in their lists, and one for the connection. */
  #users = 1;
  /** Whether functions of the user's see what it is sent. */
  #isObserved = false;

  /** Whether it has ended, or is not lent any more. Its slot may be another's. */
  isGone = false;

  /** @param {Lender} hub @param {number} slot @param {any} conn */
  constructor(hub, slot, conn) {
    this.#hub = hub;
    this.slot = slot;
    this.conn = conn;
    this.socket = conn.transport.socket._socket;
    this.socket[LENT] = this;
    for (const name of HOOKS) define(this.socket, name, OF_SOCKET[name]);
    define(conn, LENT, this);
    conn.on("newListener", onNewListener);
    conn.on("removeListener", onRemoveListener);
    if (isWatched(conn)) this.flag(FLAG.WATCHED);
  }

  get isHeld() {
    return (this.#hub.flags[this.slot] & FLAG.HELD) !== 0;
  }

  /** Whether neither Node nor Engine.IO holds anything of it. */
  get isClean() {
    const { conn } = this;
    const { transport } = conn;
    return (
      conn.readyState === "open" &&
      conn.writeBuffer.length === 0 &&
      transport.writable === true &&
      transport.socket.readyState === 1 &&
      transport.socket.bufferedAmount === 0 &&
      this.socket.writableLength === 0 &&
      this.socket.writableCorked === 0
    );
  }

  /** @param {number} bit */
  flag(bit) {
    this.#setFlags(this.#hub.flags[this.slot] | bit);
  }

  /** @param {number} bit */
  unflag(bit) {
    this.#setFlags(this.#hub.flags[this.slot] & ~bit);
  }

  /** @param {number} flags */
  #setFlags(flags) {
    this.#hub.flags[this.slot] = flags;
    const isObserved = !this.isGone && (flags & (FLAG.WATCHED | FLAG.OUTGOING)) !== 0;
    if (isObserved === this.#isObserved) return;
    this.#isObserved = isObserved;
    this.#hub.observed += isObserved ? 1 : -1;
  }

  /** Somebody listens to what a socket of it is sent, or nobody any more. @param {any} id @param {boolean} isListened */
  listened(id, isListened) {
    // Its slot may be another's.
    if (this.isGone) return;
    if (isListened) this.#listened.add(id);
    else this.#listened.delete(id);
    if (this.#listened.size > 0) this.flag(FLAG.OUTGOING);
    else this.unflag(FLAG.OUTGOING);
  }

  /** Node writes. */
  touch() {
    this.flag(FLAG.TOUCHED);
    this.#hub.touched.add(this);
  }

  /**
   * Has the thread give back what it holds. Then Node goes on: with its own bytes, unless these were written with what the
   * thread held.
   *
   * @param {Buffer | null} own what Node writes
   * @param {() => void} goOn does as Node does
   * @param {Callback} callback of Node's write
   */
  settle(own, goOn, callback) {
    const settled = this.#hub.native.settle(this.slot, own);
    if (settled === SETTLED.BUSY) {
      this.#delayed = { again: () => this.settle(own, goOn, callback), callback };
      return;
    }
    this.unflag(FLAG.HELD);
    if (settled === SETTLED.NOTHING) return goOn();
    if (settled === SETTLED.WRITTEN) return own === null ? goOn() : callback();
    /** @type {Callback} */
    const onRest = (error) => (error ? callback(error) : goOn());
    NetSocket.prototype._write.call(
      this.socket,
      settled,
      /** @type {any} */ ("buffer"),
      own === null ? onRest : callback,
    );
  }

  /** The thread has told that it has something for Node, or is done with what Node has waited for. */
  onReport() {
    if (this.#delayed === null) this.#takeBack();
    else this.resume();
    if (this.#isUnwanted) this.giveBack();
  }

  /** The writer is done with what Node's write has waited for, if one has. */
  resume() {
    const delayed = this.#delayed;
    this.#delayed = null;
    delayed?.again();
  }

  /** What the thread has is Node's from now on. */
  #takeBack() {
    if (!this.isHeld) return;
    const rest = this.#hub.native.settle(this.slot, null);
    if (rest === SETTLED.BUSY) return;
    this.unflag(FLAG.HELD);
    if (typeof rest === "number") return;
    const { transport } = this.conn;
    const options = { compress: false, wsPreEncodedFrame: [rest] };
    if (transport.writable) transport.send([{ type: "message", data: "", options }]);
    else transport.socket._sender.sendFrame([rest]);
  }

  /** The socket is destroyed. */
  end() {
    const delayed = this.#delayed;
    this.#delayed = null;
    if (delayed !== null) process.nextTick(delayed.callback, cancelled());
    this.#leave();
  }

  /** The connection is not lent any more. */
  giveBack() {
    if (this.isGone) return;
    this.#isUnwanted = true;
    this.flag(FLAG.GONE);
    // Node's write is not lost, and stays behind what the thread has.
    if (this.#delayed !== null) return;
    this.#takeBack();
    // What Node writes later goes its own way. So it waits for the writer, which reports.
    if (this.isHeld) return;
    this.#leave();
    this.#hub.returned++;
  }

  #leave() {
    this.isGone = true;
    this.#hub.native.hangUp(this.slot);
    for (const name of HOOKS) Reflect.deleteProperty(this.socket, name);
    this.conn.off("newListener", onNewListener);
    this.conn.off("removeListener", onRemoveListener);
    // As long as lists have the slot, it is refused.
    this.flag(FLAG.GONE);
    this.#hub.ended(this);
    this.release();
  }

  /** An adapter has it in its lists. */
  retain() {
    this.#users++;
  }

  /** One of those who have the slot has let go of it. */
  release() {
    if (--this.#users === 0) this.#hub.forget(this);
  }
}

/** Methods of a `net.Socket` that is lent. @type {Record<typeof HOOKS[number], (this: any, ...args: any[]) => void>} */
const OF_SOCKET = {
  _write(chunk, encoding, callback) {
    const lent = this[LENT];
    lent.touch();
    const goOn = () => NetSocket.prototype._write.call(this, chunk, encoding, callback);
    if (!lent.isHeld) return goOn();
    lent.settle(bytesOf(chunk, encoding), goOn, callback);
  },

  _writev(chunks, callback) {
    const lent = this[LENT];
    lent.touch();
    const goOn = () => NetSocket.prototype._writev?.call(this, chunks, callback);
    if (!lent.isHeld) return goOn();
    const own = Buffer.concat(
      chunks.map((/** @type {any} */ { chunk, encoding }) => bytesOf(chunk, encoding)),
    );
    lent.settle(own, goOn, callback);
  },

  _final(callback) {
    const lent = this[LENT];
    lent.touch();
    const goOn = () => NetSocket.prototype._final.call(this, callback);
    if (!lent.isHeld) return goOn();
    lent.settle(null, goOn, callback);
  },

  _destroy(error, callback) {
    this[LENT].end();
    return NetSocket.prototype._destroy.call(this, error, callback);
  },

  /** What is written to a corked socket comes later than it is written. */
  cork() {
    this[LENT].touch();
    return NetSocket.prototype.cork.call(this);
  },
};

/** @param {any} chunk @param {BufferEncoding} encoding @returns {Buffer} */
function bytesOf(chunk, encoding) {
  return typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
}

function cancelled() {
  return Object.assign(new Error("write ECANCELED"), { code: "ECANCELED", syscall: "write" });
}

/** @this {any} @param {string | symbol} event */
function onNewListener(event) {
  if (WATCHES.includes(/** @type {string} */ (event))) this[LENT].flag(FLAG.WATCHED);
}

/** @this {any} @param {string | symbol} event @param {Function} listener */
function onRemoveListener(event, listener) {
  const lent = this[LENT];
  // Whoever removes all listeners removes these, too: nobody tells of those that come.
  if (listener === onNewListener) return lent.flag(FLAG.WATCHED);
  const isTold = this.listeners("newListener").includes(onNewListener);
  if (isTold && WATCHES.includes(/** @type {string} */ (event)) && !isWatched(this))
    lent.unflag(FLAG.WATCHED);
}

/** @param {any} object @param {string | symbol} name @param {any} value */
function define(object, name, value) {
  Object.defineProperty(object, name, { value, configurable: true, writable: true, enumerable: false });
}

/**
 * Why a connection cannot be lent, or null.
 *
 * @param {any} conn
 * @returns {"polling" | "transport" | "compressed" | "replaced" | "stream" | "closing" | null}
 */
function obstacleOf(conn) {
  const { transport } = conn;
  if (transport.name !== "websocket") return transport.name === "polling" ? "polling" : "transport";
  const { socket: ws } = transport;
  // What is compressed is sent later than it is handed over.
  if (ws?.extensions !== "" || conn.server.opts.perMessageDeflate) return "compressed";
  if (!takesFrames(conn)) return "transport";
  const socket = ws._socket;
  // TLS, or a stream of the user's, has another.
  if (!(socket instanceof NetSocket) || Object.getPrototypeOf(socket) !== NetSocket.prototype)
    return "stream";
  if (HOOKS.some((name) => Object.hasOwn(socket, name))) return "replaced";
  const { _handle: handle } = /** @type {any} */ (socket);
  if (handle?.constructor?.name !== "TCP" || !(handle.fd > 2)) return "stream";
  return socket.writable && !socket.destroyed ? null : "closing";
}

module.exports = { FLAG, LENT, LentConnection, define, obstacleOf };
