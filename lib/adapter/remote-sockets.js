// @ts-check
"use strict";

/**
 * `io.fetchSockets()` makes a `RemoteSocket` of each description that the adapter has fetched, all in one go. Here they are made
 * piece by piece, as the answers come, and their handshakes are read when somebody looks.
 *
 * How Socket.IO makes them is found out by having it do so. What does not look as expected is left to it.
 */

const { isDeepStrictEqual } = require("node:util");
const { UnreadHandshake } = require("../messages/handshakes");

/**
 * @typedef {object} Recipe
 * @property {string} callback the source of what Socket.IO does with what was fetched
 * @property {new (adapter: any, details: any) => any} Made a `RemoteSocket` but for its prototype
 * @property {object} prototype
 */

/** By the class that Socket.IO fetches with: there may be several copies of it. @type {WeakMap<Function, Recipe | null>} */
const recipes = new WeakMap();

/**
 * Has a promise of fetched sockets be one of `RemoteSocket`s, if Socket.IO asks next; and of descriptions for everybody else.
 *
 * @param {Promise<any[]>} promise
 * @param {{ maker: import("../messages/answers").Maker }} wanted what they are made with
 * @param {any} adapter
 */
function offerRemoteSockets(promise, wanted, adapter) {
  const recipe = recipeOf(adapter.nsp);
  if (recipe === null) return promise;
  /** @param {[any?, any?]} callbacks */
  const then = (...callbacks) => {
    Reflect.deleteProperty(promise, "then");
    const [onFetched] = callbacks;
    if (callbacks.length > 1 || sourceOf(onFetched) !== recipe.callback) return promise.then(...callbacks);
    wanted.maker = makerOf(recipe, adapter, onFetched);
    return promise;
  };
  Object.defineProperty(promise, "then", { value: then, configurable: true, writable: true });
  return promise;
}

/**
 * @param {Recipe} recipe
 * @param {any} adapter
 * @param {(sockets: any[]) => any[]} ofList
 * @returns {import("../messages/answers").Maker}
 */
function makerOf({ Made, prototype }, adapter, ofList) {
  return {
    ofParts: (id, handshake, rooms, data) =>
      Object.setPrototypeOf(new Made(adapter, { id, handshake, rooms, data }), prototype),
    ofList,
  };
}

/** @param {any} nsp @returns {Recipe | null} */
function recipeOf(nsp) {
  try {
    const Operator = nsp.to("a room").constructor;
    if (!recipes.has(Operator)) {
      // It stays null if this is another Socket.IO than those that are known.
      recipes.set(Operator, null);
      recipes.set(Operator, findRecipe(Operator));
    }
    return recipes.get(Operator) ?? null;
  } catch {
    return null;
  }
}

/** @param {new (adapter: any) => any} Operator @returns {Recipe | null} */
function findRecipe(Operator) {
  const details = { id: "an id", handshake: { auth: {} }, rooms: ["a room"], data: {} };
  /** @type {(sockets: any[]) => any[]} */
  let onFetched = (sockets) => sockets;
  const then = (/** @type {typeof onFetched} */ callback) => (onFetched = callback)([details]);
  const adapter = { fetchSockets: () => ({ then }) };
  const [theirs] = new Operator(adapter).fetchSockets();
  const prototype = Object.getPrototypeOf(theirs);
  const recipe = { callback: sourceOf(onFetched), Made: withoutHandshake(theirs.constructor), prototype };
  const text = Buffer.from(JSON.stringify(details.handshake));
  const handshake = new UnreadHandshake(text, 0, text.length, (bytes) => JSON.parse(bytes.toString()));
  const ours = makerOf(recipe, adapter, onFetched).ofParts(
    details.id,
    handshake,
    details.rooms,
    details.data,
  );
  const isUnread = Object.getOwnPropertyDescriptor(ours, "handshake")?.get !== undefined;
  const isSame = isDeepStrictEqual([Object.keys(ours), ours], [Object.keys(theirs), theirs]);
  return isUnread && isSame ? recipe : null;
}

/** A class whose objects do not get a handshake, but an accessor for it. @param {new (adapter: any, details: any) => any} RemoteSocket */
function withoutHandshake(RemoteSocket) {
  return class extends RemoteSocket {
    /** @param {any} unread an `UnreadHandshake` */
    set handshake(unread) {
      unread.addTo(this);
    }
  };
}

/** @param {any} callback */
function sourceOf(callback) {
  return typeof callback === "function" ? Function.prototype.toString.call(callback) : "";
}

module.exports = { offerRemoteSockets };
