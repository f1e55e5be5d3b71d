// @ts-check
"use strict";

/**
 * What the emitter shows of itself against that of the reference, as fidelity.test.js has it for adapters.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const { check } = require("./fixtures/differences");
const { compare, endOf, membersOf, propertiesOf } = require("./support/shapes");

const ROOT = path.join(__dirname, "..");

/** The reference first. */
const EMITTERS = [require("@socket.io/redis-emitter"), require("../emitter")];

describe("what shows, against the reference", function () {
  this.timeout(30_000);

  describe("emitter", () => {
    /** @type {[string, (its: any) => any][]} */
    const objects = [
      ["Emitter", (its) => new its.Emitter({ publish() {} })],
      ["Emitter with options", (its) => new its.Emitter({ publish() {} }, { key: "k" }, "/nsp")],
      ["BroadcastOperator", (its) => new its.Emitter({ publish() {} }).to("room").except("x").volatile],
    ];
    for (const [name, make] of objects) {
      it(name, () => {
        const [theirs, ours] = EMITTERS.map(make);
        assert.strictEqual(ours.constructor.name, theirs.constructor.name);
        assert.strictEqual(ours.constructor.length, theirs.constructor.length);
        check(`members of ${name}`, [
          ...compare(membersOf(theirs), membersOf(ours), "member"),
          ...compare(propertiesOf(theirs), propertiesOf(ours), "property"),
        ]);
      });
    }

    it("what calls return, and how they fail", async () => {
      const [theirs, ours] = await Promise.all(
        EMITTERS.map(async ({ Emitter, RESERVED_EVENTS }) => {
          const emitter = new Emitter({ publish() {} });
          /** @type {Record<string, () => any>} */
          const calls = {};
          for (const [name, target] of Object.entries({ emitter, operator: emitter.to("room") })) {
            for (const event of RESERVED_EVENTS) calls[`${name}.emit("${event}")`] = () => target.emit(event);
            calls[`${name}.emit("event")`] = () => target.emit("event", 1);
            calls[`${name}.emit("event", callback)`] = () => target.emit("event", () => {});
            calls[`${name}.socketsJoin()`] = () => target.socketsJoin("room");
            calls[`${name}.socketsLeave()`] = () => target.socketsLeave(["room"]);
            calls[`${name}.disconnectSockets()`] = () => target.disconnectSockets();
          }
          calls['serverSideEmit("event")'] = () => emitter.serverSideEmit("event");
          calls["serverSideEmit(callback)"] = () => emitter.serverSideEmit("event", () => {});
          for (const nothing of [undefined, null, {}])
            Object.assign(calls, {
              [`new Emitter(${JSON.stringify(nothing)})`]: () => new Emitter(nothing).redisClient === nothing,
              [`new Emitter(${JSON.stringify(nothing)}).emit()`]: () => new Emitter(nothing).emit("event"),
            });
          /** @type {Record<string, string>} */
          const ends = {};
          for (const [name, call] of Object.entries(calls)) ends[name] = await endOf(call);
          return ends;
        }),
      );
      check("calls of Emitter", compare(theirs, ours, "call"));
    });

    it("operators that were made by hand", () => {
      const [theirs, ours] = EMITTERS.map(({ BroadcastOperator }) => {
        /** @type {any[]} */
        const published = [];
        const redisClient = { publish: (/** @type {any[]} */ ...args) => published.push(args.map(String)) };
        const options = {
          nsp: "/nsp",
          broadcastChannel: "k#/nsp#",
          requestChannel: "k-request#/nsp#",
          parser: { encode: JSON.stringify },
        };
        new BroadcastOperator(redisClient, options).emit("event", 1);
        const target = new BroadcastOperator(redisClient, options, new Set(["a"]), new Set(["b"]), {
          volatile: true,
        });
        target.to("c").emit("event", 2);
        target.socketsJoin("d");
        // Another client, the same options; and what is put into its rooms is its own alone.
        const other = {
          publish: (/** @type {any[]} */ ...args) => published.push(["other", ...args].map(String)),
        };
        new BroadcastOperator(other, options).emit("event", 3);
        const mine = new BroadcastOperator(redisClient, options);
        mine.rooms.add("mine");
        new BroadcastOperator(redisClient, options).emit("event", 4);
        return published;
      });
      assert.strictEqual(ours.length, 5);
      assert.deepStrictEqual(ours, theirs);
    });

    it("DEBUG", () => {
      const [theirs, ours] = ["@socket.io/redis-emitter", "./emitter"].map((name) => {
        const script = `
          const { Emitter } = require(${JSON.stringify(name)});
          const emitter = new Emitter({ publish() {} });
          emitter.emit("event");
          emitter.of("nsp").to("room").emit("event");
        `;
        const env = { ...process.env, DEBUG: "socket.io-emitter", DEBUG_HIDE_DATE: "1" };
        const { stderr } = spawnSync(process.execPath, ["-e", script], { cwd: ROOT, env, encoding: "utf8" });
        return stderr.trim().split("\n");
      });
      assert.strictEqual(theirs.length, 2);
      assert.deepStrictEqual(ours, theirs);
    });
  });
});
