// @ts-check
"use strict";

/**
 * The pages for users: each snippet is run as it stands, in a project with the packed package and the clients that it
 * names, against Redis servers of the test's own.
 */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { addonPath } = require("../scripts/addon");
const { startCluster } = require("./support/cluster");
const { skip } = require("./support/hooks");
const { ROOT, install, pack } = require("./support/packed");
const { startRedis } = require("./support/redis");
const { startSentinel } = require("./support/sentinel");
const { fileOf, findSnippets } = require("./support/snippets");
const { SETTINGS, compile, layOut } = require("./support/types");

/** How long a snippet may take, in milliseconds. */
const PATIENCE = 30_000;

/** How many are run at a time. */
const JOBS = 3;

/** Users that the pages name. */
const USERS = { app: "on >secret ~* &* +@all", user: "on >password ~* &* +@all" };

describe("docs", function () {
  this.timeout(120_000);

  const snippets = findSnippets();
  /** @type {Map<string, Promise<Result>>} */
  const results = new Map();
  /** @type {{ stop(): any }[]} */
  const started = [];
  /** @type {string} */
  let dir;

  before(async function () {
    if (!fs.existsSync(addonPath())) skip(this, "the addon is not built");
    dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "docs-test-")));
    const project = path.join(dir, "project");
    install(this, project, [pack(ROOT).tarball], ["socket.io", "redis", "ioredis"]);

    const start = async (/** @type {Promise<any>} */ starting) => {
      const server = await starting;
      started.push(server);
      return server;
    };
    const [redis, secret, tls, cluster, sentinel] = await Promise.all([
      start(startRedis({ users: { ...USERS, default: "on nopass ~* &* +@all" }, unixSocket: true })),
      start(startRedis({ password: "secret" })),
      start(startRedis({ tls: { clientCert: "optional" } })),
      start(startCluster({ masters: 2, replicas: 0, users: { ...USERS, default: "on nopass ~* &* +@all" } })),
      start(startSentinel({ replicas: 1, users: { ...USERS, default: "on nopass ~* &* +@all" } })),
    ]);
    for (const [name, pem] of Object.entries({ ca: tls.tls.ca, client: tls.tls.cert }))
      fs.writeFileSync(path.join(project, `${name}.pem`), pem);
    fs.writeFileSync(path.join(project, "client.key"), tls.tls.key);

    /** All that is replaced: addresses, and the port that is listened on. @param {string} text */
    const place = (text) => {
      const isSecret = /(password|auth_pass): "secret"/.test(text) && !/user/.test(text);
      /** @type {Record<string, string | number>} */
      const places = {
        localhost: "127.0.0.1",
        "redis.example.com": "127.0.0.1",
        "/run/redis.sock": redis.unixSocket,
        // Without an address it is the default port.
        "redisAdapter()": `redisAdapter(${redis.port})`,
        3000: 0,
        6379: (isSecret ? secret : redis).port,
        6380: tls.port,
        7001: cluster.nodes[0].port,
        7002: cluster.nodes[1].port,
        26379: sentinel.sentinels[0].port,
        26380: sentinel.sentinels[1].port,
        26381: sentinel.sentinels[2].port,
      };
      const names = Object.keys(places).map((name) => name.replace(/[.()]/g, "\\$&"));
      return text.replace(
        new RegExp(`(?<!\\d)(${names.join("|")})(?!\\d)`, "g"),
        (name) => `${places[name]}`,
      );
    };

    // Each of these lines is a queue: a snippet begins when the one before it in the line has ended.
    /** @type {Promise<any>[]} */
    const lines = Array.from({ length: JOBS }, () => Promise.resolve());
    for (const [index, snippet] of snippets.entries()) {
      const line = lines[index % JOBS];
      lines[index % JOBS] = line.then(() => run(project, snippet, place));
      results.set(snippet.title, lines[index % JOBS]);
    }
  });

  after(async () => {
    await Promise.allSettled(results.values());
    await Promise.all(started.map((server) => server.stop()));
    if (dir) fs.rmSync(dir, { recursive: true, force: true });
  });

  for (const { title } of snippets.filter(({ language }) => language === "ts")) {
    it(`${title} compiles`, () => {
      const file = path.join(dir, "typed", "snippet.ts");
      fs.mkdirSync(path.dirname(file), { recursive: true });
      layOut(path.dirname(file), "ours", false);
      fs.writeFileSync(file, snippets.find((snippet) => snippet.title === title)?.text ?? "");
      const errors = compile([file], SETTINGS["CommonJS, node16"]);
      assert.strictEqual(errors.map(({ text }) => text).join(""), "");
      fs.rmSync(path.dirname(file), { recursive: true });
    });
  }

  for (const { title } of snippets) {
    it(`${title} runs`, async () => {
      const result = await results.get(title);
      assert.ok(result);
      const { code, stdout, stderr, hasServer } = result;
      assert.strictEqual(code, 0, `${stdout}${stderr}`);
      assert.strictEqual(stderr, "");
      // What a page says how to connect, the adapter's own connections do.
      const report = JSON.parse(stdout.match(/^SNIPPET (.*)$/m)?.[1] ?? "[]");
      assert.strictEqual(report.length > 0, hasServer, stdout);
      for (const { carrier, reason } of report) assert.strictEqual(carrier, "native", reason);
    });
  }
});

/**
 * @typedef {object} Result
 * @property {number | null} code
 * @property {string} stdout
 * @property {string} stderr
 * @property {boolean} hasServer whether it makes a server, or an adapter or a client for one
 */

/**
 * Runs a snippet in a process of its own. It ends by itself if it makes no server; else snippet-watch.js ends it.
 *
 * @param {string} project
 * @param {import("./support/snippets").Snippet} snippet
 * @param {(text: string) => string} place
 * @returns {Promise<Result>}
 */
function run(project, snippet, place) {
  const { name, source, context, shown } = fileOf(snippet);
  fs.writeFileSync(path.join(project, name), place(source));
  const expected = {
    server: /\bnew Server\(/.test(snippet.text) || context.includes("io"),
    fragment: context.length > 0,
    listens: /\.listen\(/.test(snippet.text),
    connects: /\.on\("connection"/.test(snippet.text),
    client: require.resolve("socket.io-client"),
  };
  const watch = path.join(__dirname, "support", "snippet-watch.js");
  const child = spawn(process.execPath, ["--require", watch, name], {
    cwd: project,
    env: {
      ...process.env,
      SNIPPET: JSON.stringify(expected),
      NODE_EXTRA_CA_CERTS: path.join(project, "ca.pem"),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  return new Promise((resolve) => {
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (signal) stderr += `\nended by ${signal} after ${PATIENCE} ms`;
      resolve({ code, stdout, stderr, hasServer: expected.server || shown.length > 0 });
    });
  });
}
