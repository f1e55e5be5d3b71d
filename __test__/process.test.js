// @ts-check
"use strict";

/**
 * What keeps a process without clients, and for how long: what is waited for, and what is not written yet.
 */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const path = require("node:path");
const { Redis } = require("ioredis");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const streams = require("../streams");
const { sideBySide } = require("./fixtures/suite");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams"]);

/** @typedef {typeof FAMILIES[number]} Family */

const HASTY = path.join(__dirname, "support", "child-hasty.js");

class Child {
  output = "";
  errors = "";

  /** @param {Record<string, any>} given @param {string[]} [nodeArgs] */
  constructor(given, nodeArgs = []) {
    const script = path.join(__dirname, "support", "child-ask.mjs");
    this.process = spawn(process.execPath, [...nodeArgs, script, JSON.stringify(given)]);
    this.process.stdout.on("data", (text) => (this.output += text));
    this.process.stderr.on("data", (text) => (this.errors += text));
    this.ended = once(this.process, "close", 30_000).finally(() => this.process.kill("SIGKILL"));
    this.ended.catch(() => {});
  }

  /** Resolves to what it has said, and how it has ended. */
  async end() {
    const [code] = await this.ended;
    return { code, answer: this.output.split("\n")[1] ?? "", errors: this.errors };
  }
}

/** @type {Map<Family, Promise<unknown>>} */
const turns = new Map();

