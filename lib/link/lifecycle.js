// @ts-check
"use strict";

/**
 * Makes the native side of a link with the first member, makes it anew when it has failed, and closes it when nobody needs it
 * any more. Hands what comes from it to the members, or to the caller that waits for it.
 */

const binding = require("../base/native");
const { Outage } = require("../base/outage");
const { keep, letGo } = require("../base/lifetime");
const { Renewal } = require("../base/renewal");
const { Calls } = require("./calls");
const { ClosedLinks } = require("./closed-links");
const { answerForCredentials } = require("./credentials");
const { ErrorReports } = require("./error-reports");
const { Inbox, KIND } = require("./inbox");
const { Progress } = require("./progress");
const { Restores } = require("./restores");
const { Transport } = require("./transport");
const debug = require("debug")("socket.io-redis:link");

/** How long a link without members stays, in milliseconds: a publish after `close()` still finds it. */
const IDLE_TIMEOUT = 1000;

/**
 * @typedef {import("./inbox").LinkEvent} LinkEvent
 * @typedef {import("./member").LinkOptions} LinkOptions
 * @typedef {import("./member").Member} Member
 * @typedef {import("./member").MemberHandlers} MemberHandlers
 */

class Lifecycle {
  /** Made with the first member. @type {import("../../binding").Link | null} */
  native = null;
  /** The number of `native`. */
  id = 0;
  /** @type {Map<number, Member>} */
  members = new Map();
  /** The calls that wait for an answer of Rust. */
  calls = new Calls();
  restores = new Restores();
  /** Whether Redis is away, and since when. */
  outage = new Outage();
  /** @type {Inbox | null} */
  #inbox = null;
  #renewal = new Renewal();
  #closed = new ClosedLinks();
  /** Whether the first attempt to connect has ended. */
  #tried = false;
  /** Keeps the process until then. */
  #attempt = {};
  /** @type {NodeJS.Timeout | null} */
  #idleTimer = null;

  /**
   * @param {import("../clients").Clients | null} clients null if the link is all there is
   * @param {import("../clients/settings").Settings | null} settings where the own connections go
   * @param {LinkOptions} options those of the first member
   * @param {ReturnType<typeof import("../clients/duplicate").lifeOf>} duplicate of one of the clients, if it was made here
   */
  constructor(clients, settings, options, duplicate) {
    this.transport = new Transport(clients, settings, options, duplicate, {
      members: this.members,
      drain: () => this.#inbox?.drain(),
      onRefused: (event) => this.reports.refused(event),
    });
    this.progress = new Progress(this.transport, this.calls);
    this.reports = new ErrorReports(this.members, this.transport, this.progress);
  }

  /**
   * Adds a member and returns its number.
   *
   * @param {import("./routing").Routing} routing
   * @param {MemberHandlers} handlers
   */
  join(routing, handlers) {
    const native = this.open();
    this.#stopIdling();
    const member = native.join(routing.native.id);
    const emits = routing.identity.emitter !== undefined;
    this.progress.emits = emits;
    this.transport.ownChannel = routing.names.ownResponse;
    this.members.set(member, { routing, handlers });
    if (!emits) this.reports.joined();
    if (this.members.size === 1) this.transport.follow();
    // Without clients nothing else keeps a script that waits to be ready.
    if (!this.transport.hasClients && !this.#tried) keep(this.#attempt, "the first connection of a link");
    return member;
  }

  /** @param {number} member */
  leave(member) {
    if (!this.members.delete(member)) return;
    this.native?.leave(member);
    if (this.members.size > 0) return;
    // Unless messages wait for the clients to be connected.
    if (this.native === null || this.native.isFlushed()) this.transport.unfollow();
    // Without a member the proof cannot be received any more: what waits for it goes out now.
    if (!this.transport.isSettled) this.close();
    else this.idle();
  }

  /** The native side, which is made if there is none. @returns {import("../../binding").Link} */
  open() {
    if (this.native !== null) return this.native;
    /** @type {Inbox | null} */
    let inbox = null;
    const native = this.transport.open(() => inbox?.drain());
    inbox = new Inbox(native.id, (record) => {
      if (record.kind === KIND.CREDENTIALS)
        void answerForCredentials(native, record.token, this.transport.settings);
      else if (this.native === native) this.#onRecord(record);
      else if (record.kind === KIND.EVENT)
        this.#closed.onEvent(native, JSON.parse(record.text(0)), this.progress.emits);
    });
    this.native = native;
    this.#inbox = inbox;
    this.id = native.id;
    this.progress.begin(native);
    this.transport.begin();
    return native;
  }

  /** Ends the native side. Rust goes on until all is written, or for a while; the process is kept for that. */
  close() {
    const { native } = this;
    if (native === null) return;
    this.#stopIdling();
    this.transport.close();
    this.#renewal.stop();
    this.native = null;
    this.#giveUp();
    letGo(this.#attempt);
    this.reports.stop();
    this.progress.end();
    if (this.members.size === 0) this.transport.unfollow();
    // Rust says when all is written or given up, which may be soon.
    if (native.watchFlushed()) this.#closed.add(native, this.transport.byClient);
    native.close();
  }

  /** Closes it in a while, unless a member joins. */
  idle() {
    this.#stopIdling();
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = null;
      if (this.members.size === 0) this.close();
    }, IDLE_TIMEOUT);
    this.#idleTimer.unref();
  }

