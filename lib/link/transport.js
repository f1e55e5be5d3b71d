// @ts-check
"use strict";

/**
 * Decides who carries the bytes of a link: its own connections, or the user's clients.
 */

const binding = require("../base/native");
const { Carrier } = require("./carrier");
const { settingsForBinding } = require("./credentials");
const { Fallback } = require("./fallback");
const { hasStreams } = require("./member");
const { Proof } = require("./proof");
const { addStats, addToStats } = require("../base/renewal");
const { Failback } = require("./failback");
const debug = require("debug")("socket.io-redis:link");

/** Why own connections carry the bytes. */
const PROVEN = "proven: what a client published came in on the link";

/**
 * What the transport asks of its link.
 *
 * @typedef {object} Owner
 * @property {Map<number, import("./member").Member>} members
 * @property {() => void} drain hands on what Rust has for JS
 * @property {(event: import("./inbox").LinkEvent) => void} onRefused
 *
 * @typedef {import("./member").LinkOptions} LinkOptions
 */

class Transport {
  /** Null if the link is all there is. */
  #clients;
  /** Where the own connections go. @type {import("../clients/settings").Settings | null} */
  settings;
  #options;
  /** Set if one of the clients is a duplicate that was made here: it connects and ends with the other. */
  #duplicate;
  #owner;
  /** @type {import("../../binding").Link | null} */
  #native = null;
  /** Whether the user's clients are to carry the bytes. */
  byClient = false;
  /** @type {Carrier | null} */
  carrier = null;
  /** @type {Proof | null} */
  #proof = null;
  #proven = false;
  #reason = "";
  /** Why the own connections do not stand. @type {string | null} */
  #trouble = null;
  /** Whether the own connections have ever stood. */
  #hasStood = false;
  /** Whether publishes may go out directly: none waits that they would overtake. */
  #flowing = false;
  /** How many messages Rust has got. */
  handedOver = 0;
  /** How many of them native links that have failed since. */
  #handedBefore = 0;
  /** How many messages went directly to the clients of earlier carriers. */
  #carriedBefore = 0;
  /** The counters of native links that have failed, and of earlier carriers. @type {Partial<import("../base/renewal").Stats> | null} */
  #past = null;
  /** Whether the user's clients have been seen connected or on the way. */
  #clientsSeen = false;
  /** Whether they have ended since. */
  clientsEnded = false;
  /** Leaves the own connections for the user's clients if they fail. @type {Fallback | null} */
  #fallback = null;
  /** Tries to come back to the own connections, if that may be. @type {Failback | null} */
  #failback = null;
  /** A channel that only a member of this link listens to. */
  ownChannel = "";

  /**
   * @param {import("../clients").Clients | null} clients
   * @param {import("../clients/settings").Settings | null} settings
   * @param {LinkOptions} options
   * @param {ReturnType<typeof import("../clients/duplicate").lifeOf>} duplicate
   * @param {Owner} owner
   */
  constructor(clients, settings, options, duplicate, owner) {
    this.#clients = clients;
    this.settings = settings;
    this.#options = options;
    this.#duplicate = duplicate;
    this.#owner = owner;
    this.#choose();
  }

