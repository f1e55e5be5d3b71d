// @ts-check
"use strict";

/**
 * The adapter of streams: what is to last goes into a Redis stream, what is asked and answered over pub/sub, as
 * `@socket.io/redis-streams-adapter` has it. Its clients can recover their connections.
 */

const { REQUESTS } = require("./adapter");
const { ClusterMemberAdapter, DONE } = require("./cluster");
const { StreamsCodec, randomId } = require("../messages/cluster-codec");
const { MESSAGE, encodeData } = require("../messages/cluster-messages");
const { linkOf, readForm } = require("../place/forms");
const { keepFor } = require("../base/lifetime");
const { LastSent } = require("../recovery/last-sent");
const { Link } = require("../link/link");
const msgpack = require("../msgpack");
const { streamOf } = require("../base/native");
const { OFFSET, WaitingDeliveries, addOffset, isRecoverable, withOffset } = require("../delivery/offsets");
const { readStreamsOptions } = require("../options/options");
const { rawOptions } = require("../delivery/outgoing");
const { explainRefusal } = require("../link/refusals");
const { Sessions } = require("../recovery/sessions");
const debug = require("debug")("socket.io-redis-streams-adapter");

/** As Rust says that there is no session, or no entry with this id. */
const NOT_FOUND = "session or offset not found";

/**
 * How long a session that is not there is waited for, in milliseconds, once: the node that its client has left keeps it in
 * the same moment, by another connection.
 */
const LATE_SESSION = 30;

/** How long a session is waited for that another connection of the same client is taking, in milliseconds. */
const TURN_PATIENCE = 2000;

/** How long a client that comes back is kept waiting for Redis, in milliseconds. */
const OUTAGE_PATIENCE = 5000;

