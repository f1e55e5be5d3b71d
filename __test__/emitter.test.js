// @ts-check
"use strict";

/**
 * The emitter: what it gives to a client is what that of the reference does, byte for byte, and what it is beside that. No
 * Redis is needed.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const notepack = require("notepack.io");
const reference = require("@socket.io/redis-emitter");
const ours = require("../emitter");
const { CALLS, Recorder, wanted } = require("./fixtures/emitter-calls");
const { leavesNoRejection } = require("./fixtures/suite");

describe("the emitter", () => {
  it("has the names that the reference exports", async () => {
    assert.deepStrictEqual(Object.keys(ours).sort(), Object.keys(reference).sort());
    assert.deepStrictEqual([...ours.RESERVED_EVENTS], [...reference.RESERVED_EVENTS]);
    const imported = await import("../emitter.mjs");
    assert.strictEqual(imported.Emitter, ours.Emitter);
    for (const [name, type] of Object.entries({
      Emitter: ours.Emitter,
      BroadcastOperator: ours.BroadcastOperator,
    })) {
      const theirs = Object.getOwnPropertyNames(reference[/** @type {"Emitter"} */ (name)].prototype);
      for (const method of theirs) assert.ok(method in type.prototype, `${name}.${method}`);
    }
  });

  it("needs nothing of Socket.IO, which is not there where there is no server", () => {
    const script = `
      const Module = require("node:module");
      const resolve = Module._resolveFilename;
      Module._resolveFilename = function (name, ...rest) {
        if (/^socket\\.io/.test(name)) throw new Error(name + " is not there");
        return resolve.call(this, name, ...rest);
      };
      const { Emitter } = require("./emitter");
      console.log(new Emitter({ publish: () => process.stdout.write("published ") }).emit("event"));
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ["-e", script], {
      cwd: path.join(__dirname, ".."),
    });
    assert.deepStrictEqual([String(stdout), String(stderr)], ["published true\n", ""]);
  });

  it("has the fields of the reference's", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client, { key: "k" }, "/nsp");
    assert.strictEqual(emitter.redisClient, client);
    assert.strictEqual(emitter.nsp, "/nsp");
    assert.strictEqual(/** @type {any} */ (emitter.opts).key, "k");
    assert.strictEqual(/** @type {any} */ (new ours.Emitter(client).opts).key, "socket.io");
    assert.strictEqual(emitter.of("a").nsp, "/a");
    assert.strictEqual(emitter.of("/a").redisClient, client);
    assert.deepStrictEqual(emitter.of("a").opts, emitter.opts);
  });

  it("makes another operator with each call", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client);
    const room = emitter.to("a");
    assert.ok(room instanceof ours.BroadcastOperator);
    room.to("b").except("c").volatile.compress(true).emit("others");
    room.emit("event");
    assert.deepStrictEqual(
      client.messages.slice(1),
      wanted((theirs) => theirs.to("a").emit("event")),
    );
  });

  it("goes its own way though an operator of another client has its options", () => {
    const make = () => {
      /** @type {string[]} */
      const calls = [];
      const note = (/** @type {string} */ name) => (/** @type {string} */ channel) =>
        void calls.push(`${name} ${channel}`);
      return { calls, publish: note("publish"), spublish: note("spublish") };
    };
    const [mine, theirs] = [make(), make()];
    const emitter = new ours.Emitter(mine, { mode: "sharded", channelPrefix: "p" });
    const other = new ours.BroadcastOperator(theirs, /** @type {any} */ (emitter).broadcastOptions);
    emitter.to("room").emit("event");
    other.to("room").emit("event");
    emitter.to("room").emit("event");
    assert.deepStrictEqual(mine.calls, ["spublish p#/#room#", "spublish p#/#room#"]);
    assert.deepStrictEqual(theirs.calls, ["spublish p#/#room#"]);
  });

  it("rejects reserved names and callbacks", () => {
    const client = new Recorder();
    const emitter = new ours.Emitter(client);
    for (const name of reference.RESERVED_EVENTS) {
      const message = `"${String(name)}" is a reserved event name`;
      assert.throws(() => emitter.emit(String(name)), { message });
      assert.throws(() => emitter.to("a").emit(String(name)), { message });
    }
    const message = "Acknowledgements are not supported";
    assert.throws(() => emitter.serverSideEmit("event", () => {}), { message });
    assert.throws(() => emitter.emit("event", 1, () => {}), { message });
    assert.deepStrictEqual(client.calls, []);
  });

  it("throws for what cannot be sent, at once", () => {
    for (const opts of [{}, { mode: /** @type {const} */ ("sharded") }]) {
      const client = { publish() {}, spublish() {} };
      const emitter = new ours.Emitter(client, opts);
      assert.throws(() => emitter.emit("event", 1n));
      /** @type {any} */
      const circular = {};
      circular.circular = circular;
      assert.throws(() => emitter.emit("event", circular));
    }
  });

  it("says what is wrong with its arguments", () => {
    /** @type {any} */
    const Any = ours.Emitter;
    for (const mode of ["sharded", "streams"])
      for (const client of [undefined, null, {}])
        assert.throws(() => new Any(client, { mode }), {
          name: "TypeError",
          message: /^redisClient must be a client/,
        });
    assert.throws(() => new Any("http://localhost"), {
      name: "TypeError",
      message: /the URL must be redis:/,
    });
    const client = new Recorder();
    for (const [opts, message] of /** @type {[any, RegExp][]} */ ([
      [5, /opts must be an object/],
      [{ mode: "all" }, /opts.mode must be/],
      [{ key: {} }, /opts.key must be a string/],
      [{ parser: {} }, /opts.parser must be an object with encode/],
      [{ transport: "rust" }, /opts.transport must be/],
      [{ transport: "native" }, /opts.transport cannot be "native"/],
      [{ mode: "sharded" }, /has no sPublish/],
      [{ mode: "streams" }, /cannot/],
      [{ mode: "streams", streamCount: 0 }, /opts.streamCount must be/],
    ]))
      assert.throws(() => new Any(client, opts), { name: "TypeError", message });
  });

  it("without a client can be made, as the reference's, and throws where something is to be sent", async () => {
    /** @type {any} */
    const Any = ours.Emitter;
    for (const args of [[], [undefined], [null], [{}], [() => {}], [null, { key: "k" }, "/nsp"]]) {
      const emitter = new Any(...args);
      assert.strictEqual(emitter.redisClient, args[0]);
      const targets = [emitter, emitter.of("chat"), emitter.to("r").except("s").volatile.compress(true)];
      for (const target of targets) {
        for (const send of [
          () => target.emit("event"),
          () => target.socketsJoin("r"),
          () => target.socketsLeave("r"),
          () => target.disconnectSockets(),
        ])
          assert.throws(send, { name: "TypeError", message: /^redisClient must be a client/ });
      }
      assert.throws(() => emitter.serverSideEmit("event"), /^TypeError: redisClient must be a client/);
      assert.strictEqual(emitter.stats(), null);
      assert.match(emitter.transport.reason, /redisClient must be a client/);
      assert.strictEqual((await emitter.flush()).sent, 0);
      assert.strictEqual((await emitter.close()).sent, 0);
    }
  });

  describe("gives a client that only publishes, in the same tick,", () => {
    for (const [what, call] of Object.entries(CALLS)) {
      it(what, () => {
        const client = new Recorder();
        const returned = call(new ours.Emitter(client));
        assert.deepStrictEqual(client.messages, wanted(call));
        assert.strictEqual(returned, call(new reference.Emitter(new Recorder())));
      });
    }

    it("strings where the reference does", () => {
      const client = new Recorder();
      const emitter = new ours.Emitter(client);
      emitter.socketsJoin("a");
      emitter.serverSideEmit("event");
      emitter.emit("event");
      assert.deepStrictEqual(
        client.calls.map(([, payload]) => typeof payload),
        ["string", "string", "object"],
      );
    });

    it("what a parser makes of it", () => {
      const parsers = [
        { encode: (/** @type {any} */ value) => JSON.stringify(value) },
        { encode: (/** @type {any} */ value) => Buffer.from(JSON.stringify(value)) },
        { encode: (/** @type {any} */ value) => new Uint8Array(notepack.encode(value)) },
      ];
      for (const parser of parsers) {
        for (const call of Object.values(CALLS)) {
          const client = new Recorder();
          call(new ours.Emitter(client, { parser, key: "k" }));
          assert.deepStrictEqual(client.messages, wanted(call, { parser, key: "k" }));
        }
      }
    });

    it("what becomes of it is known", async () => {
      let n = 0;
      const client = {
        publish() {
          if (++n === 2) throw new Error("the second one");
          return n === 3 ? Promise.reject(new Error("the third one")) : 7;
        },
      };
      const emitter = new ours.Emitter(client);
      emitter.emit("event");
      assert.deepStrictEqual(await emitter.flush(), {
        sent: 1,
        receivers: 7,
        refused: 0,
        lost: 0,
        pending: 0,
      });
      emitter.emit("event");
      emitter.emit("event");
      emitter.emit("event");
      await assert.rejects(emitter.flush(), {
        message: "2 of 3 messages have not reached Redis: 2 refused (the third one)",
        refused: 2,
        sent: 1,
        receivers: 7,
      });
      assert.deepStrictEqual(await emitter.close(), {
        sent: 0,
        receivers: 0,
        refused: 0,
        lost: 0,
        pending: 0,
      });
    });

    leavesNoRejection();
  });
});
