// @ts-check
"use strict";

/**
 * The forms that `createAdapter` may be called in: today's, with two clients or a URL, and those of socket.io-redis 5
 * and 6, with an object that says all.
 */

const { duplicateOf } = require("./duplicate");
const { checkPossible, hasPlace, hasSettings, readUrl, settingsOf } = require("./old-settings");
const { present } = require("./options");

/**
 * @typedef {object} Form what the arguments come to
 * @property {any} pub a client that publishes; undefined if none was given
 * @property {any} sub a client that receives
 * @property {any} opts
 * @property {string | null} url where the adapter's own connections go
 * @property {import("./clients/settings").Settings | null} settings the same, in parts. If both are null, the two clients say it
 */

/** The schemes that the core reads by itself. */
const URL_SCHEME = /^(redis|valkey|unix|redis\+unix|valkey\+unix):/i;

/**
 * @param {any[]} args of `createAdapter`
 * @returns {Form}
 */
function readForm(args) {
  const [first, second, third] = args;
  if (first instanceof URL) return readForm([first.href, second, third]);
  if (first === undefined && args.length < 2) return ofOptions({});
  if (typeof first === "string") return ofUrl(first, third === undefined ? second : third);
  if (typeof first === "number" && (second === undefined || isOptions(second))) return ofUrl(first, second);
  if (first === undefined && isOptions(second)) return ofOptions(second);
  if (!present(second) && isOptions(first)) return ofOptions(first);
  return { pub: first, sub: second, opts: third, url: null, settings: null };
}

/**
 * Whether it is an object that says something, rather than a client.
 *
 * @param {any} given
 */
function isOptions(given) {
  if (given === null || typeof given !== "object") return false;
  return ["publish", "subscribe", "on"].every((method) => typeof given[method] !== "function");
}

/** @param {string | number} url @param {any} opts @returns {Form} */
function ofUrl(url, opts) {
  const given = opts ?? {};
  const form = { ...none, opts, url: String(url) };
  if (typeof given !== "object") return form;
  checkPossible(given);
  const plain = URL_SCHEME.test(form.url) && !form.url.includes("?");
  if (plain && !hasSettings(given) && !given.pubClient && !given.subClient) return form;
  const told = readUrl(url, given);
  // The core says what is wrong with it.
  return told === null ? form : ofOptions({ ...told, url: undefined });
}

const none = Object.freeze({ pub: undefined, sub: undefined, url: null, settings: null });

/**
 * An object with everything in it: clients, or where Redis is, beside the adapter's options.
 *
 * @param {any} opts
 * @returns {Form}
 */
function ofOptions(opts) {
  const { pubClient: pub, subClient: sub } = opts;
  const form = { pub, sub, opts, url: null, settings: null };
  // Clients know the way; what is said of it beside them was not looked at in those days either.
  if (pub && sub) return form;
  if (!(pub || sub) || hasPlace(opts)) {
    if (present(opts.url)) return ofUrl(opts.url, { ...opts, url: undefined });
    return { ...form, settings: settingsOf(opts) };
  }
  return { ...form, pub: pub || duplicateOf(sub), sub: sub || duplicateOf(pub) };
}

module.exports = { readForm };
