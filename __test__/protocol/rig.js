// @ts-check
"use strict";

/**
 * A ring of one server with this package and one with the reference, and all that they tell Redis.
 */

const assert = require("node:assert");
const { captureCommands } = require("../support/monitor");
const { Ring } = require("../support/ring");
const { waitFor } = require("../support/wait");
const { commandOf } = require("../support/wire-examples");
const { ENTRY, PRIVATE_ID, REQUEST, SENDER, SOCKET } = require("./page");

/**
 * @typedef {import("../support/ring").Node} Node
 * @typedef {import("../support/wire-examples").Example} Example
 * @typedef {Record<string, string>} Places what is put in for what stands in the page
 */

/** Where the id of a request is, in JSON and in msgpack. */
const REQUEST_ID = /(requestId(?:":"|\xa6|\xb0))([\w-]{16}|[\w-]{6})/;

/** As the options are by default: the page says what is on Redis then. @type {Record<string, any>} */
const RINGS = {
  classic: { adapter: "classic", namespaces: ["/", "/chat"] },
  "classic, own channels": { adapter: "classic", opts: { publishOnSpecificResponseChannel: true } },
  "sharded, dynamic": { adapter: "sharded", mode: "dynamic" },
  "sharded, dynamic-private": { adapter: "sharded", mode: "dynamic-private" },
  "sharded, static": { adapter: "sharded", mode: "static" },
  streams: { adapter: "streams" },
  "streams, sharded pub/sub": { adapter: "streams", useShardedPubSub: true },
  "streams, recovery": {
    adapter: "streams",
    serverOpts: { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } },
  },
};

/** A ring, and all that its servers tell Redis. */
class Rig {
  /** @type {Ring} */
  ring;
  /** By command. @type {Record<string, any>} */
  #sent = {};
  #redis;

  /** @param {import("../support/redis").RedisServer} redis @param {object} options */
  constructor(redis, options) {
    this.#redis = redis;
    const opts = { streamName: "socket.io", sessionKeyPrefix: "sio:session:" };
    const nodes = /** @type {import("../support/ring").Kind[]} */ (["ours", "reference"]);
    const isOfStreams = "adapter" in options && options.adapter === "streams";
    this.ring = new Ring({
      redis,
      nodes,
      sockets: 1,
      key: "socket.io",
      ...(isOfStreams && { opts }),
      ...options,
    });
    this.ring.streamName = "socket.io";
  }

  async start() {
    await this.ring.start();
    for (const command of ["publish", "spublish", "xadd", "set"])
      this.#sent[command] = await captureCommands(this.#redis, { [command]: "" });
  }

