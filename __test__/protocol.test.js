// @ts-check
"use strict";

/**
 * The examples of docs/PROTOCOL.md: each is sent to Redis as it stands there, to one server with this package and one
 * with the reference, and both do what the page says, also if it is written in another form that receivers take; and both
 * publish exactly these bytes for what the page names.
 */

const assert = require("node:assert");
const { MessageType } = /** @type {any} */ (require("socket.io-adapter"));
const { streamOf } = require("../lib/base/native");
const { REQUEST: REQUEST_TYPES } = require("../lib/messages/requests");
const { answersSix, event } = require("./protocol/actions");
const { CASES } = require("./protocol/cases");
const {
  ANSWERER,
  ENTRY,
  PAGE,
  PRIVATE_ID,
  REQUEST,
  SENDER,
  SOCKET,
  examples,
  isBroadcast,
  others,
  tables,
} = require("./protocol/page");
const { RINGS, Rig } = require("./protocol/rig");
const { startRedis } = require("./support/redis");
const { hashOf, streamOf: referenceStreamOf } = require("./support/streams");
const { otherForms, printPayload } = require("./support/wire-examples");

/** The tables, which are looked at below. */
const TABLES = ["msgpack/values", "streams/names"];

/** @param {string} name */
function tableOf(name) {
  return tables.find((one) => one.name === name)?.rows ?? [];
}

/** @param {[string, string][]} rows */
function namesStreams(rows) {
  for (const [stream, place] of rows) {
    const match = /^"(.*)", (-?\d+), of (\d+)(?: \((.*) in the reference\))?$/.exec(place);
    assert.ok(match, place);
    const [, nsp, hash, count, reference = stream] = match;
    assert.strictEqual(hashOf(nsp), Number(hash), place);
    assert.strictEqual(streamOf("socket.io", Number(count), nsp), stream, place);
    assert.strictEqual(referenceStreamOf("socket.io", Number(count), nsp), reference, place);
  }
}

/** What stands around the argument of `io.emit("value", …)`. */
const AROUND = [
  "93a6554944554944 83a47479706502 a464617461 92a576616c7565",
  "a36e7370a12f 83a5726f6f6d7390a665786365707490a5666c61677380",
];

/** Each value is sent as its row says, and arrives. @param {Rig} rig @param {[string, string][]} rows */
async function carriesValues(rig, rows) {
  const [before, after] = AROUND.map((hex) => hex.replaceAll(" ", ""));
  for (const [hex, code] of rows) {
    const value = new Function(`return (${code});`)();
    const payload = Buffer.from(before + hex.replaceAll(" ", "") + after, "hex");
    const example = {
      name: code,
      notes: [],
      words: ["PUBLISH", "socket.io#/#", "PAYLOAD"],
      payload,
      isBase64: false,
      text: "",
    };
    for (const node of rig.ring.nodes)
      await rig.expect(example, [node], () => void node.io.emit("value", value));
    for (const node of rig.ring.nodes) await rig.ring.mark(node);
    for (const peer of rig.ring.peers()) peer.log = [];
    // Binary stays what it is.
    const arrived = Buffer.isBuffer(value) ? value : (JSON.parse(JSON.stringify({ value })).value ?? null);
    await event(["value", arrived])(rig, example);
    await rig.ring.reset();
  }
}

describe("the examples of docs/PROTOCOL.md", () => {
  /** @type {import("./support/redis").RedisServer} */
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("all have a case here, and each case has its example", () => {
    assert.deepStrictEqual(examples.map(({ name }) => name).sort(), Object.keys(CASES).sort());
    assert.deepStrictEqual(
      tables.map(({ name }) => name),
      TABLES,
    );
    assert.deepStrictEqual(others, [], "blocks that nobody checks");
    const fences = PAGE.match(/^.*(```|~~~).*$/gm) ?? [];
    assert.strictEqual(fences.length, 2 * (examples.length + tables.length), "blocks that are not found");
  });

  it("say what their bytes mean", () => {
    for (const { text, payload, isBase64 } of examples)
      assert.strictEqual(text, printPayload(payload, isBase64));
  });

  it("have the text that the page says for what is random", () => {
    const rows = Array.from(
      PAGE.matchAll(/^\| `([^`]+)` +\| .* \| `([0-9a-f]+)` +\|$/gm),
      ([, text, hex]) => [text, hex],
    );
    const texts = [
      SENDER.classic,
      SENDER.cluster,
      ANSWERER,
      REQUEST.classic,
      REQUEST.cluster,
      SOCKET,
      PRIVATE_ID,
      ENTRY,
    ];
    assert.deepStrictEqual(
      rows,
      texts.map((text) => [text, Buffer.from(text).toString("hex")]),
    );
  });

  it("stand beside tables that have the numbers of all types", () => {
    const rows = Array.from(PAGE.matchAll(/^\| (\d+) +\| `([A-Z_]+)` /gm), ([, number, name]) => [
      name,
      Number(number),
    ]);
    const { BROADCAST_CLIENT_COUNT: _count, BROADCAST_ACK: _ack, ...requests } = REQUEST_TYPES;
    const messages = Object.entries(MessageType).filter(([name]) => Number.isNaN(Number(name)));
    assert.deepStrictEqual(rows, [...Object.entries(requests), ...messages]);
  });

  it("name the streams of namespaces", () => namesStreams(tableOf("streams/names")));

  for (const transport of ["native", "client"])
    for (const name of Object.keys(RINGS)) describe(`${name}, ${transport}`, () => declare(name, transport));

  /** @param {string} name @param {string} transport of ours */
  function declare(name, transport) {
    /** @type {Rig} */
    let rig;
    before(async () => {
      rig = new Rig(redis, { ...RINGS[name], transport });
      await rig.start();
    });
    afterEach(async () => {
      // What was published comes to the clients before this does.
      for (const node of rig.ring.nodes) await rig.ring.mark(node);
      await rig.ring.reset();
    });
    after(() => rig?.stop());

    it("uids have the form that the page says", () => {
      const form = rig.isClassic ? /^[\w-]{6}$/ : /^[0-9a-f]{16}$/;
      for (const node of rig.ring.nodes) assert.match(node.adapter().uid, form);
    });

    if (name === "classic")
      it("msgpack/values is what is published, and understood", () =>
        carriesValues(rig, tableOf("msgpack/values")));

    for (const example of examples) {
      const test = CASES[example.name];
      if (test?.ring !== name) continue;
      it(`${example.name} is what is published`, () => test.published(rig, example));
      it(`${example.name} is understood`, () => test.received(rig, example));
      if (transport !== "native" || test.received === answersSix) continue;
      const takesBoth = /^(classic|sharded)$/.test(RINGS[name].adapter) && !isBroadcast(example);
      for (const { how, example: other } of otherForms(example, takesBoth))
        it(`${example.name} is understood ${how}`, () => test.received(rig, other));
    }
  }
});
