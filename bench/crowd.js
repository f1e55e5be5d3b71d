// @ts-check
"use strict";

/**
 * Sockets as Socket.IO has them when browsers connect, without a network: `Client` and `Socket` are the real ones, on
 * a connection that does nothing. That costs a quarter of what connecting by HTTP and WebSocket does.
 */

const { randomBytes, randomUUID } = require("node:crypto");
const { EventEmitter } = require("node:events");
const { parse } = require("node:querystring");

/** What Socket.IO uses of a connection of Engine.IO. */
class Connection extends EventEmitter {
  protocol = 4;
  readyState = "open";
  transport = { writable: true };
  id = randomBytes(15).toString("base64url");

  /** @param {object} request @param {string} remoteAddress */
  constructor(request, remoteAddress) {
    super();
    this.request = request;
    this.remoteAddress = remoteAddress;
  }

  /** What is written is forgotten. */
  write() {}
  close() {}
}

/**
 * Connects a client to the main namespace, which has got the socket a tick later.
 *
 * @param {import("socket.io").Server} io
 * @param {number} n tells clients apart
 */
function connect(io, n) {
  const address = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
  const connection = new Connection(requestOf(n), address);
  io["onconnection"](connection);
  connection.emit("data", `0${JSON.stringify({ token: randomUUID() })}`);
}

/** What a browser sends behind a proxy, as Node.js and Engine.IO have read it. @param {number} n */
function requestOf(n) {
  const query = "EIO=4&transport=websocket";
  return {
    url: `/socket.io/?${query}`,
    _query: parse(query),
    connection: { encrypted: false },
    headers: {
      host: "chat.example.com",
      connection: "Upgrade",
      upgrade: "websocket",
      pragma: "no-cache",
      "cache-control": "no-cache",
      "user-agent": `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${120 + (n % 20)}.0.0.0 Safari/537.36`,
      origin: "https://chat.example.com",
      "sec-websocket-version": "13",
      "accept-encoding": "gzip, deflate, br, zstd",
      "accept-language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
      cookie: `session=${randomUUID()}; theme=dark`,
      "sec-websocket-key": randomBytes(16).toString("base64"),
      "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
      "x-forwarded-for": `203.0.113.${n % 256}`,
      "x-forwarded-proto": "https",
    },
  };
}

module.exports = { connect };
