// @ts-check
"use strict";

/** The scripted part of the demo: six people on three servers, and the account of who heard what. */

const { setTimeout: sleep } = require("node:timers/promises");
const { io } = require("socket.io-client");

/** How long a message may take to arrive, in milliseconds. */
const PATIENCE = 3000;

/** After the last message everybody is known to have, how long a stray copy may still turn up, in milliseconds. */
const GRACE = 200;

/** Who sits where: two people on each server, and in which rooms. */
const PEOPLE = [
  { name: "ann", server: 0, rooms: ["cats"] },
  { name: "bob", server: 0, rooms: ["dogs"] },
  { name: "cid", server: 1, rooms: ["dogs"] },
  { name: "dee", server: 1, rooms: ["cats"] },
  { name: "eve", server: 2, rooms: ["cats", "dogs"] },
  { name: "fay", server: 2, rooms: [] },
];

const EVERYONE = PEOPLE.map(({ name }) => name);

/**
 * @typedef {object} Person
 * @property {string} name
 * @property {number} port
 * @property {import("socket.io-client").Socket} socket
 */

/**
 * Plays the conversation and resolves with everything that went wrong in it, one line each: nothing, if every
 * message reached each of its recipients exactly once and nobody else.
 *
 * @param {number[]} ports
 * @param {(line: string) => void} print
 * @returns {Promise<string[]>}
 */
async function converse(ports, print) {
  const chat = new Conversation(ports, print);
  try {
    await chat.open();
    await play(chat, print);
    return await chat.account();
  } catch (err) {
    return [...chat.problems, /** @type {Error} */ (err).message];
  } finally {
    chat.close();
  }
}

/**
 * @param {Conversation} chat
 * @param {(line: string) => void} print
 */
async function play(chat, print) {
  await chat.say("ann", { everyone: true }, "good morning", EVERYONE);
  await chat.say("fay", { everyone: true }, "grüß Gott, 你好, 👋", EVERYONE);
  await chat.say("dee", { room: "cats" }, "who fed the cat?", ["ann", "dee", "eve"]);
  await chat.say("eve", { room: "dogs" }, "walkies at noon", ["bob", "cid", "eve"]);
  await chat.say("fay", { user: "ann" }, "not me, but don't tell", ["ann", "fay"]);
  await chat.say("bob", { user: "cid" }, "she fed the dog, too", ["bob", "cid"]);
  await chat.say(
    "cid",
    null,
    "I never said that",
    EVERYONE.filter((name) => name !== "cid"),
  );
  await chat.say("bob", { everyone: true }, "a picture (4 kB)", EVERYONE, Buffer.alloc(4096, "pixels"));

  print("");
  print(
    `ann (on ${chat.person("ann").port}) brings fay (on ${chat.person("fay").port}) into the room "cats"`,
  );
  chat.person("ann").socket.emit("bring", "fay", "cats");
  await chat.say("ann", { room: "cats" }, "welcome, fay", ["ann", "dee", "eve", "fay"]);

  await chat.fetchSockets("cid", { fay: ["cats"] });
  await chat.serverSideEmit("eve");
  await chat.rollCall("dee");
}

/** Six clients, what each was meant to hear, and what each heard. */
class Conversation {
  /** What went wrong so far. */
  problems = /** @type {string[]} */ ([]);

  #ports;
  #print;
  /** @type {Person[]} */
  #people = [];
  /** @type {Map<number, { text: string, recipients: string[] }>} by message number */
  #meant = new Map();
  /** @type {{ name: string, id: number, at: number, intact: boolean }[]} */
  #heard = [];
  #onHeard = () => {};

  /**
   * @param {number[]} ports
   * @param {(line: string) => void} print
   */
  constructor(ports, print) {
    this.#ports = ports;
    this.#print = print;
  }

