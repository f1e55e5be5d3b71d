// @ts-check
"use strict";

/**
 * Reports a link's errors to its members, and on stderr if none of them listens.
 */

const { explainEvent } = require("./refusals");
const { Throttle } = require("./throttle");
const { warnUnhandled } = require("./unhandled-errors");

/** What there is to do about an error that nobody listens to. */
const HINTS = {
  adapter: "the adapter tries again by itself; its `error` event and its option onError tell this, too",
  emitter: "the emitter tries again by itself; flush() and close() tell what has not reached Redis",
  encode: "the `error` event of the adapter and its option onError tell this, too",
};

/** The most reasons of one outage that are told on stderr. */
const MAX_REASONS = 5;

/** @typedef {import("./inbox").LinkEvent} LinkEvent */

class ErrorReports {
  #members;
  #transport;
  #progress;
  #refusals = new Throttle((event) => this.#tellOne(event));
  /** What was said on stderr of the outage. @type {Set<string>} */
  #reasons = new Set();
  /** How many of the members that have joined were not refused to say hello. */
  #greeters = 0;
  /** Whether it was told that one was. */
  #helloTold = false;

  /**
   * @param {Map<number, import("./member").Member>} members
   * @param {import("./transport").Transport} transport
   * @param {import("./progress").Progress} progress
   */
  constructor(members, transport, progress) {
    this.#members = members;
    this.#transport = transport;
    this.#progress = progress;
  }

  /** The last event of a publish that Redis refused. */
  get lastOfPublish() {
    return this.#refusals.lastOfPublish;
  }

  /** A member has joined, which says hello. */
  joined() {
    this.#greeters++;
  }

  /** The next outage is told of anew. */
  outageOver() {
    this.#reasons.clear();
  }

  stop() {
    this.#refusals.stop();
  }

  /** A broadcast is nested too deep. */
  unencodable() {
    this.#refusals.add({ type: "refused", what: "encode" });
  }

  /** @param {LinkEvent} event */
  refused(event) {
    // Each member says hello. A user who may only subscribe is refused nothing else.
    if (event.what !== "publish" || this.#transport.hasSent || this.#greeters === 0)
      return this.#refusals.add(event);
    this.#greeters--;
    if (!this.#helloTold) this.#tellOne({ ...event, what: "hello" });
    this.#helloTold = true;
  }

  /** Tells all members of an event, or one. @param {LinkEvent} event @param {number} [member] */
  tell(event, member = 0) {
    const members = this.#members;
    const one = members.get(member);
    const told = member === 0 ? [...members.values()] : one === undefined ? [] : [one];
    let heard = told.length === 0;
    for (const { handlers } of told) heard = handlers.onEvent(event) === true || heard;
    if (!heard && ["down", "deaf", "failed"].includes(event.type)) this.#warn(event);
  }

  /** Tells the first member that somebody listens to: the event concerns all of them. @param {LinkEvent} event */
  #tellOne(event) {
    for (const { handlers } of [...this.#members.values()]) if (handlers.onEvent(event)) return;
    this.#warn(event);
  }

  /** Warns of an error that nobody listens to. @param {LinkEvent} event */
  #warn(event) {
    // A link that ends with its clients is no outage.
    if (this.#transport.clientsEnded && event.type !== "failed") return;
    // Clients that carry the bytes, or may have to, report errors of their connections by themselves. A reply of Redis
    // begins with a code.
    const isTold = event.type === "refused" ? isOfClient(event) : event.type !== "failed";
    if (!this.#transport.isOwn && isTold) return;
    const [member] = this.#members.values();
    const text = explainEvent(event, member?.routing);
    if (event.type !== "refused") {
      if (this.#reasons.has(text) || this.#reasons.size >= MAX_REASONS) return;
      this.#reasons.add(text);
    }
    if (event.what === "encode") warnUnhandled(text, HINTS.encode);
    else warnUnhandled(text, this.#progress.emits ? HINTS.emitter : HINTS.adapter);
  }
}

/** Whether a client has refused something, by its own words. @param {LinkEvent} event */
function isOfClient({ what, error = "" }) {
  return what !== "encode" && !/^[A-Z]+ /.test(error);
}

module.exports = { ErrorReports };
