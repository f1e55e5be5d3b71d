// @ts-check
"use strict";

/** WebSocket frames, as a server sends them: <https://www.rfc-editor.org/rfc/rfc6455#section-5.2>. */

/** The first byte of a frame that holds all of a text. */
const TEXT = 0x81;

/** The same of bytes. */
const BINARY = 0x82;

/** How many bytes stand before a payload. @param {number} length of it */
function headSize(length) {
  return length < 126 ? 2 : length < 0x10000 ? 4 : 10;
}

/**
 * Writes what stands before a payload.
 *
 * @param {Buffer} buffer
 * @param {number} at
 * @param {number} type
 * @param {number} length
 * @returns {number} where the payload begins
 */
function writeHead(buffer, at, type, length) {
  const size = headSize(length);
  buffer[at] = type;
  buffer[at + 1] = size === 2 ? length : size === 4 ? 126 : 127;
  if (size === 4) buffer.writeUInt16BE(length, at + 2);
  if (size === 10) {
    buffer.writeUInt32BE(0, at + 2);
    buffer.writeUInt32BE(length, at + 6);
  }
  return at + size;
}

/** What stands before a payload. @param {number} type @param {number} length */
function headOf(type, length) {
  const head = Buffer.allocUnsafe(headSize(length));
  writeHead(head, 0, type, length);
  return head;
}

/** What marks a message in the Engine.IO protocol. */
const MESSAGE = 0x34;

/**
 * The frame with a Socket.IO text in it.
 *
 * @param {string} text
 * @returns {Buffer}
 */
function frameOf(text) {
  const size = 1 + Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(headSize(size) + size);
  const start = writeHead(frame, 0, TEXT, size);
  frame[start] = MESSAGE;
  frame.write(text, start + 1);
  return frame;
}

/** Engine.IO's message with a Socket.IO text in it. @param {string} text */
function messageOf(text) {
  return Buffer.from(String.fromCharCode(MESSAGE) + text);
}

/** The payload of one frame. @param {Buffer} frame */
function bodyOf(frame) {
  return frame.subarray(frame[1] < 126 ? 2 : frame[1] === 126 ? 4 : 10);
}

/**
 * The frames of a text and its attachments, one behind the other.
 *
 * @param {string} text
 * @param {Buffer[] | undefined} ofText its frame, if it was made
 * @param {Buffer[]} attachments
 */
function framesOf(text, ofText, attachments) {
  const parts = [...(ofText ?? [frameOf(text)])];
  for (const bytes of attachments) parts.push(headOf(BINARY, bytes.length), bytes);
  return Buffer.concat(parts);
}

/**
 * The Engine.IO text in a frame that `ws` made: its second buffer. Null if it looks otherwise.
 *
 * @param {any} frame
 * @returns {Buffer | null}
 */
function payloadOf(frame) {
  const payload = Array.isArray(frame) && frame.length === 2 ? frame[1] : null;
  return Buffer.isBuffer(payload) && payload[0] === MESSAGE ? payload : null;
}

module.exports = {
  BINARY,
  TEXT,
  bodyOf,
  frameOf,
  framesOf,
  headOf,
  headSize,
  messageOf,
  payloadOf,
  writeHead,
};