  /** Resolves once all people are in their rooms and all servers know of each other. */
  async open() {
    for (const { name, server, rooms } of PEOPLE) {
      const port = this.#ports[server];
      const socket = io(`http://127.0.0.1:${port}`, {
        transports: ["websocket"],
        forceNew: true,
        reconnection: false,
      });
      this.#people.push({ name, port, socket });
      socket.on("said", (message) => this.#hear(name, message));
      socket.on("present?", (answer) => answer(name));
      await new Promise((resolve, reject) => {
        socket.once("connect", () => resolve(null));
        socket.once("connect_error", (err) =>
          reject(new Error(`${name} cannot connect to port ${port}: ${err.message}`)),
        );
      });
      await socket.timeout(PATIENCE).emitWithAck("enter", name, rooms);
    }
    for (const { socket, port } of this.#people.filter((_, i) => i % 2 === 0)) {
      const deadline = Date.now() + PATIENCE;
      for (;;) {
        const count = await socket.timeout(PATIENCE).emitWithAck("how many servers?");
        if (count === this.#ports.length) break;
        if (Date.now() > deadline)
          throw new Error(`server ${port} sees ${count} servers, not ${this.#ports.length}`);
        await sleep(10);
      }
    }
    for (const port of this.#ports) {
      const names = this.#people.filter((person) => person.port === port).map(({ name }) => name);
      this.#print(`server ${port}: ${names.join(" and ")}`);
    }
  }

  /** @param {string} name */
  person(name) {
    const person = this.#people.find((one) => one.name === name);
    if (!person) throw new Error(`nobody is called ${name}`);
    return person;
  }

  /**
   * Has one person say something and prints when it arrived where; a message that does not is a problem.
   *
   * @param {string} from
   * @param {{ everyone?: true, room?: string, user?: string } | null} to null: to all but the speaker
   * @param {string} text
   * @param {string[]} recipients who ought to hear it
   * @param {Buffer} [picture]
   */
  async say(from, to, text, recipients, picture) {
    const { socket, port } = this.person(from);
    const id = this.#meant.size;
    this.#meant.set(id, { text, recipients });
    const whom = !to
      ? "all others"
      : to.everyone
        ? "everyone"
        : to.room
          ? `room "${to.room}"`
          : `${to.user} only`;
    this.#print("");
    this.#print(`${from} on ${port} to ${whom}: ${text}`);

    const sent = performance.now();
    if (to) socket.emit("say", to, text, { id, picture });
    else socket.emit("say to others", text, { id, picture });
    await this.#until(() =>
      recipients.every((name) => this.#heard.some((one) => one.id === id && one.name === name)),
    );

    for (const serverPort of this.#ports) {
      const arrivals = this.#heard
        .filter((one) => one.id === id && this.person(one.name).port === serverPort)
        .map(({ name, at }) => `${name} after ${(at - sent).toFixed(1)} ms`);
      const way = serverPort === port ? "here  " : "=Redis=>";
      if (arrivals.length) this.#print(`  ${way.padEnd(8)} ${serverPort}  ${arrivals.join(", ")}`);
    }
  }

  /**
   * Asks one server for the sockets of all.
   *
   * @param {string} asker
   * @param {Record<string, string[]>} joined rooms that people are in besides their first ones
   */
  async fetchSockets(asker, joined) {
    const { answer, ms, port } = await this.#ask(asker, "who is here?", "io.fetchSockets()");
    const describe = (/** @type {any[]} */ people) =>
      people.map(({ name, server, rooms }) => `${name} on ${server} in [${[...rooms].sort()}]`).sort();
    const found = describe(Array.isArray(answer[0]) ? answer[0] : []);
    const expected = describe(
      PEOPLE.map(({ name, server, rooms }) => ({
        name,
        server: this.#ports[server],
        rooms: [...rooms, ...(joined[name] ?? [])],
      })),
    );
    this.#print(`  ${found.length} sockets after ${ms} ms: ${found.join("; ")}`);
    if (String(found) !== String(expected)) {
      this.problems.push(`fetchSockets on ${port} found "${found.join("; ")}", not "${expected.join("; ")}"`);
    }
  }

  /**
   * Has one server ask the others.
   *
   * @param {string} asker
   */
  async serverSideEmit(asker) {
    const { answer, ms, port } = await this.#ask(
      asker,
      "which servers?",
      "io.serverSideEmit() with acknowledgement",
    );
    const [problem, others] = answer;
    const found = [...(others ?? [])].sort();
    this.#print(`  ${found.length} servers answered after ${ms} ms: ${found.join(", ")}`);
    if (problem) this.problems.push(`serverSideEmit on ${port}: ${problem}`);
    const expected = this.#ports.filter((one) => one !== port);
    if (String(found) !== String(expected)) {
      this.problems.push(`serverSideEmit on ${port} was answered by [${found}], not [${expected}]`);
    }
  }

  /**
   * Has one server ask all clients of all servers.
   *
   * @param {string} asker
   */
  async rollCall(asker) {
    const { answer, ms, port } = await this.#ask(asker, "roll call", "io.emit() with acknowledgement");
    const [problem, names] = answer;
    const found = [...(names ?? [])].sort();
    this.#print(`  ${found.length} clients answered after ${ms} ms: ${found.join(", ")}`);
    if (problem) this.problems.push(`the emit with acknowledgement on ${port}: ${problem}`);
    if (String(found) !== String(EVERYONE)) {
      this.problems.push(
        `the emit with acknowledgement on ${port} was answered by [${found}], not [${EVERYONE}]`,
      );
    }
  }

  /** Resolves with all problems, once everything that was on its way has arrived. */
  async account() {
    // Messages of one server stay in order, so whoever has these three has all that came before.
    const first = this.#meant.size;
    for (const { socket } of this.#people.filter((_, i) => i % 2 === 0)) {
      const id = this.#meant.size;
      this.#meant.set(id, { text: "good bye", recipients: EVERYONE });
      socket.emit("say", { everyone: true }, "good bye", { id });
    }
    const total = (this.#meant.size - first) * EVERYONE.length;
    await this.#until(() => this.#heard.filter((one) => one.id >= first).length >= total);
    await sleep(GRACE);

    for (const [id, { text, recipients }] of this.#meant) {
      for (const name of EVERYONE) {
        const copies = this.#heard.filter((one) => one.id === id && one.name === name);
        const due = recipients.includes(name) ? 1 : 0;
        if (copies.length !== due)
          this.problems.push(`"${text}": ${name} heard it ${copies.length} times, not ${due}`);
        if (copies.some(({ intact }) => !intact))
          this.problems.push(`"${text}": ${name} heard something else`);
      }
    }
    return this.problems;
  }

  close() {
    for (const { socket } of this.#people) socket.disconnect();
  }

  /**
   * @param {string} asker
   * @param {string} question
   * @param {string} how
   */
  async #ask(asker, question, how) {
    const { socket, port } = this.person(asker);
    this.#print("");
    this.#print(`${asker} on ${port} asks "${question}": ${how}`);
    const asked = performance.now();
    const answer = await new Promise((resolve) => {
      const timer = setTimeout(() => resolve([`no answer in ${2 * PATIENCE} ms`]), 2 * PATIENCE);
      socket.emit(question, (/** @type {any[]} */ ...args) => {
        clearTimeout(timer);
        resolve(args);
      });
    });
    return { answer, port, ms: (performance.now() - asked).toFixed(1) };
  }

  /**
   * @param {string} name
   * @param {any} message
   */
  #hear(name, { text, extra: { id, picture } }) {
    const meant = this.#meant.get(id);
    const intact = meant?.text === text && (!picture || Buffer.alloc(4096, "pixels").equals(picture));
    this.#heard.push({ name, id, at: performance.now(), intact });
    this.#onHeard();
  }

  /**
   * Resolves once the condition holds, or in vain after `PATIENCE`: the account at the end tells what is missing.
   *
   * @param {() => boolean} condition
   */
  #until(condition) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), PATIENCE);
      this.#onHeard = () => {
        if (!condition()) return;
        clearTimeout(timer);
        resolve(true);
      };
      this.#onHeard();
    });
  }
}

module.exports = { converse };
