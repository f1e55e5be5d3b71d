// @ts-check
"use strict";

/** What is measured: the subjects, and the cases they go through. */

const OURS = process.env.BENCH_OURS || "..";
const REFERENCE = "@socket.io/redis-adapter";
/** What stands in for the module of an adapter, for modes that have one of their own. @type {Record<string, { ours: string, reference: string }>} */
const MODULES = {
  streams: { ours: "/streams", reference: "@socket.io/redis-streams-adapter" },
  emitter: { ours: "/emitter", reference: "@socket.io/redis-emitter" },
};

/**
 * @typedef {object} Subject
 * @property {string | null} adapter the module to require, or null for the in-memory adapter of socket.io itself
 * @property {"redis" | "ioredis" | null} client
 * @property {boolean} [fanOut] the option
 *
 * @typedef {"static" | "dynamic" | "streams" | "emitter"} Mode a subscription mode of the sharded adapter, the adapter
 *   of streams, or an emitter instead of an adapter
 *
 * @typedef {object} Case
 * @property {"publish" | "receive" | "latency"} section
 * @property {string} name
 * @property {Mode | null} mode which adapter, and how it subscribes; null for the classic one
 * @property {string} payload
 * @property {number} messages in one round
 * @property {string | null} room that the messages go to, or null for all
 * @property {number} [perTick] publish: emits between two turns of the event loop
 * @property {number} [rate] receive: messages per second; without it, as fast as Redis takes them
 * @property {number} [sockets] receive: local WebSocket clients
 * @property {string[]} subjects
 * @property {boolean} [headline] one of the rows of the summary
 * @property {boolean} [quick] part of `--quick`
 */

/** @type {Record<string, Subject>} */
const SUBJECTS = {
  "ours+redis": { adapter: OURS, client: "redis" },
  "reference+redis": { adapter: REFERENCE, client: "redis" },
  "reference+ioredis": { adapter: REFERENCE, client: "ioredis" },
  "ours+redis, fanOut": { adapter: OURS, client: "redis", fanOut: true },
  "ours+ioredis": { adapter: OURS, client: "ioredis" },
  memory: { adapter: null, client: null },
};

/** Messages in one round. */
const MESSAGES = /** @type {Record<string, number>} */ ({
  small: 20_000,
  medium: 5_000,
  large: 1_000,
  binary: 5_000,
});

/** Without a socket to write to, a message costs so little that a round takes this many times as many. */
const MORE = 4;

/** Messages per second of a steady stream; a round lasts one second. */
const RATE = 5000;

const PAYLOADS = Object.keys(MESSAGES);
const MAIN = ["ours+redis", "reference+redis", "reference+ioredis"];
/** Of the adapters that have no latency or client of their own to show. */
const PAIR = ["ours+redis", "reference+redis"];

/**
 * Returns the module that a subject's adapter is in.
 *
 * @param {Subject} subject
 * @param {Mode | null} mode
 */
function moduleOf({ adapter }, mode) {
  const modules = MODULES[mode ?? ""];
  if (!modules || !adapter) return adapter;
  return adapter === REFERENCE ? modules.reference : adapter + modules.ours;
}

/**
 * Returns which adapter a mode is of.
 *
 * @param {Mode | null} mode
 */
function familyOf(mode) {
  if (mode === null) return "classic";
  return mode === "streams" || mode === "emitter" ? mode : "sharded";
}

/** @returns {Case[]} */
function publishCases() {
  /** @type {Case[]} */
  const cases = [];
  for (const perTick of [1, 16, 256]) {
    for (const room of [null, "room-1"]) {
      for (const payload of PAYLOADS) {
        // Ours has connections of its own, so the client should not matter: shown where most messages are.
        const both = perTick === 16 && !room;
        cases.push({
          section: "publish",
          name: `${perTick} per tick, ${room ? "to a room" : "to all"}`,
          mode: null,
          payload,
          messages: MESSAGES[payload],
          room,
          perTick,
          subjects: [...MAIN, ...(both ? ["ours+ioredis"] : []), ...(room ? [] : ["memory"])],
          headline: both && payload !== "binary",
          quick: both || (payload === "small" && !room),
        });
      }
    }
  }
  return cases;
}

