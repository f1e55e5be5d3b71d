// @ts-check
"use strict";

/**
 * Two servers, of which the native link of one fails; what comes of that is printed as JSON. What is said in JSON in the
 * first argument: `{ port, family, real }`. A debug build panics if it is asked to; of another one only the news are made
 * up.
 */

/** @type {any} */
const binding = require("../../binding");
const { Link, fetch, setRoom } = binding;
const { KIND } = require("../../lib/link/inbox");

const { port, family, real } = JSON.parse(process.argv[2]);
const url = `redis://127.0.0.1:${port}`;

/** @type {{ id: number, wake: () => void }[]} */
const links = [];
binding.Link = class extends Link {
  /** @param {any} options @param {() => void} wake */
  constructor(options, wake) {
    super(options, wake);
    links.push({ id: this.id, wake });
  }
};

/** The link whose news are made up. */
let failed = -1;
binding.fetch = (
  /** @type {number} */ id,
  /** @type {Buffer} */ slab,
  /** @type {number} */ start,
  /** @type {Uint32Array} */ table,
) => {
  if (failed !== id) return fetch(id, slab, start, table);
  failed = -1;
  const end = start + slab.write(JSON.stringify({ type: "failed", reason: "a test wants it to" }), start);
  table.set([KIND.EVENT, 0, 0, 0, start, end]);
  return 1;
};
// Read anew: it takes `fetch` when it is loaded.
delete require.cache[require.resolve("../../lib/link/inbox")];

const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("../..");
const streams = require("../../streams");

/** @type {Record<string, () => any>} */
const factories = {
  classic: () => createAdapter(url),
  sharded: () => createShardedAdapter(url),
  streams: () => streams.createAdapter(url),
};

function fail() {
  const [{ id, wake }] = links;
  if (real) return setRoom(id, 0, "panic", true, true);
  failed = id;
  wake();
}

/** @param {any} emitter @param {string} event @returns {Promise<any>} */
function next(emitter, event) {
  return new Promise((resolve) => emitter.once(event, resolve));
}

async function main() {
  const [one, other] = [1, 2].map(() => new Server({ adapter: factories[family]() }));
  /** @type {any[]} */
  const [mine, theirs] = [one, other].map((io) => io.of("/").adapter);
  await Promise.all([mine.ready, theirs.ready]);
  // A room, whose channel is to be subscribed to again.
  mine.addAll("socket", new Set(["socket", "room"]));
  if (family !== "streams") await mine.subscribed();
  other.on("never", () => {});
  const unanswered = one.serverSideEmitWithAck("never").catch((error) => error.message);
  await mine.serverCount();
  const degraded = next(mine, "degraded");
  const gap = next(mine, "gap");
  fail();
  for (let i = 0; i < 3; i++) one.serverSideEmit("lost", i);
  const results = { degraded: (await degraded).message, unanswered: await unanswered };
  const { reason } = await gap;
  const heard = [next(other, "there"), next(one, "back")];
  one.serverSideEmit("there", 1);
  other.serverSideEmit("back", 2);
  const counts = { there: await heard[0], back: await heard[1], servers: await mine.serverCount() };
  const { dropped, published } = mine.stats();
  console.log(JSON.stringify({ ...results, ...counts, reason, dropped, published: published > 0 }));
  console.log(links.length);
}

// Servers that listen to no port keep no process. Whoever looks at the subscriptions says when it may end.
process.stdin.once("data", () => process.exit());

main();
