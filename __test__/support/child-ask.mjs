/**
 * A module that waits for the answer to a question at its top level, prints it, and has nothing more to do; what is said
 * in JSON in its first argument: `{ port, family, key, question, timeout }`. Node ends it with 13 if nothing keeps it.
 */

import { Server } from "socket.io";
import classic from "../../index.js";
import streams from "../../streams.js";

const { port, family, key, question, timeout } = JSON.parse(process.argv[2]);
const url = `redis://127.0.0.1:${port}`;

/** @type {Record<string, () => any>} */
const adapters = {
  classic: () => classic.createAdapter(url, { key, requestsTimeout: timeout }),
  sharded: () => classic.createShardedAdapter(url, { channelPrefix: key, requestsTimeout: timeout }),
  streams: () =>
    streams.createAdapter(url, { channelPrefix: key, streamName: key, requestsTimeout: timeout }),
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
  exit: async () => {
    await questions.emit();
    process.exit();
  },
};

process.stdout.write("asks\n");
const answer = await questions[question]().catch((error) => `rejected: ${error.message}`);
process.stdout.write(`${JSON.stringify(answer) ?? "done"}\n`);
