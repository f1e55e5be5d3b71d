// @ts-check
"use strict";

/**
 * The link of all emitters of a client: counts what has become of their messages, and ends with the last of them.
 */

const { isOwn, linkOf } = require("../place/forms");
const { WRITE_PATIENCE } = require("../base/lifetime");
const { linkOfEmitter } = require("../link/links");
const { senderOf } = require("./senders");
const debug = require("debug")("socket.io-emitter");

/** The most namespaces that the link has at a time: each costs it some memory, and a count now and then. */
const MAX_SENDERS = 1000;

/** @type {WeakMap<import("../link/link").Link, EmitterLink>} */
const emitterLinks = new WeakMap();

/**
 * Emitters that are garbage and were not closed: the reference has no `close()`, and programs make an emitter for each message. @type {FinalizationRegistry<EmitterLink>}
 */
const abandoned = new FinalizationRegistry((emitterLink) => void emitterLink.abandon());

class EmitterLink {
  /** @type {Map<string, import("./senders").Sender>} */
  #senders = new Map();
  /** The senders that are members of the link, oldest first. @type {Set<import("./senders").Sender>} */
  #joined = new Set();
  /** How many emitters are not closed. They are not referenced: see `abandoned`. */
  #users = 0;
  /** Why the connection was last lost. */
  #outage = "";

  #isOwn;

  /** @param {import("../link/link").Link} link @param {boolean} isOwn whether it has no client, with which its link would end */
  constructor(link, isOwn) {
    this.link = link;
    this.#isOwn = isOwn;
  }

  /**
   * The one of a client, or a new one for an address.
   *
   * @param {import("../place/forms").Form} form
   * @param {import("./options").EmitterOptions} options
   */
  static of(form, options) {
    if (isOwn(form)) return new EmitterLink(linkOf(form, options.link), true);
    const link = linkOfEmitter(form.pub, options.link);
    let emitterLink = emitterLinks.get(link);
    if (emitterLink === undefined) emitterLinks.set(link, (emitterLink = new EmitterLink(link, false)));
    return emitterLink;
  }

  /**
   * The sender of a namespace: the same for all emitters with the same options.
   *
   * @param {import("./options").EmitterOptions} options
   * @param {string} nsp
   */
  sender(options, nsp) {
    // Parsers cannot be compared.
    if (options.customParser) return senderOf(this, options, nsp);
    const { prefix, mode, stream } = options.identity;
    const name = JSON.stringify([prefix, mode, stream, options.onlyPlaintext, nsp]);
    let sender = this.#senders.get(name);
    if (sender === undefined) {
      if (this.#senders.size >= MAX_SENDERS) this.#senders.clear();
      this.#senders.set(name, (sender = senderOf(this, options, nsp)));
    }
    return sender;
  }

  /** Makes a sender a member of the link. @param {import("./senders").Sender} sender @param {import("../link/routing").Routing} routing */
  join(sender, routing) {
    if (this.#joined.size >= MAX_SENDERS) {
      const [oldest] = this.#joined;
      this.#joined.delete(oldest);
      oldest.close();
    }
    this.#joined.add(sender);
    return this.link.join(routing, { onRecord() {}, onEvent: (event) => this.#onEvent(event) });
  }

  /** @param {object} session of an emitter */
  enter(session) {
    this.#users++;
    abandoned.register(session, this, session);
  }

  /** The last emitter that is closed ends the link. @param {object} session */
  leave(session) {
    if (abandoned.unregister(session) && --this.#users === 0) this.#end();
  }

  /** An emitter was not closed and is garbage. The last one ends a link of its own once all is answered. */
  async abandon() {
    this.#users--;
    if (!this.#isOwn || this.#users > 0) return;
    // Nobody is left to be told of losses.
    await this.link.progress.whenAnswered().catch(() => {});
    if (this.#users === 0) this.#end();
  }

  #end() {
    for (const sender of this.#joined) sender.close();
    this.#joined.clear();
    this.link.end();
  }

  /** Counts what has become of all messages so far. */
  count() {
    const {
      acknowledged = 0,
      receivers = 0,
      refused = 0,
      lostInFlight = 0,
      dropped = 0,
    } = this.link.stats() ?? {};
    const pending = this.link.progress.unanswered;
    return { sent: acknowledged, receivers, refused, lost: lostInFlight + dropped, pending };
  }

  /**
   * Explains why messages have not reached Redis.
   *
   * @param {{ refused: number, lost: number, pending: number }} counts
   * @param {number} [timeout] how long was waited, if a time was given
   */
  explain({ refused, lost, pending }, timeout) {
    const why = [];
    if (refused > 0) why.push(`${refused} refused (${this.link.refusal})`);
    if (lost > 0)
      why.push(`${lost} lost (${this.#outage || "the client has ended, or the backlog was full"})`);
    const when = timeout === undefined ? `within ${WRITE_PATIENCE / 1000} s` : "in time";
    if (pending > 0) why.push(`${pending} not answered ${when}${this.#outage && ` (${this.#outage})`}`);
    return why.join(", ");
  }

  /** @param {import("../link/link").LinkEvent} event */
  #onEvent(event) {
    switch (event.type) {
      case "refused":
        return debug("Redis refused to %s: %s", event.what, event.error);
      case "failed":
      case "down":
        this.#outage = event.reason ?? "";
        return debug("down: %s", event.reason);
      case "up":
        this.#outage = "";
    }
  }
}

module.exports = { EmitterLink };
