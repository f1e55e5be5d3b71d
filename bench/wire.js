// @ts-check
"use strict";

/**
 * The other end of the wire: counts what a subject publishes, and writes what it is to receive, as another node
 * of the cluster would, encoded beforehand. Orders say which cluster by its `key`, which
 * is the name of its stream too, and by its `mode` which adapter it has.
 *
 * Argument: Redis URL.
 */

const { once } = require("node:events");
const net = require("node:net");
const msgpack = require("@msgpack/msgpack");
const notepack = require("notepack.io");
const { createClient } = require("redis");
const { answerOrders } = require("./child.js");
const { payloads } = require("./payloads.js");

const [url] = process.argv.slice(2);

/** How long nothing may happen before the rest is taken for lost, in milliseconds. */
const PATIENCE = 10_000;

/** The uids of the nodes that this process pretends to be: in clusters of the classic and of the sharded adapter. */
const UID = "bench0";
const SHARDED_UID = "00000000000be4c0";

/** @type {import("node:net").Socket} */
let raw;
// By its name it is told from the subscribers of a subject.
const subscriber = createClient({ url, name: "bench-wire" });

/** @type {Map<string, { seen: number, wanted: number, onAll: (() => void) | null }>} by key */
const counts = new Map();
/** What ends the counting, by channel or pattern. @type {Map<string, () => Promise<void>>} */
const watched = new Map();
/** @type {Map<string, () => void>} by request id */
const requests = new Map();
let nextRequest = 1;

answerOrders({
  /** Answers with Redis' version, once connected. */
  async open() {
    subscriber.on("error", (err) => console.error(`bench/wire.js: ${err.message}`));
    const { hostname, port } = new URL(url);
    raw = net.connect(Number(port), hostname);
    raw.setNoDelay();
    // Replies are not waited for, but an error is not to go unseen.
    raw.on("data", (replies) => replies[0] === 0x2d && console.error(`bench/wire.js: ${replies}`));
    await Promise.all([once(raw, "connect"), subscriber.connect()]);
    // No subscriber is cut off for being slow: the bursts are as long as we say.
    await subscriber.configSet("client-output-buffer-limit", "pubsub 0 0 0");
    return { version: /redis_version:(\S+)/.exec(await subscriber.info("server"))?.[1] ?? "unknown" };
  },

  /** Listens for the answers of one subject. */
  async attend({ key, mode }) {
    const onResponse = (/** @type {string} */ message) => {
      const id = /"requestId":"([^"]+)"/.exec(message)?.[1] ?? "";
      requests.get(id)?.();
    };
    if (mode) await subscriber.sSubscribe(`${key}#/#${SHARDED_UID}#`, onResponse);
    else await subscriber.subscribe(`${key}-response#/#`, onResponse);
  },

  /** Sets one subject's count to nothing, and counts, from now on, what it publishes. */
  async expect({ key, mode, room, messages }) {
    if (mode === "streams") await forget(key);
    counts.set(key, { seen: 0, wanted: messages, onAll: null });
    const channel = mode ? channelOf(key, mode, room) : `${key}#/#*`;
    if (watched.has(channel)) return;
    if (mode === "streams") {
      watched.set(channel, await watchStream(key));
      return;
    }
    // Where requests share the channel, those of `settle` come too, but only when all is counted.
    const onMessage = () => {
      const count = counts.get(key);
      if (count && ++count.seen === count.wanted) count.onAll?.();
    };
    if (mode) await subscriber.sSubscribe(channel, onMessage, true);
    else await subscriber.pSubscribe(channel, onMessage, true);
    watched.set(channel, () => (mode ? subscriber.sUnsubscribe(channel) : subscriber.pUnsubscribe(channel)));
  },

  /** Counts no more, for any subject. */
  async unwatch() {
    for (const stop of watched.values()) await stop();
    watched.clear();
    counts.clear();
  },

  /** Answers once as many messages were seen as expected. */
  async seen({ key }) {
    const count = counts.get(key);
    if (!count || count.seen >= count.wanted) return;
    await new Promise((resolve, reject) => {
      let before = count.seen;
      const timer = setInterval(() => {
        if (count.seen === before) {
          clearInterval(timer);
          reject(new Error(`only ${count.seen} of ${count.wanted} messages were published`));
        }
        before = count.seen;
      }, PATIENCE);
      count.onAll = () => {
        clearInterval(timer);
        resolve(null);
      };
    });
  },

  /** Writes a burst, or a steady stream, and answers when all of it is written. */
  async write({ key, mode, room, payload, messages, rate }) {
    if (mode === "streams") await forget(key);
    const commands = encode(key, mode, room, payload);
    if (rate) await writeSteadily(commands, messages, rate);
    else await writeAtOnce(commands, messages);
  },

  /** Adds a marker to a stream, behind all that was written. */
  async mark({ key, id }) {
    const packet = { type: 2, data: ["marker", id] };
    const data = JSON.stringify({ packet, opts: { rooms: [], except: [], flags: {} } });
    raw.write(command("XADD", key, "*", "uid", SHARDED_UID, "nsp", "/markers", "type", "3", "data", data));
  },

  /**
   * Answers once the subject has answered a request: as messages keep their order, it has then received all that
   * was written, or published, before. It is asked for the sockets of a room, or all of them.
   */
  async settle({ key, mode, room = null }) {
    const requestId = `settle-${nextRequest++}`;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the subject does not answer")), 3 * PATIENCE);
      requests.set(requestId, () => {
        clearTimeout(timer);
        requests.delete(requestId);
        resolve(null);
      });
      const opts = { rooms: room === null ? [] : [room], except: [], flags: {} };
      const request = mode ? envelope(7, { opts, requestId }) : { uid: UID, requestId, type: 5, opts };
      const channel = mode ? channelOf(key, mode, null) : `${key}-request#/#`;
      raw.write(publish(mode, channel, Buffer.from(JSON.stringify(request))));
    });
  },
});