  /** Whether all that was fetched from Rust is handed on. */
  get isCaughtUp() {
    return this.#inbox?.isDraining === false;
  }

  #stopIdling() {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
  }

  /** Calls and restores are not answered any more. */
  #giveUp() {
    this.calls.end();
    this.restores.fail();
  }

  /** The native side has failed. @param {LinkEvent} event */
  #onFailed(event) {
    debug("the link has failed: %s", event.reason);
    this.transport.failed();
    this.#giveUp();
    this.#renewal.schedule(() => this.#renew());
    this.reports.tell(event);
  }

  /** Makes another one in place of one that has failed: members keep their numbers, and the counters go on. */
  #renew() {
    const failed = this.native;
    if (failed === null) return;
    if (this.members.size === 0) return this.close();
    this.transport.abandon(failed);
    failed.close();
    this.native = null;
    const native = this.open();
    for (const [member, { routing, handlers }] of this.members) {
      native.join(routing.native.id, member);
      handlers.onRejoin?.();
    }
    this.transport.renewed();
  }

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
        return this.calls.answer(record.token, record.n);
      case KIND.COUNT_REFUSED:
        return this.calls.refuse(record.token, record.text(0));
      case KIND.RESTORED:
        return this.restores.onRecord(record);
      case KIND.CARRY:
      case KIND.SUBSCRIBE:
      case KIND.UNSUBSCRIBE:
      case KIND.NUM_SUB:
      case KIND.COMMAND:
      case KIND.CLOSE_READER:
        return this.transport.carrier?.onRecord(record);
      default:
        this.members.get(record.member)?.handlers.onRecord(record);
    }
  }

  /** @param {number} member @param {LinkEvent} event */
  #onEvent(member, event) {
    if (this.transport.onEvent(event)) return;
    switch (event.type) {
      case "flushed":
        this.transport.flushed();
        return this.progress.flushed();
      case "givenUp":
        return this.progress.givenUp(event.messages ?? 0, "the clients have ended");
      case "failed":
        return this.#onFailed(event);
      case "note":
        return debug("%s", event.text);
      case "refused":
        return this.reports.refused(event);
      case "ready":
        // If the connection stood, no other event says that the outage is over.
        this.reports.outageOver();
        this.#endAttempt();
        break;
      case "up":
        this.reports.outageOver();
        this.outage.end();
        break;
      case "down":
        debug("down: %s", event.reason);
        this.outage.begin(event.reason ?? "");
        this.#endAttempt();
        break;
    }
    this.reports.tell(event, member);
  }

  /** The first attempt to connect has ended, one way or the other. */
  #endAttempt() {
    if (this.#tried) return;
    this.#tried = true;
    letGo(this.#attempt);
  }
}

module.exports = { Lifecycle };
