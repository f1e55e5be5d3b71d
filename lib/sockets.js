// @ts-check
"use strict";

/**
 * The local sockets' part of what other servers ask, the same in every family of messages.
 */

const { toDelay } = require("./options");

/**
 * @typedef {(...args: any[]) => void} Callback
 *
 * @typedef {object} Local what is done to the sockets of this node alone
 * @property {() => any[]} rooms
 * @property {(rooms: Set<any>) => Promise<Set<any>>} sockets
 * @property {(opts: any) => Promise<any[]>} fetchSockets
 * @property {(opts: any, rooms: any[]) => void} addSockets
 * @property {(opts: any, rooms: any[]) => void} delSockets
 * @property {(opts: any, close: boolean) => void} disconnectSockets
 * @property {(packet: any, opts: any, count: Callback, ack: Callback) => string[] | null} broadcastWithAck returns the ids
 *   of those that have got it, if they are known
 */

/** How much later than at the asking node an acknowledgement is given up here, in milliseconds: it travels. */
const ACK_GRACE = 1000;

/**
 * Sends an acknowledged broadcast of another server to the sockets of this one.
 *
 * @param {any} nsp
 * @param {Local} local
 * @param {any} packet
 * @param {any} opts
 * @param {(clientCount: number) => void} onCount
 * @param {(arg: any) => void} onAck
 */
function broadcastWithAck(nsp, local, packet, opts, onCount, onAck) {
  const receivers = local.broadcastWithAck(packet, opts, onCount, onAck);
  // Clients that never answer would be waited for until they leave.
  const forget = () => {
    for (const id of receivers ?? nsp.sockets.keys()) nsp.sockets.get(id)?.acks.delete(packet.id);
  };
  setTimeout(forget, toDelay(toDelay(opts.flags?.timeout) + ACK_GRACE)).unref();
}

/**
 * Runs the listeners of an event from another server.
 *
 * @param {any} nsp
 * @param {any[]} args
 * @returns {boolean} whether it was; not an `error` that nobody listens to, for which an emitter throws
 */
function serverSideEmit(nsp, args) {
  if (args[0] === "error" && nsp.listenerCount("error") === 0) return false;
  nsp._onServerSideEmit(args);
  return true;
}

/**
 * Prints what other servers are told of sockets. A field that cannot be printed (`socket.data` may hold anything,
 * itself included) is left out, rather than the socket, or the answer.
 *
 * @template T
 * @param {any[]} sockets
 * @param {(descriptions: object[]) => T} print
 * @param {(field: any) => unknown} printField throws for what cannot be printed
 * @returns {T}
 */
function printSockets(sockets, print, printField = JSON.stringify) {
  const descriptions = sockets.map(({ id, handshake, rooms, data }) => {
    // It may hold anything, too.
    const { sessionStore: _, ...rest } = handshake;
    return { id, handshake: rest, rooms: [...rooms], data };
  });
  try {
    return print(descriptions);
  } catch {
    const printable = (/** @type {[string, any]} */ [name, value]) => {
      try {
        printField(value);
        return true;
      } catch (error) {
        warnOf(name, error);
        return false;
      }
    };
    return print(descriptions.map((fields) => Object.fromEntries(Object.entries(fields).filter(printable))));
  }
}

/** @param {string} name @param {unknown} error */
function warnOf(name, error) {
  if (unprintable.has(name)) return;
  unprintable.add(name);
  console.warn(`socket.io-redis: socket.${name} cannot be sent to other servers (${error})`);
}

/** The fields of sockets that were warned of. */
const unprintable = new Set();

/** @param {(arg: any) => void} callback */
function once(callback) {
  let called = false;
  return (/** @type {any} */ arg) => {
    if (called) return;
    called = true;
    callback(arg);
  };
}

module.exports = { broadcastWithAck, once, printSockets, serverSideEmit };
