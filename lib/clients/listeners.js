// @ts-check
"use strict";

/**
 * One listener for each event of a client, however many links there are: each server with the adapter of streams has one,
 * and Node warns of more than ten listeners.
 */

const { removeListener } = require("./client");

/** @typedef {(...args: any[]) => void} Listener */

/** @type {WeakMap<object, Map<string, { all: Set<Listener>, listener: Listener }>>} */
const shared = new WeakMap();

/**
 * Listens to an event of a client. Returns what ends that.
 *
 * @param {any} client
 * @param {string} event
 * @param {Listener} listener
 * @returns {() => void}
 */
function listen(client, event, listener) {
  let events = shared.get(client);
  if (events === undefined) shared.set(client, (events = new Map()));
  let entry = events.get(event);
  if (entry === undefined) {
    /** @type {Set<Listener>} */
    const all = new Set();
    entry = { all, listener: (...args) => [...all].forEach((one) => one(...args)) };
    events.set(event, entry);
    client.on(event, entry.listener);
  } else if (client.listeners?.(event).includes(entry.listener) === false) {
    // The user has removed all of them.
    client.on(event, entry.listener);
  }
  const { all } = entry;
  const own = (/** @type {any[]} */ ...args) => listener(...args);
  all.add(own);
  return () => {
    if (!all.delete(own) || all.size > 0) return;
    events.delete(event);
    removeListener(client, event, entry.listener);
  };
}

module.exports = { listen };
