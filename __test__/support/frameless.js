// @ts-check
"use strict";

/**
 * A ring under a socket.io-adapter that makes no WebSocket frames, as it is beside a `ws` without `Sender.frame`;
 * a process of its own, since the package looks once. Usage: node frameless.js <port of Redis>. Prints JSON.
 */

const WebSocket = require(require.resolve("ws", { paths: [require.resolve("socket.io-adapter")] }));
const sender = /** @type {any} */ (WebSocket).Sender;
const { frame } = sender;
delete sender.frame;
require("socket.io-adapter");
// `ws` itself cannot do without.
sender.frame = frame;

const { startRing } = require("./ring");

async function main() {
  const redis = { port: Number(process.argv[2]) };
  const ring = await startRing({ redis, nodes: ["ours", "reference", "ours"], sockets: 1 });
  /** @type {any} */
  const packetOpts = {};
  ring.nodes[1].adapter()._encode({ type: 2, nsp: "/", data: ["e"] }, packetOpts);
  const received = [];
  for (const node of ring.nodes) {
    const got = await ring.collect(node, () => {
      node.io.emit("plain", 1, "é", { a: [null] });
      node.io.to(ring.peers().map(({ id }) => id)).emit("date", new Date(5));
      node.io.emit("binary", Buffer.from([1, 2]));
    });
    received.push(got.map(([log]) => log));
  }
  await ring.close();
  console.log(JSON.stringify({ frames: "wsPreEncodedFrame" in packetOpts, received }));
}

main();
