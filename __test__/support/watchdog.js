// @ts-check
"use strict";

/**
 * Says what every node waits for when a test has waited in vain: the state of each adapter in this process, of this
 * package and of the reference, and who is connected to each Redis server that runs. And what keeps the process when
 * all tests are over: what this package waits for, and where each timer was started.
 */

const timers = require("node:timers");
const promised = require("node:timers/promises");
const { Adapter } = require("socket.io-adapter");
const lifetime = require("../../lib/base/lifetime");
const { running } = require("./redis");
const { lookBeforeGivingUp } = require("./wait");

/** How a test fails that waits for too long: by mocha's own limit, by `waitFor` and by `once`. */
const WAITED = /^Timeout of \d+ms exceeded|waited \d+ ms in vain/;

/** Of each adapter that a namespace has made. @type {Set<WeakRef<any>>} */
const adapters = new Set();

/** The timers that may still run, and the stack of each at its start. @type {Map<any, Error>} */
const started = new Map();

/** Those that a promise stands for. Redis clients wait so between two attempts. @type {Set<Error>} */
const awaited = new Set();

/** Those that have ended are forgotten when there are so many. */
let forgetAt = 1000;

/** Sees each adapter that is made, and each timer that is started, from now on. */
function watch() {
  for (const name of /** @type {const} */ (["setTimeout", "setInterval"])) watchTimers(name);
  watchPromised();
  lookBeforeGivingUp(describeAll);
  const { init } = Adapter.prototype;
  // The namespace calls it once for each. Subclasses with an `init` of their own are not in use here.
  Adapter.prototype.init = function () {
    adapters.add(new WeakRef(this));
    return init.call(this);
  };
}

/** @param {"setTimeout" | "setInterval"} name */
function watchTimers(name) {
  const start = timers[name];
  /** @param {[any, ...any]} args */
  function startWatched(...args) {
    const timer = start(...args);
    const at = new Error(name);
    // Until it is put in words, an error holds on to all that was called, which a test may want to see collected.
    void at.stack;
    started.set(timer, at);
    if (started.size >= forgetAt) {
      for (const one of started.keys()) if (one._destroyed) started.delete(one);
      forgetAt = 2 * started.size + 1000;
    }
    return timer;
  }
  // With what util.promisify() makes of it.
  const watched = Object.defineProperties(startWatched, Object.getOwnPropertyDescriptors(start));
  Object.assign(timers, { [name]: watched });
  Object.assign(globalThis, { [name]: watched });
}

function watchPromised() {
  const start = promised.setTimeout;
  /** @param {[delay?: number, value?: any, options?: any]} args */
  function startWatched(...args) {
    const promise = start(...args);
    const at = new Error(`${args[0]} ms`);
    void at.stack;
    awaited.add(at);
    const end = () => void awaited.delete(at);
    promise.then(end, end);
    return promise;
  }
  Object.assign(promised, { setTimeout: startWatched });
}

/**
 * What keeps a process that has nothing left to do.
 *
 * @returns {string[]}
 */
function describeKept() {
  const kept = [...started].filter(([timer]) => !timer._destroyed && timer.hasRef());
  return [
    ...lifetime.reasons().map((reason) => `this package waits: ${reason}`),
    ...kept.map(([timer, { stack }]) => `${timer._idleTimeout} ms${callersIn(stack)}`),
    ...[...awaited].map(({ message, stack }) => `${message}${callersIn(stack)}`),
    ...describeAdapters(),
  ];
}

/**
 * Prints what is waited for if this is how the test has failed.
 *
 * @param {string} title
 * @param {Error & { seen?: string[] }} error
 */
function report(title, error) {
  if (!WAITED.test(error.message)) return;
  // At once: what is torn down next is no longer what the test has waited for.
  const seen = error.seen === undefined ? describeAll() : Promise.resolve(error.seen);
  reported = seen.then((lines) => console.error([`While "${title}" waited:`, ...lines].join("\n    ")));
}

/** The adapters, as they are now, and the servers. */
async function describeAll() {
  const lines = describeAdapters();
  return [...lines, ...(await describeServers())];
}

/** What is being printed. @type {Promise<void>} */
let reported = Promise.resolve();

/** Resolves when all is printed: until then the servers of the test have to stand. */
function hasReported() {
  return reported;
}

