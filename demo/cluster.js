// @ts-check
"use strict";

/** The demo's three servers, each a process of its own. */

const { fork } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const net = require("node:net");
const path = require("node:path");

const PORTS = [4001, 4002, 4003];

/** How long a server may take to start, or to go when told to, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Resolves once all servers listen. Rejects with a plain reason when one cannot; none is left running then.
 *
 * @param {string} redisUrl
 */
async function startCluster(redisUrl) {
  await Promise.all(PORTS.map(assertFree));
  // A key of its own: a Redis that was given may already serve another cluster.
  const key = `demo-${randomBytes(4).toString("hex")}`;
  /** @type {import("node:child_process").ChildProcess[]} */
  const servers = [];
  const cluster = {
    ports: PORTS,
    /** Called with a reason if a server ends by itself. */
    onLost: (/** @type {string} */ _reason) => {},
    /** Resolves once no server process is left. */
    async stop() {
      cluster.onLost = () => {};
      await Promise.all(servers.map(end));
    },
  };
  try {
    await Promise.all(
      PORTS.map((port) => {
        const env = { ...process.env, REDIS_URL: redisUrl, DEMO_KEY: key, DEMO_PORT: String(port) };
        const server = fork(path.join(__dirname, "server.js"), { env });
        servers.push(server);
        return ready(server, port);
      }),
    );
  } catch (err) {
    await cluster.stop();
    throw err;
  }
  servers.forEach((server, i) =>
    server.once("exit", (code, signal) =>
      cluster.onLost(
        `the server on port ${PORTS[i]} (process ${server.pid}) ended by itself: ${signal ?? code}`,
      ),
    ),
  );
  return cluster;
}

/** @param {number} port */
function assertFree(port) {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once("error", (/** @type {NodeJS.ErrnoException} */ err) =>
      reject(
        err.code === "EADDRINUSE"
          ? new Error(
              `port ${port} is taken by another program: end that one first (the demo needs ${PORTS.join(", ")})`,
            )
          : err,
      ),
    );
    probe.listen(port, () => probe.close(resolve));
  });
}

/**
 * @param {import("node:child_process").ChildProcess} server
 * @param {number} port
 */
function ready(server, port) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the server on port ${port} did not start in ${PATIENCE} ms`)),
      PATIENCE,
    );
    server.once("exit", (code, signal) =>
      reject(new Error(`the server on port ${port} did not start: ${signal ?? code}`)),
    );
    server.once("message", (/** @type {any} */ { failed }) => {
      clearTimeout(timer);
      if (failed) reject(new Error(failed));
      else resolve(null);
    });
  });
}

/** @param {import("node:child_process").ChildProcess} server */
async function end(server) {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = new Promise((resolve) => server.once("exit", resolve));
  if (server.connected) server.send("stop", () => {});
  const timer = setTimeout(() => server.kill("SIGKILL"), PATIENCE);
  await gone;
  clearTimeout(timer);
}

module.exports = { startCluster };
