// @ts-check
"use strict";

/**
 * Sessions of clients that come back. Between the moment when Rust has gathered what one of them has missed and that
 * when its socket is connected, what is delivered to the others is kept for it: it gets each packet once.
 *
 * What it has missed is not given to its socket to be made with: that would send it before the middlewares are done. A
 * client that goes meanwhile has it then without knowing that it does, and is sent it again when it comes back.
 */

const { eventOf } = require("../delivery/delivery");
const { decodeData } = require("../messages/cluster-messages");
const msgpack = require("../msgpack");
const { EVENT, compareOffsets } = require("../delivery/offsets");

/** How long the socket of a session may take to be made, in milliseconds. */
const PATIENCE = 5000;

/** So many packets are kept for a socket that does not connect: then its connection ends, and it may try again. */
const MAX_KEPT = 10_000;

/** What was decoded is kept for others who have missed it too: up to so many bytes, for so many milliseconds. */
const CACHE = Object.freeze({ bytes: 16 * 1024 * 1024, lifetime: 1000 });

/**
 * @typedef {object} Session
 * @property {string} sid
 * @property {string} pid
 * @property {any[]} rooms
 * @property {any} data
 *
 * @typedef {object} Restoring a session whose socket is not connected yet
 * @property {string} pid
 * @property {Buffer} raw the session as it was kept
 * @property {any[]} rooms
 * @property {any[]} indexed the rooms by which it is found
 * @property {string} boundary the id up to which entries are among what it has missed
 * @property {any[][]} packets what it has missed, and what has come since
 * @property {string} last the offset of the last one, if it is known
 * @property {number} limit how many there may be
 * @property {NodeJS.Timeout} timer
 * @property {() => void} onEnd
 *
 * @typedef {object} Context what this needs of its adapter
 * @property {(sid: string) => Set<any> | undefined} rooms of a socket, connected or not
 * @property {(sid: string) => any} socket if it is connected
 * @property {(sid: string) => void} drop ends the connection of one that is not
 * @property {(pid: string, raw: Buffer) => void} persist
 * @property {import("./last-sent").LastSent} sent
 */

class Sessions {
  /** @type {Context} */
  #context;
  /** By socket. @type {Map<string, Restoring>} */
  #restoring = new Map();
  /** Those that are, or have been, in a room. @type {Map<any, Set<string>>} */
  #byRoom = new Map();
  /** Sockets that are connected again, and the id up to which they had their packets by that. @type {Map<string, string>} */
  #recovered = new Map();
  #entries = new Entries();

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * Takes what Rust has found. Returns what the socket is to be made with; throws if that makes no sense.
   *
   * @param {import("../link/inbox").InboxRecord} record
   * @param {string} pid
   * @param {() => void} onEnd its socket is connected, or will not be
   * @returns {Session & { missedPackets: any[][] }}
   */
  take(record, pid, onEnd) {
    const raw = Buffer.from(record.part(0));
    const { sid, rooms, data } = readSession(raw, pid);
    if (this.#restoring.has(sid) || this.#context.rooms(sid)) throw new Error("the session is in use");
    const items = record.list(record.n);
    const missed = [];
    for (let index = 0; index + 1 < items.length; index += 2) {
      const args = this.#entries.read(items[index].toString(), items[index + 1]);
      if (args !== null) missed.push(args);
    }
    this.#index(sid, rooms);
    this.#restoring.set(sid, {
      ...{ pid, raw, rooms, onEnd },
      indexed: [...rooms],
      boundary: record.text(2),
      packets: missed,
      last: missed.at(-1)?.at(-1) ?? "",
      limit: missed.length + MAX_KEPT,
      timer: setTimeout(() => this.#onTimeout(sid), PATIENCE).unref(),
    });
    return { sid, pid, rooms, data, missedPackets: [] };
  }

  /** Whether there are sessions that packets are kept for. */
  get areRestored() {
    return this.#restoring.size > 0;
  }

