// @ts-check
"use strict";

/** Whom the broadcasts of an adapter go to: for each large room a list of lent connections, kept by joins and leaves. */

const { isObserved, isReplaced: isSentOtherwise, isWatched } = require("../delivery/run");
const { FLAG, define } = require("./connection");
const { theHub } = require("./hub");
const { SlotList } = require("./slot-list");

/** Fewer sockets than these are written to by the JS thread: to wake another costs as much. */
const FEWEST = 16;

/** @typedef {import("./connection").LentConnection} LentConnection */
/** @typedef {{ rooms: Set<any>, except?: Set<any>, flags?: any }} Target */

class Recipients {
  #adapter;
  #hub = theHub();
  #everyone = new SlotList();
  /** Those that were broadcast to. @type {Map<any, SlotList>} */
  #rooms = new Map();
  /** By the ids of the sockets. @type {Map<any, { lent: LentConnection, socket: any }>} */
  #lent = new Map();
  /** The ids, by slot. @type {Map<number, any>} */
  #ids = new Map();
  #refused = new Int32Array(FEWEST);

  /** @param {any} adapter */
  constructor(adapter) {
    this.#adapter = adapter;
  }

  get stats() {
    return this.#hub.stats();
  }

  // --- who is where ------------------------------------------------------------------------------------

  /** A socket is there, if it was not. @param {any} id */
  arrived(id) {
    if (!this.#adapter.sids.has(id)) this.#hub.arrived(this.#adapter.nsp.sockets.get(id)?.client.conn);
    this.#put(this.#everyone, id);
  }

  /** A socket has joined a room. @param {any} id @param {any} room */
  joined(id, room) {
    const list = this.#rooms.get(room);
    // A listener may have thrown it out meanwhile.
    if (list !== undefined && this.#adapter.sids.has(id)) this.#put(list, id);
  }

  /** A socket has left a room. @param {any} id @param {any} room */
  left(id, room) {
    const list = this.#rooms.get(room);
    if (list === undefined) return;
    this.#take(list, id);
    if (list.size === 0) this.#rooms.delete(room);
  }

  /** A socket has left the server. @param {any} id */
  gone(id) {
    this.#take(this.#everyone, id);
    const known = this.#lent.get(id);
    if (known === undefined) return;
    const { lent, socket } = known;
    this.#lent.delete(id);
    this.#ids.delete(lent.slot);
    unwatchOutgoing(socket);
    lent.listened(id, false);
    lent.release();
  }

  /** @param {SlotList} list @param {any} id */
  #put(list, id) {
    const known = this.#lent.get(id);
    if (known === undefined) list.others.add(id);
    else list.add(known.lent.slot);
  }

  /** @param {SlotList} list @param {any} id */
  #take(list, id) {
    const known = this.#lent.get(id);
    if (known !== undefined) list.remove(known.lent.slot);
    list.others.delete(id);
  }

