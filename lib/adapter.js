// @ts-check
"use strict";

/**
 * The adapter of one namespace: what Socket.IO calls, and what comes in for it.
 */

const { randomBytes } = require("node:crypto");
// What it keeps private is where a packet becomes text: `encoder` and `_encode`.
const { Adapter } = /** @type {{ Adapter: any }} */ (require("socket.io-adapter"));
const { EVENT, decodeTarget, eventOf, lazyPacket, printsStandardText, readTarget } = require("./delivery");
const { KIND } = require("./inbox");
const { Link } = require("./link");
const msgpack = require("./msgpack");
const { readOptions } = require("./options");
const { holdsDate, isPlain, payloadOf, rawOptions, rawTarget, readAttachments } = require("./outgoing");
const { REQUEST, Responder, checkResponse } = require("./requests");
const debug = require("debug")("socket.io-redis");

/** How a request ends that the adapter does not outlive. */
const CLOSED = Object.freeze({ status: "failed", expected: 0, answers: [] });

/** @type {0} */ const BROADCASTS = 0;
/** @type {1} */ const REQUESTS = 1;
/** @type {2} */ const RESPONSES = 2;

/**
 * @typedef {import("./outgoing").BroadcastOptions} BroadcastOptions
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {{ packet: any, encoded: any[], frame: Buffer | null }} Incoming
 */

