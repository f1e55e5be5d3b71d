// @ts-check
"use strict";

/**
 * The JS side of a link to Redis: one for each pair of clients (or URL), shared by all namespaces. It decides who
 * carries the bytes, hands what comes in to the members, and lives as long as the user's clients do.
 */

const binding = require("../base/native");
const { Away } = require("../base/away");
const { Carrier } = require("./carrier");
const { checkPublisher, clientOf, clientsOf, publisherOf } = require("../clients");
const { readTls } = require("../clients/tls");
const { answerForCredentials, settingsForBinding } = require("./credentials");
const { Inbox, KIND } = require("./inbox");
const { Doubt } = require("./doubt");
const { lifeOf } = require("../clients/duplicate");
const { forget, giveUp, keep, letGo, track } = require("../base/lifetime");
const { unset, wrong } = require("../options/options");
const { Proof } = require("./proof");
const { explainEvent, explainRefusal } = require("./refusals");
const { Renewal, addStats, addToStats } = require("../base/renewal");
const { Restores } = require("./restores");
const { Throttle } = require("./throttle");
const { warnUntold } = require("./untold");
const { WayBack } = require("./way-back");
const debug = require("debug")("socket.io-redis:link");

const broadcast = binding.fastBroadcast();
const send = binding.fastSend();

/** How long a link without members stays, in milliseconds: a publish after `close()` still finds it. */
const IDLE_TIMEOUT = 1000;

/** Why own connections carry the bytes. */
const PROVEN = "proven: what a client published came in on the link";

/** What there is to do about an error that nobody listens to. */
const HINTS = {
  adapter: "the adapter tries again by itself; its `error` event and its option onError tell this, too",
  emitter: "the emitter tries again by itself; flush() and close() tell what has not reached Redis",
  encode: "the `error` event of the adapter and its option onError tell this, too",
};

/** So many reasons of one outage are told on stderr. */
const MAX_REASONS = 5;

/** What has become of a broadcast, as in `Sent` of src/binding/hot.rs. */
const SENT = Object.freeze({ YES: 0, MISLEADS: 1, AMBIGUOUS: 2 });

/** The URLs that ask for TLS. */
const SECURE = /^\s*(redis|valkey)s:/i;

/** @typedef {import("./routing").Routing} Routing */

/**
 * What a member wants to hear.
 *
 * @typedef {object} MemberHandlers
 * @property {(record: import("./inbox").InboxRecord) => void} onRecord
 * @property {(event: LinkEvent) => boolean | void} onEvent true if somebody listens
 * @property {() => void} [onRejoin] the link was made anew, and knows of no rooms
 *
 * @typedef {import("./inbox").LinkEvent} LinkEvent
 *
 * @typedef {Pick<import("../options/options").AdapterOptions, "family" | "transport" | "maxBacklogBytes" | "maxInboxBytes" | "allowedHosts">} LinkOptions
 */

/**
 * By the two clients. Members of each family have links of their own.
 *
 * @type {Record<"classic" | "sharded", WeakMap<object, WeakMap<object, Link>>>}
 */
const linksOfClients = { classic: new WeakMap(), sharded: new WeakMap() };

/** Those of emitters, by their client. @type {Record<string, WeakMap<object, Link>>} */
const linksOfEmitters = {
  classic: new WeakMap(),
  sharded: new WeakMap(),
  streams: new WeakMap(),
  "streams-sharded": new WeakMap(),
};

class Link {
  /** @type {import("../clients").Clients | null} null if the link is all there is */
  #clients;
  /** One of the two, if it was made here. @type {ReturnType<typeof lifeOf>} */
  #duplicate = null;
  /** @type {LinkOptions} */
  #options;
  /** @type {import("../clients/settings").Settings | null} where the own connections go */
  #settings = null;
  /** @type {import("../../binding").Link | null} made with the first member */
  #native = null;
  /** @type {Inbox | null} */
  #inbox = null;
  /** The number of `#native`. */
  #id = 0;
  /** @type {Map<number, { routing: Routing, handlers: MemberHandlers }>} */
  #members = new Map();
  #renewal = new Renewal();
  /** What was counted by links that have failed, and by the user's clients. @type {Partial<import("../base/renewal").Stats> | null} */
  #past = null;
  /** How many messages they had got. */
  #handedBefore = 0;
  /** How many messages earlier carriers have published. */
  #carriedBefore = 0;
  /** Whether it is an emitter's. */
  #emits = false;
  /** Whether the user's clients are to carry the bytes. */
  #byClient = false;
  /** @type {Carrier | null} */
  #carrier = null;
  /** @type {Proof | null} */
  #proof = null;
  #proven = false;
  #reason = "";
  /** Why the own connections do not stand. @type {string | null} */
  #trouble = null;
  /** Publishes go out at once: nothing waits that they would overtake. */
  #flowing = false;
  /** What was closed and has something to write yet. @type {Map<import("../../binding").Link, import("../base/lifetime").Link>} */
  #rests = new Map();
  /** How many messages Rust has got. */
  #handedOver = 0;
  /** Whether the user's clients have been seen connected or on the way, and whether they have ended since. */
  #clientsSeen = false;
  #clientsEnded = false;
  #malformed = 0;
  #unencodable = 0;
  /** Whether the own connections will ever stand again. @type {Doubt | null} */
  #doubt = null;
  /** How those come to carry the bytes again, if they may. @type {WayBack | null} */
  #wayBack = null;
  /** One that only a member of this link listens to. */
  #ownChannel = "";
  /** Whether the first attempt to connect has ended. */
  #tried = false;
  /** Whether the own connections have ever stood. */
  #hasStood = false;
  /** What was said on stderr of the outage. @type {Set<string>} */
  #reasons = new Set();
  /** Keeps the process until then. */
  #attempt = {};
  /** @type {NodeJS.Timeout | null} */
  #idleTimer = null;
  #nextToken = 0;
  /** @type {Map<number, { resolve: (count: number | null) => void, reject: (refusal: Error) => void }>} */
  #counts = new Map();
  #away = new Away();
  #restores = new Restores();
  #refusals = new Throttle((event) => this.#tellOne(event));
  /** How many of the members that have joined were not refused to say hello. */
  #greeters = 0;
  /** Whether it was told that one was. */
  #helloTold = false;

