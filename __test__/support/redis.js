// @ts-check
"use strict";

/**
 * Private Redis servers for tests: each with a port and a directory of its own, gone with the test process.
 */

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

/** How long a server may take to answer its first PING, and to go when told to, in milliseconds. */
const PATIENCE = 10_000;

/** Below the range from which the kernel picks ports for outgoing connections; +10000 is a cluster's bus. */
const PORTS = { first: 10_300, last: 22_000 };

/** The user that `cli()` logs in as when the test declares users, so that a test may close `default`. */
const OPERATOR = { name: "test-support", password: "test-support" };

/**
 * @typedef {object} RedisOptions
 * @property {number} [port] a free one, unless given
 * @property {boolean | string} [unixSocket] true: listens on a socket file in its own directory too
 * @property {string} [password] of the default user
 * @property {Record<string, string>} [users] ACL rules by user name: `{ alice: "on >secret ~* &* +@all" }`
 * @property {string} [save] as in redis.conf, `""` (nothing is saved) unless given
 * @property {string[] | Record<string, string | number>} [extra] more lines of redis.conf
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

  /** @param {RedisOptions} options */
  constructor(options) {
    this.#options = options;
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
    const { password } = this.#options;
    return `redis://${password ? `:${encodeURIComponent(password)}@` : ""}127.0.0.1:${this.#port}`;
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
      this.#port ||= this.#options.port ?? (await freePort());
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
    const child = spawn("redis-server", [config], { stdio: "ignore" });
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
    const { password, users, save = "", extra = [] } = this.#options;
    const lines = [
      "bind 127.0.0.1",
      `port ${this.#port}`,
      `unixsocket ${JSON.stringify(this.#socketPath)}`,
      `dir ${JSON.stringify(this.#dir)}`,
      'logfile "redis.log"',
      `save ${save === "" ? '""' : save}`,
      "appendonly no",
      "daemonize no",
    ];
    if (password) lines.push(`requirepass ${JSON.stringify(password)}`);
    if (users) {
      lines.push(`user ${OPERATOR.name} on >${OPERATOR.password} ~* &* +@all`);
      for (const [name, rules] of Object.entries(users)) lines.push(`user ${name} ${rules}`);
    }
    lines.push(...(Array.isArray(extra) ? extra : Object.entries(extra).map(([k, v]) => `${k} ${v}`)));
    return `${lines.join("\n")}\n`;
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

/**
 * Resolves with a TCP port on 127.0.0.1 on which nobody listens just now.
 *
 * @returns {Promise<number>}
 */
async function freePort() {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first));
    const free = await new Promise((resolve) => {
      const probe = net.createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("no free port was found in 100 attempts");
}

/**
 * Resolves with the replies to some commands sent at once on a new connection. An error reply is an Error in
 * the list; a connection that fails rejects.
 *
 * @param {string} socketPath
 * @param {(string | number | Buffer)[][]} commands
 * @returns {Promise<any[]>}
 */
function roundTrip(socketPath, commands) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath);
    let received = Buffer.alloc(0);
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no reply to ${commands.at(-1)?.[0]}`)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("Redis closed the connection")));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const replies = [];
      for (let at = 0; replies.length < commands.length;) {
        const reply = parseReply(received, at);
        if (!reply) return;
        replies.push(reply.value);
        at = reply.end;
      }
      resolve(replies);
      socket.destroy();
    });
    for (const command of commands) {
      socket.write(`*${command.length}\r\n`);
      for (const arg of command) {
        const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
        socket.write(Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n")]));
      }
    }
  });
}

/**
 * Returns the RESP2 value that begins at `start` and where it ends, or null while it is incomplete.
 *
 * @param {Buffer} bytes
 * @param {number} start
 * @returns {{ value: any, end: number } | null}
 */
function parseReply(bytes, start) {
  const lineEnd = bytes.indexOf("\r\n", start);
  if (lineEnd < 0) return null;
  const line = bytes.toString("utf8", start + 1, lineEnd);
  let end = lineEnd + 2;
  switch (String.fromCharCode(bytes[start])) {
    case "+":
      return { value: line, end };
    case "-":
      return { value: new Error(line), end };
    case ":":
      return { value: Number(line), end };
    case "$": {
      const length = Number(line);
      if (length < 0) return { value: null, end };
      if (bytes.length < end + length + 2) return null;
      return { value: bytes.toString("utf8", end, end + length), end: end + length + 2 };
    }
    case "*": {
      if (Number(line) < 0) return { value: null, end };
      const value = [];
      for (let i = Number(line); i > 0; i--) {
        const item = parseReply(bytes, end);
        if (!item) return null;
        value.push(item.value);
        end = item.end;
      }
      return { value, end };
    }
    default:
      throw new Error(`not RESP2: ${bytes.toString("latin1", start, lineEnd)}`);
  }
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

module.exports = { startRedis, freePort, RedisServer };