class RedisAdapter extends Adapter {
  /** @type {Link} */
  #link;
  /** @type {import("./link").Identity} */
  #identity;
  #member = 0;
  #closed = false;
  /** The last of the events that tell of it. */
  #state = "new";
  /** Whether the server's parser prints the text that Rust reads and writes. */
  #standardText;
  /** Whether socket.io-adapter makes WebSocket frames of it. */
  #makesFrames;
  #customParser;
  /** The broadcast that is being encoded by the parent class, to be published when it is. */
  /** @type {{ packet: any, opts: BroadcastOptions, done: boolean } | null} */
  #outgoing = null;
  /** The broadcast from another node that the parent class is delivering. */
  /** @type {Incoming | null} */
  #incoming = null;
  /** @type {() => void} */
  #setReady = () => {};
  /** Answers the other members, with what the parent class does to the sockets of this node alone. */
  #responder = new Responder({
    nsp: () => this.nsp,
    isOwn: (request) =>
      request.uid === this.uid ||
      this.requests.has(request.requestId) ||
      this.ackRequests.has(request.requestId),
    decode: (bytes) => this.#decode(bytes),
    encode: (value) => this.parser.encode(value),
    respond: (request, response) => {
      const specific = this.publishOnSpecificResponseChannel && request.uid !== undefined;
      this.#send(RESPONSES, specific ? String(request.uid) : null, response);
    },
    ignore: (error) => this.#link.ignore(error),
    settled: () => this.#link.settled(this.#member),
    local: {
      rooms: () => [...this.rooms.keys()],
      sockets: (rooms) => super.sockets(rooms),
      fetchSockets: (opts) => super.fetchSockets(opts),
      addSockets: (opts, rooms) => super.addSockets(opts, rooms),
      delSockets: (opts, rooms) => super.delSockets(opts, rooms),
      disconnectSockets: (opts, close) => super.disconnectSockets(opts, close),
      broadcastWithAck: (packet, opts, count, ack) => super.broadcastWithAck(packet, opts, count, ack),
    },
  });

  /**
   * @param {any} nsp the namespace
   * @param {any} pubClient a client that publishes
   * @param {any} subClient a client that receives
   * @param {any} [opts]
   */
  constructor(nsp, pubClient, subClient, opts) {
    super(nsp);
    const options = readOptions(opts);
    this.#link = pubClient instanceof Link ? pubClient : Link.ofClients(pubClient, subClient, options);
    this.pubClient = pubClient instanceof Link ? null : pubClient;
    this.subClient = pubClient instanceof Link ? null : subClient;
    this.uid = randomId();
    this.requestsTimeout = options.requestsTimeout;
    this.publishOnSpecificResponseChannel = options.publishOnSpecificResponseChannel;
    this.parser = options.parser;
    /** Requests of this node that wait for answers, by their id. @type {Map<string, (record: any) => void>} */
    this.requests = new Map();
    /** Acknowledged broadcasts of this node, by their id. @type {Map<string, { clientCountCallback: Callback, ack: Callback }>} */
    this.ackRequests = new Map();
    this.#customParser = options.customParser;
    this.#standardText = printsStandardText(this.encoder);
    this.#makesFrames = this.#standardText && this.#probeFrames();
    this.#identity = {
      uid: this.uid,
      nsp: nsp.name,
      prefix: options.key,
      customParser: options.customParser,
      specificResponses: options.publishOnSpecificResponseChannel,
      frames: this.#standardText,
    };
    /** Resolves when this node hears the others, for the first time. @type {Promise<void>} */
    this.ready = new Promise((resolve) => (this.#setReady = resolve));
    // The namespace gets a new adapter: the one that it had would go on listening, and be counted.
    if (nsp.adapter instanceof RedisAdapter) nsp.adapter.close();
    this.#member = this.#link.join(this.#identity, {
      onRecord: (record) => this.#onRecord(record),
      onEvent: (event) => this.#onEvent(event),
    });
  }

  /** Who carries the bytes, whether that is proven, and why. */
  get transport() {
    return this.#link.transport;
  }

  /** The counters of the link that this namespace shares with the others of its clients; null if it is closed. */
  stats() {
    return this.#link.stats();
  }

  // --- which sockets are here --------------------------------------------------------------------------

  /**
   * Tells Rust of rooms that come and go. Not by a listener, which the user may remove.
   *
   * @param {any} event
   * @param {any[]} args
   * @returns {boolean}
   */
  emit(event, ...args) {
    if (event === "create-room") this.#link.room(this.#member, nameOf(args[0]), true);
    else if (event === "delete-room") this.#link.room(this.#member, nameOf(args[0]), false);
    return super.emit(event, ...args);
  }

  /** @param {any} id @param {Set<any>} rooms */
  addAll(id, rooms) {
    const first = this.sids.size === 0;
    try {
      super.addAll(id, rooms);
    } finally {
      // A listener of the user's may have thrown, and the socket is here all the same.
      if (first && this.sids.size > 0) this.#link.occupied(this.#member, true);
    }
  }

  /** @param {any} id */
  delAll(id) {
    const occupied = this.sids.size > 0;
    try {
      super.delAll(id);
    } finally {
      if (occupied && this.sids.size === 0) this.#link.occupied(this.#member, false);
    }
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /**
   * @param {any} packet
   * @param {any} opts
   */
  broadcast(packet, opts) {
    if (opts?.flags?.local) return super.broadcast(packet, opts);
    packet.nsp = this.nsp.name;
    const outer = this.#outgoing;
    const outgoing = { packet, opts, done: false };
    this.#outgoing = outgoing;
    try {
      super.broadcast(packet, opts);
    } finally {
      this.#outgoing = outer;
      // Another implementation (uWebSockets.js brings one) does not come by `_encode`.
      if (!outgoing.done) this.#publish(packet, opts, this.encoder.encode(packet), null);
    }
  }

  /**
   * The one place where a packet becomes text, for the local sockets and for the other nodes alike.
   *
   * @param {any} packet
   * @param {any} packetOpts
   * @returns {any[]}
   */
  _encode(packet, packetOpts) {
    const incoming = this.#incoming;
    if (incoming !== null && packet === incoming.packet) {
      if (incoming.frame !== null) packetOpts.wsPreEncodedFrame = [incoming.frame];
      return incoming.encoded;
    }
    const outgoing = this.#outgoing;
    if (outgoing === null || packet !== outgoing.packet || outgoing.done)
      return encodeInParent(this, packet, packetOpts);
    outgoing.done = true;
    const encoded = encodeInParent(this, packet, packetOpts);
    this.#publish(packet, outgoing.opts, encoded, packetOpts.wsPreEncodedFrame);
    return encoded;
  }

  /**
   * @param {any} packet
   * @param {BroadcastOptions} opts
   * @param {any[]} encoded what the server's parser made of it
   * @param {any} frame the WebSocket frame, if there is one
   */
  #publish(packet, opts, encoded, frame) {
    const { rooms } = opts;
    const room = rooms.size === 1 ? rooms.values().next().value : null;
    if (this.#standardText && !this.#customParser) {
      const attachments = readAttachments(encoded);
      if (attachments !== null) {
        const payload = payloadOf(frame) ?? Buffer.from("4" + encoded[0]);
        const options = isPlain(opts, room) ? null : msgpack.encode(rawOptions(opts));
        const name = room === null ? null : String(room);
        if (this.#link.broadcast(this.#member, this.#identity, payload, attachments, name, options, false))
          return;
        // There may be a Date, printed as a string; for a server with another parser it is to stay a Date. Or an
        // object that looks like the place of an attachment.
        if (attachments.length === 0 && !holdsDate(packet.data)) {
          this.#link.broadcast(this.#member, this.#identity, payload, attachments, name, options, true);
          return;
        }
      }
    }
    const { type, data, nsp } = packet;
    const bytes = this.parser.encode([this.uid, { type, data, nsp }, rawOptions(opts)]);
    this.#send(BROADCASTS, rooms.size === 1 ? `${room}` : null, bytes);
  }

  /**
   * @param {any} packet
   * @param {any} opts
   * @param {Callback} clientCountCallback
   * @param {Callback} ack
   */
  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    packet.nsp = this.nsp.name;
    if (!opts?.flags?.local) {
      const requestId = randomId();
      const { type, data, nsp } = packet;
      const request = this.parser.encode({
        uid: this.uid,
        requestId,
        type: REQUEST.BROADCAST,
        packet: { type, data, nsp },
        opts: rawOptions(opts),
      });
      if (this.#closed) {
        this.#send(REQUESTS, null, request);
      } else {
        this.ackRequests.set(requestId, { clientCountCallback, ack });
        const timeout = toDelay(opts.flags?.timeout);
        this.#link.request(this.#member, requestId, REQUEST.BROADCAST, toBuffer(request), timeout);
      }
    }
    super.broadcastWithAck(packet, opts, clientCountCallback, ack);
  }

  // --- requests ----------------------------------------------------------------------------------------

  /** The names of all rooms of the cluster. @returns {Promise<Set<any>>} */
  async allRooms() {
    const rooms = new Set(this.rooms.keys());
    const answers = await this.#ask(REQUEST.ALL_ROOMS, {}, this.requestsTimeout, "allRooms");
    for (const { rooms: theirs } of answers) for (const room of theirs) rooms.add(room);
    return rooms;
  }

  /**
   * The ids of the sockets of the cluster that are in one of the rooms, or of all.
   *
   * @param {Set<any>} rooms
   * @returns {Promise<Set<any>>}
   */
  async sockets(rooms = new Set()) {
    const sids = await super.sockets(rooms);
    const answers = await this.#ask(REQUEST.SOCKETS, { rooms: [...rooms] }, this.requestsTimeout, "sockets");
    for (const { sockets } of answers) for (const id of sockets) sids.add(id);
    return sids;
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  async fetchSockets(opts) {
    const sockets = await super.fetchSockets(opts);
    if (opts.flags?.local) return sockets;
    const body = { opts: { rooms: [...opts.rooms], except: [...(opts.except ?? [])] } };
    const timeout = opts.flags?.timeout || this.requestsTimeout;
    const answers = await this.#ask(REQUEST.REMOTE_FETCH, body, timeout, "fetchSockets");
    return sockets.concat(...answers.map((response) => response.sockets));
  }

  /** @param {any} opts @param {any[]} rooms */
  addSockets(opts, rooms) {
    super.addSockets(opts, rooms);
    this.#tell(opts, { type: REQUEST.REMOTE_JOIN, opts: rawTarget(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {any[]} rooms */
  delSockets(opts, rooms) {
    super.delSockets(opts, rooms);
    this.#tell(opts, { type: REQUEST.REMOTE_LEAVE, opts: rawTarget(opts), rooms: [...rooms] });
  }

  /** @param {any} opts @param {boolean} close */
  disconnectSockets(opts, close) {
    super.disconnectSockets(opts, close);
    this.#tell(opts, { type: REQUEST.REMOTE_DISCONNECT, opts: rawTarget(opts), close });
  }

  /** @param {any[]} packet the arguments, with a callback at the end if answers are wanted */
  serverSideEmit(packet) {
    const withAck = typeof packet[packet.length - 1] === "function";
    if (!withAck) {
      return this.#send(
        REQUESTS,
        null,
        json({ uid: this.uid, type: REQUEST.SERVER_SIDE_EMIT, data: packet }),
      );
    }
    const ack = packet.pop();
    if (this.#closed) return ack(new Error("the adapter was closed"), []);
    const requestId = randomId();
    const request = json({ uid: this.uid, requestId, type: REQUEST.SERVER_SIDE_EMIT, data: packet });
    this.requests.set(requestId, ({ status, expected, answers }) => {
      const responses = answers.map((/** @type {Buffer} */ bytes) => this.#decode(bytes).data);
      if (status === "done") return ack(null, responses);
      const error = `timeout reached: only ${responses.length} responses received out of ${expected}`;
      ack(new Error(status === "timeout" ? error : "the adapter was closed"), responses);
    });
    const timeout = toDelay(this.requestsTimeout);
    this.#link.request(this.#member, requestId, REQUEST.SERVER_SIDE_EMIT, request, timeout);
  }

  /** The number of members of the cluster. @returns {Promise<number>} */
  serverCount() {
    return this.#link.serverCount(this.#member);
  }

  /** Ends the subscriptions of this namespace. The user's clients stay as they are. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#link.leave(this.#member);
    for (const finish of this.requests.values()) finish(CLOSED);
    this.requests.clear();
    this.ackRequests.clear();
  }

  /**
   * Sends a request and resolves to the answers of the other members, parsed.
   *
   * @param {number} type
   * @param {object} body
   * @param {number} timeout in milliseconds
   * @param {string} name of the method, for the error
   * @returns {Promise<any[]>}
   */
  #ask(type, body, timeout, name) {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new Error("the adapter was closed");
      const requestId = randomId();
      this.requests.set(requestId, ({ status, expected, answers }) => {
        const responses = answers.map((/** @type {Buffer} */ bytes) => this.#decode(bytes));
        if (status === "done") return resolve(responses);
        const what =
          status === "timeout"
            ? `timeout reached while waiting for ${name} response`
            : "the adapter was closed";
        // What has come is not thrown away.
        reject(Object.assign(new Error(what), { responses, expected }));
      });
      const request = json({ uid: this.uid, requestId, type, ...body });
      this.#link.request(this.#member, requestId, type, request, toDelay(timeout));
    });
  }

  /** Tells the other members what this one has done. @param {any} opts @param {object} request */
  #tell(opts, request) {
    if (opts.flags?.local) return;
    this.#send(REQUESTS, null, json({ uid: this.uid, ...request }));
  }

  /** @param {0 | 1 | 2} to @param {string | null} name @param {Buffer | string} bytes */
  #send(to, name, bytes) {
    this.#link.send(this.#member, this.#identity, to, name, toBuffer(bytes));
  }

  // --- incoming ----------------------------------------------------------------------------------------

  /** @param {import("./inbox").InboxRecord} record */
  #onRecord(record) {
    switch (record.kind) {
      case KIND.FRAME:
        return this.#onFrame(record);
      case KIND.BROADCAST:
        return this.#onBroadcast(record.part(0));
      case KIND.REQUEST:
        return void this.#responder.onRequest(copy(record.part(0)), record.n);
      case KIND.ANSWERS:
        return void this.#onAnswers(
          record.text(0),
          JSON.parse(record.text(1)),
          record.list(record.n).map(copy),
        );
      case KIND.ACK:
        return void this.#onResponse(copy(record.part(1)), record.text(0));
      case KIND.ACK_END:
        return void this.ackRequests.delete(record.text(0));
      case KIND.RESPONSE:
        return void this.#onResponse(copy(record.part(0)), null);
    }
  }

  /** @param {import("./inbox").InboxRecord} record */
  #onFrame(record) {
    const count = record.n >>> 1;
    const exact = (record.n & 1) === 1;
    const text = record.text(1);
    let opts;
    try {
      opts = decodeTarget(record.part(2));
    } catch (error) {
      return this.#link.ignore(String(error));
    }
    const packet = lazyPacket(this.nsp.name, { text, data: exact ? null : copy(record.part(3)) });
    this.#deliver(packet, opts, {
      packet,
      encoded: count === 0 ? [text] : [text, ...record.list(count).map(copy)],
      frame: count === 0 && this.#makesFrames ? copy(record.part(0)) : null,
    });
  }

  /** A broadcast that Rust could not read, or not make a frame of. @param {Buffer} bytes */
  #onBroadcast(bytes) {
    let packet, opts;
    try {
      const [uid, sent, target] = this.parser.decode(copy(bytes));
      if (uid === this.uid) return;
      if (sent.nsp === undefined) sent.nsp = "/";
      if (sent.nsp !== this.nsp.name) return;
      packet = eventOf(sent);
      opts = readTarget(target);
    } catch (error) {
      return this.#link.ignore(String(error));
    }
    this.#deliver(packet, opts, null);
  }

  /**
   * Hands a broadcast of another node to the parent class.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {Incoming | null} incoming what it is encoded to
   */
  #deliver(packet, opts, incoming) {
    const outer = this.#incoming;
    this.#incoming = incoming;
    try {
      super.broadcast(packet, opts);
    } catch (error) {
      // An outgoing listener of the user's has thrown: his to hear of, but the messages behind go on.
      process.nextTick(() => {
        throw error;
      });
    } finally {
      this.#incoming = outer;
    }
  }

  /** @param {string} id @param {{ status: string, expected: number }} outcome @param {Buffer[]} answers */
  async #onAnswers(id, outcome, answers) {
    const finish = this.requests.get(id);
    this.requests.delete(id);
    finish?.({ ...outcome, answers });
  }

  /** @param {Buffer} bytes @param {string | null} id of the acknowledged broadcast, if Rust knows it */
  async #onResponse(bytes, id) {
    let response;
    try {
      response = this.#decode(bytes);
      if (id === null) checkResponse(response);
    } catch (error) {
      return this.#link.ignore(String(error));
    }
    const request = this.ackRequests.get(id ?? response.requestId);
    if (response.type === REQUEST.BROADCAST_CLIENT_COUNT) request?.clientCountCallback(response.clientCount);
    else if (response.type === REQUEST.BROADCAST_ACK) request?.ack(response.packet);
  }

  /** @param {import("./link").LinkEvent} event */
  #onEvent(event) {
    switch (event.type) {
      case "ready":
        this.#setReady();
        if (this.#state !== "ready") super.emit((this.#state = "ready"));
        return;
      case "down":
      case "deaf":
        // Once for an outage, not with every attempt to end it.
        if (this.#state !== "degraded") super.emit((this.#state = "degraded"), new Error(event.reason));
        return;
      case "refused":
        debug("Redis refused to %s: %s", event.what, event.error);
        if (this.listenerCount("error") > 0) super.emit("error", new Error(`${event.what}: ${event.error}`));
    }
  }

  /** A message off the fast path. JSON where it begins with a brace, whatever the parser. @param {Buffer} bytes */
  #decode(bytes) {
    return bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : this.parser.decode(bytes);
  }

  #probeFrames() {
    /** @type {any} */
    const packetOpts = {};
    encodeInParent(this, { type: EVENT, nsp: "/", data: ["probe"] }, packetOpts);
    return payloadOf(packetOpts.wsPreEncodedFrame) !== null;
  }
}

