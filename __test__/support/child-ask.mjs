/**
 * A module that waits for the answer to a question at its top level, prints it, and has nothing more to do; what is said
 * in JSON in its first argument: `{ port, family, key, question, timeout, transport }`. Node ends it with 13 if nothing
 * keeps it. With a transport it has clients, of ioredis.
 */

import { Redis } from "ioredis";
import { Server } from "socket.io";
import classic from "../../index.js";
import streams from "../../streams.js";

const { port, family, key, question, timeout, transport } = JSON.parse(process.argv[2]);
const clients = transport === undefined ? [] : [1, 2].map(() => new Redis(port));
for (const client of clients) client.on("error", () => {});
const url = `redis://127.0.0.1:${port}`;
const [pub, sub] = clients.length === 0 ? [url, undefined] : clients;

const options = { requestsTimeout: timeout, ...(transport !== undefined && { transport }) };

/** @type {Record<string, () => any>} */
const adapters = {
  classic: () => make(classic.createAdapter, { key }),
  sharded: () => make(classic.createShardedAdapter, { channelPrefix: key }),
  streams: () => streams.createAdapter(pub, { channelPrefix: key, streamName: key, ...options }),
};

/** @param {any} createAdapter @param {any} own */
const make = (createAdapter, own) => {
  const all = { ...own, ...options };
  return sub === undefined ? createAdapter(pub, all) : createAdapter(pub, sub, all);
};

const io = new Server({
  adapter: adapters[family](),
  connectionStateRecovery: family === "streams" ? {} : undefined,
});
/** @type {any} */
const adapter = io.of("/").adapter;

/** @type {Record<string, () => Promise<any>>} */
const questions = {
  fetchSockets: async () => (await io.fetchSockets()).length,
  serverSideEmit: () => io.serverSideEmitWithAck("question"),
  serverCount: () => adapter.serverCount(),
  barrier: () => adapter.barrier(),
  subscribed: () => adapter.subscribed(),
  acknowledged: () => io.timeout(timeout).emitWithAck("question"),
  ready: () => adapter.ready,
  session: () => adapter.restoreSession("nobody", "1-0"),
  emit: async () => {
    for (let i = 0; i < 3; i++) io.emit("n", i);
  },
  close: async () => {
    await questions.emit();
    adapter.close();
  },
  // What it has to do besides lasts until its parent has read enough.
  closeAndGoOn: async () => {
    await questions.close();
    process.stdin.resume();
    process.stdin.on("end", () => clients.forEach((client) => client.disconnect()));
  },
  quit: async () => {
    await questions.emit();
    for (const client of clients) client.disconnect();
  },
  exit: async () => {
    await questions.emit();
    process.exit();
  },
};

process.stdout.write("asks\n");
const answer = await questions[question]().catch((error) => `rejected: ${error.message}`);
process.stdout.write(`${JSON.stringify(answer) ?? "done"}\n`);
