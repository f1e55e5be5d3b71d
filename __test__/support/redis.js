// @ts-check
"use strict";

/**
 * Private Redis servers for tests: each with a port and a directory of its own, gone with the test process.
 */

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { certificatesFor } = require("./certificates");
const { BUS, freePort } = require("./ports");
const { roundTrip } = require("./resp");

/** How long a server may take to answer its first PING, and to go when told to, in milliseconds. */
const PATIENCE = 10_000;

/** The user that `cli()` logs in as when the test declares users, so that a test may close `default`. */
const OPERATOR = { name: "test-support", password: "test-support" };

/**
 * @typedef {object} RedisOptions
 * @property {number} [port] a free one, unless given
 * @property {boolean | string} [unixSocket] true: listens on a socket file in its own directory too
 * @property {string} [password] of the default user
 * @property {Record<string, string>} [users] ACL rules by user name: `{ alice: "on >secret ~* &* +@all" }`
 * @property {TlsOptions} [tls] speaks TLS on its port, and nothing else
 * @property {string} [command] the program, "redis-server" unless given
 * @property {boolean} [sentinel] whether it is a sentinel
 * @property {boolean} [cluster] whether it is a node of a cluster
 * @property {string} [save] as in redis.conf, `""` (nothing is saved) unless given
 * @property {string[] | Record<string, string | number>} [extra] more lines of redis.conf
 *
 * @typedef {object} TlsOptions
 * @property {"none" | "optional" | "required"} [clientCert] whether clients show a certificate; "none" unless given
 * @property {boolean} [expired] whether the server's certificate was good until yesterday
 * @property {string[]} [names] that the server's certificate is for; 127.0.0.1 and localhost unless given
 */

/** @type {Set<RedisServer>} */
const running = new Set();

/** A Redis server that belongs to this process; made by `startRedis`. */
class RedisServer {
  /** @type {import("node:child_process").ChildProcess | null} */
  #child = null;
  /** @type {string} */
  #dir;
  /** @type {RedisOptions} */
  #options;
  #port = 0;
  /** @type {import("./certificates").Certificates | null} */
  #certificates;

  /** @param {RedisOptions} options */
  constructor(options) {
    this.#options = options;
    this.#certificates = options.tls ? certificatesFor(options.tls.names, options.tls.expired) : null;
    this.#dir = fs.mkdtempSync(path.join(os.tmpdir(), "redis-test-"));
    running.add(this);
    cleanUpAtExit();
  }

  /** The port on 127.0.0.1. It outlives a restart. */
  get port() {
    return this.#port;
  }

  /** The path of the socket file, or null. */
  get unixSocket() {
    return this.#options.unixSocket ? this.#socketPath : null;
  }

  /** Every server has a socket file: an answer there comes from this server and no other. */
  get #socketPath() {
    const { unixSocket } = this.#options;
    return typeof unixSocket === "string" ? unixSocket : path.join(this.#dir, "redis.sock");
  }

  /** What a client connects to, with the default user's password if there is one. */
  get url() {
    const { password, tls } = this.#options;
    return `${tls ? "rediss" : "redis"}://${password ? `:${encodeURIComponent(password)}@` : ""}127.0.0.1:${this.#port}`;
  }