  /**
   * A packet goes to the local sockets: those to be get it, too.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {string} [id] of its entry, if it is of this node
   * @param {string} [offset] that its clients know it by, if that is known
   */
  keep(packet, opts, id = "", offset = id) {
    if (this.#restoring.size === 0 || packet.id !== undefined || opts.flags?.volatile) return;
    for (const sid of this.#concerned(opts.rooms)) {
      const restoring = this.#restoring.get(sid);
      if (restoring === undefined) continue;
      if (id !== "" && compareOffsets(id, restoring.boundary) <= 0) continue;
      const rooms = this.#context.rooms(sid);
      if (!concerns(opts, rooms ?? restoring.rooms)) continue;
      restoring.packets.push(packet.data);
      restoring.last = offset;
      if (restoring.packets.length > restoring.limit) this.#giveUp(sid);
    }
  }

  /**
   * The sockets that have had a packet of this node with what they had missed; null if there is none.
   *
   * @param {string} id of its entry
   * @returns {string[] | null}
   */
  served(id) {
    if (this.#recovered.size === 0 || id === "") return null;
    const sids = [];
    for (const [sid, boundary] of this.#recovered) {
      if (compareOffsets(id, boundary) <= 0) sids.push(sid);
      else this.#recovered.delete(sid);
    }
    return sids.length > 0 ? sids : null;
  }

  /** A socket has joined rooms; if it is connected, it gets what was kept for it. @param {string} sid */
  joined(sid) {
    const restoring = this.#restoring.get(sid);
    if (restoring === undefined) return;
    const socket = this.#context.socket(sid);
    if (!socket) {
      // A middleware may put it into rooms that its session does not have.
      const rooms = [...(this.#context.rooms(sid) ?? [])].filter((room) => !this.#byRoom.get(room)?.has(sid));
      restoring.indexed.push(...rooms);
      return this.#index(sid, rooms);
    }
    this.#recovered.set(sid, restoring.boundary);
    this.#end(sid, restoring);
    const { packets, last, boundary } = restoring;
    if (packets.length > 0) this.#context.sent.note(sid, last);
    else this.#context.sent.restored(sid, boundary);
    for (const data of packets) socket.packet({ type: EVENT, data });
  }

  /** A socket has left all rooms. One that was never connected may come back. @param {string} sid */
  left(sid) {
    this.#recovered.delete(sid);
    const restoring = this.#restoring.get(sid);
    if (restoring === undefined) return;
    this.#end(sid, restoring);
    this.#context.persist(restoring.pid, restoring.raw);
  }

  /** No socket will be connected any more. */
  close() {
    for (const sid of [...this.#restoring.keys()]) this.left(sid);
  }

  /** @param {string} sid @param {any[]} rooms */
  #index(sid, rooms) {
    for (const room of rooms) {
      const sids = this.#byRoom.get(room);
      if (sids === undefined) this.#byRoom.set(room, new Set([sid]));
      else sids.add(sid);
    }
  }

  /** Those that a packet to these rooms may be for. @param {Set<any>} rooms @returns {Iterable<string>} */
  #concerned(rooms) {
    if (rooms.size === 0) return [...this.#restoring.keys()];
    const sids = new Set();
    for (const room of rooms) for (const sid of this.#byRoom.get(room) ?? []) sids.add(sid);
    return sids;
  }

  /** @param {string} sid @param {Restoring} restoring */
  #end(sid, { timer, onEnd, indexed }) {
    clearTimeout(timer);
    this.#restoring.delete(sid);
    for (const room of indexed) {
      const sids = this.#byRoom.get(room);
      sids?.delete(sid);
      if (sids?.size === 0) this.#byRoom.delete(room);
    }
    onEnd();
  }

  /** @param {string} sid */
  #onTimeout(sid) {
    // Its socket waits for a middleware.
    if (this.#context.rooms(sid) === undefined) this.left(sid);
  }

  /** @param {string} sid */
  #giveUp(sid) {
    this.left(sid);
    this.#context.drop(sid);
  }
}

/** Entries that were decoded, for a while: those who come back in one burst have missed the same. */
class Entries {
  /** By id. Streams may have the same. @type {Map<string, { raw: Buffer, args: any[] | null }>} */
  #known = new Map();
  #bytes = 0;
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /**
   * The arguments of a broadcast, with the id as the last one; null if it is none.
   *
   * @param {string} id
   * @param {Buffer} data as it stands in the entry
   * @returns {any[] | null}
   */
  read(id, data) {
    const known = this.#known.get(id);
    if (known?.raw.equals(data)) return known.args;
    const args = decodeArgs(id, data);
    if (this.#bytes + data.length > CACHE.bytes) this.#clear();
    this.#known.set(id, { raw: Buffer.from(data), args });
    this.#bytes += data.length;
    if (this.#timer === null) this.#timer = setTimeout(() => this.#clear(), CACHE.lifetime).unref();
    else this.#timer.refresh();
    return args;
  }

  #clear() {
    this.#known.clear();
    this.#bytes = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** @param {string} id @param {Buffer} data @returns {any[] | null} */
function decodeArgs(id, data) {
  try {
    const { packet } = decodeData(data.toString());
    return [...eventOf(packet).data, id];
  } catch {
    return null;
  }
}

/**
 * Reads a session, which somebody else may have written.
 *
 * @param {Buffer} raw
 * @param {string} pid
 * @returns {Session}
 */
function readSession(raw, pid) {
  const session = msgpack.decode(Buffer.from(raw.toString(), "base64"));
  const { sid, rooms, data } = session ?? {};
  if (typeof sid !== "string" || sid === "" || session.pid !== pid || !Array.isArray(rooms))
    throw new TypeError("a session does not look like this");
  // The socket is in that room, whatever it says.
  return { sid, pid, rooms: rooms.includes(sid) ? rooms : [...rooms, sid], data: data ?? {} };
}

/** Whether a broadcast is for a socket in these rooms. @param {any} opts @param {Iterable<any>} rooms */
function concerns({ rooms: wanted, except }, rooms) {
  let included = wanted.size === 0;
  for (const room of rooms) {
    if (except?.has(room)) return false;
    included ||= wanted.has(room);
  }
  return included;
}

module.exports = { Sessions };