  /**
   * @param {import("../clients").Clients | null} clients
   * @param {import("../clients/settings").Settings | null} settings
   * @param {LinkOptions} options those of the first member
   */
  constructor(clients, settings, options) {
    this.#clients = clients;
    this.#options = options;
    this.#settings = settings;
    this.#chooseCarrier();
  }

  /**
   * The link of two clients: the same one for all namespaces of all servers that share them.
   *
   * @param {any} pub
   * @param {any} sub
   * @param {LinkOptions} options
   */
  static ofClients(pub, sub, options) {
    const clients = clientsOf(pub, sub, spaceOf(options.family));
    const byPub = linksOfClients[/** @type {"classic" | "sharded"} */ (options.family)];
    let bySub = byPub.get(pub);
    if (bySub === undefined) byPub.set(pub, (bySub = new WeakMap()));
    let link = bySub.get(sub);
    if (link === undefined) {
      bySub.set(sub, (link = new Link(clients, null, options)));
      link.#duplicate = lifeOf(pub) ?? lifeOf(sub);
    }
    return link;
  }

  /**
   * The link of a client that emitters publish by: the same one for all of them.
   *
   * @param {any} client
   * @param {LinkOptions} options
   */
  static ofEmitter(client, options) {
    const links = linksOfEmitters[options.family];
    const known = typeof client === "object" && client !== null ? links.get(client) : undefined;
    if (known !== undefined) return known;
    const clients = publisherOf(client, spaceOf(options.family), familyHasStreams(options.family));
    const link = new Link(clients, null, options);
    links.set(client, link);
    return link;
  }

  /**
   * Throws a TypeError for what `ofEmitter` takes for no client.
   *
   * @param {any} client
   * @param {LinkOptions} options
   */
  static checkEmitter(client, options) {
    checkPublisher(client, spaceOf(options.family));
  }

  /**
   * A link of a client that does everything. Another one each time: servers that share a client are told apart by the
   * connections that listen, of which such a link may have only one.
   *
   * @param {any} client
   * @param {LinkOptions} options
   */
  static ofClient(client, options) {
    return new Link(clientOf(client, spaceOf(options.family)), null, options);
  }

  /**
   * A link of its own, without clients.
   *
   * @param {string} url
   * @param {LinkOptions} options
   */
  static ofUrl(url, options) {
    const problem = binding.urlProblem(url);
    if (problem !== null) {
      const expected = "redis://[user:password@]host[:port][/database] or redis+unix:///path";
      // The rest says no more than that.
      const detail = /not parse/.test(problem)
        ? ""
        : problem.replace(/^not a Redis URL: | - InvalidClientConfig$/g, "");
      const error = wrong("the URL", expected, url);
      if (detail !== "") error.message += `: ${detail}`;
      throw url === "" ? unset(error) : error;
    }
    return Link.ofSettings(SECURE.test(url) ? { url, tls: readTls(true) } : { url }, options);
  }

  /**
   * The same, where the settings are known in parts.
   *
   * @param {import("../clients").Settings} settings
   * @param {LinkOptions} options
   */
  static ofSettings(settings, options) {
    return new Link(null, settings, options);
  }