/** The lines of a stack, but for the first two. @param {string | undefined} stack */
function callersIn(stack = "") {
  return [":", ...stack.split("\n").slice(2)].join("\n  ");
}

function describeAdapters() {
  /** @type {string[]} */
  const lines = [];
  for (const ref of adapters) {
    const adapter = ref.deref();
    if (adapter === undefined) adapters.delete(ref);
    // A server that is closed has closed its adapters.
    else if (!isClosed(adapter)) lines.push(describeAdapter(adapter));
  }
  return lines.length > 0 ? lines : ["no adapter is open"];
}

/** @param {any} adapter */
function isClosed(adapter) {
  const { server } = adapter.nsp;
  return adapter.nsp.adapter !== adapter || server.httpServer?.listening === false;
}

/** @param {any} adapter */
function describeAdapter(adapter) {
  const { nsp, uid, transport, sids, rooms, requests, ackRequests } = adapter;
  const state = [
    `${adapter.constructor.name} ${uid ?? ""} of ${nsp.name}: ${sids.size} sockets, ${rooms.size} rooms`,
  ];
  if (adapter._isReady === false) state.push("not ready");
  if (transport !== undefined) state.push(`transport ${JSON.stringify(transport)}`);
  const stats = adapter.stats?.();
  // What is nought tells nothing.
  if (stats)
    state.push(JSON.stringify(Object.fromEntries(Object.entries(stats).filter(([, value]) => value !== 0))));
  for (const [name, map] of Object.entries({ requests, ackRequests }))
    if (map?.size > 0) state.push(`${map.size} ${name}`);
  for (const name of ["pubClient", "subClient"]) {
    const client = adapter[name];
    if (client) state.push(`${name} ${describeClient(client)}`);
  }
  return state.join("; ");
}

/** A client of Redis; of a cluster's, what it knows of each node. @param {any} client @returns {string} */
function describeClient(client) {
  if (client === undefined) return "none";
  if (!Array.isArray(client.masters)) return client.status ?? (client.isReady ? "ready" : "not ready");
  const describeNode = (/** @type {any} */ node) => {
    const subscriber = node.pubSub?.client ?? node.pubSubClient;
    const channels = [...(subscriber?.getPubSubListeners?.("SHARDED").keys() ?? [])];
    return `${node.address} ${describeClient(node.client)}, subscriber ${describeClient(subscriber)} [${channels}]`;
  };
  const [masters, replicas] = [client.masters, client.replicas ?? []].map((nodes) =>
    [...new Set(nodes)].map(describeNode).join(", "),
  );
  const open = client.isOpen === false ? "closed" : "open";
  return `${open}, masters: ${masters}; replicas: ${replicas}; ${Object.keys(client.slots ?? {}).length} slots`;
}

/** @returns {Promise<string[]>} */
async function describeServers() {
  const all = await Promise.all(
    [...running].map((server) => describeServer(server).catch((error) => [String(error)])),
  );
  return all.flatMap((lines, i) => [
    `Redis at ${[...running][i]?.port ?? "?"}:`,
    ...lines.map((line) => `  ${line}`),
  ]);
}

/** @param {import("./redis").RedisServer} server */
async function describeServer(server) {
  const [clients, channels, shardChannels] = await Promise.all([
    server.cli("CLIENT", "LIST"),
    server.cli("PUBSUB", "CHANNELS"),
    server.cli("PUBSUB", "SHARDCHANNELS").catch(() => []),
  ]);
  const lines = String(clients)
    .trim()
    .split("\n")
    .map((line) =>
      line.replace(
        / (fd|laddr|idle|flags|db|qbuf-free|argv-mem|multi-mem|rbs|rbp|tot-mem|redir|user|events)=\S*/g,
        "",
      ),
    );
  if (channels.length > 0) {
    const counts = await server.cli("PUBSUB", "NUMSUB", ...channels);
    lines.push(`subscribers: ${counts.map(String).join(" ")}`);
  }
  if (shardChannels.length > 0) {
    const counts = await server.cli("PUBSUB", "SHARDNUMSUB", ...shardChannels);
    lines.push(`of shard channels: ${counts.map(String).join(" ")}`);
  }
  return lines;
}

module.exports = { describeKept, hasReported, report, watch };