/** @returns {Case[]} */
function receiveCases() {
  /** @type {Case[]} */
  const cases = [];
  const add = (
    /** @type {string} */ payload,
    /** @type {string} */ name,
    /** @type {Partial<Case>} */ rest,
  ) =>
    cases.push({
      section: "receive",
      name,
      mode: null,
      payload,
      messages: MESSAGES[payload],
      room: null,
      sockets: 0,
      subjects: MAIN,
      ...rest,
    });
  for (const payload of PAYLOADS) {
    const many = MORE * MESSAGES[payload];
    add(payload, "full speed, no socket", {
      messages: many,
      subjects: [...MAIN, "ours+ioredis"],
      headline: payload !== "binary",
      quick: true,
    });
    add(payload, "full speed, room of nobody", {
      messages: many,
      room: "nobody-here",
      quick: payload === "small",
    });
    // Every copy costs a write: fewer messages will do.
    add(payload, "full speed, 1 socket", {
      sockets: 1,
      messages: MESSAGES[payload] / 4,
      quick: payload === "small",
    });
    add(payload, "full speed, 10 sockets", {
      sockets: 10,
      messages: MESSAGES[payload] / 10,
      quick: payload === "small",
    });
    add(payload, `${RATE}/s, no socket`, { rate: RATE, messages: RATE, quick: payload === "small" });
  }
  add("small", `${RATE}/s, room of nobody`, { rate: RATE, messages: RATE, room: "nobody-here" });
  add("small", `${RATE}/s, 1 socket`, { rate: RATE, messages: RATE, sockets: 1 });
  return cases;
}

/** @returns {Case[]} */
function latencyCases() {
  return ["small", "large"].map((payload) => ({
    section: /** @type {const} */ ("latency"),
    name: "an emit each 100 ms, node to node",
    mode: null,
    payload,
    messages: 20,
    room: null,
    rate: 10,
    subjects: MAIN,
    quick: payload === "small",
  }));
}

/** @returns {Case[]} */
function emitterCases() {
  return [1, 16, 256].flatMap((perTick) =>
    PAYLOADS.map((payload) => ({
      section: /** @type {const} */ ("publish"),
      name: `emitter: ${perTick} per tick, to all`,
      mode: /** @type {const} */ ("emitter"),
      payload,
      messages: MESSAGES[payload],
      room: null,
      perTick,
      subjects: [...MAIN, "ours+ioredis"],
      headline: perTick === 16 && payload !== "binary",
      quick: perTick === 16 || payload === "small",
    })),
  );
}

/**
 * Returns the cases that the other adapters go through too: those that tell most.
 *
 * @param {Case[]} classic
 * @param {"sharded" | "streams"} family
 * @returns {Case[]}
 */
function casesOf(family, classic) {
  return classic
    .filter(({ section, payload, perTick, room, rate }) => {
      if (section === "publish") return perTick === 16 || (perTick === 1 && !room);
      return section === "receive" ? !rate : payload === "small";
    })
    .map((one) => ({
      ...one,
      name: `${family}: ${one.name}`,
      mode: family === "streams" ? family : subscriptionMode(one),
      subjects: PAIR,
      quick:
        one.payload === "small" &&
        (one.perTick === 16 || (one.section === "receive" && !one.room && one.sockets !== 1)),
    }));
}

/**
 * A room has a channel of its own where that makes a difference: to whom it is published. What nobody here needs only
 * comes on the channel of the namespace.
 *
 * @param {Case} one
 */
function subscriptionMode({ section, room }) {
  return section === "publish" && room ? "dynamic" : "static";
}

/** How often everything is measured; the median counts. */
const ROUNDS = 5;

/**
 * Returns the cases of a run, and how many rounds each takes. `only` names sections, of the classic adapter, and
 * "sharded", "streams" and "emitter", for all of the others.
 *
 * @param {{ quick: boolean, only: string[] | null }} choice
 */
function chooseCases({ quick, only }) {
  const classic = [...publishCases(), ...receiveCases(), ...latencyCases()];
  const others = [...casesOf("sharded", classic), ...casesOf("streams", classic), ...emitterCases()];
  const all = [...classic, ...others].filter(
    ({ section, mode }) => !only || only.includes(mode ? familyOf(mode) : section),
  );
  if (!quick) return { cases: all, rounds: ROUNDS };
  const cases = all
    .filter((one) => one.quick)
    .map((one) => ({ ...one, messages: one.section === "latency" ? 10 : one.messages / 5 }));
  return { cases, rounds: 3 };
}

module.exports = { SUBJECTS, chooseCases, familyOf, moduleOf };
