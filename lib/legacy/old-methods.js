// @ts-check
"use strict";

/**
 * The methods of the adapters of socket.io-redis 5 (with callbacks) and 6 (with promises), made of requests that every server
 * of today understands.
 */

/** What to call instead of each. */
const REPLACEMENTS = Object.freeze({
  remoteJoin: "io.in(id).socketsJoin(room)",
  remoteLeave: "io.in(id).socketsLeave(room)",
  remoteDisconnect: "io.in(id).disconnectSockets(close)",
  clients: "io.in(rooms).fetchSockets()",
  clientRooms: "io.in(id).fetchSockets(), whose sockets have their rooms",
  allRooms: "the promise that allRooms() without a callback returns",
});

/**
 * @typedef {keyof typeof REPLACEMENTS} Name
 *
 * @typedef {(error: Error | null, result?: any) => void} Callback
 *
 * @typedef {object} Action something that is done to one socket, wherever it is
 * @property {(socket: any) => any} here
 * @property {(target: { rooms: Set<any>, except: Set<any> }) => any} there
 * @property {(socket: any) => boolean} isDone undefined if there is no such socket
 */

/**
 * Adds the methods to the class of an adapter. `allRooms` of the same name is called by ours, and `sockets`, which
 * Socket.IO itself calls (`io.allSockets()`), stays as it is.
 *
 * @param {any} prototype
 */
function installOldMethods(prototype) {
  const { allRooms, sockets } = prototype;
  /** @type {Record<string, (this: any, ...args: any[]) => any>} */
  const methods = {
    remoteJoin(id, room, callback) {
      const joined = actOn(this, id, "remoteJoin", {
        here: (socket) => socket.join(room),
        there: (target) => this.addSockets(target, [room]),
        isDone: (socket) => socket !== undefined && isIn(socket, room),
      });
      return answer(joined, callback);
    },

    remoteLeave(id, room, callback) {
      const left = actOn(this, id, "remoteLeave", {
        here: (socket) => socket.leave(room),
        there: (target) => this.delSockets(target, [room]),
        isDone: (socket) => socket !== undefined && !isIn(socket, room),
      });
      return answer(left, callback);
    },

    remoteDisconnect(id, close, callback) {
      const gone = actOn(this, id, "remoteDisconnect", {
        here: (socket) => socket.disconnect(!!close),
        there: (target) => this.disconnectSockets(target, !!close),
        isDone: (socket) => socket === undefined,
      });
      return answer(gone, callback);
    },

    clients(rooms, callback) {
      deprecate("clients");
      const [names, done] = typeof rooms === "function" ? [[], rooms] : [rooms ?? [], callback];
      const ids = sockets.call(this, new Set(names)).then((/** @type {Set<any>} */ found) => [...found]);
      return answer(renamed(ids, "clients"), done);
    },

    clientRooms(id, callback) {
      deprecate("clientRooms");
      const rooms = this.sids.get(id);
      return answer(rooms ? Promise.resolve([...rooms]) : roomsOf(this, id), callback);
    },

    // Without a parameter, as those of today have it.
    allRooms(...[callback]) {
      const rooms = allRooms.call(this);
      if (typeof callback !== "function") return rooms;
      deprecate("allRooms");
      return answer(
        rooms.then((/** @type {Set<any>} */ names) => [...names]),
        callback,
      );
    },

    customRequest() {
      throw new Error(
        "customRequest() ended with socket.io-redis 5: use io.serverSideEmit(event, data, callback), and io.on(event) instead of customHook",
      );
    },
  };
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
  }
}

/**
 * Does something to the socket with this id, and resolves once it is done, on whatever node. Rejects, in the words of
 * old, if there is no such socket; the error's `cause` says why it is thought so.
 *
 * @param {any} adapter
 * @param {any} id
 * @param {Name} name
 * @param {Action} action
 */