  /** Who carries the bytes, whether that is certain, and why. */
  get state() {
    if (this.byClient) return { carrier: "client", proven: true, reason: this.#reason };
    // Unless clients have proven it, own connections must have stood.
    const isUnseen = this.#reason !== PROVEN && !this.#hasStood;
    const trouble = isUnseen && this.#trouble !== null ? `; ${this.#trouble}` : "";
    return { carrier: "native", proven: this.#proven && !isUnseen, reason: this.#reason + trouble };
  }

  /** Whether it is settled who carries the bytes: the user's clients, or own connections that need no proof any more. */
  get isSettled() {
    return this.byClient || this.#proven;
  }

  /** Whether the link's own connections are the only ones, so that nobody else reports their errors. */
  get isOwn() {
    return this.#clients === null || (this.#options.transport === "native" && !this.byClient);
  }

  /** Whether the user has given clients. */
  get hasClients() {
    return this.#clients !== null;
  }

  /** Whether nobody has connected the user's clients: waiting would not connect them. */
  get isHopeless() {
    return this.#clients !== null && !this.#clientsSeen && this.#clients.hasEnded();
  }

  /** What the user's clients prepend to the names of keys. */
  get keyPrefix() {
    return this.#clients?.keyPrefix ?? "";
  }

  /** How many messages were published, or are to be. */
  get published() {
    return this.handedOver + this.#carriedBefore + (this.carrier?.counts.published ?? 0);
  }

  /** Whether anything was published by this link. */
  get hasSent() {
    return this.handedOver > 0 || (this.carrier?.counts.published ?? 0) > 0;
  }

  /** The counters of the link; null if it has none yet. */
  stats() {
    if (this.#native === null) return null;
    const stats = addStats(this.#native.stats(), this.#past);
    return this.carrier === null ? stats : addToStats(stats, this.carrier.counts);
  }

  /** Makes the native link. @param {() => void} wake @returns {import("../../binding").Link} */
  open(wake) {
    if (this.#clients !== null && !this.isSettled) {
      this.#proof = new Proof(this.#clients, () =>
        this.#useClients(this.#trouble ?? "the link's own connections did not reach the same Redis"),
      );
    }
    return (this.#native = this.#make(wake));
  }

  /** The link is ready to take what comes from Rust. */
  begin() {
    if (this.byClient) this.#startCarrier();
  }

  /** The link is closed. */
  close() {
    this.#fallback?.cancel();
    this.#failback?.stop();
    this.#endProof();
    const { carrier } = this;
    // First: it hears of what it ends.
    this.carrier = null;
    if (carrier !== null) carrier.stop();
    // A proof has published by them.
    else this.#clients?.stop();
    this.#duplicate?.end();
    this.#past = null;
    this.#native = null;
    this.#flowing = false;
    this.handedOver = 0;
    this.#handedBefore = 0;
    this.#carriedBefore = 0;
  }

  /** The native link has failed: nothing goes out directly until there is another one. */
  failed() {
    this.#flowing = false;
  }

  /** Gives up a native link that has failed; its counters are kept. @param {import("../../binding").Link} native */
  abandon(native) {
    this.#past = addStats(native.stats(), this.#past);
    this.#fallback?.cancel();
    this.#endProof();
    this.#endCarrier();
    this.#native = null;
    this.#handedBefore = this.handedOver;
  }

  /** There is a new native link in its place. */
  renewed() {
    if (this.clientsEnded) this.#native?.open(false);
    this.#onClientEvent();
  }

  /** Rust gets a message: nothing may overtake it directly until Rust says that it is out. */
  handOver() {
    this.handedOver++;
    this.#flowing = false;
  }

  /** Whether a publish can go to the user's client directly, in the same tick. */
  isDirect() {
    if (this.carrier === null) return false;
    this.carrier.clientsChanged();
    return this.#flowing && this.carrier.takes;
  }

  /**
   * Takes an event of Rust about the connections. Returns whether it concerns nobody else.
   *
   * @param {import("./inbox").LinkEvent} event
   */
  onEvent(event) {
    switch (event.type) {
      case "prove":
        this.#proof?.publishOn(/** @type {string} */ (event.channel));
        return true;
      case "proven":
        this.#proven = true;
        this.#reason = PROVEN;
        this.#endProof();
        debug("the link is proven");
        return false;
      case "mark":
        this.#clients?.publish(event.channel ?? "", event.text ?? "").catch((error) => {
          debug("the mark could not be sent: %s", error?.message ?? error);
        });
        return true;
      case "drain":
        this.#drain(event.secret ?? "");
        return true;
      case "own":
        this.#returnToOwn();
        return true;
      case "stayed":
        this.#failback?.failed(event.reason ?? "");
        return true;
      case "flowing":
        // An event from before the last message was handed over does not count: that message may still wait.
        this.#flowing = event.flowing === true && event.seen === this.handedOver - this.#handedBefore;
        return true;
      case "replica":
        this.#fallback?.meetReplica();
        return true;
      case "up":
        this.#trouble = null;
        this.#hasStood = true;
        this.#fallback?.connected();
        return false;
      case "down":
        // The connection stands and Redis refuses: the clients would be refused as well.
        if (event.stands) return false;
        this.#trouble = `the link's own connections could not be made: ${event.reason}`;
        if (!this.byClient) void this.#fallback?.consider(event.reason ?? "", this.ownChannel);
        return false;
      default:
        return false;
    }
  }

  /** All is written. */
  flushed() {
    if (this.clientsEnded) this.#clients?.release();
  }

  /** There are members: the clients' connections are followed. */
  follow() {
    if (this.#clients === null) return;
    this.unfollow();
    this.#duplicate?.follow();
    this.#clients.watch(this.#onClientEvent, this.#onClientDown);
    this.#onClientEvent();
  }

  /** There are none any more. */
  unfollow() {
    this.#duplicate?.unfollow();
    this.#clients?.unwatch();
  }

  #choose() {
    if (this.#clients === null) {
      this.#reason = "there are no clients";
      this.#proven = true;
      return;
    }
    const wanted = this.#options.transport;
    if (wanted === "client") {
      const flaw = this.#clients.flaw();
      if (flaw !== null) throw new TypeError(`opts.transport cannot be "client": ${flaw}`);
      this.byClient = true;
      this.#reason = "as the transport option says";
      return;
    }
    const { settings, reason } = this.#clients.settings();
    if (settings !== null) {
      this.settings = settings;
      this.#proven = wanted === "native";
      if (wanted === "auto") {
        const failsOver = settings.cluster !== undefined || settings.sentinel !== undefined;
        this.#fallback = new Fallback(this.#clients, failsOver, (why) =>
          this.#useClients(`the link's own connections fail: ${why}`),
        );
        this.#failback = mayReturn(this.#options, settings)
          ? new Failback((secret) => this.#useOwn(secret))
          : null;
      }
      this.#reason = wanted === "native" ? "as the transport option says" : "waiting for the proof";
    } else if (wanted === "native") {
      throw new TypeError(`opts.transport cannot be "native": ${reason}`);
    } else {
      const flaw = this.#clients.flaw();
      if (flaw !== null) throw new TypeError(`${flaw} (and the link cannot connect by itself: ${reason})`);
      this.byClient = true;
      this.#reason = reason;
    }
  }

  /** @param {() => void} wake @returns {import("../../binding").Link} */
  #make(wake) {
    try {
      return new binding.Link(
        {
          // Left out rather than null: that is how optional properties cross.
          ...(!this.byClient &&
            this.settings !== null && {
              settings: settingsForBinding(this.settings, this.#options.allowedHosts),
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
      // For example a certificate that Node can read and the link cannot.
      if (this.#clients === null || this.byClient || this.#options.transport === "native") throw error;
      this.byClient = true;
      this.#failback = null;
      this.#proof = null;
      this.#reason = `the link cannot connect by itself: ${error.message}`;
      return this.#make(wake);
    }
  }

  #onClientEvent = () => {
    const clients = this.#clients;
    if (clients === null || this.#native === null) return;
    const ready = clients.isReady();
    this.#clientsSeen ||= ready || !clients.hasEnded();
    if (this.#clientsSeen && !this.clientsEnded && clients.hasEnded()) {
      debug("the clients have ended, and so does the link");
      this.clientsEnded = true;
      this.#native.open(false);
      if (!this.#native.watchFlushed()) clients.release();
    } else if (ready && this.clientsEnded) {
      debug("the clients are back, and so is the link");
      this.clientsEnded = false;
      this.#native.open(true);
    }
    this.carrier?.clientsChanged();
    this.#proof?.clientsChanged();
  };

  #onClientDown = () => {
    // The own connections are judged anew when the clients are connected again.
    this.#fallback?.cancel();
    this.carrier?.clientsFailed();
    this.#onClientEvent();
  };

  #startCarrier() {
    const { clients, native } = { clients: this.#clients, native: this.#native };
    if (clients === null || native === null) return;
    this.carrier = new Carrier(clients, native, {
      onRefused: (error, stream) =>
        this.#owner.onRefused({ type: "refused", what: "publish", error, stream }),
      onHold: () => (this.#flowing = false),
      onHandedOver: () => this.handOver(),
      drain: () => this.#owner.drain(),
      isOwn: (channel) => this.#isOwn(channel),
    });
    // The clients can take publishes directly, unless some wait in Rust already.
    this.#flowing = native.isFlushed();
    this.#failback?.begin();
  }

  /** Whether a channel belongs to one member of this link alone. @param {string} channel */
  #isOwn(channel) {
    for (const { routing } of this.#owner.members.values())
      if (channel === routing.names.ownResponse) return true;
    return false;
  }

  /** The user's clients no longer carry the bytes; their counters are kept. */
  #endCarrier() {
    if (this.carrier === null) return;
    this.#past = addToStats(this.#past ?? {}, this.carrier.counts);
    this.#carriedBefore += this.carrier.counts.published;
    const { carrier } = this;
    this.carrier = null;
    carrier.stop();
  }

  #endProof() {
    this.#proof?.stop();
    this.#proof = null;
  }

  /** @param {string} reason */
  #useClients(reason) {
    if (this.#native === null || this.byClient) return;
    debug("the user's clients carry the bytes: %s", reason);
    this.#endProof();
    this.byClient = true;
    this.#reason = reason;
    this.#native?.useClient();
    this.#startCarrier();
    // Publishes wait until the clients are subscribed and the other servers are back: answers would reach nobody.
    this.#flowing = false;
  }

  /** Tries to have own connections carry the bytes again. @param {string} secret */
  #useOwn(secret) {
    const [native, settings] = [this.#native, this.settings];
    if (native === null || settings === null || !this.byClient) return;
    if (this.#owner.members.size === 0 || !this.#clients?.isReady())
      return this.#failback?.failed("they are not connected");
    debug("own connections may carry the bytes again");
    try {
      native.useOwn(settingsForBinding(settings, this.#options.allowedHosts), secret);
    } catch (/** @type {any} */ error) {
      // No other attempt would succeed either.
      debug("own connections cannot be made: %s", error.message);
    }
  }

  /** A step of that: waits until the clients have answered all direct publishes. @param {string} secret */
  #drain(secret) {
    this.#flowing = false;
    const native = this.#native;
    this.carrier?.answered().then(() => native?.drained(secret));
  }

  /** Own connections carry the bytes again. */
  #returnToOwn() {
    this.#failback?.succeeded();
    this.byClient = false;
    this.#proven = true;
    this.#reason = PROVEN;
    this.#trouble = null;
    this.#flowing = false;
    this.#endCarrier();
    this.#fallback?.connected();
  }
}

/**
 * Whether a link may fail back to own connections. Not in a cluster, whose nodes hand messages on in an order of their own;
 * nor with streams.
 *
 * @param {LinkOptions} options
 * @param {import("../clients/settings").Settings} settings
 */
function mayReturn({ family }, settings) {
  return settings.cluster === undefined && !hasStreams(family);
}

module.exports = { Transport };
