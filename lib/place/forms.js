// @ts-check
"use strict";

/**
 * The one place that reads where Redis is, for all adapters and the emitter: the user's clients, a URL, `host:port`, a
 * port, the path of a unix socket, or an object that says it, as those of socket.io-redis 5 and 6 did.
 */

const {
  checkPossible,
  hasPlace,
  hasSettings,
  namesDefault,
  readUrl,
  settingsOf,
  unsetPlace,
} = require("./address");
const { duplicateOf } = require("../clients/duplicate");
const { warnOfUnknown } = require("../options/known-options");
const { Link } = require("../link/link");
const { linkOfClient, linkOfClients, linkOfSettings, linkOfUrl } = require("../link/links");
const { present, unset, wrong } = require("../options/options");

/**
 * @typedef {object} Form what the arguments come to
 * @property {any} pub the client that publishes, or the only one; undefined if none was given
 * @property {any} sub the client that receives
 * @property {any} opts
 * @property {string | null} url where the adapter's own connections go
 * @property {import("../clients/settings").Settings | null} settings the same, in parts. If both are null, the clients say it
 *
 * @typedef {object} Takes what a function takes
 * @property {1 | 2} clients how many, ahead of its options
 * @property {string} [taker] whose options they are, if unknown ones are to be warned of
 * @property {boolean} [old] whether an object without an address, or no argument at all, means localhost
 */

/** The schemes that the core reads by itself. */
const URL_SCHEME = /^(redis|valkey|unix|redis\+unix|valkey\+unix):/i;

/**
 * @param {any[]} args the clients and the options, or the address and the options
 * @param {Takes} takes
 * @returns {Form}
 */
function readForm(args, takes) {
  const form = formOf(args, takes);
  if (takes.taker !== undefined) warnOfUnknown(form.opts, takes.taker);
  return form;
}

/** @param {any[]} args @param {Takes} takes @returns {Form} */
function formOf(args, { clients, old = false }) {
  const [first, second] = args;
  // Behind an address, the place of the second client may be left out.
  const opts = clients === 2 && args[2] !== undefined ? args[2] : second;
  if (first instanceof URL) return ofUrl(first.href, opts);
  if (typeof first === "string") return ofUrl(first, opts);
  if (typeof first === "number" && (!present(opts) || isOptions(opts))) return ofUrl(first, opts);
  // A variable that is not set is `undefined`, and is not meant to be localhost.
  if (args.length === 0 && old) return ofOptions({});
  if (old && first === undefined && isOptions(second) && (hasPlace(second) || hasClient(second)))
    return ofOptions(second);
  if (isOptions(first) && !isClient(second)) {
    const tells = hasPlace(first) || (clients === 2 && hasClient(first));
    if (!tells) checkUnset(first);
    if (tells || namesDefault(first) || (old && !present(opts)))
      return ofOptions(isOptions(opts) ? { ...first, ...opts } : first);
  }
  if (clients === 1 && isClient(second)) {
    warnOfSecond();
    return { ...none, pub: first };
  }
  if (clients === 1) return { ...none, pub: first, opts: second };
  return { ...none, pub: first, sub: second, opts: args[2] };
}

/**
 * The link that the arguments ask for; it may stand in the place of a client.
 *
 * @param {Form} form
 * @param {import("../link/link").LinkOptions} options
 */
function linkOf({ pub, sub, url, settings }, options) {
  if (pub instanceof Link) return pub;
  if (url !== null) return linkOfUrl(url, options);
  if (settings !== null) return linkOfSettings(settings, options);
  return options.family === "classic" || options.family === "sharded"
    ? linkOfClients(pub, sub, options)
    : linkOfClient(pub, options);
}

/** Whether nothing was given that connects: the adapter does that by itself. @param {Form} form */
function isOwn({ url, settings }) {
  return url !== null || settings !== null;
}

/** @type {Form} */
const none = Object.freeze({ pub: undefined, sub: undefined, opts: undefined, url: null, settings: null });

/** Whether it is an object that says something, rather than a client. @param {any} given */
function isOptions(given) {
  return given !== null && typeof given === "object" && !isClient(given);
}

/** @param {any} given */
function isClient(given) {
  return ["publish", "subscribe", "on"].some((method) => typeof given?.[method] === "function");
}

/**
 * `{ url: process.env.REDIS_URL }`, where that is not set, is not meant to be localhost.
 *
 * @param {any} given says nothing of where Redis is
 */
function checkUnset(given) {
  const name = unsetPlace(given);
  if (name !== undefined) throw unset(wrong(`opts.${name}`, "where a Redis is", given[name]));
}

/** Whether it was said that a second client is not needed. */
let warnedOfSecond = false;

/** As with the reference, it is not used; there, without a word. */
function warnOfSecond() {
  if (warnedOfSecond) return;
  warnedOfSecond = true;
  console.warn(
    "socket.io-redis: one client is enough here, and the second one is not used: options stand there",
  );
}

/** @param {any} given */
function hasClient({ pubClient, subClient }) {
  return Boolean(pubClient || subClient);
}

/** @param {string | number} url @param {any} opts @returns {Form} */
function ofUrl(url, opts) {
  const given = opts ?? {};
  const form = { ...none, opts, url: String(url) };
  if (typeof given !== "object") return form;
  checkPossible(given);
  const plain = URL_SCHEME.test(form.url) && !form.url.includes("?");
  if (plain && !hasSettings(given) && !hasClient(given)) return form;
  const told = readUrl(url, given);
  // The core says what is wrong with it.
  return told === null ? form : ofOptions({ ...told, url: undefined });
}

/**
 * An object with everything in it: clients, or where Redis is, beside the adapter's options.
 *
 * @param {any} opts
 * @returns {Form}
 */
function ofOptions(opts) {
  const { pubClient: pub, subClient: sub, url } = opts;
  const form = { ...none, pub, sub, opts };
  // Clients know the way; what is said of it beside them was not looked at in those days either.
  if (pub && sub) return form;
  if (!(pub || sub) || hasPlace(opts)) {
    if (present(url))
      return { ...ofUrl(url instanceof URL ? url.href : url, { ...opts, url: undefined }), pub, sub };
    return { ...form, settings: settingsOf(opts) };
  }
  return { ...form, pub: pub || duplicateOf(sub), sub: sub || duplicateOf(pub) };
}

module.exports = { isOwn, linkOf, readForm };
