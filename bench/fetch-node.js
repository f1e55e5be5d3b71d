// @ts-check
"use strict";

/**
 * One of the servers that `npm run bench -- --only fetch` measures: many sockets, and questions about those of all.
 *
 * Arguments: adapter module, Redis URL, key, family ("classic" | "sharded" | "streams"), the number of this server.
 */

const { setTimeout: sleep } = require("node:timers/promises");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { answerOrders } = require("./child.js");
const { connect } = require("./crowd.js");
const { usageOrders } = require("./usage.js");

const [adapterModule, url, key, family, index] = process.argv.slice(2);

/** How long a server may take to subscribe, or an answer to come, in milliseconds. */
const PATIENCE = 120_000;

/** Emits between two turns of the event loop. */
const PER_TICK = 16;

/** In so many rooms the sockets of all servers are spread. */
const ROOMS = 100;

/** The room of all sockets, that of none, and that of one socket of each server. */
const EVERYONE = "everyone";
const NOBODY = "nobody-here";
const WITNESS = "witness";
/** The room that the witnesses join, and leave, to tell that all that came before is done with. */
const MARKED = "marked";

/** @type {Server} */
let io;
/** How many sockets there are here. */
let size = 0;
/** How often the witness here has joined or left the room. */
let marks = 0;
/** How often it was told to by this server. */
let made = 0;
let onMark = () => {};

/**
 * What is asked. Each resolves with how many things came.
 *
 * @type {Record<string, () => Promise<number>>}
 */
const CALLS = {
  fetchSockets: async () => (await io.timeout(PATIENCE).fetchSockets()).length,
  allRooms: async () => (await io.of("/").adapter.allRooms()).size,
  allSockets: async () => (await io.in(EVERYONE).allSockets()).size,
};

/** What is told others, without an answer. @type {Record<string, () => void>} */
const TOLD = {
  join: () => io.in(NOBODY).socketsJoin("elsewhere"),
  leave: () => io.in(NOBODY).socketsLeave("elsewhere"),
  nothing: () => {},
};

answerOrders({
  /** Answers once the adapter is made. */
  async open() {
    io = new Server({ adapter: await createRedisAdapter() });
    io.on("connection", async (socket) => {
      const n = size++;
      socket.data = { userId: `${index}-${n}`, name: `user number ${n}` };
      socket.join([`user-${index}-${n}`, `room-${n % ROOMS}`, EVERYONE, ...(n === 0 ? [WITNESS] : [])]);
    });
    const { adapter } = io.of("/");
    const count = (/** @type {string} */ room) => {
      if (room !== MARKED) return;
      marks++;
      onMark();
    };
    adapter.on("join-room", count);
    adapter.on("leave-room", count);
  },

  /** Answers once all servers are there. */
  async meet({ nodes }) {
    const deadline = Date.now() + PATIENCE;
    while ((await io.of("/").adapter.serverCount()) < nodes) {
      if (Date.now() > deadline) throw new Error("the servers did not subscribe");
      await sleep(10);
    }
  },

  /** Answers once there are so many sockets. */
  async grow({ size: wanted }) {
    for (let n = size; n < wanted; n++) connect(io, n);
    while (size < wanted) await new Promise(setImmediate);
  },

  ...usageOrders(),

  /** Asks, or tells, so many times; answers with what each answer took to come, in milliseconds. */
  async act({ what, times, least }) {
    if (TOLD[what]) {
      for (let done = 0; done < times;) {
        for (const end = Math.min(done + PER_TICK, times); done < end; done++) TOLD[what]();
        await new Promise(setImmediate);
      }
      return [];
    }
    const elapsed = [];
    for (let done = 0; done < times; done++) {
      const before = performance.now();
      const came = await CALLS[what]();
      elapsed.push(performance.now() - before);
      if (came < least) throw new Error(`${what} brought ${came} instead of ${least}`);
    }
    return elapsed;
  },

  /** Has the witnesses of all servers tell that they have come by. */
  mark() {
    if (made++ % 2 === 0) io.in(WITNESS).socketsJoin(MARKED);
    else io.in(WITNESS).socketsLeave(MARKED);
    return made;
  },

  /** Answers once the witness here has told so often. */
  async marked({ times }) {
    if (marks >= times) return;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the witness was not told")), PATIENCE);
      onMark = () => {
        if (marks < times) return;
        clearTimeout(timer);
        resolve(null);
      };
    });
  },
});

async function createRedisAdapter() {
  const { createAdapter, createShardedAdapter } = require(adapterModule);
  const pub = createClient({ url });
  const sub = pub.duplicate();
  for (const client of [pub, sub])
    client.on("error", (err) => console.error(`${adapterModule}: ${err.message}`));
  await Promise.all([pub.connect(), sub.connect()]);
  if (family === "streams")
    return createAdapter(pub, { channelPrefix: key, streamName: key, requestsTimeout: PATIENCE });
  if (family === "classic") return createAdapter(pub, sub, { key, requestsTimeout: PATIENCE });
  // Static: no room has a channel of its own, which would make no difference here.
  const options = { channelPrefix: key, subscriptionMode: "static", requestsTimeout: PATIENCE };
  return createShardedAdapter(pub, sub, options);
}
