// @ts-check
"use strict";

/**
 * What this server asks the others: it sends a request, gathers the answers, and says how that ended.
 */

const { keepFor } = require("../base/lifetime");
const { explainRefusal } = require("../link/refusals");
const { DESCRIPTIONS, Request } = require("../messages/answers");
const { REQUEST } = require("../messages/requests");
const { toDelay } = require("../options/options");

/** How a request ends that the adapter does not outlive. */
const CLOSED = Object.freeze({ status: "failed", expected: 0, answers: [] });

/** The same of one that the link does not. */
const BROKEN = Object.freeze({ status: "broken", expected: 0, answers: [] });

/** The same of one that a closed adapter is asked for: it has no others, as with the reference. */
const ALONE = Object.freeze({ status: "done", expected: 0, answers: [] });

/** A room that no socket is in: whoever answers that it has nobody there has worked off what came before. */
const NOBODY = "\u0000nobody";

const UNCONFIRMED = "timeout reached: Redis has not confirmed the subscriptions of this server";

/**
 * @typedef {(...args: any[]) => void} Callback
 * @typedef {import("../messages/requests").Fields} Fields
 * @typedef {{ status: string, expected: number, answers: any[], refusal?: string }} Outcome `answers`: the lists that
 *   others answer with, or their answers as they came
 * @typedef {{ maker: import("../messages/answers").Maker }} Wanted what becomes of the sockets of others; Socket.IO may want
 *   something else than others do
 *
 * @typedef {object} Asking what an asker needs of its adapter
 * @property {any} nsp
 * @property {boolean} _isReady
 * @property {boolean} _isClosed
 * @property {number} requestsTimeout in milliseconds
 * @property {() => string} _newRequestId
 * @property {(timeout: any) => Promise<boolean>} _subscribed
 */

class Asker {
  #membership;
  #codec;
  #adapter;
  /** Requests that wait for answers, by their id. @type {Map<string, Request>} */
  requests = new Map();
  /** Acknowledged broadcasts, by their id. @type {Map<string, { clientCountCallback: Callback, ack: Callback }>} */
  ackRequests = new Map();

  /** @param {import("./member").Membership} membership @param {import("./responder").Codec} codec @param {Asking} adapter */
  constructor(membership, codec, adapter) {
    this.#membership = membership;
    this.#codec = codec;
    this.#adapter = adapter;
  }

  /** An id for a request: none that waits has it. @returns {string} */
  unusedId() {
    const id = this.#adapter._newRequestId();
    return this.requests.has(id) || this.ackRequests.has(id) ? this.unusedId() : id;
  }

  /**
   * The lists that the other members answer with.
   *
   * @param {number} kind of the request
   * @param {Fields} fields
   * @param {string} method that was called
   * @param {any} timeout in milliseconds
   * @param {Wanted} [wanted]
   * @returns {Promise<any[][]>}
   */
  async lists(kind, fields, method, timeout, wanted = { maker: DESCRIPTIONS }) {
    const codec = this.#codec;
    const requestId = this.unusedId();
    const outcome = await this.#ask(requestId, kind, fields, timeout, wanted);
    const { status, expected, answers } = outcome;
    const ofWhole = (/** @type {Buffer} */ answer) => wanted.maker.ofList(codec.readList(answer, kind));
    const lists = answers.map((answer) => (Array.isArray(answer) ? answer : ofWhole(answer)));
    if (status === "done") return lists;
    const responses = lists.map((list) => ({ requestId, [codec.listOf(kind)]: list }));
    const failure = this.#failed(outcome, codec.lateText(method, answers.length, expected));
    // What has come is not thrown away.
    throw Object.assign(failure, { responses, expected });
  }

