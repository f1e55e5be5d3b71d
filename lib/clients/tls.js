// @ts-check
"use strict";

/**
 * Reads a client's TLS options as settings of the link's own connections.
 */

const fs = require("node:fs");
const tls = require("node:tls");
const { clean, unreadable } = require("./settings");

/** @typedef {import("./settings").TlsSettings} TlsSettings */

/**
 * Options of Node that the link's own connections cannot follow. Options that are in no list here change neither the protocol
 * nor the trust, or do not occur in a client that works.
 */
const BEYOND = [
  "pfx",
  "passphrase",
  "secureContext",
  "checkServerIdentity",
  "ciphers",
  "secureProtocol",
  "ALPNProtocols",
  "sigalgs",
  "ecdhCurve",
  "crl",
  "pskCallback",
  "secureOptions",
  "privateKeyEngine",
  "lookup",
];

/** TLS 1.2 and 1.3 are what the link's own connections speak. */
const BOUNDS = { minVersion: ["TLSv1", "TLSv1.1", "TLSv1.2"], maxVersion: ["TLSv1.3"] };

/**
 * The settings for a client's TLS options; undefined if it speaks no TLS. Throws `Unreadable` for what the link's own
 * connections cannot do.
 *
 * @param {any} options `true`, or as for Node's `tls.connect`
 * @returns {TlsSettings | undefined}
 */
function readTls(options) {
  if (!options) return undefined;
  if (options === true) return readTls({});
  if (typeof options !== "object") unreadable(`the TLS options are ${JSON.stringify(options)}`);
  for (const name of BEYOND) {
    if (options[name]) unreadable(`the link's own connections cannot follow the TLS option ${name}`);
  }
  for (const [name, good] of Object.entries(BOUNDS)) {
    if (options[name] && !good.includes(options[name])) {
      unreadable(`the link's own connections cannot follow the TLS option ${name}`);
    }
  }
  const cert = readPem("cert", options.cert);
  const key = readPem("key", options.key);
  if (key?.includes("ENCRYPTED"))
    unreadable("the link's own connections cannot follow the TLS option key: encrypted");
  return clean({
    ca: options.ca ? listOf(options.ca).map((one) => readCertificates("ca", one)) : trusted(),
    cert,
    key,
    serverName: options.servername || undefined,
    verify: options.rejectUnauthorized ?? process.env.NODE_TLS_REJECT_UNAUTHORIZED !== "0",
  });
}

/** The certificates that Node trusts by itself. */
function trusted() {
  // Since Node.js 22.15, and with what else it has been told to trust.
  const all = /** @type {any} */ (tls).getCACertificates?.("default");
  if (all) return [...all];
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  try {
    if (extra) return [...tls.rootCertificates, fs.readFileSync(extra, "utf8")];
  } catch {
    // Node itself warns of that.
  }
  return [...tls.rootCertificates];
}

/** @param {string} name @param {any} value @returns {string | undefined} */
function readPem(name, value) {
  if (!value) return undefined;
  const parts = listOf(value).map((part) => {
    if (typeof part === "object" && part.pem !== undefined) {
      if (part.passphrase) unreadable("the link's own connections cannot follow the TLS option passphrase");
      return textOf(name, part.pem);
    }
    return textOf(name, part);
  });
  if (name === "key" && parts.length > 1) {
    unreadable("the link's own connections cannot follow the TLS option key: more than one");
  }
  return parts.join("\n");
}

/** @param {string} name @param {any} value */
function readCertificates(name, value) {
  const text = textOf(name, value);
  if (!text.includes("-----BEGIN CERTIFICATE-----")) {
    unreadable(`the link's own connections cannot follow the TLS option ${name}: not in PEM`);
  }
  return text;
}

/** @param {string} name @param {any} value */
function textOf(name, value) {
  if (typeof value === "string") return value;
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
  return unreadable(`the link's own connections cannot follow the TLS option ${name}: no text`);
}

/** @param {any} value @returns {any[]} */
function listOf(value) {
  return Array.isArray(value) ? value : [value];
}

module.exports = { readTls };