/** @typedef {import("./cases.js").Mode | null} Mode */

/** Encoded bursts, so that no round waits for them. @type {Map<string, Buffer[]>} */
const encoded = new Map();

/**
 * @param {string} key
 * @param {Mode} mode
 * @param {string | null} room
 * @param {string} kind
 */
function encode(key, mode, room, kind) {
  const name = JSON.stringify([key, room, kind]);
  let commands = encoded.get(name);
  if (!commands) {
    const channel = channelOf(key, mode, room);
    const opts = { rooms: room ? [room] : [], except: [], flags: {} };
    commands = payloads(kind).map((payload) => {
      const packet = { type: 2, data: ["message", payload] };
      if (mode === "streams") return entry(key, { packet, opts }, kind === "binary");
      if (!mode) return publish(mode, channel, notepack.encode([UID, { ...packet, nsp: "/" }, opts]));
      const message = envelope(3, { packet, opts });
      const bytes = kind === "binary" ? notepack.encode(message) : Buffer.from(JSON.stringify(message));
      return publish(mode, channel, bytes);
    });
    encoded.set(name, commands);
  }
  return commands;
}

/**
 * A message of the sharded adapter.
 *
 * @param {number} type
 * @param {object} data
 */
function envelope(type, data) {
  return { type, data, uid: SHARDED_UID, nsp: "/" };
}

/**
 * Where a broadcast goes.
 *
 * @param {string} key
 * @param {Mode} mode
 * @param {string | null} room no socket's id: it would have no channel of its own in `dynamic`
 */
function channelOf(key, mode, room) {
  return room && mode !== "static" ? `${key}#/#${room}#` : `${key}#/#`;
}

/**
 * @param {Mode} mode
 * @param {string} channel
 * @param {Buffer} message
 */
function publish(mode, channel, message) {
  return command(mode ? "SPUBLISH" : "PUBLISH", channel, message);
}

/**
 * A broadcast as an entry of a stream.
 *
 * @param {string} key
 * @param {object} data
 * @param {boolean} isBinary
 */
function entry(key, data, isBinary) {
  const text = isBinary ? Buffer.from(msgpack.encode(data)).toString("base64") : JSON.stringify(data);
  return command("XADD", key, "*", "uid", SHARDED_UID, "nsp", "/", "type", "3", "data", text);
}

/** @param {...(string | Buffer)} args */
function command(...args) {
  const parts = args.flatMap((arg) => {
    const bytes = Buffer.from(arg);
    return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n")];
  });
  return Buffer.concat([Buffer.from(`*${args.length}\r\n`), ...parts]);
}

/**
 * Trims a stream of what all have read; the last entry is kept, by which readers tell that they have missed nothing.
 *
 * @param {string} key
 */
async function forget(key) {
  await subscriber.xTrim(key, "MAXLEN", 1);
}

/**
 * Counts the broadcasts of the subject in a stream from now on; resolves with what ends that.
 *
 * @param {string} key
 */
async function watchStream(key) {
  const reader = subscriber.duplicate();
  reader.on("error", () => {});
  await reader.connect();
  const [last] = await reader.xRevRange(key, "+", "-", { COUNT: 1 });
  let id = last?.id ?? "0-0";
  const read = async () => {
    for (;;) {
      const answer = /** @type {any[] | null} */ (await reader.xRead({ key, id }, { BLOCK: 0, COUNT: 1000 }));
      const count = counts.get(key);
      for (const { id: next, message } of answer?.[0].messages ?? []) {
        id = next;
        // Not our own.
        if (count && message.nsp === "/" && ++count.seen === count.wanted) count.onAll?.();
      }
    }
  };
  read().catch(() => {});
  return async () => reader.destroy();
}

/**
 * @param {Buffer[]} commands
 * @param {number} messages
 */
async function writeAtOnce(commands, messages) {
  const whole = Buffer.concat(commands);
  for (let left = messages; left > 0; left -= commands.length) {
    const chunk = left >= commands.length ? whole : Buffer.concat(commands.slice(0, left));
    if (!raw.write(chunk)) await once(raw, "drain");
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes one message at a time: timers of 1 ms would make bursts of it.
 *
 * @param {Buffer[]} commands
 * @param {number} messages
 * @param {number} rate per second
 */
async function writeSteadily(commands, messages, rate) {
  const start = performance.now();
  for (let sent = 0; sent < messages; sent++) {
    const wait = start + (sent * 1000) / rate - performance.now();
    if (wait > 0) Atomics.wait(nobody, 0, 0, wait);
    raw.write(commands[sent % commands.length]);
    if (sent % 16 === 0) await new Promise(setImmediate);
  }
}
