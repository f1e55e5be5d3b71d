// @ts-check
"use strict";

/**
 * Messages that are compressed once for many connections: for those of which `server_no_context_takeover` was negotiated
 * (<https://www.rfc-editor.org/rfc/rfc7692#section-7.1.1.1>). Otherwise what a message becomes depends on those that the connection
 * had before, so that `ws` compresses it anew for each.
 */

const zlib = require("node:zlib");
const debug = require("debug")("socket.io-redis");
const { BINARY, TEXT, headOf } = require("./frames");

/** The bit of a frame's first byte that says that its payload is compressed (RSV1). */
const COMPRESSED = 0x40;

/** How many bytes at the end of what zlib has flushed are not sent. */
const FLUSH_END = 4;

/**
 * How many recipients are worth the time of the JS thread, for each so many bytes: 2 ms. For fewer, other threads compress, each time
 * anew.
 */
const FEWEST = 4;
const BYTES = 64 * 1024;

/**
 * What was negotiated for a connection, and the server's options.
 *
 * @typedef {object} Terms
 * @property {number} windowBits
 * @property {number} threshold how large what is compressed is at least, in bytes
 * @property {object | undefined} zlibOptions
 */

/** @typedef {{ terms: Terms, frames: Buffer | null }} Made */

class Compressed {
  /** @type {{ bytes: Buffer, type: number }[]} */
  #payloads = [];
  #size = 0;
  /** For each of the terms that were met: few. @type {Made[]} */
  #made = [];

  /**
   * Adds a message. What it is made of is not changed afterwards.
   *
   * @param {Buffer} text as Engine.IO has it
   * @param {Buffer[]} attachments
   */
  add(text, attachments) {
    for (const bytes of [text, ...attachments]) {
      this.#payloads.push({ bytes, type: bytes === text ? TEXT : BINARY });
      this.#size += bytes.length;
    }
  }

  /** Whether so many recipients are worth the time of the JS thread. @param {number} recipients at most */
  isWorthIt(recipients) {
    return recipients >= FEWEST * Math.ceil(this.#size / BYTES);
  }

  /**
   * Writes them to a connection. Returns whether it has: they cannot be compressed with all options.
   *
   * @param {any} conn
   * @param {Terms} terms of it
   */
  writeTo(conn, terms) {
    const frames = this.#framesFor(terms);
    if (frames !== null) write(conn, frames);
    return frames !== null;
  }

  /** @param {Terms} terms @returns {Buffer | null} */
  #framesFor(terms) {
    const known = this.#made.find((made) => areSame(made.terms, terms));
    if (known !== undefined) return known.frames;
    const frames = this.#make(terms);
    this.#made.push({ terms, frames });
    return frames;
  }

  /** @param {Terms} terms */
  #make(terms) {
    try {
      return Buffer.concat(this.#payloads.flatMap(({ bytes, type }) => frameOf(bytes, type, terms)));
    } catch (error) {
      debug("not compressed once: %s", error);
      return null;
    }
  }
}

/** @param {Terms} a @param {Terms} b */
function areSame(a, b) {
  return a.windowBits === b.windowBits && a.threshold === b.threshold && a.zlibOptions === b.zlibOptions;
}

/** @param {Buffer} bytes @param {number} type @param {Terms} terms @returns {Buffer[]} */
function frameOf(bytes, type, terms) {
  const isSmall = bytes.length < terms.threshold;
  const payload = isSmall ? bytes : deflate(bytes, terms);
  return [headOf(isSmall ? type : type | COMPRESSED, payload.length), payload];
}

/** As `ws` does it. @param {Buffer} bytes @param {Terms} terms */
function deflate(bytes, { windowBits, zlibOptions }) {
  const flushed = zlib.deflateRawSync(bytes, {
    ...zlibOptions,
    windowBits,
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
  });
  return flushed.subarray(0, -FLUSH_END);
}

/**
 * How the messages of a connection are compressed. Null if each for itself, or not at all, or if it holds something that is to be
 * written before.
 *
 * @param {any} conn
 * @returns {Terms | null}
 */
function termsOf(conn) {
  const { protocol, transport } = conn;
  if (!isIdle(conn)) return null;
  const deflating = transport.socket._extensions?.["permessage-deflate"];
  const { params, _threshold: threshold, _options: options } = deflating ?? {};
  if (protocol !== 4 || !transport.supportsBinary || params?.server_no_context_takeover !== true) return null;
  if (typeof threshold !== "number" || typeof options !== "object") return null;
  const { server_max_window_bits: windowBits = zlib.constants.Z_DEFAULT_WINDOWBITS } = params;
  return { windowBits, threshold, zlibOptions: options.zlibDeflateOptions };
}

/** Whether all that a connection was given is written, so far as Node can tell. @param {any} conn */
function isIdle(conn) {
  const { transport } = conn;
  const ws = transport.socket;
  return (
    transport.name === "websocket" &&
    typeof transport._onSentLast === "function" &&
    conn.readyState === "open" &&
    conn.writeBuffer.length === 0 &&
    transport.writable === true &&
    ws.readyState === 1 &&
    ws.bufferedAmount === 0 &&
    isWritten(ws._sender)
  );
}

/** Whether `ws` compresses nothing now, by the names of its older versions or of its newer ones. @param {any} sender */
function isWritten(sender) {
  return (
    typeof sender?.sendFrame === "function" &&
    (sender._state === 0 || sender._deflating === false) &&
    sender._queue?.length === 0
  );
}

/** As the transport of Engine.IO writes a frame that is ready. @param {any} conn @param {Buffer} frames */
function write({ transport }, frames) {
  let isDelayed = false;
  transport.socket._sender.sendFrame([frames], (/** @type {Error | null | undefined} */ error) => {
    if (error || isDelayed) transport._onSentLast(error);
  });
  // What comes next waits in Engine.IO, or is left out if it is volatile.
  isDelayed = transport.socket.bufferedAmount > 0;
  if (isDelayed) transport.writable = false;
}

/** Whether a server may have connections that are compressed. @param {any} server */
function mayCompress(server) {
  return Boolean(server.engine?.opts?.perMessageDeflate);
}

module.exports = { Compressed, mayCompress, termsOf };