  /** Who carries the bytes, whether that is certain, and why. */
  get transport() {
    if (this.#byClient) return { carrier: "client", proven: true, reason: this.#reason };
    // Without a proof, that of clients, they have to have stood.
    const isUnseen = this.#reason !== PROVEN && !this.#hasStood;
    const trouble = isUnseen && this.#trouble !== null ? `; ${this.#trouble}` : "";
    return { carrier: "native", proven: this.#proven && !isUnseen, reason: this.#reason + trouble };
  }

  /** The counters of the link. */
  stats() {
    if (this.#native === null) return null;
    const stats = addStats(this.#native.stats(), this.#past);
    // Rust has handed them on, since only the user's parser can read them.
    stats.unencodable += this.#unencodable;
    stats.malformed += this.#malformed;
    stats.delivered -= this.#malformed;
    if (this.#carrier === null) return stats;
    return addToStats(stats, this.#carrier.counts);
  }

  // --- members ----------------------------------------------------------------------------------------

  /**
   * Adds a member and returns its number.
   *
   * @param {Routing} routing
   * @param {MemberHandlers} handlers
   */
  join(routing, handlers) {
    const native = this.#open();
    this.#stopIdling();
    const member = native.join(routing.native.id);
    this.#emits = routing.identity.emitter !== undefined;
    this.#ownChannel = routing.names.ownResponse;
    this.#members.set(member, { routing, handlers });
    if (!this.#emits) this.#greeters++;
    if (this.#members.size === 1) this.#follow();
    // Without clients nothing else keeps a script that waits to be ready.
    if (this.#clients === null && !this.#tried) keep(this.#attempt, "the first connection of a link");
    return member;
  }

  /** @param {number} member */
  leave(member) {
    if (!this.#members.delete(member)) return;
    this.#native?.leave(member);
    if (this.#members.size > 0) return;
    // Something may wait for the clients to be connected.
    if (this.#native === null || this.#native.isFlushed()) this.#unfollow();
    // Unproven, it can never be: nobody is left for the proof to reach. What waits is to go out now.
    if (!this.#byClient && !this.#proven) this.#forget();
    else this.#idle();
  }

  /** Ends a link that nobody uses any more, rather than in a while. */
  end() {
    if (this.#members.size === 0) this.#forget();
  }

  // --- outgoing ---------------------------------------------------------------------------------------

  /**
   * Broadcasts an event that socket.io-parser printed. Returns what has become of it: see `SENT`.
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {Buffer} payload the Engine.IO text
   * @param {Buffer[]} attachments
   * @param {string | null} room if it is exactly one
   * @param {Buffer | null} options msgpack; null if they say no more than the room
   * @param {boolean} checked whether the text is known to say all that the values did
   * @returns {number}
   */
  broadcast(member, routing, payload, attachments, room, options, checked) {
    const isEntry = familyHasStreams(routing.identity.family);
    // Rust knows the streams of members that have left, too.
    const isKnown = isEntry ? this.#native !== null : !this.#byClient && this.#members.has(member);
    if (isKnown) {
      const sent =
        attachments.length === 0
          ? broadcast(this.#id, member, payload, room, options, checked)
          : binding.broadcastBinary(this.#id, member, payload, attachments, room, options, checked);
      if (sent === SENT.YES) this.#handedOver++;
      if (isEntry && !this.#members.has(member)) this.#idle();
      return sent;
    }
    if (isEntry) return SENT.YES;
    if (!checked && binding.mayMislead(payload, attachments.length)) return SENT.MISLEADS;
    let bytes;
    try {
      bytes = routing.native.encodeBroadcast(payload, attachments, room, options);
    } catch {
      this.unencodable();
      return SENT.YES;
    }
    if (bytes === null) return SENT.AMBIGUOUS;
    this.send(member, routing, 0, room, bytes);
    return SENT.YES;
  }

  /** A broadcast is nested too deep to be published: the local sockets get it all the same. */
  unencodable() {
    this.#unencodable++;
    this.#refusals.add({ type: "refused", what: "encode" });
  }

  /**
   * Publishes bytes that are ready: a broadcast (0, `name` the room if it is exactly one), a request (1) or a response (2,
   * `name` the uid of the requester).
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {0 | 1 | 2} to
   * @param {string | null} name
   * @param {Buffer | string} bytes
   */
  send(member, routing, to, name, bytes) {
    const native = this.#open();
    if (this.#isDirect()) return this.#carrier?.publish(member, routing.channelOf(to, name), bytes);
    this.#handOver();
    if (this.#members.has(member)) return void send(this.#id, member, to, name, bytes);
    // Published after close(): the link no longer knows the member, but still takes its bytes.
    native.publish(routing.channelOf(to, name), typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    this.#idle();
  }

  /**
   * Sends an answer to a request for sockets.
   *
   * @param {number} member
   * @param {Routing} routing
   * @param {string | null} requester its uid
   * @param {import("../../binding").SocketsAnswer} answer
   */
  sendSockets(member, routing, requester, answer) {
    this.#open();
    if (this.#isDirect() || !this.#members.has(member))
      return this.send(member, routing, 2, requester, answer.bytes());
    this.#handOver();
    answer.send(this.#id, member, requester);
  }

  /**
   * Adds a message to the stream of a member, even if that has just left.
   *
   * @param {number} member
   * @param {number} type
   * @param {Buffer} data as it stands in the entry
   */
  append(member, type, data) {
    if (this.#native === null) return;
    this.#handedOver++;
    this.#native.append(member, type, data);
    if (!this.#members.has(member)) this.#idle();
  }

  /**
   * The same for an emitter: at once if the user's client carries the bytes, since that may end in this tick.
   *
   * @param {number} member
   * @param {string} key of the stream
   * @param {string[]} command what adds it
   * @param {number} type
   * @param {string} data
   */
  add(member, key, command, type, data) {
    const direct = this.#isDirect() && this.#native?.isFlushed();
    const append = () => this.append(member, type, Buffer.from(data));
    if (direct)
      this.#carrier?.add(key, [...command, "type", String(type), "data", data].map(toBuffer), append);
    else append();
  }

  /** Keeps a session. @param {number} member @param {string} key @param {Buffer} session @param {number} lifetime in milliseconds */
  persist(member, key, session, lifetime) {
    if (this.#native === null) return;
    this.#handedOver++;
    this.#native.persist(member, Buffer.from(key), session, lifetime);
  }

  /** How far a stream is read of what JS has got; null if that is not to be said now. @param {string} stream */
  position(stream) {
    // What was fetched is not handed on yet.
    if (this.#native === null || this.#inbox?.isDraining !== false) return null;
    return this.#native.position(stream);
  }

  /**
   * Takes a session, and gathers what it has missed. Calls back in any case, when the record is there.
   *
   * @param {number} member
   * @param {string} key
   * @param {string} offset
   * @param {import("./restores").OnRestored} onRestored
   */
  restore(member, key, offset, onRestored) {
    this.#restores.add((token) => {
      if (this.#native === null || !this.#members.has(member)) return false;
      this.#native.restore(member, token, Buffer.from(key), Buffer.from(offset));
      return true;
    }, onRestored);
  }

  /** What the user's clients prepend to the names of keys. */
  get keyPrefix() {
    return this.#clients?.keyPrefix ?? "";
  }

  /** How many messages of an emitter there were. */
  get publishedCount() {
    return this.#handedOver + this.#carriedBefore + (this.#carrier?.counts.published ?? 0);
  }

  /** For how many of them Redis has answered, or is certain not to. */
  get answeredCount() {
    const { acknowledged = 0, refused = 0, lostInFlight = 0, dropped = 0 } = this.stats() ?? {};
    return acknowledged + refused + lostInFlight + dropped;
  }

  /** For how many of them neither is so. */
  get unanswered() {
    return this.publishedCount - this.answeredCount;
  }

  /**
   * Resolves when Redis has answered for all that was published by now, or it is certain that it will not.
   */
  async answered() {
    const [native, carrier] = [this.#native, this.#carrier];
    if (native === null) return;
    const rust = () => this.#counted((token) => native.whenAnswered(token));
    // What the clients are given from now on is not waited for.
    const carried = carrier?.answered();
    if (this.#handedOver > 0) await rust();
    if (await carried) await rust();
  }

  /**
   * Sends a request and gathers the answers; ends with an ANSWERS or ACK_END record.
   *
   * @param {number} member
   * @param {string} id
   * @param {number} type
   * @param {Buffer} bytes
   * @param {number} timeout in milliseconds
   * @param {Routing} routing
   * @param {boolean} hears whether the member is subscribed to its answers; until then Rust holds the request back
   */
  request(member, id, type, bytes, timeout, routing, hears) {
    const native = this.#open();
    // What comes behind it in this tick does not wait for it, and the client may be told to quit then.
    const isDirect = hears && this.#members.has(member) && this.#isDirect();
    if (!isDirect) this.#handOver();
    native.request(member, id, type, bytes, timeout, isDirect);
    if (isDirect) this.#carrier?.publish(member, routing.channelOf(1, null), bytes);
  }

  /** Why Redis has last refused to publish something. */
  get refusal() {
    const { error = "", stream } = this.#refusals.lastOfPublish ?? {};
    return explainRefusal(error, { stream });
  }

  /** Why nothing comes of what was asked, if Redis is away: the end of a sentence. */
  get away() {
    return String(this.#away);
  }

  /**
   * Resolves to the number of members of the cluster, as soon as the link can tell; to null if it ends before that.
   * Rejects with Redis' words if Redis refuses to count.
   *
   * @param {number} member
   * @returns {Promise<number | null>}
   */
  serverCount(member) {
    return this.#call(member, (native, token) => native.serverCount(member, token));
  }

  /**
   * The same for a member that has left, which is not counted; null if the link ends before that.
   *
   * @param {Routing} routing
   * @returns {Promise<number | null>}
   */
  serverCountWithout(routing) {
    const native = this.#open();
    if (this.#members.size === 0) this.#idle();
    return this.#counted((token) => native.serverCountWithout(routing.native.id, token));
  }

  /**
   * Resolves when Redis has confirmed all that a member listens to by now, to true; to false, if it has not after so many
   * milliseconds, or the link ends before.
   *
   * @param {number} member
   * @param {number} timeout
   * @returns {Promise<boolean>}
   */
  subscribed(member, timeout) {
    return new Promise((resolve) => {
      let asked = 0;
      const giveUp = () => {
        this.#counts.delete(asked);
        this.#native?.giveUpWaiting(member, asked);
        resolve(false);
      };
      const timer = setTimeout(giveUp, timeout).unref();
      this.#call(member, (native, token) => native.whenSubscribed(member, (asked = token))).then((answer) => {
        clearTimeout(timer);
        resolve(answer !== null);
      });
    });
  }

  /**
   * Calls what is answered by a COUNT record; 0 for a member that has left.
   *
   * @param {number} member
   * @param {(native: import("../../binding").Link, token: number) => void} call
   * @returns {Promise<number | null>}
   */
  #call(member, call) {
    if (!this.#members.has(member)) return Promise.resolve(0);
    const native = this.#open();
    return this.#counted((token) => call(native, token));
  }

  /**
   * @param {(token: number) => void} call
   * @returns {Promise<number | null>} null if the link cannot be asked, or ends before it answers
   */
  #counted(call) {
    return new Promise((resolve, reject) => {
      this.#nextToken = (this.#nextToken + 1) >>> 0;
      const token = this.#nextToken;
      this.#counts.set(token, { resolve, reject });
      try {
        call(token);
      } catch (error) {
        debug("the link cannot be asked: %s", error);
        this.#counts.delete(token);
        resolve(null);
      }
    });
  }

  /**
   * The first local socket has joined a room, or the last one has left it. Returns whether Redis is asked for something for
   * it.
   *
   * @param {number} member
   * @param {string} room
   * @param {boolean} present
   * @param {boolean} isText whether it is a string for JS
   * @returns {boolean}
   */
  room(member, room, present, isText) {
    const routing = this.#members.get(member)?.routing;
    if (routing === undefined) return false;
    const isAsked = binding.setRoom(this.#id, member, room, present, isText);
    // What is published to the room in this tick may go out in it, too.
    if (isAsked && this.#carrier !== null) {
      const channel = routing.native.roomChannel(room);
      if (channel !== null) this.#carrier.foresee(channel, present);
    }
    return isAsked;
  }

  /** @param {number} member @param {boolean} occupied */
  occupied(member, occupied) {
    if (this.#members.has(member)) binding.setOccupied(this.#id, member, occupied);
  }

  /** What a member has got makes no sense. @param {string} why */
  ignore(why) {
    this.#malformed++;
    debug("ignoring malformed message: %s", why);
  }

  /** @param {number} member */
  settled(member) {
    if (this.#members.has(member)) binding.settled(this.#id, member, 1);
  }

  // --- what lifetime.js asks ----------------------------------------------------------------------------

  /** Whether something that was published still has a way to go, and somebody who takes it there. */
  holdsProcess() {
    if (this.#native === null || (this.#native.isFlushed() && !this.#isUnanswered)) return false;
    // Clients that nobody has connected will not be connected by waiting.
    if (this.#clients !== null && !this.#clientsSeen && this.#clients.hasEnded()) return false;
    if (!this.#isUnanswered) return this.#native.watchFlushed();
    this.answered().then(() => letGo(this));
    return true;
  }

  /** How much has got on its way, to tell whether it gets on at all. */
  written() {
    const { published = 0, acknowledged = 0 } = this.stats() ?? {};
    return published + acknowledged;
  }

  /** How many messages have not. */
  unwritten() {
    return Math.max(unwrittenOf(this.#native), this.#isUnanswered ? this.unanswered : 0);
  }

  /**
   * Whether it is an emitter's, and something of it unanswered. There may be much of that, and a connection that ends
   * before its replies are read is reset: what is with the kernel then may never reach Redis.
   */
  get #isUnanswered() {
    return this.#emits && !this.#byClient && this.unanswered > 0;
  }

  /** Blocks until it is there. @param {number} timeout in milliseconds */
  flush(timeout) {
    // What the user's clients carry needs the event loop, which has ended.
    if (this.#native === null || this.#byClient) return;
    // The proof cannot come any more: what waits for it goes out without.
    if (!this.#proven) this.#native.close();
    this.#native.waitFlushed(timeout);
  }

  // --- the link itself --------------------------------------------------------------------------------

  #chooseCarrier() {
    if (this.#clients === null) {
      this.#reason = "there are no clients";
      this.#proven = true;
      return;
    }
    const wanted = this.#options.transport;
    if (wanted === "client") {
      const flaw = this.#clients.flaw();
      if (flaw !== null) throw new TypeError(`opts.transport cannot be "client": ${flaw}`);
      this.#byClient = true;
      this.#reason = "as the transport option says";
      return;
    }
    const { settings, reason } = this.#clients.settings();
    if (settings !== null) {
      this.#settings = settings;
      this.#proven = wanted === "native";
      if (wanted === "auto") {
        const failsOver = settings.cluster !== undefined || settings.sentinel !== undefined;
        this.#doubt = new Doubt(this.#clients, failsOver, (why) =>
          this.#useClients(`the link's own connections fail: ${why}`),
        );
        this.#wayBack = mayReturn(this.#options, settings)
          ? new WayBack((secret) => this.#useOwn(secret))
          : null;
      }
      this.#reason = wanted === "native" ? "as the transport option says" : "waiting for the proof";
    } else if (wanted === "native") {
      throw new TypeError(`opts.transport cannot be "native": ${reason}`);
    } else {
      const flaw = this.#clients.flaw();
      if (flaw !== null) throw new TypeError(`${flaw} (and the link cannot connect by itself: ${reason})`);
      this.#byClient = true;
      this.#reason = reason;
    }
  }

  /** @returns {import("../../binding").Link} */
  #open() {
    if (this.#native !== null) return this.#native;
    if (this.#clients !== null && !this.#byClient && !this.#proven) {
      this.#proof = new Proof(this.#clients, () =>
        this.#useClients(this.#trouble ?? "the link's own connections did not reach the same Redis"),
      );
    }
    /** @type {Inbox | null} */
    let inbox = null;
    const native = this.#make(() => inbox?.drain());
    inbox = new Inbox(native.id, (record) => {
      if (record.kind === KIND.CREDENTIALS) void answerForCredentials(native, record.token, this.#settings);
      else if (this.#native === native) this.#onRecord(record);
      else if (record.kind === KIND.EVENT) this.#onRestEvent(native, JSON.parse(record.text(0)));
    });
    this.#native = native;
    this.#inbox = inbox;
    this.#id = native.id;
    track(this);
    if (this.#byClient) this.#startCarrier();
    return native;
  }

  /** @param {() => void} wake @returns {import("../../binding").Link} */
  #make(wake) {
    try {
      return new binding.Link(
        {
          // Left out rather than null: that is how optional properties cross.
          ...(!this.#byClient &&
            this.#settings !== null && {
              settings: settingsForBinding(this.#settings, this.#options.allowedHosts),
            }),
          ...(this.#proof !== null && { proof: this.#proof.text }),
          family: this.#options.family,
          maxBacklog: this.#options.maxBacklogBytes,
          maxInbox: this.#options.maxInboxBytes,
          verbose: debug.enabled === true,
        },
        wake,
      );
    } catch (/** @type {any} */ error) {
      // A certificate, say, that Node can read and the link cannot.
      if (this.#clients === null || this.#byClient || this.#options.transport === "native") throw error;
      this.#byClient = true;
      this.#wayBack = null;
      this.#proof = null;
      this.#reason = `the link cannot connect by itself: ${error.message}`;
      return this.#make(wake);
    }
  }

  /** Ends the native link. Rust goes on until all is written, or for a while; the process is kept for that. */
  #forget() {
    const native = this.#native;
    if (native === null) return;
    this.#stopIdling();
    this.#doubt?.dispel();
    this.#wayBack?.stop();
    this.#proof?.stop();
    this.#proof = null;
    this.#carrier?.stop();
    this.#carrier = null;
    this.#duplicate?.end();
    this.#renewal.stop();
    this.#past = null;
    this.#native = null;
    this.#flowing = false;
    this.#handedOver = 0;
    this.#handedBefore = 0;
    this.#carriedBefore = 0;
    this.#giveUp();
    letGo(this.#attempt);
    this.#refusals.stop();
    forget(this);
    if (this.#members.size === 0) this.#unfollow();
    // Rust says when all is written, or given up; it may be quick about that.
    if (native.watchFlushed()) this.#followRest(native);
    native.close();
  }

  /** @param {import("../../binding").Link} native */
  #followRest(native) {
    const { dropped } = native.stats();
    const byClient = this.#byClient;
    /** @type {import("../base/lifetime").Link} */
    const rest = {
      holdsProcess: () => native.watchFlushed(),
      written: () => native.stats().acknowledged,
      // What has just been given up, and not been said yet, is none of what waits.
      unwritten: () => unwrittenOf(native) + native.stats().dropped - dropped,
      // Nobody hands the clients anything any more.
      flush: (timeout) => void (byClient || native.waitFlushed(timeout)),
    };
    this.#rests.set(native, rest);
    track(rest);
  }

  /** Of a link that is closed. @param {import("../../binding").Link} native @param {LinkEvent} event */
  #onRestEvent(native, event) {
    const rest = this.#rests.get(native);
    if (rest === undefined) return;
    const closed = `the ${this.#emits ? "emitter" : "adapter"} was closed`;
    if (event.type === "givenUp") giveUp(rest, event.messages ?? 0, closed);
    else if (event.type === "failed")
      giveUp(rest, rest.unwritten(), `${closed}, its link to Redis has failed`);
    else if (event.type !== "flushed") return;
    this.#rests.delete(native);
    forget(rest);
  }

  /** Who waits for an answer, which is there. @param {number} token */
  #takeCount(token) {
    const count = this.#counts.get(token);
    this.#counts.delete(token);
    return count;
  }

  /** Nothing that was asked is answered any more. */
  #giveUp() {
    const counts = [...this.#counts.values()];
    this.#counts.clear();
    for (const { resolve } of counts) resolve(null);
    this.#restores.fail();
  }

  /** The native link has failed. @param {LinkEvent} event */
  #onFailed(event) {
    debug("the link has failed: %s", event.reason);
    this.#flowing = false;
    this.#giveUp();
    this.#renewal.schedule(() => this.#renew());
    this.#tellMembers(event);
  }

  /** Makes a native link in place of one that has failed: its members keep their numbers, and the counters go on. */
  #renew() {
    const failed = this.#native;
    if (failed === null) return;
    if (this.#members.size === 0) return this.#forget();
    this.#past = addStats(failed.stats(), this.#past);
    this.#doubt?.dispel();
    this.#proof?.stop();
    this.#proof = null;
    this.#endCarrier();
    failed.close();
    this.#native = null;
    this.#handedBefore = this.#handedOver;
    const native = this.#open();
    for (const [member, { routing, handlers }] of this.#members) {
      native.join(routing.native.id, member);
      handlers.onRejoin?.();
    }
    if (this.#clientsEnded) native.open(false);
    this.#onClientEvent();
  }

  #idle() {
    this.#stopIdling();
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = null;
      if (this.#members.size === 0) this.#forget();
    }, IDLE_TIMEOUT);
    this.#idleTimer.unref();
  }

  #stopIdling() {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
  }

  // --- the user's clients -----------------------------------------------------------------------------

  #follow() {
    if (this.#clients === null) return;
    this.#unfollow();
    this.#duplicate?.follow();
    this.#clients.watch(this.#onClientEvent, this.#onClientDown);
    this.#onClientEvent();
  }

  #unfollow() {
    this.#duplicate?.unfollow();
    this.#clients?.unwatch();
  }

  #onClientEvent = () => {
    const clients = this.#clients;
    if (clients === null || this.#native === null) return;
    const ready = clients.isReady();
    this.#clientsSeen ||= ready || !clients.hasEnded();
    if (this.#clientsSeen && !this.#clientsEnded && clients.hasEnded()) {
      debug("the clients have ended, and so does the link");
      this.#clientsEnded = true;
      this.#native.open(false);
      if (!this.#native.watchFlushed()) clients.release();
    } else if (ready && this.#clientsEnded) {
      debug("the clients are back, and so is the link");
      this.#clientsEnded = false;
      this.#native.open(true);
    }
    this.#carrier?.clientsChanged();
    this.#proof?.clientsChanged();
  };

  #onClientDown = () => {
    // What the own connections get to do better begins when the clients stand again.
    this.#doubt?.dispel();
    this.#carrier?.clientsFailed();
    this.#onClientEvent();
  };

  /** Whether a publish can go straight to the user's client, in the same tick. */
  #isDirect() {
    if (this.#carrier === null) return false;
    this.#carrier.clientsChanged();
    return this.#flowing && this.#carrier.takes;
  }

  /** Rust gets a message: nothing may overtake it by way of the clients until it has said that it is out. */
  #handOver() {
    this.#handedOver++;
    this.#flowing = false;
  }

  #startCarrier() {
    const { clients, native } = { clients: this.#clients, native: this.#native };
    if (clients === null || native === null) return;
    this.#carrier = new Carrier(clients, native, {
      onRefused: (error, stream) => this.#onRefused({ type: "refused", what: "publish", error, stream }),
      onHold: () => (this.#flowing = false),
      onHandedOver: () => this.#handOver(),
      drain: () => this.#inbox?.drain(),
      isOwn: (channel) => this.#isOwn(channel),
    });
    // Unless something waits in Rust already, the clients can take what comes.
    this.#flowing = native.isFlushed();
    this.#wayBack?.begin();
  }

  /** Whether a channel is that of a member alone. @param {string} channel */
  #isOwn(channel) {
    for (const { routing } of this.#members.values()) if (channel === routing.names.ownResponse) return true;
    return false;
  }

  /** The user's clients no longer carry the bytes; what they were counted to have done stays counted. */
  #endCarrier() {
    if (this.#carrier === null) return;
    this.#past = addToStats(this.#past ?? {}, this.#carrier.counts);
    this.#carriedBefore += this.#carrier.counts.published;
    this.#carrier.stop();
    this.#carrier = null;
  }

  /** @param {string} reason */
  #useClients(reason) {
    if (this.#native === null || this.#byClient) return;
    debug("the user's clients carry the bytes: %s", reason);
    this.#proof?.stop();
    this.#proof = null;
    this.#byClient = true;
    this.#reason = reason;
    this.#native?.useClient();
    this.#startCarrier();
    // Not before they listen, too, and the others are back: answers would find nobody.
    this.#flowing = false;
  }

  /** Tries to have own connections carry the bytes again. @param {string} secret */
  #useOwn(secret) {
    const [native, settings] = [this.#native, this.#settings];
    if (native === null || settings === null || !this.#byClient) return;
    if (this.#members.size === 0 || !this.#clients?.isReady())
      return this.#wayBack?.failed("they are not connected");
    debug("own connections may carry the bytes again");
    try {
      native.useOwn(settingsForBinding(settings, this.#options.allowedHosts), secret);
    } catch (/** @type {any} */ error) {
      // No other attempt can end better.
      debug("own connections cannot be made: %s", error.message);
    }
  }

  /** Part of that: what the clients were given in the same tick is to be answered for. @param {string} secret */
  #drain(secret) {
    this.#flowing = false;
    const native = this.#native;
    this.#carrier?.answered().then(() => native?.drained(secret));
  }

  /** Own connections carry the bytes again. */
  #returnToOwn() {
    this.#wayBack?.succeeded();
    this.#byClient = false;
    this.#proven = true;
    this.#reason = PROVEN;
    this.#trouble = null;
    this.#flowing = false;
    this.#endCarrier();
    this.#doubt?.stand();
  }

  // --- incoming ---------------------------------------------------------------------------------------

  /** @param {import("./inbox").InboxRecord} record */
  #onRecord(record) {
    switch (record.kind) {
      case KIND.EVENT:
        return this.#onEvent(record.member, {
          ...JSON.parse(record.text(0)),
          // Both are cut to whole milliseconds.
          age: ((binding.clock() - record.token) >>> 0) + 1,
        });
      case KIND.COUNT:
        return this.#takeCount(record.token)?.resolve(record.n);
      case KIND.COUNT_REFUSED:
        return this.#takeCount(record.token)?.reject(new Error(record.text(0)));
      case KIND.RESTORED:
        return this.#restores.onRecord(record);
      case KIND.CARRY:
      case KIND.SUBSCRIBE:
      case KIND.UNSUBSCRIBE:
      case KIND.NUM_SUB:
      case KIND.COMMAND:
      case KIND.CLOSE_READER:
        return this.#carrier?.onRecord(record);
      default:
        this.#members.get(record.member)?.handlers.onRecord(record);
    }
  }

  /** @param {number} member @param {LinkEvent} event */
  #onEvent(member, event) {
    switch (event.type) {
      case "prove":
        return this.#proof?.publishOn(/** @type {string} */ (event.channel));
      case "proven":
        this.#proven = true;
        this.#reason = PROVEN;
        this.#proof?.stop();
        this.#proof = null;
        debug("the link is proven");
        break;
      case "mark":
        this.#clients?.publish(event.channel ?? "", event.text ?? "").catch((error) => {
          debug("the mark could not be sent: %s", error?.message ?? error);
        });
        return;
      case "drain":
        return this.#drain(event.secret ?? "");
      case "own":
        return this.#returnToOwn();
      case "stayed":
        return this.#wayBack?.failed(event.reason ?? "");
      case "flowing":
        // Of before the last message that was handed over: that may still be on its way.
        this.#flowing = event.flowing === true && event.seen === this.#handedOver - this.#handedBefore;
        return;
      case "flushed":
        if (this.#clientsEnded) this.#clients?.release();
        return this.#isUnanswered ? undefined : letGo(this);
      case "givenUp":
        return giveUp(this, event.messages ?? 0, "the clients have ended");
      case "failed":
        return this.#onFailed(event);
      case "note":
        return debug("%s", event.text);
      case "ready":
        // Where the connection stood, this is all that says that the outage is over.
        this.#reasons.clear();
        this.#try();
        break;
      case "up":
        this.#trouble = null;
        this.#hasStood = true;
        this.#reasons.clear();
        this.#away.end();
        this.#doubt?.stand();
        break;
      case "refused":
        return this.#onRefused(event);
      case "replica":
        return this.#doubt?.meetReplica();
      case "down":
        debug("down: %s", event.reason);
        this.#away.begin(event.reason ?? "");
        this.#try();
        // The clients would get the same answer.
        if (event.stands) break;
        this.#trouble = `the link's own connections could not be made: ${event.reason}`;
        if (!this.#byClient) void this.#doubt?.raise(event.reason ?? "", this.#ownChannel);
        break;
    }
    this.#tellMembers(event, member);
  }

  /** The first attempt to connect has ended, one way or the other. */
  #try() {
    if (this.#tried) return;
    this.#tried = true;
    letGo(this.#attempt);
  }

  /** @param {LinkEvent} event */
  #onRefused(event) {
    // Each member says hello, and one that only listens is refused nothing else.
    const hasSent = this.#handedOver > 0 || (this.#carrier?.counts.published ?? 0) > 0;
    if (event.what !== "publish" || hasSent || this.#greeters === 0) return this.#refusals.add(event);
    this.#greeters--;
    if (!this.#helloTold) this.#tellOne({ ...event, what: "hello" });
    this.#helloTold = true;
  }

  /** Tells the first member that is listened to: it concerns all of them. @param {LinkEvent} event */
  #tellOne(event) {
    for (const { handlers } of [...this.#members.values()]) if (handlers.onEvent(event)) return;
    this.#warnUntold(event);
  }

  /** Tells all of them, or one. @param {LinkEvent} event @param {number} [member] */
  #tellMembers(event, member = 0) {
    const one = this.#members.get(member);
    const told = member === 0 ? [...this.#members.values()] : one === undefined ? [] : [one];
    let heard = told.length === 0;
    for (const { handlers } of told) heard = handlers.onEvent(event) === true || heard;
    if (!heard && ["down", "deaf", "failed"].includes(event.type)) this.#warnUntold(event);
  }

  /** An error that nobody listens to. @param {LinkEvent} event */
  #warnUntold(event) {
    // A link that ends with its clients is no outage.
    if (this.#clientsEnded && event.type !== "failed") return;
    // Clients that carry the bytes, or are about to, tell by themselves what becomes of their connections. What Redis
    // itself has said begins with a code.
    const isOwn = this.#clients === null || (this.#options.transport === "native" && !this.#byClient);
    const isTold = event.type === "refused" ? isOfClient(event) : event.type !== "failed";
    if (!isOwn && isTold) return;
    const [member] = this.#members.values();
    const text = explainEvent(event, member?.routing);
    if (event.type !== "refused") {
      if (this.#reasons.has(text) || this.#reasons.size >= MAX_REASONS) return;
      this.#reasons.add(text);
    }
    if (event.what === "encode") warnUntold(text, HINTS.encode);
    else warnUntold(text, this.#emits ? HINTS.emitter : HINTS.adapter);
  }
}

/** Whether a client has refused something, by its own words. @param {LinkEvent} event */
function isOfClient({ what, error = "" }) {
  return what !== "encode" && !/^[A-Z]+ /.test(error);
}

/** How many messages of a link are not with the kernel: one at least, if it says that there are some. @param {import("../../binding").Link | null} native */
function unwrittenOf(native) {
  if (native === null || native.isFlushed()) return 0;
  return Math.max(native.stats().backlog, 1);
}

/** @param {import("../options/options").Family} family @returns {import("../clients/client").Space} */
function spaceOf(family) {
  return family === "sharded" || family === "streams-sharded" ? "shard" : "global";
}

/**
 * Whether own connections that have failed may carry the bytes again. Not in a cluster, whose nodes hand messages on in an
 * order of their own; nor with streams.
 *
 * @param {LinkOptions} options
 * @param {import("../clients/settings").Settings} settings
 */
function mayReturn({ family }, settings) {
  return settings.cluster === undefined && !familyHasStreams(family);
}

/** @param {string} text */
function toBuffer(text) {
  return Buffer.from(text);
}

/** @param {import("../options/options").Family} family */
function familyHasStreams(family) {
  return family === "streams" || family === "streams-sharded";
}

module.exports = { Link, SENT };
