// @ts-check
"use strict";

/**
 * Errors that nobody listens to: an operator sees them on stderr, the same once a minute; and `flush()` and `close()` of
 * an emitter end though Redis is away.
 */

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const net = require("node:net");
const path = require("node:path");
const { Server } = require("socket.io");
const { createAdapter, createShardedAdapter } = require("..");
const { Emitter } = require("../emitter");
const streams = require("../streams");
const { freePort } = require("./support/ports");
const { startRedis } = require("./support/redis");
const { once, waitFor } = require("./support/wait");

const ROOT = path.join(__dirname, "..");
const HASTY = path.join(__dirname, "support", "child-hasty.js");

/** @type {Record<string, (url: string, opts?: any) => any>} */
const FACTORIES = { classic: createAdapter, sharded: createShardedAdapter, streams: streams.createAdapter };

/** What a server can have that hears of an outage. @type {Record<string, (io: Server, factory: any) => any>} */
const LISTENERS = {
  "an error listener": (io) => new Promise((resolve) => io.of("/").adapter.on("error", resolve)),
  "a degraded listener": (io) => new Promise((resolve) => io.of("/").adapter.on("degraded", resolve)),
  "an error listener of one namespace of two": (io) => {
    io.of("/other");
    return new Promise((resolve) => io.of("/").adapter.on("error", resolve));
  },
  "an error listener of the factory": (_, factory) => new Promise((resolve) => factory.on("error", resolve)),
  "an error listener of what stands for its client": (_, { pubClient }) =>
    new Promise((resolve) => pubClient.on("error", resolve)),
};

