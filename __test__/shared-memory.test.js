// @ts-check
"use strict";

/**
 * Memory that is not simply the caller's: shared with other threads, detached, or made smaller behind a view.
 */

const assert = require("node:assert");
const { Emitter } = require("../emitter");
const { readAttachments, toBuffer } = require("../lib/delivery/outgoing");
const msgpack = require("../lib/msgpack");
const { connectClient, endClient } = require("./support/connect");
const { startRedis } = require("./support/redis");
const { startRing } = require("./support/ring");
const { waitFor } = require("./support/wait");

/** @param {number[]} bytes */
function sharedBytes(bytes) {
  const view = new Uint8Array(new SharedArrayBuffer(bytes.length));
  view.set(bytes);
  return view;
}

function detachedView() {
  const view = new Uint8Array([1, 2, 3]);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  assert.strictEqual(view.byteLength, 0);
  return view;
}

/** A view whose buffer has become smaller than where it begins, and one that has become shorter. */
function shrunkViews() {
  const memory = new /** @type {any} */ (ArrayBuffer)(8, { maxByteLength: 8 });
  const views = [new Uint8Array(memory, 6), new Uint8Array(memory)];
  views[1].fill(7);
  memory.resize?.(3);
  return views;
}

function detachedDataView() {
  const view = new DataView(new ArrayBuffer(3), 1);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  assert.throws(() => view.byteLength, TypeError);
  return view;
}

function detachedBuffer() {
  const memory = new ArrayBuffer(3);
  structuredClone(memory, { transfer: [memory] });
  return memory;
}

/** A DataView whose buffer has become smaller than where it begins. */
function shrunkDataView() {
  const memory = new /** @type {any} */ (ArrayBuffer)(8, { maxByteLength: 8 });
  const view = new DataView(memory, 4, 4);
  memory.resize(2);
  return view;
}

/**
 * What is sent, what arrives, and whether the reference throws at it.
 *
 * @type {Record<string, { values: () => any[], arrives: Buffer[], amiss?: boolean }>}
 */
const MEMORIES = {
  shared: { values: () => [sharedBytes([1, 2, 3])], arrives: [Buffer.from([1, 2, 3])] },
  "shared, seen by a Buffer": {
    values: () => [Buffer.from(sharedBytes([4, 5]).buffer)],
    arrives: [Buffer.from([4, 5])],
  },
  detached: { values: () => [detachedView()], arrives: [Buffer.alloc(0)] },
  "detached, seen by a DataView": { values: () => [detachedDataView()], arrives: [Buffer.alloc(0)] },
  "a detached ArrayBuffer": { values: () => [detachedBuffer()], arrives: [Buffer.alloc(0)], amiss: true },
  "detached, beside a date": {
    values: () => [new Date(0), detachedDataView(), detachedBuffer()],
    arrives: [/** @type {any} */ ("1970-01-01T00:00:00.000Z"), Buffer.alloc(0), Buffer.alloc(0)],
    amiss: true,
  },
};

// Node 18 knows none: the option is passed over there.
if ("resizable" in ArrayBuffer.prototype) {
  MEMORIES["made smaller"] = { values: shrunkViews, arrives: [Buffer.alloc(0), Buffer.from([7, 7, 7])] };
  MEMORIES["made smaller, seen by a DataView"] = {
    values: () => [shrunkDataView()],
    arrives: [Buffer.alloc(0)],
  };
}

describe("memory", () => {
  describe("that threads share is copied before Rust sees it:", () => {
    for (const [what, value] of /** @type {[string, any][]} */ ([
      ["a Uint8Array", sharedBytes([1, 2, 3])],
      ["a DataView", new DataView(sharedBytes([1, 2, 3]).buffer)],
      ["a Buffer", Buffer.from(sharedBytes([1, 2, 3]).buffer)],
    ])) {
      it(`${what} as an attachment`, () => {
        const [bytes] = /** @type {Buffer[]} */ (readAttachments(["text", value]));
        assert.ok(bytes.buffer instanceof ArrayBuffer);
        assert.deepStrictEqual([...bytes], [1, 2, 3]);
      });
    }

    it("what a parser made", () => {
      for (const made of [
        sharedBytes([1, 2]),
        Buffer.from(sharedBytes([1, 2]).buffer),
        sharedBytes([1, 2]).buffer,
      ]) {
        const bytes = toBuffer(made);
        assert.ok(bytes.buffer instanceof ArrayBuffer);
        assert.deepStrictEqual([...bytes], [1, 2]);
      }
    });
  });

  it("that is the caller's own is not copied", () => {
    const bytes = Buffer.from("abc");
    assert.strictEqual(toBuffer(bytes), bytes);
    assert.strictEqual(readAttachments(["text", bytes])?.[0].buffer, bytes.buffer);
  });

  it("that is detached is written as empty, as the reference does", () => {
    assert.deepStrictEqual(msgpack.encode(detachedView()), msgpack.encode(Buffer.alloc(0)));
    assert.deepStrictEqual(msgpack.encodeAsIs(detachedView()), msgpack.encodeAsIs(Buffer.alloc(0)));
  });

  describe("arrives", () => {
    /** @type {Awaited<ReturnType<typeof startRedis>>} */
    let redis;
    before(async () => {
      redis = await startRedis();
    });
    after(() => redis.stop());

    for (const transport of /** @type {const} */ (["native", "client"])) {
      it(`whoever sends it, ${transport}`, async () => {
        const ring = await startRing({ redis, nodes: ["ours", "reference"], transport, sockets: 1 });
        try {
          for (const sender of ring.nodes) {
            // To the other one's client alone: `ws` itself throws for a detached view.
            await ring.reset();
            ring.nodes[1 - sender.index].peers[0].socket.join("there");
            for (const [what, { values, arrives, amiss }] of Object.entries(MEMORIES)) {
              if (amiss && sender.kind === "reference") continue;
              const logs = await ring.collect(sender, () => sender.io.to("there").emit("bytes", ...values()));
              const [remote] = logs[1 - sender.index];
              assert.deepStrictEqual(remote, [["bytes", ...arrives]], `${what}, by ${sender.name}`);
            }
          }
        } finally {
          await ring.close();
        }
      });
    }

    for (const adapter of /** @type {const} */ (["sharded", "streams"])) {
      it(`with other families: ${adapter}`, async () => {
        const ring = await startRing({ redis, adapter, nodes: ["ours", "ours"], sockets: 1 });
        const [sender, other] = ring.nodes;
        try {
          other.peers[0].socket.join("there");
          for (const [what, { values, arrives }] of Object.entries(MEMORIES)) {
            const logs = await ring.collect(sender, () => sender.io.to("there").emit("bytes", ...values()));
            assert.deepStrictEqual(logs[other.index][0], [["bytes", ...arrives]], what);
          }
        } finally {
          await ring.close();
        }
      });
    }

    it("from an emitter", async () => {
      const ring = await startRing({ redis, nodes: ["ours", "reference"] });
      const client = await connectClient("redis", redis);
      const emitter = new Emitter(client, { key: ring.key });
      try {
        for (const [what, { values, arrives }] of Object.entries(MEMORIES)) {
          for (const { log } of ring.peers()) log.length = 0;
          emitter.emit("bytes", ...values());
          for (const { log } of ring.peers()) {
            await waitFor(() => log.length > 0, { what });
            assert.deepStrictEqual(log, [["bytes", ...arrives]], what);
          }
        }
      } finally {
        await emitter.close();
        await endClient(client);
        await ring.close();
      }
    });
  });
});
