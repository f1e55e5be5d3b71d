// @ts-check
"use strict";

/**
 * One chat server of the demo: `fork`ed by demo/cluster.js, one process for each port. What an application needs
 * of this package is the first half of `main`; the rest is chat.
 */

const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const path = require("node:path");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const { DEMO_ADAPTER = "..", DEMO_KEY, DEMO_PORT, REDIS_URL } = process.env;
const port = Number(DEMO_PORT);

/** How long the other servers and their clients have to answer, in milliseconds. */
const PATIENCE = 3000;

let stopping = false;

/** @typedef {{ everyone?: true, room?: string, user?: string }} Recipients */

async function main() {
  const { createAdapter } = require(DEMO_ADAPTER);

  const pubClient = createClient({ url: REDIS_URL });
  const subClient = pubClient.duplicate();
  for (const client of [pubClient, subClient]) {
    client.on("error", (err) => stopping || console.error(`server ${port}: Redis: ${err.message}`));
  }
  await Promise.all([pubClient.connect(), subClient.connect()]);

  const http = createServer(servePage);
  const io = new Server(http, { adapter: createAdapter(pubClient, subClient, { key: DEMO_KEY }) });
  io.on("connection", (socket) => welcome(io, socket));
  io.on("which server?", (answer) => answer(port));

  await new Promise((resolve, reject) => http.once("error", reject).listen(port, () => resolve(null)));
  process.on("message", (order) => {
    if (order === "stop") stop(io, [pubClient, subClient]);
  });
  process.send?.({ ready: port });
}

/**
 * @param {Server} io
 * @param {import("socket.io").Socket} socket
 */
function welcome(io, socket) {
  socket.data = { name: `guest ${socket.id.slice(0, 4)}`, server: port };

  socket.on("enter", (name, rooms, done) => {
    socket.leave(userRoom(socket.data.name));
    socket.data.name = String(name);
    socket.join([userRoom(name), ...rooms.map(chatRoom)]);
    done?.(port);
  });

  socket.on("leave", (room, done) => {
    socket.leave(chatRoom(room));
    done?.();
  });

  /** A message: to everyone, to a room, or to one person (who may be on any server, and so may the sender be). */
  socket.on("say", (/** @type {Recipients} */ to, text, extra) => {
    const { name } = socket.data;
    const message = { from: name, server: port, at: Date.now(), to, text, extra };
    if (to.everyone) io.emit("said", message);
    else if (to.room) io.to(chatRoom(to.room)).emit("said", message);
    else if (to.user) io.to(userRoom(to.user)).to(userRoom(name)).emit("said", message);
  });

  /** The same to all but the sender. */
  socket.on("say to others", (text, extra) => {
    const message = {
      from: socket.data.name,
      server: port,
      at: Date.now(),
      to: { everyone: true },
      text,
      extra,
    };
    socket.broadcast.emit("said", message);
  });

  /** Puts somebody, on whatever server, into a room. */
  socket.on("bring", (user, room) => io.in(userRoom(user)).socketsJoin(chatRoom(room)));

  socket.on("who is here?", async (answer) => {
    const sockets = await io.fetchSockets();
    answer(
      sockets.map(({ id, rooms, data }) => ({
        name: data.name,
        server: data.server,
        rooms: [...rooms]
          .filter((room) => room !== id && room.startsWith("room:"))
          .map((room) => room.slice(5)),
      })),
    );
  });

  socket.on("which servers?", (answer) => {
    io.serverSideEmit("which server?", (/** @type {Error | null} */ err, /** @type {number[]} */ others) =>
      answer(err ? err.message : null, others),
    );
  });

  socket.on("roll call", (answer) => {
    io.timeout(PATIENCE).emit("present?", (/** @type {Error | null} */ err, /** @type {string[]} */ names) =>
      answer(err ? err.message : null, names),
    );
  });

  /** How many servers the adapter counts, this one included. */
  socket.on("how many servers?", async (answer) => answer(await io.of("/").adapter.serverCount()));
}

/** @param {string} name */
const userRoom = (name) => `user:${name}`;

/** @param {string} name */
const chatRoom = (name) => `room:${name}`;

/** @type {import("node:http").RequestListener} */
function servePage(request, response) {
  if (request.url !== "/") return void response.writeHead(404).end();
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end(readFileSync(path.join(__dirname, "page.html")));
}

/**
 * @param {Server} io
 * @param {{ destroy(): void }[]} clients
 */
async function stop(io, clients) {
  stopping = true;
  // Ctrl-C reaches a private Redis as well, which may be gone by now.
  process.on("unhandledRejection", () => {});
  setTimeout(() => process.exit(0), 1000);
  try {
    await io.close();
    for (const client of clients) client.destroy();
  } finally {
    process.exit(0);
  }
}

// Ctrl-C is the parent's to handle; without a parent there is no reason to go on.
process.on("SIGINT", () => (stopping = true));
process.on("disconnect", () => process.exit(0));

main().catch((err) => {
  const reason = err.code === "EADDRINUSE" ? `port ${port} is taken` : err.message;
  if (!process.send) throw err;
  process.send({ failed: `server ${port}: ${reason}` }, () => process.exit(1));
});