class RedisStreamsAdapter extends ClusterMemberAdapter {
  #onlyPlaintext;
  #sessionKeyPrefix;
  #streamName;
  /** How long sessions are kept, in milliseconds; null if connections are not recovered. @type {number | null} */
  #lifetime;
  /** How many messages were handed over to be added to the stream, in 32 bits, as Rust counts them. */
  #added = 0;
  #waiting = new WaitingDeliveries();
  /** Sockets that are left out of the broadcast that is being delivered. @type {string[] | null} */
  #served = null;
  #sent = new LastSent();
  /** The offset of what is about to be sent, empty if it is not known; null if it is not kept for clients that come back. @type {string | null} */
  #sending = null;
  #sessions = new Sessions({
    rooms: (sid) => this.sids.get(sid),
    socket: (sid) => this.nsp.sockets.get(sid),
    drop: (sid) => this.nsp._preConnectSockets?.get(sid)?.client.conn.close(),
    persist: (pid, raw) => this.#persist(pid, raw, this.#lifetime ?? 0),
    sent: this.#sent,
  });
  /** Sessions that are being restored, by their pid. @type {Map<string, Promise<void>>} */
  #turns = new Map();

  /**
   * @param {any} nsp the namespace
   * @param {any} redisClient or where a Redis is
   * @param {any} [opts]
   */
  constructor(nsp, redisClient, opts) {
    const form = readForm([redisClient, opts], { clients: 1, taker: "streams" });
    const options = readStreamsOptions(form.opts);
    const link = linkOf(form, options);
    const recovery = nsp.server.opts?.connectionStateRecovery;
    const uid = randomId();
    const identity = {
      uid,
      prefix: options.key,
      family: options.family,
      stream: {
        // Keys, to which the user's client has a prefix of its own, perhaps.
        name: link.keyPrefix + options.streamName,
        count: options.streamCount,
        maxLen: options.maxLen,
        readCount: options.readCount,
        block: options.blockTimeInMs,
        recovers: Boolean(recovery),
      },
      customParser: false,
      specificResponses: true,
    };
    super(nsp, link, identity, new StreamsCodec(uid, nsp.name));
    this.requestsTimeout = options.requestsTimeout;
    this.#onlyPlaintext = options.onlyPlaintext;
    this.#streamName = streamOf(link.keyPrefix + options.streamName, options.streamCount, nsp.name);
    this.#sessionKeyPrefix = link.keyPrefix + options.sessionKeyPrefix;
    this.#lifetime = recovery ? Number(recovery.maxDisconnectionDuration) || DEFAULT_LIFETIME : null;
    this._useFanOut(options.fanOut);
    // What a factory has made tells it of errors.
    this._join(redisClient instanceof Link ? null : options.onError);
  }

  // --- how messages look -------------------------------------------------------------------------------

  /** @param {any} packet @param {any} opts */
  _sendBroadcast({ type, data }, opts) {
    this.#add(MESSAGE.BROADCAST, { packet: { type, data }, opts: rawOptions(opts) });
  }

  /** @param {number} kind @param {import("../messages/requests").Fields} fields */
  _tell(kind, fields) {
    const { type, data } = this._codec.message(kind, undefined, fields);
    this.#add(type, data);
  }

  /** @param {number} type @param {any} data */
  _sendMessage(type, data) {
    // What lasts is in the stream; what is asked and answered is not.
    const isEphemeral =
      type === MESSAGE.FETCH_SOCKETS ||
      type === MESSAGE.SERVER_SIDE_EMIT ||
      (type === MESSAGE.BROADCAST && data?.requestId !== undefined);
    if (isEphemeral) this._send(REQUESTS, null, this._codec.encode(type, data));
    else this.#add(type, data);
  }

  /** @param {number} type @param {any} data */
  #add(type, data) {
    const { link, number } = this._membership;
    link.append(number, type, Buffer.from(encodeData(type, data, this.#onlyPlaintext)));
    this._handedOver();
  }

  _handedOver() {
    this.#added = (this.#added + 1) >>> 0;
  }

  // --- broadcasts --------------------------------------------------------------------------------------

  /**
   * With recovery, what has an offset is delivered when Redis has said which, and what comes behind it behind it.
   *
   * @param {any} packet
   * @param {any} opts
   */
  broadcast(packet, opts) {
    if (this.#lifetime === null) return super.broadcast(packet, opts);
    if (opts?.flags?.local) return this.#sendAs(null, () => super.broadcast(packet, opts));
    const recoverable = isRecoverable(packet, opts);
    const waits = recoverable && this._isReady;
    if (!waits && this.#waiting.isEmpty) {
      const done = this.#sendAs(recoverable ? "" : null, () => super.broadcast(packet, opts));
      if (recoverable) this.#sessions.keep(packet, opts);
      return done;
    }
    const before = this.#added;
    const encoded = this._publish(packet, opts);
    // What could not be encoded was not added.
    const isAdded = waits && this.#added !== before;
    this.#waiting.push(isAdded ? this.#added : null, (id) => this.#deliverOwn(packet, opts, encoded, id));
    return DONE;
  }

  /**
   * @param {any} packet
   * @param {any} opts
   * @param {any[]} encoded what the server's parser made of it
   * @param {string} id of its entry, if it has an offset
   */
  #deliverOwn(packet, opts, encoded, id) {
    const [text, ...attachments] = encoded;
    const known = id !== "";
    const own = known ? withOffset(packet, id) : packet;
    const recoverable = isRecoverable(packet, opts);
    if (recoverable) this.#sessions.keep(own, opts, id);
    this.#served = this.#sessions.served(id);
    const incoming = this._encodedTo(own, known ? addOffset(text, id) : text, attachments);
    try {
      this.#sendAs(recoverable ? id : null, () => super._deliver(own, opts, incoming));
    } finally {
      this.#served = null;
    }
  }

  /**
   * Of another node.
   *
   * @param {any} packet
   * @param {any} opts
   * @param {import("./broadcasting").Incoming | null} incoming
   * @param {string} [offset] empty if it is not kept for clients that come back
   */
  _deliver(packet, opts, incoming, offset = "") {
    if (this.#lifetime === null) return super._deliver(packet, opts, incoming);
    this.#sessions.keep(packet, opts, "", offset);
    this.#sendAs(offset === "" ? null : offset, () => super._deliver(packet, opts, incoming));
  }

  /** @param {import("../delivery/run").Run} run @param {any} opts @param {boolean} fansOut */
  _deliverRun(run, opts, fansOut) {
    if (this.#lifetime === null) return super._deliverRun(run, opts, fansOut);
    if (this.#sessions.areRestored)
      for (const { packet, offset } of run.messages) this.#sessions.keep(packet, opts, "", offset);
    this.#sendAs(run.offset || null, () => super._deliverRun(run, opts, fansOut && !this._notesReceivers));
  }

  /**
   * Has something sent to local sockets.
   *
   * @template T
   * @param {string | null} offset
   * @param {() => T} send
   * @returns {T}
   */
  #sendAs(offset, send) {
    const outer = this.#sending;
    this.#sending = offset;
    try {
      return send();
    } finally {
      // Another implementation of `broadcast`, or nobody: it is not known whom it was sent to.
      if (this.#sending !== null) this.#sent.clear();
      this.#sending = outer;
    }
  }

  get _notesReceivers() {
    return this.#sending !== null;
  }

  /** @param {any} opts @param {(socket: any) => void} callback */
  apply(opts, callback) {
    const offset = this.#sending;
    if (offset === null) return super.apply(opts, callback);
    this.#sending = null;
    let isDone = false;
    try {
      super.apply(opts, (/** @type {any} */ socket) => {
        this.#sent.note(socket.id, offset);
        callback(socket);
      });
      isDone = true;
    } finally {
      // An outgoing listener has thrown: those behind are sent nothing.
      if (!isDone) this.#sent.clear();
    }
  }

  /** @param {Set<any>} [exceptRooms] */
  computeExceptSids(exceptRooms) {
    const sids = super.computeExceptSids(exceptRooms);
    for (const sid of this.#served ?? []) sids.add(sid);
    return sids;
  }

  /** @param {() => void} act */
  _inOrder(act) {
    if (this.#waiting.isEmpty) act();
    else this.#waiting.push(null, act);
  }

  /** @param {number} token @param {string} id */
  _onAdded(token, id) {
    this.#waiting.added(token, id);
  }

  // --- sessions ----------------------------------------------------------------------------------------

  /** @param {any} id @param {Set<any>} rooms */
  addAll(id, rooms) {
    super.addAll(id, rooms);
    this.#sessions.joined(id);
  }

  /** @param {any} id */
  delAll(id) {
    super.delAll(id);
    this.#sent.forget(id);
    this.#sessions.left(id);
  }

  /** Keeps a session. @param {any} pid @param {Buffer} session @param {number} lifetime in milliseconds */
  #persist(pid, session, lifetime) {
    const { link, number } = this._membership;
    link.persist(number, this.#sessionKeyPrefix + pid, session, lifetime);
  }

  /** @param {any} session */
  persistSession(session) {
    if (this.#lifetime === null) return;
    debug("persisting session %s", session.pid);
    let bytes;
    try {
      const progress = this.#sent.progress(session.sid, this._membership.link.position(this.#streamName));
      bytes = msgpack.encodeAsIs({ ...session, ...progress });
    } catch (error) {
      return warnOfSession(error);
    }
    this.#persist(session.pid, Buffer.from(bytes.toString("base64")), this.#lifetime);
  }

  /**
   * Resolves to what a socket is to be made with so that it is what it was, and gets what it has missed. Rejects if
   * that is not to be had.
   *
   * @param {any} pid
   * @param {any} offset
   * @returns {Promise<any>}
   */
  restoreSession(pid, offset) {
    return keepFor(this.#restoreInTime(pid, offset), `a session in ${this.nsp.name}`);
  }

  /** @param {any} pid @param {any} offset @returns {Promise<any>} */
  async #restoreInTime(pid, offset) {
    if (this.#lifetime === null) return null;
    debug("restoring session %s from offset %s", pid, offset);
    if (typeof pid !== "string" || typeof offset !== "string" || !OFFSET.test(offset))
      throw new Error("invalid offset");
    // An earlier connection of this client may have ended before its socket was connected: it is about to say so.
    const earlier = this.#turns.get(pid);
    if (earlier !== undefined) await patience(earlier);
    const end = performance.now() + OUTAGE_PATIENCE;
    for (;;) {
      await this._readiness.whenReady(end - performance.now());
      try {
        return await this.#restore(pid, offset);
      } catch (error) {
        // Redis may be back in time.
        if (this._isReady || this._isClosed || performance.now() >= end) throw error;
      }
    }
  }

  /** @param {string} pid @param {string} offset @returns {Promise<any>} */
  #restore(pid, offset) {
    /** @type {() => void} */
    let end = () => {};
    const turn = new Promise((resolve) => (end = () => resolve(undefined)));
    this.#turns.set(pid, turn);
    const onEnd = () => {
      if (this.#turns.get(pid) === turn) this.#turns.delete(pid);
      end();
    };
    // Rust is to know the rooms of the socket before it passes over what is for them.
    const onMade = () => {
      this._settled();
      onEnd();
    };
    return new Promise((resolve, reject) => {
      const onRestored = (/** @type {import("../link/inbox").InboxRecord | null} */ record) => {
        const reason = record === null ? "the adapter is closed, or there are too many" : record.text(1);
        if (record !== null && reason === NOT_FOUND && !isLate) {
          isLate = true;
          return void setTimeout(attempt, LATE_SESSION).unref();
        }
        if (record === null || reason !== "") {
          onEnd();
          return reject(new Error(reason));
        }
        try {
          // At once: what is delivered from now on is what it has not missed.
          resolve(this.#sessions.take(record, pid, onMade));
        } catch (error) {
          onMade();
          reject(error);
        }
      };
      const { link, number } = this._membership;
      const attempt = () => link.restore(number, this.#sessionKeyPrefix + pid, offset, onRestored);
      let isLate = false;
      attempt();
    });
  }

  _onFailed() {
    super._onFailed();
    // Nobody will say which offsets they have.
    this.#waiting.flush();
  }

  _onRejoin() {
    super._onRejoin();
    this.#sent.clear();
    this.#added = 0;
  }

  // --- what else there is ------------------------------------------------------------------------------

  /** Not to be had: what is asked for here and what is answered take different ways. @returns {Promise<void>} */
  async barrier() {
    throw new Error("the adapter of streams has no barrier");
  }

  /** @param {import("../link/link").LinkEvent} event */
  _onEvent({ type, stream, after, before, error }) {
    if (type === "trimmed") {
      const reason = `entries of the stream ${stream} were trimmed before they were read: a greater maxLen keeps them for longer`;
      warnOnce(reason);
      super.emit("gap", { milliseconds: timeOf(before) - timeOf(after), reason, stream, after, before });
    } else if (type === "unreadable") {
      const failure = `the stream ${stream} cannot be read: ${explainRefusal(error ?? "", { stream })}`;
      if (!this._readiness.onUnreadable(failure)) warnOnce(failure);
    }
  }

  close() {
    this.#sessions.close();
    super.close();
    this.#waiting.flush();
  }
}

/** As Socket.IO has it, in milliseconds. */
const DEFAULT_LIFETIME = 2 * 60 * 1000;

/** When an entry was added, in milliseconds, as its id has it. @param {string} [id] */
function timeOf(id = "0-0") {
  return Number(id.split("-")[0]);
}

/** @param {Promise<void>} promise */
function patience(promise) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, TURN_PATIENCE).unref();
    promise.then(() => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

let sessionsWarned = false;

/** @param {unknown} error */
function warnOfSession(error) {
  if (sessionsWarned) return;
  sessionsWarned = true;
  console.warn(
    `socket.io-redis: a session could not be kept, since its socket.data cannot be encoded (${error})`,
  );
}

/** What was warned of. @type {Set<string>} */
const warned = new Set();

/** @param {string} text */
function warnOnce(text) {
  if (warned.has(text)) return;
  warned.add(text);
  console.warn(`socket.io-redis: ${text}`);
}

module.exports = { RedisStreamsAdapter };