  /** Lends the connections of sockets that are new in a list, if they may be. @param {SlotList} list */
  #lendNew(list) {
    for (const id of list.others) {
      const socket = this.#adapter.nsp.sockets.get(id);
      const conn = socket?.client?.conn;
      if (conn?.transport === undefined || isReplaced(socket)) continue;
      const lent = this.#hub.lend(conn);
      if (lent !== null) this.#own(id, socket, lent);
      // It may be no list that is kept.
      this.#move(list, id);
    }
  }

  /** @param {SlotList} list @param {any} id */
  #move(list, id) {
    const known = this.#lent.get(id);
    if (known !== undefined && list.others.delete(id)) list.add(known.lent.slot);
  }

  /** @param {any} id @param {any} socket @param {LentConnection} lent */
  #own(id, socket, lent) {
    // Two sockets of one namespace and connection: there are none, but in tests.
    if (this.#ids.has(lent.slot)) return;
    lent.retain();
    this.#lent.set(id, { lent, socket });
    this.#ids.set(lent.slot, id);
    watchOutgoing(socket, lent);
    this.#move(this.#everyone, id);
    for (const room of this.#adapter.sids.get(id) ?? []) this.#move(this.#rooms.get(room) ?? NO_LIST, id);
  }

  /** @param {any} room @returns {SlotList} */
  #listOf(room) {
    const known = this.#rooms.get(room);
    if (known !== undefined) return known;
    const ids = this.#adapter.rooms.get(room);
    if (ids === undefined) return NO_LIST;
    const list = new SlotList();
    for (const id of ids) this.#put(list, id);
    if (ids.size >= FEWEST) this.#rooms.set(room, list);
    return list;
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /** Whether a broadcast is for so many that it is handed to the thread. @param {Target} opts */
  wants(opts) {
    const { nsp } = this.#adapter;
    if (this.#adapter._reach(opts) < FEWEST) return false;
    const { engine } = nsp.server;
    if (engine !== undefined && isWatched(engine)) return false;
    // Somebody may have put functions in the place of those of all sockets.
    const [one] = this.#lent.keys();
    const socket = nsp.sockets.get(one);
    return socket === undefined || !isReplaced(socket);
  }

  /** Whether functions of the user's see what one of the sockets is sent. @param {Target} opts */
  isObserved({ rooms }) {
    return this.#listsOf(rooms).some((list) => {
      const { flags, observed } = this.#hub;
      for (let n = 0; observed > 0 && n < list.count; n++)
        if ((flags[list.slots[n]] & (FLAG.WATCHED | FLAG.OUTGOING)) !== 0) return true;
      for (const id of list.others) {
        const socket = this.#adapter.nsp.sockets.get(id);
        if (socket !== undefined && isObserved(socket)) return true;
      }
      return false;
    });
  }

  /**
   * Sends WebSocket frames to the sockets of a broadcast.
   *
   * @param {Buffer} frames
   * @param {Target} opts
   * @param {(socket: any) => void} send takes each socket whose connection the thread may not have now
   */
  deliver(frames, { rooms, except, flags }, send) {
    const lists = this.#listsOf(rooms);
    this.#hub.sweep();
    const { native } = this.#hub;
    native.load(frames);
    for (const room of except ?? []) {
      const { slots, count } = this.#listOf(room);
      if (count > 0) native.except(slots, count);
    }
    let refused = 0;
    for (const { slots, count } of lists) {
      if (count === 0) continue;
      this.#reserve(refused + count);
      const isVolatile = flags?.volatile === true;
      refused = native.push(slots, count, this.#hub.flags, this.#refused, refused, isVolatile);
    }
    native.unload();
    // A listener of the user's may broadcast: the list is needed again.
    const ids = [...this.#othersOf(lists, except)];
    for (let n = 0; n < refused; n++) ids.push(this.#ids.get(this.#refused[n]));
    for (const id of ids) {
      const socket = this.#adapter.nsp.sockets.get(id);
      if (socket !== undefined) send(socket);
    }
  }

  /** @param {Set<any>} rooms @returns {SlotList[]} */
  #listsOf(rooms) {
    if (rooms.size === 0) return [this.#upToDate(this.#everyone)];
    // One after the other: who is lent because of one room is lent in the next.
    return Array.from(rooms, (room) => this.#upToDate(this.#listOf(room)));
  }

  /** @param {SlotList} list */
  #upToDate(list) {
    if (list.others.size > 0) this.#lendNew(list);
    return list;
  }

  /** The ids of the sockets whose connections are not lent. @param {SlotList[]} lists @param {Set<any> | undefined} except */
  #othersOf(lists, except) {
    const all = this.#adapter.rooms;
    /** @type {Set<any>} */
    const ids = new Set();
    for (const { others } of lists) for (const id of others) ids.add(id);
    if (ids.size > 0) for (const room of except ?? []) for (const id of all.get(room) ?? []) ids.delete(id);
    return ids;
  }

  /** @param {number} size */
  #reserve(size) {
    if (size <= this.#refused.length) return;
    const larger = new Int32Array(2 * size);
    larger.set(this.#refused);
    this.#refused = larger;
  }
}

const NO_LIST = new SlotList();

/** Where a socket has its connection. */
const CONNECTION = Symbol("connection that is lent");

/** Has a connection know whether somebody listens to what a socket of it is sent. @param {any} socket @param {LentConnection} lent */
function watchOutgoing(socket, lent) {
  define(socket, CONNECTION, lent);
  for (const name of NAMES) define(socket, name, OF_SOCKET[name]);
  noteOutgoing(socket);
}

/** @param {any} socket */
function unwatchOutgoing(socket) {
  for (const name of [CONNECTION, ...NAMES]) Reflect.deleteProperty(socket, name);
}

/** @param {any} socket */
function noteOutgoing(socket) {
  socket[CONNECTION].listened(socket.id, socket.listenersAnyOutgoing().length > 0);
}

/** Methods of a socket whose connection is lent. @type {Record<string, (this: any, ...args: any[]) => any>} */
const OF_SOCKET = Object.fromEntries(
  ["onAnyOutgoing", "prependAnyOutgoing", "offAnyOutgoing"].map((name) => [
    name,
    function (...args) {
      inherited(this, name).apply(this, args);
      noteOutgoing(this);
      return this;
    },
  ]),
);

const NAMES = Object.keys(OF_SOCKET);

/** The method behind ours; `object` may be an heir of the socket. @param {any} object @param {string} name @returns {Function} */
function inherited(object, name) {
  for (let one = object; one !== null; one = Object.getPrototypeOf(one))
    if (Object.hasOwn(one, name) && one[name] !== OF_SOCKET[name]) return one[name];
  throw new TypeError(`${name} is not a function`);
}

/** Whether functions of the user's stand in the place of Socket.IO's own. @param {any} socket */
function isReplaced(socket) {
  return isSentOtherwise(socket) || NAMES.some((name) => isOwnOfUser(socket, name));
}

/** @param {any} socket @param {string} name */
function isOwnOfUser(socket, name) {
  return socket[name] !== OF_SOCKET[name] && Object.hasOwn(socket, name);
}

module.exports = { Recipients };
