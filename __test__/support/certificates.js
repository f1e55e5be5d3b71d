// @ts-check
"use strict";

/**
 * Certificates for tests: an authority of this process's own, what it has signed, and another that nobody trusts.
 */

const { generateKeyPairSync } = require("node:crypto");
const net = require("node:net");
const { md, pki } = require("node-forge");

/**
 * @typedef {{ cert: string, key: string }} Identity as PEM
 *
 * @typedef {object} Certificates
 * @property {string} ca of those who belong together, as PEM
 * @property {Identity} server
 * @property {Identity} client
 * @property {Identity & { ca: string }} stranger a client of another authority, and that authority
 */

const DAY = 24 * 60 * 60 * 1000;

let serial = 0;

/** Making a key takes a while: those who sign nothing share one. */
const leafKey = once(makeKey);

/** Somebody with a certificate, who may sign for others. */
class Holder {
  /**
   * @param {string} name
   * @param {Holder | null} issuer null: whoever it is signs for itself
   * @param {object[]} extensions
   * @param {number} [ends] when it does, in milliseconds from now
   */
  constructor(name, issuer, extensions, ends = DAY) {
    const { publicKey, privateKey } = issuer ? leafKey() : makeKey();
    this.key = privateKey;
    this.signing = pki.privateKeyFromPem(privateKey);
    this.subject = [{ name: "commonName", value: name }];
    const certificate = pki.createCertificate();
    certificate.publicKey = pki.publicKeyFromPem(publicKey);
    certificate.serialNumber = (++serial).toString(16).padStart(4, "0");
    certificate.validity.notBefore = new Date(Date.now() - 2 * DAY);
    certificate.validity.notAfter = new Date(Date.now() + ends);
    certificate.setSubject(this.subject);
    certificate.setIssuer((issuer ?? this).subject);
    certificate.setExtensions(extensions);
    certificate.sign((issuer ?? this).signing, md.sha256.create());
    this.cert = pki.certificateToPem(certificate);
  }

  /** @param {string} name */
  static authority(name) {
    return new Holder(name, null, [
      { name: "basicConstraints", critical: true, cA: true },
      { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
    ]);
  }

  /** @returns {Identity} */
  get identity() {
    return { cert: this.cert, key: this.key };
  }
}

function makeKey() {
  return generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
}

/** Names in a certificate, as node-forge has them. @param {string[]} names */
function subjectAltName(names) {
  const altNames = names.map((name) => (net.isIP(name) ? { type: 7, ip: name } : { type: 2, value: name }));
  return { name: "subjectAltName", altNames };
}

/** @param {Holder} authority */
function clientOf(authority) {
  const usage = { name: "extKeyUsage", clientAuth: true };
  return new Holder("client", authority, [{ name: "basicConstraints", cA: false }, usage]).identity;
}

/** What does not depend on the server. */
const shared = once(() => {
  const authority = Holder.authority("the CA of the tests");
  const other = Holder.authority("another CA");
  return {
    authority,
    client: clientOf(authority),
    stranger: { ca: other.cert, ...clientOf(other) },
  };
});

/** @type {Map<string, Identity>} */
const servers = new Map();

/**
 * Returns the certificates around a server that is called by these names.
 *
 * @param {string[]} [names] DNS names and addresses
 * @param {boolean} [expired] whether that of the server was good until yesterday
 * @returns {Certificates}
 */
function certificatesFor(names = ["127.0.0.1", "localhost"], expired = false) {
  const { authority, client, stranger } = shared();
  const id = `${names.join()} ${expired}`;
  let server = servers.get(id);
  if (!server) {
    // The nodes of a cluster are clients of one another.
    const usage = { name: "extKeyUsage", serverAuth: true, clientAuth: true };
    const extensions = [{ name: "basicConstraints", cA: false }, usage, subjectAltName(names)];
    server = new Holder("server", authority, extensions, expired ? -DAY : DAY).identity;
    servers.set(id, server);
  }
  return { ca: authority.cert, server, client, stranger };
}

/** @template T @param {() => T} make @returns {() => T} */
function once(make) {
  /** @type {{ value: T } | null} */
  let made = null;
  return () => (made ??= { value: make() }).value;
}

module.exports = { certificatesFor };