  /** Has other members emit an event, and resolves when they have answered, or not. @param {any[]} args @param {Callback} ack */
  serverSideEmit(args, ack) {
    const asked = this.#ask(
      this.unusedId(),
      REQUEST.SERVER_SIDE_EMIT,
      { args },
      this.#adapter.requestsTimeout,
    );
    return asked.then((outcome) => {
      const responses = outcome.answers.map((bytes) => this.#codec.readEmitted(bytes));
      ack(outcome.status === "done" ? null : this.#failed(outcome), responses);
    });
  }

  /**
   * Sends a broadcast whose acknowledgements are told one by one.
   *
   * @param {string} id
   * @param {Buffer} request
   * @param {Callback} clientCountCallback
   * @param {Callback} ack
   * @param {any} timeout in milliseconds
   */
  broadcastWithAck(id, request, clientCountCallback, ack, timeout) {
    this.ackRequests.set(id, { clientCountCallback, ack });
    this.#send(id, REQUEST.BROADCAST, request, timeout);
  }

  /** An answer to such a broadcast. Throws if it is malformed. @param {Buffer} bytes @param {string | null} id if Rust knows it */
  onAcknowledged(bytes, id) {
    const { kind, requestId, value } = this.#codec.readAck(bytes, id !== null);
    const request = this.ackRequests.get(id ?? requestId);
    if (kind === REQUEST.BROADCAST_CLIENT_COUNT) return () => request?.clientCountCallback(value);
    return () => (kind === REQUEST.BROADCAST_ACK ? request?.ack(value) : undefined);
  }

  /** @param {string} id @param {{ status: string, expected: number, refusal?: string }} outcome */
  onAnswers(id, outcome) {
    const request = this.requests.get(id);
    if (request === undefined) return;
    this.requests.delete(id);
    // What came before it was known how many there are to be may have come twice.
    request.finish({ ...outcome, answers: request.answers.slice(0, outcome.expected) });
  }

  /** Resolves when the other members have worked off what this one has sent, and Redis what this one has subscribed to. */
  async barrier() {
    if (this.#adapter._isClosed) throw closedError();
    const { requestsTimeout } = this.#adapter;
    const nowhere = { rooms: new Set([NOBODY]), except: new Set(), flags: {} };
    const asked = this.#ask(this.unusedId(), REQUEST.REMOTE_FETCH, { opts: nowhere }, requestsTimeout);
    const confirmed = this.#adapter._subscribed(requestsTimeout);
    const [outcome, subscribed] = await Promise.all([asked, confirmed]);
    if (outcome.status !== "done") throw this.#failed(outcome);
    if (!subscribed) throw this.#failure(UNCONFIRMED);
  }

  /** The part of the barrier that asks no other server. */
  async subscribed() {
    const { nsp, requestsTimeout } = this.#adapter;
    const confirmed = await keepFor(
      this.#adapter._subscribed(requestsTimeout),
      `subscriptions in ${nsp.name}`,
    );
    if (this.#adapter._isClosed) throw closedError();
    if (!confirmed) throw this.#failure(UNCONFIRMED);
  }

  /** The adapter is closed, or the link has failed: nothing is answered any more. @param {boolean} isBroken */
  end(isBroken) {
    for (const { finish } of this.requests.values()) finish(isBroken ? BROKEN : CLOSED);
    this.requests.clear();
    this.ackRequests.clear();
  }

  /**
   * Sends a request and resolves to how it ended. Throws for what cannot be sent.
   *
   * @param {string} requestId
   * @param {number} kind
   * @param {Fields} fields
   * @param {any} timeout in milliseconds
   * @param {Wanted} [wanted]
   * @returns {Promise<Outcome>}
   */
  #ask(requestId, kind, fields, timeout, wanted = { maker: DESCRIPTIONS }) {
    const bytes = this.#codec.encodeRequest(kind, requestId, fields);
    if (this.#adapter._isClosed) return Promise.resolve(ALONE);
    const asked = new Promise((finish) => {
      this.requests.set(requestId, new Request(finish, wanted));
      this.#send(requestId, this.#codec.kindOf(kind), bytes, timeout);
    });
    return keepFor(asked, `the answers to a request in ${this.#adapter.nsp.name}`);
  }

  /** @param {string} id @param {number} kind @param {Buffer} bytes @param {any} timeout in milliseconds */
  #send(id, kind, bytes, timeout) {
    const { link, routing, number } = this.#membership;
    link.request(number, id, kind, bytes, toDelay(timeout), routing, this.#adapter._isReady);
  }

  /** Why a request has not brought what it should. @param {Outcome} outcome @param {string} [late] */
  #failed({ status, expected, answers, refusal }, late) {
    if (status !== "timeout") return new Error(reasonOf(status));
    return this.#failure(
      late ?? `timeout reached: only ${answers.length} responses received out of ${expected}`,
      refusal,
    );
  }

  /**
   * An error that says that Redis is away, if it is, or that it refuses to count.
   *
   * @param {string} message
   * @param {string} [refusal] what it says then
   */
  #failure(message, refusal) {
    const uncounted =
      refusal === undefined ? "" : `: the servers cannot be counted: ${explainRefusal(refusal)}`;
    return new Error(message + uncounted + this.#membership.link.away);
  }
}

/** Why a request has ended without all answers, though in time. @param {string} status */
function reasonOf(status) {
  return REASONS[status] ?? "the adapter was closed";
}

/** @type {Record<string, string>} */
const REASONS = {
  broken: "the link to Redis has failed",
  tooMany: "too many requests wait for answers",
  tooLarge: "the answers are too large",
};

function closedError() {
  return new Error(reasonOf("failed"));
}

module.exports = { Asker };
