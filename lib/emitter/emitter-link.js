// @ts-check
"use strict";

/**
 * The link that emitters send by, one for all of a client's; what has become of what they have sent; and its end.
 */

const { isOwn, linkOf } = require("../place/forms");
const { WRITE_PATIENCE } = require("../base/lifetime");
const { linkOfEmitter } = require("../link/links");
const { senderOf } = require("./senders");
const debug = require("debug")("socket.io-emitter");

/** So many namespaces are known to the link at a time; each costs it some memory, and a count now and then. */
const MAX_SENDERS = 1000;

/** @type {WeakMap<import("../link/link").Link, EmitterLink>} */
const emitterLinks = new WeakMap();

/**
 * Emitters that nobody has closed, and nobody holds any more: the reference has no `close()`, and programs make one for
 * each message. @type {FinalizationRegistry<EmitterLink>}
 */
const abandoned = new FinalizationRegistry((emitterLink) => void emitterLink.abandon());

class EmitterLink {
  /** @type {Map<string, import("./senders").Sender>} */
  #senders = new Map();
  /** Those that are members of the link, oldest first. @type {Set<import("./senders").Sender>} */
  #joined = new Set();
  /** How many emitters are not closed. They are not held: see `abandoned`. */
  #users = 0;
  /** What was wrong when the connection was last lost. */
  #outage = "";

  #isOwn;

  /** @param {import("../link/link").Link} link @param {boolean} isOwn whether it has no client, with which its link would end */
  constructor(link, isOwn) {
    this.link = link;
    this.#isOwn = isOwn;
  }

  /**
   * The emitterLink of a client, or one of its own for an address.
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
   * What sends for a namespace: the same for all emitters that would send alike.
   *
   * @param {import("./options").EmitterOptions} options
   * @param {string} nsp
   */
  sender(options, nsp) {
    // What a parser does nobody can compare.
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

  /** An emitter is gone without being closed. The last one ends a link that nothing else ends, as soon as it may. */
  async abandon() {
    this.#users--;
    if (!this.#isOwn || this.#users > 0) return;
    // Of what was lost nobody is left to hear.
    await this.link.progress.whenAnswered().catch(() => {});
    if (this.#users === 0) this.#end();
  }

  #end() {
    for (const sender of this.#joined) sender.close();
    this.#joined.clear();
    this.link.end();
  }

  /** What has become of all that was sent by now. */
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
   * Why something has not reached Redis.
   *
   * @param {{ refused: number, lost: number, pending: number }} counts
   * @param {number} [timeout] how long it was waited for, if that was said
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