async function actOn(adapter, id, name, { here, there, isDone }) {
  deprecate(name);
  const socket = adapter.nsp.sockets.get(id);
  if (socket) return void (await here(socket));
  const end = Date.now() + adapter.requestsTimeout;
  // A node that does not answer costs half of the time, and not the success.
  const before = await find(adapter, id, adapter.requestsTimeout / 2);
  if (before.socket === undefined) throw tooLate(name, before.reason);
  // Others may be in a room of that name.
  there({ rooms: new Set([id]), except: new Set(before.others) });
  // Whoever answers now has worked off what was asked before.
  const after = await find(adapter, id, Math.max(end - Date.now(), 1));
  if (!isDone(after.socket)) throw tooLate(name, after.socket ? null : after.reason);
  // Or the node that has it is the one that has not answered.
  if (after.socket === undefined && !after.complete) throw tooLate(name, after.reason);
}

/**
 * Looks for a socket on all nodes. Where not all have answered, those that have count.
 *
 * @param {any} adapter
 * @param {any} id
 * @param {number} timeout in milliseconds
 */
async function find(adapter, id, timeout) {
  /** @type {any} */
  let sockets;
  /** @type {any} */
  let reason = null;
  try {
    const flags = { timeout };
    sockets = await adapter.fetchSockets({ rooms: new Set([id]), except: new Set(), flags });
  } catch (/** @type {any} */ error) {
    if (!isTimeout(error)) throw error;
    sockets = error.responses?.flatMap((/** @type {any} */ response) => response.sockets ?? response) ?? [];
    reason = error;
  }
  const socket = sockets.find((/** @type {any} */ one) => one.id === id);
  const others = sockets
    .filter((/** @type {any} */ one) => one !== socket)
    .map((/** @type {any} */ one) => one.id);
  const complete = reason === null;
  return {
    socket,
    others,
    complete,
    reason: reason ?? new Error(`no server has a socket with the id ${id}`),
  };
}

/** @param {any} adapter @param {any} id @returns {Promise<any[]>} */
async function roomsOf(adapter, id) {
  const { socket, reason } = await find(adapter, id, adapter.requestsTimeout);
  if (socket === undefined) throw tooLate("rooms", reason);
  return [...socket.rooms];
}

/** @param {{ rooms: Iterable<any> }} socket @param {any} room */
function isIn({ rooms }, room) {
  return new Set(rooms).has(room);
}

/** @param {any} error */
function isTimeout(error) {
  return /^timeout reached/.test(error?.message);
}

/** @param {string} name @param {Error | null} cause */
function tooLate(name, cause) {
  return new Error(`timeout reached while waiting for ${name} response`, cause ? { cause } : {});
}

/**
 * The same with the timeout of another method's name; what has come is in the error, as it was in the callback.
 *
 * @param {Promise<any>} promise
 * @param {string} name
 */
function renamed(promise, name) {
  return promise.catch((error) => {
    throw isTimeout(error) ? Object.assign(tooLate(name, error), { responses: error.responses }) : error;
  });
}

/**
 * Returns the promise; or calls the callback with what comes of it, and returns nothing.
 *
 * @param {Promise<any>} promise
 * @param {unknown} callback
 */
function answer(promise, callback) {
  if (typeof callback !== "function") return promise;
  promise.then(
    (result) => process.nextTick(callback, null, result),
    (error) => process.nextTick(callback, error),
  );
  return undefined;
}

/** The methods that were warned of. @type {Set<Name>} */
const warned = new Set();

/** @param {Name} name */
function deprecate(name) {
  if (warned.has(name)) return;
  warned.add(name);
  const code = `SOCKET_IO_REDIS_${name.replace(/[A-Z]/g, "_$&").toUpperCase()}`;
  const type = "DeprecationWarning";
  process.emitWarning(`${name}() of the Redis adapter is deprecated: use ${REPLACEMENTS[name]}`, {
    type,
    code,
  });
}

module.exports = { installOldMethods };
