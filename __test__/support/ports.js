// @ts-check
"use strict";

/**
 * Ports for the servers of tests. Each is given once: a sentinel, a client or an adapter goes on trying the port of a
 * server that is gone, and a sentinel makes a replica of whatever answers there. That holds for all processes of this user
 * that live, since several test runs may share a machine.
 */

const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

/** Below what systems give to outgoing connections, on Linux and elsewhere. */
const PORTS = Object.freeze({ first: 10_300, last: 22_000 });

/** How far a cluster node's bus is from its port. */
const BUS = 10_000;

/** A file for each port that is given, with the id of the process that has it. */
const TAKEN = path.join(os.tmpdir(), `socket.io-redis-native-ports-${process.getuid?.() ?? "user"}`);

/** Those of this process. @type {Set<number>} */
const ours = new Set();

/**
 * Resolves with a TCP port on 127.0.0.1 on which nobody listens, and which no other test has been given.
 *
 * @param {{ bus?: boolean }} [options] `bus`: the same of the one that a cluster's bus takes with it
 * @returns {Promise<number>}
 */
async function freePort({ bus = false } = {}) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first));
    const wanted = bus ? [port, port + BUS] : [port];
    if (wanted.every(take) && (await Promise.all(wanted.map(isFree))).every(Boolean)) return port;
  }
  throw new Error("no free port was found in 100 attempts");
}

/** Takes a port for this process, until that ends. Returns false if it has been given already. @param {number} port */
function take(port) {
  if (ours.size === 0) process.once("exit", giveBack);
  fs.mkdirSync(TAKEN, { recursive: true });
  if (isTaken(port)) return false;
  try {
    fs.writeFileSync(fileOf(port), String(process.pid), { flag: "wx" });
  } catch (/** @type {any} */ error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
  ours.add(port);
  return true;
}

/** Whether the process lives that a port was given to. If not, the port can be given again. @param {number} port */
function isTaken(port) {
  try {
    // It is empty for the moment in which it is made: that is 0, which lives.
    return process.kill(Number(fs.readFileSync(fileOf(port), "utf8")), 0);
  } catch (/** @type {any} */ error) {
    if (error.code === "ENOENT") return false;
    if (error.code !== "ESRCH") return true;
    fs.rmSync(fileOf(port), { force: true });
    return false;
  }
}

function giveBack() {
  for (const port of ours) fs.rmSync(fileOf(port), { force: true });
}

/** @param {number} port */
function fileOf(port) {
  return path.join(TAKEN, String(port));
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

module.exports = { BUS, freePort, take };
