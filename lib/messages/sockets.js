// @ts-check
"use strict";

/**
 * The local sockets' part of what other servers ask, the same in every family of messages.
 */

const { checkTextNesting } = require("../delivery/outgoing");
const { toDelay } = require("../options/options");
const { withoutStore } = require("./printed-sockets");

/**
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {import("./printed-sockets").Printed} Printed
 * @typedef {object} Printer throws for what cannot be printed
 * @property {((description: object) => string) | null} text of one; null if they are no text
 * @property {(descriptions: object[]) => Buffer} all
 *
 * @typedef {object} Broadcasting an adapter
 * @property {any} nsp
 * @property {(packet: any, opts: any, count: Callback, ack: Callback) => string[] | null} _broadcastHere to the sockets of this
 *   server; returns the ids of those that have got it, if they are known
 */

/** How much later than at the asking node an acknowledgement is given up here, in milliseconds: it travels. */
const ACK_GRACE = 1000;

/**
 * Sends an acknowledged broadcast of another server to the sockets of this one.
 *
 * @param {Broadcasting} adapter
 * @param {any} packet
 * @param {any} opts
 * @param {(clientCount: number) => void} onCount
 * @param {(arg: any) => void} onAck
 */
function broadcastWithAck(adapter, packet, opts, onCount, onAck) {
  const { nsp } = adapter;
  const receivers = adapter._broadcastHere(packet, opts, onCount, onAck);
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

/** How many sockets are printed at a time, and for how long before others have their turn, in milliseconds. */
const TURN = Object.freeze({ sockets: 64, time: 4 });

/**
 * Puts what other servers are told of sockets into an answer, in pieces, and lets the event loop do other things in between. A
 * field that cannot be printed (`socket.data` may hold anything, itself included) is left out, rather than the socket, or the
 * answer.
 *
 * @param {any[]} sockets
 * @param {import("../../binding").SocketsAnswer} answer
 * @param {Printer} printer
 * @param {import("./printed-sockets").PrintedSockets | null} printed what need not be printed again
 * @returns {Promise<import("../../binding").SocketsAnswer>}
 */
async function describeSockets(sockets, answer, printer, printed) {
  let since = performance.now();
  for (let start = 0; start < sockets.length; start += TURN.sockets) {
    if (performance.now() - since >= TURN.time) {
      await new Promise((resolve) => setImmediate(resolve));
      since = performance.now();
    }
    const some = sockets.slice(start, start + TURN.sockets);
    const known = some.map((socket) => (printed === null ? null : printed.of(socket)));
    const numbers = new Uint32Array(some.length);
    for (let n = 0; n < known.length; n++) numbers[n] = numberOf(known[n]);
    if (answer.add(printSome(some, known, printer, printed), numbers)) continue;
    // What the user's getters did has forgotten one of them.
    answer.add(printSome(some, known.fill(null), printer, null), numbers.fill(0));
  }
  return answer;
}

/** @param {Printed | null} known */
function numberOf(known) {
  return known === null ? 0 : known.number;
}

/** How many arrays and maps stand around the description of a socket in an answer, at most. */
const LEVELS_AROUND = 3;

/**
 * What prints descriptions as JSON, with commas between them. It throws for those that nobody could read: a client's `auth`, nested
 * deep enough, is one.
 *
 * @param {(description: object) => string} print
 * @returns {Printer}
 */
function textPrinter(print) {
  const text = (/** @type {object} */ description) => checkTextNesting(print(description), LEVELS_AROUND);
  return { text, all: (descriptions) => joined(descriptions.map((one) => text(one))) };
}

/**
 * What packs descriptions, one behind the other.
 *
 * @param {(description: object) => Buffer} pack
 * @returns {Printer}
 */
function packer(pack) {
  return { text: null, all: (descriptions) => Buffer.concat(descriptions.map((one) => pack(one))) };
}

/** @param {string[]} texts */
function joined(texts) {
  return Buffer.from(texts.join(","));
}

/**
 * What other servers are told of a socket; a handshake that is put in later is a 0.
 *
 * @type {Record<string, (socket: any, number: number) => any>}
 */
const FIELDS = {
  id: ({ id }) => id,
  handshake: ({ handshake }, number) => (number === 0 ? withoutStore(handshake) : 0),
  rooms: ({ rooms }) => [...rooms],
  data: ({ data }) => data,
};

/**
 * @param {any[]} sockets
 * @param {(Printed | null)[]} known what has the numbers of their handshakes
 * @param {Printer} printer
 * @param {import("./printed-sockets").PrintedSockets | null} printed
 */
function printSome(sockets, known, printer, printed) {
  const { text } = printer;
  try {
    if (text === null || printed === null)
      return printer.all(sockets.map((socket, n) => describe(socket, numberOf(known[n]))));
    return joined(
      sockets.map((socket, n) => {
        const one = known[n];
        if (one === null) return text(describe(socket, 0));
        return printed.textOf(socket, one, () => text(describe(socket, one.number)));
      }),
    );
  } catch (error) {
    if (error instanceof BinaryError) throw error;
    return printer.all(sockets.map((socket, n) => describePrintable(socket, numberOf(known[n]), printer)));
  }
}

/** @param {any} socket @param {number} number */
function describe(socket, number) {
  const { id, handshake, rooms, data } = FIELDS;
  return {
    id: id(socket, number),
    handshake: handshake(socket, number),
    rooms: rooms(socket, number),
    data: data(socket, number),
  };
}

/** The fields that can be read, and printed. @param {any} socket @param {number} number @param {Printer} printer */
function describePrintable(socket, number, printer) {
  /** @type {Record<string, any>} */
  const printable = {};
  for (const [name, read] of Object.entries(FIELDS)) {
    try {
      const value = read(socket, number);
      printer.all([{ [name]: value }]);
      printable[name] = value;
    } catch (error) {
      if (error instanceof BinaryError) throw error;
      warnOf(name, error);
    }
  }
  return printable;
}

/** Something is to be printed as JSON that holds what JSON has not. */
class BinaryError extends Error {}

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

module.exports = {
  BinaryError,
  LEVELS_AROUND,
  broadcastWithAck,
  describeSockets,
  once,
  packer,
  serverSideEmit,
  textPrinter,
};