  async stop() {
    for (const messages of Object.values(this.#sent)) await messages.stop();
    await this.ring.close();
  }

  get isClassic() {
    return this.ring.family === "classic";
  }

  get sender() {
    return this.isClassic ? SENDER.classic : SENDER.cluster;
  }

  get request() {
    return this.isClassic ? REQUEST.classic : REQUEST.cluster;
  }

  /** What was sent by a command so far. @param {string} command @returns {{ channel: string, bytes: Buffer }[]} */
  sent(command) {
    return this.#sent[command.toLowerCase()];
  }

  /**
   * Resolves to what was sent by a command, all that Redis has got by now.
   *
   * @param {string} command
   */
  async allSent(command) {
    const list = this.sent(command);
    const end = `end ${list.length}`;
    await this.ring.raw.sendCommand([command, end, ""]);
    const all = await waitFor(() => {
      const at = list.findIndex(({ channel }) => channel === end);
      return at < 0 ? null : list.slice(0, at);
    });
    return all.filter(({ channel }) => !channel.startsWith("end "));
  }

  /** Sends an example to Redis as it stands in the page. @param {Example} example @param {Places} [places] */
  async send(example, places = {}) {
    const put = (/** @type {Buffer} */ bytes) => replaced(bytes, places);
    const command = commandOf({
      ...example,
      words: example.words.map((word) => put(Buffer.from(word)).toString()),
      payload: put(example.payload),
    });
    return this.ring.raw.sendCommand(command);
  }

  /**
   * What stands in the page for what a node has made up.
   *
   * @param {Node} node
   * @param {string} uid what stands for the node's own
   * @returns {Places}
   */
  standIns(node, uid) {
    /** @type {Places} */
    const places = {};
    for (const { adapter } of node.io._nsps.values()) places[/** @type {any} */ (adapter).uid] = uid;
    for (const peer of node.peers) {
      if (!peer.id) continue;
      places[peer.id] = SOCKET;
      const { pid } = peer.socket ?? {};
      if (pid) places[pid] = PRIVATE_ID;
    }
    return places;
  }

  /**
   * Resolves when each of the nodes has sent what an example says.
   *
   * @param {Example} example
   * @param {Node[]} nodes
   * @param {() => any} act
   * @param {{ uid?: string, request?: string }} [stand] for the uid of a node, and for the id of a request that it makes
   */
  async expect(example, nodes, act, { uid = this.sender, request = this.request } = {}) {
    const list = this.sent(example.words[0]);
    const start = list.length;
    // Sockets may be gone by then, and namespaces may have come.
    const before = nodes.map((node) => this.standIns(node, uid));
    const placesOf = () => nodes.map((node, index) => ({ ...before[index], ...this.standIns(node, uid) }));
    const wanted = comparable(example, commandOf(example).slice(1));
    const sentBy = (/** @type {Places} */ known) =>
      list.slice(start).map(({ channel, bytes }) => {
        const rest = example.words.length === 3 ? [bytes] : split(bytes);
        return comparable(example, [Buffer.from(channel), ...rest], known, request);
      });
    await act();
    const isComplete = () => {
      const matches = placesOf().map((known) =>
        sentBy(known).flatMap((text, at) => (text === wanted ? [at] : [])),
      );
      return matches.every((of) => of.length > 0) && new Set(matches.flat()).size >= nodes.length;
    };
    await waitFor(isComplete, { what: example.name }).catch((error) => {
      for (const known of placesOf()) {
        const texts = sentBy(known);
        if (!texts.includes(wanted)) assert.deepStrictEqual(texts, [wanted], `${example.name} was not sent`);
      }
      throw error;
    });
  }

  /** Runs what an example names. @param {Example} example @param {Node} node */
  async run({ notes }, node) {
    const { io } = node;
    const run = new Function("io", "callback", `return (${notes[0]});`);
    const result = run(io, () => {});
    // It waits for answers, which are not what this is about.
    if (typeof result?.catch === "function") result.catch(() => {});
  }

  /**
   * Has somebody else listen to what servers of the ring listen to: he is one of those that are asked. Returns what
   * ends it.
   */
  async listen() {
    const { ring } = this;
    const stranger = ring.raw.duplicate();
    stranger.on("error", () => {});
    await stranger.connect();
    if (ring.sharded) await stranger.sSubscribe(ring.channel(), () => {});
    else if (this.isClassic)
      await stranger.subscribe([ring.requestChannel(), ring.responseChannel()], () => {});
    else await stranger.subscribe(ring.channel(), () => {});
    await ring.subscribed("/", 3);
    return async () => {
      await stranger.close();
      await ring.subscribed("/", 2);
    };
  }

  /**
   * Has each node ask, answers with examples in the place of another server, and resolves to what the nodes make of it.
   *
   * @param {Example[]} answers
   * @param {(node: Node) => any} ask
   */
  async answer(answers, ask) {
    const { ring } = this;
    const leave = await this.listen();
    const results = [];
    try {
      for (const node of ring.nodes) {
        const list = this.sent(ring.sharded ? "spublish" : "publish");
        const start = list.length;
        const { uid } = node.adapter();
        const result = ask(node);
        const id = await waitFor(
          () => {
            const asked = list.slice(start).find(({ channel, bytes }) => {
              return channel === ring.requestChannel() && bytes.includes(uid) && bytes.includes("requestId");
            });
            return asked && REQUEST_ID.exec(asked.bytes.toString("latin1"))?.[2];
          },
          { what: `the request of ${node.name}` },
        );
        for (const answer of answers) await this.send(answer, { [this.request]: id, [this.sender]: uid });
        results.push(await result);
      }
    } finally {
      await leave();
    }
    return results;
  }

  /** Connects one more client to each node. */
  connect() {
    return Promise.all(this.ring.nodes.map((node) => node.connect()));
  }

  /** Has all clients of a namespace join a room. @param {string} room @param {string} [nsp] */
  async join(room, nsp = "/") {
    for (const { socket } of this.ring.peers(nsp)) socket.join(room);
    await this.ring.joined();
  }
}

/** @param {Buffer} bytes @param {Places} places */
function replaced(bytes, places) {
  // One byte a character, so that nothing moves.
  let text = bytes.toString("latin1");
  for (const [from, to] of Object.entries(places)) text = text.replaceAll(from, to);
  return Buffer.from(text, "latin1");
}

/** The arguments of a command as one text, with what is base64 decoded. @param {Example} example @param {Buffer[]} args @param {Places} [places] @param {string} [request] */
function comparable({ words, isBase64 }, args, places = {}, request = "") {
  const at = words.indexOf("PAYLOAD") - 1;
  const parts = args.map((arg, index) => {
    let bytes = arg;
    if (isBase64 && index === at) {
      bytes = Buffer.from(arg.toString(), "base64");
      // There are several ways to write the same bytes, and this is another one.
      if (bytes.toString("base64") !== arg.toString()) return arg.toString();
    }
    const text = replaced(bytes, places)
      .toString("latin1")
      .replace(REQUEST_ID, `$1${request || "$2"}`);
    const plain = text.replace(/\d{13}-\d/g, ENTRY);
    return index === at ? Buffer.from(plain, "latin1").toString("hex") : plain;
  });
  return parts.join(" ");
}

/** The words that MONITOR has shown. @param {Buffer} bytes */
function split(bytes) {
  return bytes
    .toString("latin1")
    .split("\0")
    .slice(0, -1)
    .map((word) => Buffer.from(word, "latin1"));
}

module.exports = { RINGS, Rig };
