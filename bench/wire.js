// @ts-check
"use strict";

/**
 * The other end of the wire: counts what a subject publishes, and writes what it is to receive, as another node
 * of the cluster would (WIRE.md, section 1), encoded beforehand.
 *
 * Argument: Redis URL.
 */

const { once } = require("node:events");
const net = require("node:net");
const notepack = require("notepack.io");
const { createClient } = require("redis");
const { answerOrders } = require("./child.js");
const { payloads } = require("./payloads.js");

const [url] = process.argv.slice(2);

/** How long nothing may happen before the rest is taken for lost, in milliseconds. */
const PATIENCE = 10_000;

/** The uid of the node that this process pretends to be. */
const UID = "bench0";

/** @type {import("node:net").Socket} */
let raw;
const subscriber = createClient({ url });

/** @type {Map<string, { seen: number, wanted: number, onAll: (() => void) | null }>} by key */
const counts = new Map();
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
  async attend({ key }) {
    await subscriber.subscribe(`${key}-response#/#`, (message) => {
      const id = /"requestId":"([^"]+)"/.exec(message)?.[1] ?? "";
      requests.get(id)?.();
    });
  },

  /** Counts, from now on, what one subject publishes. */
  async watch({ key }) {
    const count = { seen: 0, wanted: 0, onAll: /** @type {(() => void) | null} */ (null) };
    counts.set(key, count);
    const onMessage = () => {
      if (++count.seen === count.wanted) count.onAll?.();
    };
    await subscriber.pSubscribe(`${key}#/#*`, onMessage, true);
  },

  async unwatch() {
    for (const key of counts.keys()) await subscriber.pUnsubscribe(`${key}#/#*`);
    counts.clear();
  },

  /** Sets one subject's count to nothing. */
  expect({ key, messages }) {
    const count = counts.get(key);
    if (count) Object.assign(count, { seen: 0, wanted: messages, onAll: null });
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
  async write({ key, room, payload, messages, rate }) {
    const commands = encode(key, room, payload);
    if (rate) await writeSteadily(commands, messages, rate);
    else await writeAtOnce(commands, messages);
  },

  /**
   * Answers once the subject has answered a request: as messages keep their order, it has then received all that
   * was written, or published, before.
   */
  async settle({ key }) {
    const requestId = `settle-${nextRequest++}`;
    const channel = `${key}-request#/#`;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the subject does not answer")), 3 * PATIENCE);
      requests.set(requestId, () => {
        clearTimeout(timer);
        requests.delete(requestId);
        resolve(null);
      });
      raw.write(publish(channel, Buffer.from(JSON.stringify({ uid: UID, requestId, type: 1 }))));
    });
  },
});

/** Encoded bursts, so that no round waits for them. @type {Map<string, Buffer[]>} */
const encoded = new Map();

/**
 * @param {string} key
 * @param {string | null} room
 * @param {string} kind
 */
function encode(key, room, kind) {
  const name = JSON.stringify([key, room, kind]);
  let commands = encoded.get(name);
  if (!commands) {
    const channel = room ? `${key}#/#${room}#` : `${key}#/#`;
    const opts = { rooms: room ? [room] : [], except: [], flags: {} };
    commands = payloads(kind).map((payload) =>
      publish(channel, notepack.encode([UID, { type: 2, data: ["message", payload], nsp: "/" }, opts])),
    );
    encoded.set(name, commands);
  }
  return commands;
}

/**
 * @param {string} channel
 * @param {Buffer} message
 */
function publish(channel, message) {
  const head = `*3\r\n$7\r\nPUBLISH\r\n$${Buffer.byteLength(channel)}\r\n${channel}\r\n$${message.length}\r\n`;
  return Buffer.concat([Buffer.from(head), message, Buffer.from("\r\n")]);
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
