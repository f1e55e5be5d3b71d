// @ts-check
"use strict";

/** An adapter in a worker thread: emits "tick" all the time, tells what it hears, until it is terminated. */

const { parentPort, workerData } = require("node:worker_threads");
const { Server } = require("socket.io");
const { createAdapter } = require("../..");

const io = new Server({ adapter: createAdapter(`redis://127.0.0.1:${workerData.port}`) });
const adapter = /** @type {any} */ (io.of("/").adapter);

adapter.ready.then(() => {
  parentPort?.postMessage("ready");
  let n = 0;
  io.on("hello", (from) => parentPort?.postMessage(`hello ${from}`));
  setInterval(() => {
    for (let i = 0; i < 20; i++) io.serverSideEmit("tick", n++);
  }, 1);
});