  /**
   * What a client needs to speak TLS with this server: PEMs of the `ca`, of a `cert` and `key` of its own, and of a
   * `stranger` whom this server does not know; and the `servername` to ask for, if not the address will do. Null if
   * the server does not speak TLS.
   */
  get tls() {
    if (!this.#certificates) return null;
    const { ca, client, stranger } = this.#certificates;
    return { ca, ...client, stranger, servername: this.#options.tls?.names?.[0], port: this.#port };
  }

  /** Whether its process runs. */
  get isUp() {
    return this.#child !== null;
  }

  /** The process id, or null while the server is down. */
  get pid() {
    return this.#child?.pid ?? null;
  }

  /** The server's own log so far. */
  get log() {
    return fs.readFileSync(path.join(this.#dir, "redis.log"), { encoding: "utf8", flag: "a+" });
  }

  /** Resolves once the server answers PING. */
  async start() {
    for (let attempt = 1; ; attempt++) {
      this.#port ||= this.#options.port ?? (await freePort({ bus: this.#options.cluster }));
      try {
        return await this.#launch();
      } catch (err) {
        // Only a port of our own choice can be given up for another.
        const taken = this.log.includes("Address already in use");
        if (!taken || this.#options.port || attempt === 10) {
          this.dispose();
          throw err;
        }
        fs.rmSync(path.join(this.#dir, "redis.log"), { force: true });
        this.#port = 0;
      }
    }
  }

  /** Ends the server by SIGKILL, as a crash would; resolves once it is gone. */
  kill() {
    return this.#end("SIGKILL");
  }

  /** Ends the server by SIGTERM and removes what it left on disk; resolves once it is gone. */
  async stop() {
    await this.#end("SIGTERM");
    this.dispose();
  }

  /** Starts the server on the same port; one that still runs is killed first. */
  async restart() {
    await this.kill();
    if (!running.has(this)) throw new Error("this Redis server was stopped for good: start another");
    await this.#launch();
  }

  /** Freezes the server: its connections stay open and nothing is answered. */
  pause() {
    this.#child?.kill("SIGSTOP");
  }

  /** Ends a `pause()`. */
  resume() {
    this.#child?.kill("SIGCONT");
  }

  /**
   * Resolves with the reply to one command, sent on a connection of its own; an error reply rejects.
   *
   * @param {...(string | number | Buffer)} args
   * @returns {Promise<any>}
   */
  async cli(...args) {
    /** @type {(string | number | Buffer)[][]} */
    const commands = [args];
    if (this.#options.users) commands.unshift(["AUTH", OPERATOR.name, OPERATOR.password]);
    else if (this.#options.password) commands.unshift(["AUTH", this.#options.password]);
    const replies = await roundTrip(this.#socketPath, commands);
    for (const reply of replies) if (reply instanceof Error) throw reply;
    return replies.at(-1);
  }

  /**
   * Resolves with INFO, as a flat map of strings.
   *
   * @param {string} [section]
   * @returns {Promise<Record<string, string>>}
   */
  async info(section = "default") {
    const text = String(await this.cli("INFO", section));
    return Object.fromEntries(Array.from(text.matchAll(/^(\w+):(.*?)\r?$/gm), (m) => [m[1], m[2]]));
  }

  /** Ends the process, if there is one, and removes its files, without waiting: fit for an `exit` handler. */
  dispose() {
    running.delete(this);
    this.#child?.kill("SIGKILL");
    fs.rmSync(this.#dir, { recursive: true, force: true });
  }

  async #launch() {
    const config = path.join(this.#dir, "redis.conf");
    fs.writeFileSync(config, this.#config());
    const mode = this.#options.sentinel ? ["--sentinel"] : [];
    const child = spawn(this.#options.command ?? "redis-server", [config, ...mode], { stdio: "ignore" });
    child.unref();
    this.#child = child;
    /** @type {Error | null} */
    let gone = null;
    child.once("error", (err) => {
      gone = new Error(`could not run redis-server (is it on the PATH?): ${err.message}`);
      this.#child = null;
    });
    child.once("exit", (code, signal) => {
      gone = new Error(
        `redis-server ended at once (${signal ?? code}):\n${running.has(this) ? this.log : ""}`,
      );
      if (this.#child === child) this.#child = null;
    });

    const deadline = Date.now() + PATIENCE;
    for (;;) {
      if (gone) throw gone;
      // Any answer will do: NOAUTH comes from a server that is up.
      const answer = await roundTrip(this.#socketPath, [["PING"]]).then(String, () => null);
      if (gone) throw gone;
      if (answer !== null && !answer.includes("LOADING")) return;
      if (Date.now() > deadline)
        throw new Error(`redis-server does not answer on port ${this.#port}:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #config() {
    const { password, users, cluster, save = "", extra = [] } = this.#options;
    const lines = [
      "bind 127.0.0.1",
      ...(this.#certificates ? this.#tlsConfig(this.#certificates) : [`port ${this.#port}`]),
      `unixsocket ${JSON.stringify(this.#socketPath)}`,
      `dir ${JSON.stringify(this.#dir)}`,
      'logfile "redis.log"',
      `save ${save === "" ? '""' : save}`,
      "appendonly no",
      "daemonize no",
    ];
    if (cluster) lines.push("cluster-enabled yes", `cluster-port ${this.#port + BUS}`);
    if (password) {
      lines.push(`requirepass ${JSON.stringify(password)}`, `masterauth ${JSON.stringify(password)}`);
    }
    if (users) {
      lines.push(`masteruser ${OPERATOR.name}`, `masterauth ${OPERATOR.password}`);
      lines.push(`user ${OPERATOR.name} on >${OPERATOR.password} ~* &* +@all`);
      for (const [name, rules] of Object.entries(users)) lines.push(`user ${name} ${rules}`);
    }
    lines.push(...(Array.isArray(extra) ? extra : Object.entries(extra).map(([k, v]) => `${k} ${v}`)));
    return `${lines.join("\n")}\n`;
  }

  /** @param {import("./certificates").Certificates} certificates */
  #tlsConfig({ ca, server }) {
    const { clientCert = "none" } = this.#options.tls ?? {};
    const files = { "ca.pem": ca, "cert.pem": server.cert, "key.pem": server.key };
    for (const [name, pem] of Object.entries(files)) fs.writeFileSync(path.join(this.#dir, name), pem);
    const at = (/** @type {string} */ name) => JSON.stringify(path.join(this.#dir, name));
    return [
      "port 0",
      `tls-port ${this.#port}`,
      `tls-ca-cert-file ${at("ca.pem")}`,
      `tls-cert-file ${at("cert.pem")}`,
      `tls-key-file ${at("key.pem")}`,
      `tls-auth-clients ${{ none: "no", optional: "optional", required: "yes" }[clientCert]}`,
      "tls-cluster yes",
      "tls-replication yes",
    ];
  }

  /** @param {NodeJS.Signals} signal */
  async #end(signal) {
    const child = this.#child;
    if (!child) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.ref();
    child.kill(signal);
    // A frozen process takes SIGTERM only after it thaws.
    child.kill("SIGCONT");
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
    await exited;
    clearTimeout(timer);
  }
}

/**
 * Resolves with a Redis server of the test's own, once it answers PING. It is ended with this process at the
 * latest.
 *
 * @param {RedisOptions} [options]
 * @returns {Promise<RedisServer>}
 */
async function startRedis(options = {}) {
  const server = new RedisServer(options);
  await server.start();
  return server;
}

let armed = false;

/** Sees to it, once, that no server outlives this process, however it ends (short of SIGKILL). */
function cleanUpAtExit() {
  if (armed) return;
  armed = true;
  process.once("exit", () => {
    for (const server of running) server.dispose();
  });
  for (const [signal, code] of /** @type {[NodeJS.Signals, number][]} */ ([
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])) {
    process.once(signal, () => process.exit(code));
  }
}

module.exports = { running, startRedis, RedisServer, OPERATOR };