/**
 * Runs something when the last one of its family has ended: servers that end are counted for a moment, and waited for.
 *
 * @template T
 * @param {Family} family
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
function turn(family, run) {
  const result = (turns.get(family) ?? Promise.resolve()).then(run);
  turns.set(
    family,
    result.catch(() => {}),
  );
  return result;
}

describe("a process without clients", function () {
  this.timeout(120_000);

  /** @type {import("./support/redis").RedisServer} */
  let redis;
  /** The other server of each family. @type {Server[]} */
  let others = [];

  before(async () => {
    redis = await startRedis();
    others = FAMILIES.map((family) => new Server({ adapter: adapterOf(family, redis.url) }));
    for (const io of others) {
      io.on("question", (/** @type {any} */ answer) => answer("an answer"));
      await /** @type {any} */ (io.of("/").adapter).ready;
    }
  });

  after(async () => {
    for (const io of others) io.of("/").adapter.close();
    await redis.stop();
  });

  /** @param {Family} family @param {string} url */
  function adapterOf(family, url) {
    if (family === "classic") return createAdapter(url, { key: "ask" });
    if (family === "sharded") return createShardedAdapter(url, { channelPrefix: "ask" });
    return streams.createAdapter(url, { channelPrefix: "ask", streamName: "ask" });
  }

  /** @param {Record<string, string>} answers by question */
  function questionsOf(answers) {
    return FAMILIES.flatMap((family) =>
      Object.entries(answers)
        .filter(([question]) => (family === "streams" ? question !== "barrier" : question !== "session"))
        .map(([question, answer]) => ({ name: `${family}: ${question}`, family, question, answer })),
    );
  }

  describe("is kept until it has its answer", () => {
    const variants = questionsOf({
      fetchSockets: "0",
      serverSideEmit: '["an answer"]',
      serverCount: "2",
      barrier: "done",
      subscribed: "done",
      acknowledged: "[]",
      ready: "done",
      session: '"rejected: session or offset not found"',
    });
    sideBySide(variants, async ({ family, question, answer }) => {
      const given = { port: redis.port, family, key: "ask", question, timeout: 10_000 };
      const ended = await turn(family, () => new Child(given).end());
      assert.deepStrictEqual(ended, { code: 0, answer, errors: "" });
    });
  });

  describe("whose Redis is away has an answer in time", () => {
    const variants = questionsOf({
      fetchSockets: "timeout reached",
      serverSideEmit: "timeout reached",
      serverCount: "1",
      barrier: "timeout reached",
      subscribed: "timeout reached",
      acknowledged: "operation has timed out",
      session: "rejected: ",
    });
    sideBySide(variants, async ({ family, question, answer }) => {
      const given = { port: await freePort(), family, key: "ask", question, timeout: 300 };
      // What was asked is not written either, and is waited for.
      const ended = await turn(family, () => new Child(given, ["-r", HASTY]).end());
      assert.strictEqual(ended.code, 0, ended.errors);
      assert.ok(ended.answer.includes(answer), ended.answer);
    });
  });

  /** What is said of a Redis that is away. @param {number} port */
  const isAway = (port) =>
    `socket.io-redis: cannot connect to 127.0.0.1:${port}: Connection refused (os error 111). Nothing listens there: ` +
    "check host and port, and that Redis runs (the adapter tries again by itself; its `error` event and its option " +
    "onError tell this, too)\n";

  it("is kept until its server is ready, however long that takes", async () => {
    const port = await freePort();
    const child = new Child({
      port,
      family: "classic",
      key: "ask",
      question: "ready",
      timeout: 100,
    });
    await waitFor(() => child.output === "asks\n", { what: "the child to ask", timeout: 20_000 });
    const own = await startRedis({ port });
    const { errors, ...ended } = await child.end();
    assert.deepStrictEqual(ended, { code: 0, answer: "done" });
    // It may be there before the first attempt.
    assert.ok(["", isAway(port)].includes(errors), errors);
    await own.stop();
  });

  it("is kept until a Redis that comes back has what was emitted", async () => {
    const port = await freePort();
    const child = new Child({
      port,
      family: "classic",
      key: "ask",
      question: "emit",
      timeout: 100,
    });
    await waitFor(() => child.output === "asks\ndone\n", { what: "the child to emit", timeout: 20_000 });
    const own = await startRedis({ port });
    const subscriber = new Redis(own.port);
    let heard = 0;
    subscriber.on("pmessage", () => heard++);
    await subscriber.psubscribe("ask#/#*");
    const { errors, ...ended } = await child.end();
    assert.deepStrictEqual(ended, { code: 0, answer: "done" });
    // It may be there before the first attempt.
    assert.ok(["", isAway(port)].includes(errors), errors);
    await waitFor(() => heard === 3, { what: "three messages" });
    await subscriber.quit();
    await own.stop();
  });

  describe("that has emitted, and whose Redis is away,", () => {
    const given = { key: "ask", timeout: 100 };
    const lost = "socket.io-redis: the adapter was closed, and Redis has not taken 3 messages in time\n";
    const ended = "socket.io-redis: the process ends, and Redis has not taken 3 messages";

    const variants = FAMILIES.flatMap((family) => [
      {
        name: `${family}: ends after a while, and says what is lost`,
        run: async () => {
          const port = await freePort();
          const child = new Child({ ...given, port, family, question: "emit" }, ["-r", HASTY]);
          const errors = `${isAway(port)}${ended} within 30 s\n`;
          assert.deepStrictEqual(await child.end(), { code: 0, answer: "done", errors });
        },
      },
      {
        name: `${family}: ends soon after close(), and says what is lost`,
        run: async () => {
          const port = await freePort();
          await says(new Child({ ...given, port, family, question: "close" }), port, lost);
        },
      },
      // What is published goes to the queue of a client at once, and is the client's; entries wait here.
      ...(family === "streams" ? [undefined, "native", "client"] : [undefined, "native"]).map(
        (transport) => ({
          name: `${family}, ${transport === undefined ? "a URL" : `clients, transport ${transport}`}: says once what is lost by close() if it has other things to do`,
          run: async () => {
            const port = await freePort();
            const child = new Child({ ...given, port, family, question: "closeAndGoOn", transport });
            await waitFor(() => child.errors.includes(lost), {
              what: "the loss to be said",
              timeout: 20_000,
            });
            child.process.stdin.end();
            await says(child, port, lost);
          },
        }),
      ),
      {
        name: `${family}: says what is lost when its clients have ended`,
        run: async () => {
          const port = await freePort();
          const child = new Child({ ...given, port, family, question: "quit", transport: "native" });
          const all = "socket.io-redis: the clients have ended, and Redis has not taken 3 messages in time\n";
          await says(child, port, all);
        },
      },
    ]);
    const exits = {
      name: "says what is lost by process.exit()",
      run: async () => {
        const child = new Child({ ...given, port: await freePort(), family: "classic", question: "exit" });
        assert.deepStrictEqual(await child.end(), { code: 0, answer: "", errors: `${ended} in time\n` });
      },
    };
    // Each is a process that loads what servers need.
    sideBySide([...variants, exits], ({ run }) => run(), { atOnce: 4 });

    /** Resolves when a child has ended well, and has said this besides that Redis is away. @param {Child} child @param {number} port @param {string} what */
    async function says(child, port, what) {
      const { errors, ...rest } = await child.end();
      assert.deepStrictEqual(rest, { code: 0, answer: "done" });
      assert.strictEqual(errors.replace(isAway(port), ""), what);
    }
  });
});
