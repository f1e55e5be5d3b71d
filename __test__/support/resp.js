// @ts-check
"use strict";

/**
 * A few commands to a Redis server, without a client's package.
 */

const net = require("node:net");

/** How long replies may take, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Resolves with the replies to some commands sent at once on a new connection. An error reply is an Error in
 * the list; a connection that fails rejects.
 *
 * @param {string | { host: string, port: number }} where
 * @param {(string | number | Buffer)[][]} commands
 * @returns {Promise<any[]>}
 */
function roundTrip(where, commands) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(/** @type {any} */ (where));
    let received = Buffer.alloc(0);
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no reply to ${commands.at(-1)?.[0]}`)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("Redis closed the connection")));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const replies = [];
      for (let at = 0; replies.length < commands.length;) {
        const reply = parseReply(received, at);
        if (!reply) return;
        replies.push(reply.value);
        at = reply.end;
      }
      resolve(replies);
      socket.destroy();
    });
    for (const command of commands) {
      socket.write(`*${command.length}\r\n`);
      for (const arg of command) {
        const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
        socket.write(Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n")]));
      }
    }
  });
}

/**
 * Returns the RESP2 value that begins at `start` and where it ends, or null while it is incomplete.
 *
 * @param {Buffer} bytes
 * @param {number} start
 * @returns {{ value: any, end: number } | null}
 */
function parseReply(bytes, start) {
  const lineEnd = bytes.indexOf("\r\n", start);
  if (lineEnd < 0) return null;
  const line = bytes.toString("utf8", start + 1, lineEnd);
  let end = lineEnd + 2;
  switch (String.fromCharCode(bytes[start])) {
    case "+":
      return { value: line, end };
    case "-":
      return { value: new Error(line), end };
    case ":":
      return { value: Number(line), end };
    case "$": {
      const length = Number(line);
      if (length < 0) return { value: null, end };
      if (bytes.length < end + length + 2) return null;
      return { value: bytes.toString("utf8", end, end + length), end: end + length + 2 };
    }
    case "*": {
      if (Number(line) < 0) return { value: null, end };
      const value = [];
      for (let i = Number(line); i > 0; i--) {
        const item = parseReply(bytes, end);
        if (!item) return null;
        value.push(item.value);
        end = item.end;
      }
      return { value, end };
    }
    default:
      throw new Error(`not RESP2: ${bytes.toString("latin1", start, lineEnd)}`);
  }
}

module.exports = { roundTrip };