const encodeOfParent = Adapter.prototype._encode;

/**
 * Encodes as socket.io-adapter does.
 *
 * @param {any} adapter
 * @param {any} packet
 * @param {any} packetOpts
 */
function encodeInParent(adapter, packet, packetOpts) {
  return typeof encodeOfParent === "function"
    ? encodeOfParent.call(adapter, packet, packetOpts)
    : adapter.encoder.encode(packet);
}

/** Six characters of A-Z a-z 0-9 - _, for uids and request ids. */
function randomId() {
  return randomBytes(5).toString("base64url").slice(0, 6);
}

/** @param {object} value */
function json(value) {
  return Buffer.from(JSON.stringify(value));
}

/** @param {any} bytes what a parser made */
function toBuffer(bytes) {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
}

/** What a timer of Node makes of a delay, which may be anything; but a long time is one. @param {any} value */
function toDelay(value) {
  const delay = Number(value);
  return delay >= 1 ? Math.min(delay, MAX_DELAY) : 1;
}

/** The longest delay that a timer of Node can have, in milliseconds. */
const MAX_DELAY = 2 ** 31 - 1;

/** The name of a room in a channel. @param {any} room */
function nameOf(room) {
  if (typeof room === "string") return room;
  try {
    return String(room);
  } catch {
    // No broadcast can name it either.
    return "";
  }
}

/** Of its own memory: the next fetch writes the slab anew. @param {Buffer} bytes */
function copy(bytes) {
  return Buffer.from(bytes);
}

module.exports = { RedisAdapter };