describe("what nobody listens to", () => {
  const { warn } = console;
  /** What was said since the test began. @type {string[]} */
  let said = [];
  /** @type {(() => any)[]} */
  const endings = [];

  beforeEach(() => {
    said = [];
    console.warn = (/** @type {any[]} */ ...args) => void said.push(args.join(" "));
  });

  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
    console.warn = warn;
  });

  /** The lines about a Redis. @param {number} port */
  const about = (port) => said.filter((line) => line.includes(`127.0.0.1:${port}`));

  /** @param {any} adapter @returns {Server} */
  function serve(adapter) {
    const io = new Server({ adapter });
    endings.push(() => {
      for (const { adapter } of /** @type {any} */ (io)._nsps.values()) adapter.close();
    });
    return io;
  }

  /** @param {any} url @param {any} [opts] */
  function emitterOf(url, opts) {
    const emitter = new Emitter(url, opts);
    endings.push(() => emitter.close({ timeout: 1 }).catch(() => {}));
    return emitter;
  }

  const HINT = "(the adapter tries again by itself; its `error` event and its option onError tell this, too)";

  for (const [name, make] of Object.entries(FACTORIES)) {
    it(`${name}: a Redis that is not there is one line`, async () => {
      const port = await freePort();
      const io = serve(make(`redis://user:secret@127.0.0.1:${port}`));
      await failure(io, "/");
      assert.strictEqual(about(port).length, 1, said.join("\n"));
      const [line] = about(port);
      assert.ok(line.startsWith(`socket.io-redis: cannot connect to 127.0.0.1:${port}: `), line);
      assert.ok(
        line.endsWith(`Nothing listens there: check host and port, and that Redis runs ${HINT}`),
        line,
      );
      assert.doesNotMatch(line, /secret|\n/);
    });

    it(`${name}: it is one line whatever the number of servers, namespaces and attempts`, async () => {
      let attempts = 0;
      const loading = net.createServer((socket) => {
        attempts++;
        socket.on("error", () => {}).on("data", () => socket.end("-LOADING Redis is loading\r\n"));
      });
      await once(loading.listen(0, "127.0.0.1"), "listening");
      endings.push(() => loading.close());
      const { port } = /** @type {net.AddressInfo} */ (loading.address());
      const servers = [1, 2].map(() => serve(make(`redis://127.0.0.1:${port}`)));
      for (const io of servers) io.of("/other");
      await waitFor(() => attempts >= 12, { what: "some attempts" });
      for (const io of servers) await failure(io, "/other");
      assert.strictEqual(about(port).length, 1, said.join("\n"));
    });
  }

  it("a wrong password is told, and not said", async () => {
    const redis = await startRedis({ password: "right-one" });
    endings.push(() => redis.stop());
    const io = serve(createAdapter(`redis://:wrong-one@127.0.0.1:${redis.port}`));
    await failure(io, "/");
    assert.strictEqual(about(redis.port).length, 1, said.join("\n"));
    assert.match(about(redis.port)[0], /does not take the user name or the password \(WRONGPASS\)/);
    assert.doesNotMatch(said.join("\n"), /right-one|wrong-one/);
  });

  it("an outage that ends up in another trouble is told anew", async () => {
    const port = await freePort();
    const io = serve(createAdapter(`redis://127.0.0.1:${port}`));
    await waitFor(() => about(port).length === 1, { what: "the first line" });
    const redis = await startRedis({ port, password: "secret" });
    endings.push(() => redis.stop());
    await waitFor(() => about(port).length === 2, { what: "the second line" });
    assert.match(about(port)[1], /wants a password, and none was given/);
    await failure(io, "/");
    assert.strictEqual(about(port).length, 2);
  });

  it("an outage of the subscriptions alone is told each time, and says where", async () => {
    const redis = await startRedis();
    endings.push(() => redis.stop());
    const io = serve(createAdapter(redis.url));
    const { adapter } = /** @type {any} */ (io.of("/"));
    const text = `socket.io-redis: 127.0.0.1:${redis.port} closed the connection ${HINT}`;
    const { now } = performance;
    endings.push(() => (performance.now = now));
    for (let time = 1; time <= 3; time++) {
      await adapter.ready;
      const ready = new Promise((resolve) => adapter.once("ready", resolve));
      await redis.cli("CLIENT", "KILL", "TYPE", "pubsub");
      await waitFor(() => about(redis.port).length === time, { what: `line ${time}` });
      await ready;
      // A minute later the same may be said again.
      performance.now = () => now.call(performance) + time * 61_000;
    }
    assert.deepStrictEqual(about(redis.port), [text, text, text]);
  });

  it("what cannot be sent is told, too, in an outage of which enough was told", async () => {
    let attempts = 0;
    const server = net.createServer((socket) => {
      const answer = `-ERR problem ${++attempts}\r\n`;
      socket.on("error", () => {}).on("data", () => socket.end(answer));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    endings.push(() => server.close());
    const { port } = /** @type {net.AddressInfo} */ (server.address());
    const io = serve(createAdapter(`redis://127.0.0.1:${port}`));
    await waitFor(() => attempts >= 12, { what: "some attempts" });
    assert.strictEqual(about(port).length, 5, said.join("\n"));
    /** @type {any} */
    let value = 1;
    for (let level = 0; level < 1100; level++) value = [value];
    io.emit("event", value);
    const text = "socket.io-redis: publish: a broadcast is nested deeper than";
    await waitFor(() => said.some((line) => line.startsWith(text)), { what: "the line" });
  });

  it("what Redis refuses is told", async () => {
    const redis = await startRedis({ users: { deaf: "on >deaf ~* &nothing +@all" } });
    endings.push(() => redis.stop());
    serve(createAdapter(redis.url.replace("//", "//deaf:deaf@")));
    await waitFor(() => said.some((line) => /^socket\.io-redis: subscribe: NOPERM/.test(line)), {
      what: "the line",
    });
  });

  for (const [what, listen] of Object.entries(LISTENERS)) {
    it(`is not said if there is ${what}`, async () => {
      const port = await freePort();
      const factory = createAdapter(`redis://127.0.0.1:${port}`);
      const io = serve(factory);
      assert.match((await listen(io, factory)).message, /cannot connect/);
      await failure(io, "/");
      assert.deepStrictEqual(about(port), []);
    });
  }

  it("is not said if there is an onError option", async () => {
    const port = await freePort();
    /** @type {Error[]} */
    const errors = [];
    const io = serve(
      createAdapter(`redis://127.0.0.1:${port}`, {
        onError: (/** @type {Error} */ error) => errors.push(error),
      }),
    );
    await failure(io, "/");
    assert.strictEqual(errors.length, 1);
    assert.deepStrictEqual(about(port), []);
  });

  it("transport says that it is not proven, and why, until it has been connected", async () => {
    const port = await freePort();
    const url = `redis://127.0.0.1:${port}`;
    const io = serve(createAdapter(url));
    const adapter = /** @type {any} */ (io.of("/").adapter);
    const emitter = emitterOf(url);
    for (const { transport } of [adapter, emitter]) assert.strictEqual(transport.proven, false);
    await waitFor(() =>
      [adapter, emitter].every(({ transport }) =>
        /^there are no clients; the link's own connections could not be made: cannot connect to /.test(
          transport.reason,
        ),
      ),
    );
    const redis = await startRedis({ port });
    endings.push(() => redis.stop());
    const proven = { carrier: "native", proven: true, reason: "there are no clients" };
    for (const one of [adapter, emitter]) {
      await waitFor(() => one.transport.proven);
      assert.deepStrictEqual(one.transport, proven);
    }
    await redis.kill();
    await waitFor(() => adapter.stats().outages > 0);
    assert.strictEqual(adapter.transport.proven, true);
    await redis.restart();
  });

  it("an emitter tells, too", async () => {
    const port = await freePort();
    const emitter = emitterOf(`redis://user:secret@127.0.0.1:${port}`);
    emitter.emit("event");
    await waitFor(() => about(port).length === 1, { what: "the line" });
    assert.match(about(port)[0], /the emitter tries again by itself; flush\(\) and close\(\) tell/);
    assert.doesNotMatch(about(port)[0], /secret/);
  });

  for (const call of ["flush", "close"]) {
    it(`${call}() of an emitter without a timeout ends after a while without Redis, and says why`, async () => {
      const port = await freePort();
      const script = `
        const { Emitter } = require("./emitter");
        const emitter = new Emitter("redis://:secret@127.0.0.1:${port}");
        emitter.emit("event");
        emitter.${call}().catch((error) => {
          console.log(JSON.stringify({ message: error.message, pending: error.pending }));
          process.exit();
        });`;
      const child = spawn(process.execPath, ["-r", HASTY, "-e", script], { cwd: ROOT });
      endings.push(() => child.kill("SIGKILL"));
      let output = "";
      child.stdout.on("data", (text) => (output += text));
      await once(child, "close", 15_000);
      const { message, pending } = JSON.parse(output);
      assert.match(
        message,
        /^1 of 1 message has not reached Redis: 1 not answered within 30 s \(cannot connect to 127\.0\.0\.1:\d+: .* check host and port/,
      );
      assert.strictEqual(pending, 1);
    });
  }

  for (const mode of ["classic", "streams"]) {
    for (const carrier of ["own", "redis", "ioredis"]) {
      it(`flush() ends after a while without answers, though more is emitted: ${mode}, ${carrier}`, async () => {
        const redis = await startRedis();
        endings.push(
          () => redis.stop(),
          () => redis.resume(),
        );
        const script = `
          const { Emitter } = require("./emitter");
          const port = ${redis.port};
          const clients = {
            own: () => "redis://127.0.0.1:" + port,
            redis: () => {
              const client = require("redis").createClient({ socket: { port } });
              client.connect();
              return client;
            },
            ioredis: () => new (require("ioredis").Redis)(port),
          };
          const transport = "${carrier}" === "own" ? "native" : "client";
          const emitter = new Emitter(clients["${carrier}"](), { mode: "${mode}", transport });
          emitter.emit("event");
          emitter.flush().then(() => console.log("{}"));
          process.stdin.once("data", () => {
            setInterval(() => emitter.emit("event"), 20);
            emitter.emit("event");
            emitter.flush().catch(({ message }) => {
              console.log(JSON.stringify({ message }));
              process.kill(process.pid, "SIGKILL");
            });
          });`;
        const child = spawn(process.execPath, ["-r", HASTY, "-e", script], { cwd: ROOT });
        endings.push(() => child.kill("SIGKILL"));
        let output = "";
        child.stdout.on("data", (text) => (output += text));
        await waitFor(() => output !== "", { what: "the first event to be answered" });
        redis.pause();
        child.stdin.write("\n");
        await once(child, "close", 15_000);
        const { message } = JSON.parse(output.split("\n")[1]);
        assert.match(message, /^\d+ of \d+ messages have not reached Redis: \d+ not answered within 30 s/);
      });
    }
  }

  it("flush() with a timeout of Infinity waits for as long as Redis is away", async () => {
    const port = await freePort();
    const emitter = emitterOf(`redis://127.0.0.1:${port}`);
    emitter.emit("event");
    const flushed = emitter.flush({ timeout: Infinity });
    await waitFor(() => about(port).length === 1, { what: "an attempt that has failed" });
    const redis = await startRedis({ port });
    endings.push(() => redis.stop());
    assert.strictEqual((await flushed).sent, 1);
  });
});

/** Resolves when an attempt to connect has failed that a namespace of the server has made. @param {Server} io @param {string} nsp */
async function failure(io, nsp) {
  const adapter = /** @type {any} */ (io.of(nsp).adapter);
  await waitFor(() => /could not be made/.test(adapter.transport.reason), { what: "an attempt" });
}
