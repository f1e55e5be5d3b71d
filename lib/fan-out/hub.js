// @ts-check
"use strict";

/** All connections of this JS thread that are lent, and the thread that writes to them. */

const { getSystemErrorName } = require("node:util");
const { FanOut } = require("../base/native");
const { FLAG, LENT, LentConnection, define, obstacleOf } = require("./connection");
const debug = require("debug")("socket.io-redis");

/** How many connections can be lent at most; as in Rust. */
const MOST_LENT = 65_536;

/** What may wait for one connection, in bytes: what comes beyond it goes the old way, and waits in Node. */
const MOST_BYTES = 1024 * 1024;

/** How many connections may wait for the thread. Beyond that the JS thread writes, too: it is slowed down. */
const MOST_WAITING = 200_000;

/** What `adopt` returns if it has its share of file descriptors, or if those that are lent are needed elsewhere. */
const ADOPTED = Object.freeze({ SCARCE: -2, NEEDED: -3 });

/** @typedef {NonNullable<ReturnType<typeof obstacleOf>> | "scarce" | "limit" | "untested"} Obstacle */

class Hub {
  /** Why native code may not have a connection, by its slot: bits of `FLAG`. */
  flags = new Int32Array(MOST_LENT);
  native = new FanOut(() => this.#onReport(), MOST_BYTES, MOST_WAITING);
  /** Those that Node has written to, and that were not found clean since. @type {Set<LentConnection>} */
  touched = new Set();
  /** Of how many that are lent functions of the user's see what they are sent. */
  observed = 0;
  /** How many were given back. */
  returned = 0;
  /** How many are lent. */
  #count = 0;
  /** By slot. @type {(LentConnection | undefined)[]} */
  #lent = [];
  #reports = new Int32Array(1024);
  /** How many connections were refused for each reason. @type {Map<Obstacle, number>} */
  #refused = new Map();
  #isTested = false;
  #isOff = false;

  constructor() {
    process.on("exit", () => this.#drain());
  }

  /**
   * Lends a connection, if it may be. Asked again, it answers the same.
   *
   * @param {any} conn
   * @returns {LentConnection | null}
   */
  lend(conn) {
    const known = conn[LENT];
    if (known !== undefined) return known === null || known.isGone ? null : known;
    const obstacle = this.#isOff ? "untested" : obstacleOf(conn);
    // While something is being written, the socket does not ask for what comes behind it: that says nothing.
    if (!this.#isTested && obstacle === null && conn.transport.socket._socket.writableLength > 0) return null;
    const slot = obstacle === null ? this.native.adopt(conn.transport.socket._socket._handle.fd) : -1;
    if (slot < 0) {
      if (slot === ADOPTED.NEEDED) this.#giveAllBack();
      const isScarce = slot === ADOPTED.SCARCE || slot === ADOPTED.NEEDED;
      this.#refuse(conn, obstacle ?? (isScarce ? "scarce" : "limit"));
      return null;
    }
    this.flags[slot] = 0;
    const lent = new LentConnection(this, slot, conn);
    this.#lent[slot] = lent;
    this.#count++;
    // Until the next sweep has found it clean.
    lent.touch();
    if (!this.#isTested) this.#test(lent);
    return this.#isOff ? null : lent;
  }

  /** A connection is there. It may be one of the last that can be. @param {any} conn */
  arrived(conn) {
    const fd = this.#count === 0 ? undefined : conn?.transport?.socket?._socket?._handle?.fd;
    if (fd > 0 && this.native.needsDescriptors(fd)) this.#giveAllBack();
  }

  /** @param {any} conn @param {Obstacle} obstacle */
  #refuse(conn, obstacle) {
    define(conn, LENT, null);
    if (obstacle === "polling") conn.once("upgrade", () => Reflect.deleteProperty(conn, LENT));
    else this.#refused.set(obstacle, (this.#refused.get(obstacle) ?? 0) + 1);
  }

  /**
   * Whether what Node writes comes by our methods: they are documented for those who implement streams, but that a `net.Socket`
   * asks the object for them is not. If it does not, nothing is ever lent.
   *
   * @param {LentConnection} lent
   */
  #test(lent) {
    this.#isTested = true;
    const { socket } = lent;
    let isAsked = false;
    const { _write: hook } = socket;
    socket._write = function (/** @type {any[]} */ ...args) {
      isAsked = true;
      return hook.apply(this, args);
    };
    socket.write(Buffer.alloc(0));
    socket._write = hook;
    if (isAsked) return;
    debug("fanOut is off: writes do not come by the methods of the socket");
    this.#isOff = true;
    this.#giveAllBack();
  }

  /** File descriptors are needed elsewhere. */
  #giveAllBack() {
    for (const lent of this.#lent) lent?.giveBack();
  }

  /** @param {LentConnection} lent */
  ended(lent) {
    this.#count--;
    this.touched.delete(lent);
  }

  /** The slot may be another's from now on. @param {LentConnection} lent */
  forget({ slot }) {
    this.#lent[slot] = undefined;
    this.native.release(slot);
  }

  /** Finds out which of those that Node has written to are clean again. */
  sweep() {
    for (const lent of this.touched) {
      if (!lent.isClean) continue;
      lent.unflag(FLAG.TOUCHED);
      this.touched.delete(lent);
    }
  }

  /** What the thread has to say. */
  #onReport() {
    for (;;) {
      const count = this.native.takeReports(this.#reports);
      for (const slot of this.#reports.slice(0, count)) this.#onReported(slot);
      if (count < this.#reports.length) return;
    }
  }

  /** @param {number} slot */
  #onReported(slot) {
    const lent = this.#lent[slot];
    if (lent === undefined || lent.isGone) return;
    const errno = this.native.errorOf(slot);
    if (errno !== 0) return void lent.socket.destroy(systemError(errno));
    lent.onReport();
  }

  /** The process ends: what the thread has is written now. */
  #drain() {
    this.native.drain();
    for (const lent of this.#lent) lent?.resume();
  }

  /** As `FanOutStats` in index.d.ts. */
  stats() {
    const { spilled, failed, bytes, written } = this.native.stats();
    return {
      lent: this.#count,
      refused: Object.fromEntries(this.#refused),
      returned: this.returned,
      written,
      spilled,
      failed,
      bytes,
    };
  }
}

/** @param {number} errno */
function systemError(errno) {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`write ${code}`), { errno: -errno, code, syscall: "write" });
}

/** @type {Hub | null} */
let hub = null;

/** The one of this JS thread. */
function theHub() {
  return (hub ??= new Hub());
}

module.exports = { Hub, theHub };
