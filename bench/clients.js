// @ts-check
"use strict";

/** The local WebSocket clients of the subjects, in a process of their own. */

const { io } = require("socket.io-client");
const { answerOrders } = require("./child.js");

/** How long nothing may happen before the rest is taken for lost, in milliseconds. */
const PATIENCE = 10_000;

/** @type {import("socket.io-client").Socket[]} */
let sockets = [];
let seen = 0;
let wanted = 0;
/** @type {number[]} */
let latencies = [];
let onAll = () => {};

answerOrders({
  /** Answers once all clients of one subject are connected. */
  async connect({ port, sockets: number }) {
    seen = wanted = 0;
    sockets = Array.from({ length: number }, () =>
      io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true }),
    );
    for (const socket of sockets) {
      socket.on("message", count);
      socket.on("pulse", (sentAt) => {
        latencies.push(Number(process.hrtime.bigint()) - sentAt);
        count();
      });
    }
    await Promise.all(
      sockets.map((socket) => new Promise((resolve) => socket.once("connect", () => resolve(null)))),
    );
  },

  /** Answers once the clients are closed. */
  disconnect() {
    for (const socket of sockets) socket.disconnect();
    sockets = [];
  },

  /** Starts counting, over all clients together. */
  expect({ messages }) {
    seen = 0;
    wanted = messages * sockets.length;
    latencies = [];
    onAll = () => {};
  },

  /** Answers once all is received. */
  async seen() {
    if (seen >= wanted) return;
    await new Promise((resolve, reject) => {
      let before = seen;
      const timer = setInterval(() => {
        if (seen === before) {
          clearInterval(timer);
          reject(new Error(`the clients received only ${seen} of ${wanted} messages`));
        }
        before = seen;
      }, PATIENCE);
      onAll = () => {
        clearInterval(timer);
        resolve(null);
      };
    });
  },

  /** What each message took from the emit to the client, in nanoseconds. */
  latencies: () => latencies,
});

function count() {
  if (++seen === wanted) onAll();
}
