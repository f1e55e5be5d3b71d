// @ts-check
"use strict";

/**
 * Knows how far the sockets of this server have got in the stream. So a client that was sent nothing for long can be restored,
 * though the entry that it was sent last may be gone from the stream.
 */

const { compareOffsets } = require("../delivery/offsets");

/** @typedef {{ read: string, sent?: string }} Progress what a session says of it, beside what the reference keeps */

class LastSent {
  /** The offset of what each was sent last. @type {Map<string, string>} */
  #sent = new Map();
  /** Those that were restored: up to where they had everything by that. @type {Map<string, string>} */
  #restored = new Map();

  /** A socket is sent something. @param {string} sid @param {string} offset empty if it is not known */
  note(sid, offset) {
    if (offset === "") this.forget(sid);
    else this.#sent.set(sid, offset);
  }

  /** A socket was restored, and had missed nothing. @param {string} sid @param {string} boundary */
  restored(sid, boundary) {
    this.#restored.set(sid, boundary);
  }

  /** @param {string} sid */
  forget(sid) {
    this.#sent.delete(sid);
    this.#restored.delete(sid);
  }

  /** Nobody knows any more who has got what. */
  clear() {
    this.#sent.clear();
    this.#restored.clear();
  }

  /**
   * How far a socket has got that goes; null if that is not certain.
   *
   * @param {string} sid
   * @param {import("../../binding").LinkPosition | null} position of this node
   * @returns {Progress | null}
   */
  progress(sid, position) {
    const sent = this.#sent.get(sid);
    const reached = sent ?? this.#restored.get(sid);
    if (position === null || reached === undefined) return null;
    // This node has passed over entries since, which the socket may have wanted.
    if (compareOffsets(reached, position.since) < 0) return null;
    return sent === undefined ? { read: position.last } : { read: position.last, sent };
  }
}

module.exports = { LastSent };
