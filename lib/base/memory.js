// @ts-check
"use strict";

/** The bytes behind what JavaScript has for memory. */

const EMPTY = Buffer.alloc(0);

/**
 * The bytes of a view or a buffer, without a copy. There are none if the memory was transferred to another thread, or has become
 * too small for the view.
 *
 * @param {ArrayBufferView | ArrayBufferLike} memory
 * @returns {Buffer}
 */
function bytesOf(memory) {
  try {
    return ArrayBuffer.isView(memory)
      ? Buffer.from(/** @type {ArrayBuffer} */ (memory.buffer), memory.byteOffset, memory.byteLength)
      : Buffer.from(/** @type {ArrayBuffer} */ (memory));
  } catch {
    return EMPTY;
  }
}

module.exports = { bytesOf };
