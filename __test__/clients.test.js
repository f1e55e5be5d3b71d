// @ts-check
"use strict";

/**
 * What the user's Redis clients have to be able to do, and what becomes of what they are told to do. No server is needed:
 * these clients do not connect.
 */

const assert = require("node:assert");
const { EventEmitter } = require("node:events");
const net = require("node:net");
const { clientsOf } = require("../lib/clients");
const { answered } = require("../lib/clients/client");
const { NodeRedisCluster } = require("../lib/clients/node-redis-cluster");
const { ShardMasters } = require("../lib/clients/shard-masters");
const { Echoes } = require("../lib/link/echoes");
const { leavesNoRejection } = require("./fixtures/suite");
const { IOREDIS, METHODS, load, mock } = require("./support/clients");
const { waitFor } = require("./support/wait");

describe("clients that lack something", () => {
  /** @param {any} pub @param {any} sub @param {"global" | "shard"} channelKind @param {RegExp} message */
  function lacks(pub, sub, channelKind, message) {
    assert.throws(
      () => clientsOf(pub, sub, channelKind),
      (/** @type {any} */ error) => error instanceof TypeError && message.test(error.message),
    );
  }

  for (const methods of [METHODS.ioredis, METHODS.redis.filter((name) => name !== "sendCommand")]) {
    for (const name of methods) {
      it(`${name}, of ${methods.join(", ")}`, () => {
        const client = mock(methods.filter((other) => other !== name));
        // Without the one that tells them, it is taken for one of the other package.
        lacks(client, client, "global", new RegExp(`Client must be .*no ${name}\\(\\)`, "i"));
      });
    }
  }

  it("the one of the two that lacks it is named", () => {
    const whole = mock(METHODS.ioredis);
    lacks(mock(["on"]), whole, "global", /^pubClient .*no publish\(\)/);
    lacks(whole, mock(["publish", "on"]), "global", /^subClient .*no subscribe\(\)/);
    lacks(whole, 7, "global", /^subClient .*number 7/);
    lacks(null, whole, "global", /^pubClient .*null/);
  });

  it("a client that only publishes need not subscribe, and the other way round", () => {
    clientsOf(mock(["publish", "on"]), mock(METHODS.ioredis.slice(1)), "global");
  });

  it("shards", () => {
    const client = mock(METHODS.ioredis);
    lacks(client, client, "shard", /^pubClient .*no sPublish\(\) or spublish\(\)/);
    lacks(mock(METHODS.ioredisShard), client, "shard", /^subClient .*no sSubscribe\(\) or ssubscribe\(\)/);
    clientsOf(mock(METHODS.ioredisShard), mock(METHODS.ioredisShard), "shard");
    const old = load("redis-3")
      .createClient({ port: 1, retry_strategy: () => undefined })
      .on("error", () => {});
    lacks(old, old, "shard", /^pubClient .*no sPublish\(\)/);
  });

  it("a pool cannot subscribe", () => {
    for (const version of ["redis-5", "redis"]) {
      const pool = load(version).createClientPool({ url: "redis://h:1" });
      lacks(pool, pool, "global", /^subClient .*no subscribe\(\)/);
    }
  });

  for (const version of IOREDIS) {
    it(`a Cluster of ${version} has to listen to all shards`, () => {
      const { Cluster } = load(version);
      const hasThem = version !== "iovalkey";
      const [some, all] = [false, true].map((shardedSubscribers) =>
        new Cluster(["redis://h:1"], { lazyConnect: true, shardedSubscribers }).on("error", () => {}),
      );
      assert.match(String(clientsOf(some, some, "shard").flaw()), hasThem ? /make it with/ : /take a newer/);
      assert.strictEqual(clientsOf(some, some, "global").flaw(), null);
      assert.strictEqual(clientsOf(some, all, "shard").flaw() === null, hasThem);
    });
  }
});

describe("what a client was told to do", () => {
  const { setTimeout } = globalThis;

  // Limits are over at once: nobody waits for them.
  beforeEach(() => {
    /** @type {any} */ (globalThis).setTimeout = (/** @type {() => void} */ act) => setTimeout(act, 1);
  });
  afterEach(() => void (globalThis.setTimeout = setTimeout));

  /**
   * Resolves to what is made of a reply that comes while the event loop is blocked, beyond the limit.
   *
   * @template T
   * @param {(reply: Promise<void>) => Promise<T>} use
   * @returns {Promise<T>}
   */
  async function whileBlocked(use) {
    const server = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", () => resolve(null)));
    const { port } = /** @type {net.AddressInfo} */ (server.address());
    const client = net.connect(port, "127.0.0.1");
    try {
      const [connection] = await Promise.all([
        new Promise((resolve) => server.once("connection", resolve)),
        new Promise((resolve) => client.once("connect", () => resolve(null))),
      ]);
      const used = use(new Promise((resolve) => void client.once("data", () => resolve())));
      connection.end("+OK\r\n");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      return await used;
    } finally {
      client.destroy();
      server.close();
    }
  }

  it("is not late if the answer came while the event loop was blocked", async () => {
    let isLate = false;
    await whileBlocked((reply) => answered(reply, { onLate: () => void (isLate = true) }));
    assert.strictEqual(isLate, false);
  });

  it("is late if there is no answer", async () => {
    let isLate = false;
    const answer = answered(new Promise(() => {}), { onLate: () => void (isLate = true) });
    await assert.rejects(answer, /does not answer/);
    assert.ok(isLate);
  });

  it("fails as the client does, which is never unhandled", async () => {
    const refused = Promise.reject(new Error("refused"));
    await assert.rejects(answered(refused, { onLate: () => assert.fail("it is not late") }), /refused/);
    /** @type {(error: Error) => void} */
    let fail = () => {};
    const answer = answered(new Promise((_, reject) => void (fail = reject)));
    await assert.rejects(answer, /does not answer/);
    fail(new Error("refused too late"));
  });

  it("a node is a master if it said so while the event loop was blocked", async () => {
    /** @type {string[]} */
    const demoted = [];
    const isMaster = await whileBlocked((reply) => {
      const masters = new ShardMasters(
        () => reply.then(() => ["master"]),
        (address) => demoted.push(address),
      );
      return masters.isMaster("node");
    });
    assert.deepStrictEqual([isMaster, demoted], [true, []]);
  });

  it("an own message is heard if it came while the event loop was blocked", async () => {
    const echoes = new Echoes();
    echoes.begin();
    const isHeard = await whileBlocked((reply) => {
      void reply.then(() => echoes.heard("message"));
      return echoes.has("message");
    });
    assert.strictEqual(isHeard, true);
  });

  leavesNoRejection();
});

describe("a cluster client of redis that is closed", () => {
  it("is not asked to count: it would connect to the nodes that it still lists", async () => {
    const cluster = Object.assign(new EventEmitter(), {
      ...{ isOpen: true, isReady: true, slots: [], masters: [{ address: "here:1", client: undefined }] },
      nodeClient: async () => ({ sendCommand: async () => ["channel", 3] }),
    });
    const user = new NodeRedisCluster(cluster, "shard");
    assert.deepStrictEqual(await user.count(["channel"]), [3]);
    cluster.isOpen = false;
    cluster.nodeClient = () => assert.fail("it connects");
    await assert.rejects(user.count(["channel"]), /is closed/);
  });
});

describe("a cluster client of redis that nobody needs any more", () => {
  it("leaves no subscriber of a node that it has forgotten when it is closed", async () => {
    const ended = new Set();
    const clientOf = (/** @type {string} */ name) =>
      Object.assign(new EventEmitter(), { isOpen: true, isReady: true, destroy: () => void ended.add(name) });
    const nodeOf = (/** @type {string} */ name) => ({
      address: name,
      client: clientOf(name),
      pubSub: { client: clientOf(`${name}, subscriber`) },
    });
    const [first, second] = ["first", "second"].map(nodeOf);
    const cluster = Object.assign(new EventEmitter(), { isOpen: true, isReady: true, slots: [] });
    Object.assign(cluster, { masters: [first], replicas: [] });
    const user = new NodeRedisCluster(cluster, "shard");
    user.stop();
    // It has found another master, and what it forgets is still connected.
    Object.assign(cluster, { masters: [second], isOpen: false });
    const all = [first, second].flatMap(({ address }) => [address, `${address}, subscriber`]);
    await waitFor(() => ended.size === all.length, { what: "the connections to end" });
    assert.deepStrictEqual([...ended].sort(), all.sort());
  });
});

describe("a cluster client of redis whose map of the slots lacks one", () => {
  it("is told to look for it at once, and then now and then", async () => {
    let searches = 0;
    const node = { address: "here:1", client: new EventEmitter() };
    const cluster = Object.assign(new EventEmitter(), {
      ...{ isOpen: true, isReady: true, slots: [], masters: [node] },
      ...{ _slots: { rediscover: async () => void searches++ } },
      sSubscribe: async () => assert.fail("nobody knows where"),
    });
    const user = new NodeRedisCluster(cluster, "shard");
    const begunAt = performance.now();
    for (let n = 0; n < 20; n++) {
      await assert.rejects(user.subscribe(2, "channel", () => {}));
      assert.ok(searches > 0);
    }
    user.stop();
    assert.ok(searches === 1 || performance.now() - begunAt >= 250, `${searches} searches`);
  });
});

describe("a cluster client of redis that is to listen by another connection", () => {
  const { setTimeout } = globalThis;

  // Limits are over at once: nobody waits for them.
  beforeEach(() => {
    /** @type {any} */ (globalThis).setTimeout = (/** @type {() => void} */ act) => setTimeout(act, 1);
  });
  afterEach(() => void (globalThis.setTimeout = setTimeout));

  const CHANNELS = new Map([["channel", { unsubscribing: false, buffers: new Set(), strings: new Set() }]]);

  /** The client of a node, as much of it as is needed. */
  class NodeClient extends EventEmitter {
    isOpen = false;
    isReady = false;
    /** @type {Map<string, any>} */
    listeners_ = new Map();

    /** @param {any} options @param {NodeClient[]} made @param {(node: NodeClient) => Promise<void>} greet */
    constructor(options, made, greet) {
      super();
      this.options = options;
      this.made = made;
      this.greet = greet;
      made.push(this);
    }

    get port() {
      return this.options.socket.port;
    }

    /** @param {any} options */
    duplicate(options) {
      return new NodeClient(options, this.made, this.greet);
    }

    async connect() {
      this.isOpen = true;
      this.emit("connect");
      await this.greet(this);
      this.isReady = this.isOpen;
    }

    /** @param {string} type */
    getPubSubListeners(type) {
      return type === "CHANNELS" ? this.listeners_ : new Map();
    }

    /** @param {string} _type @param {Map<string, any>} listeners */
    async extendPubSubListeners(_type, listeners) {
      this.listeners_ = new Map(listeners);
    }

    async disconnect() {
      if (!this.isOpen) throw new Error("ended twice");
      this.isOpen = this.isReady = false;
    }
  }

  /**
   * A cluster client that listens to the first of three nodes.
   *
   * @param {boolean} hasSlots as 5 and 6
   * @param {(node: NodeClient) => Promise<void>} greet
   */
  function clusterOf(hasSlots, greet) {
    /** @type {NodeClient[]} */
    const made = [];
    const mute = new NodeClient({ socket: { host: "h", port: 1 } }, made, greet);
    mute.isOpen = mute.isReady = true;
    mute.listeners_ = CHANNELS;
    const masters = [1, 2, 3].map((port) => ({
      address: `h:${port}`,
      client: { isReady: true, options: { socket: { host: "h", port } } },
    }));
    /** @type {any} */
    const cluster = Object.assign(new EventEmitter(), {
      ...{ isOpen: true, isReady: true, masters, replicas: [], slots: [] },
      ...{ _slots: hasSlots ? {} : undefined, pubSubNode: { address: "h:1", client: mute } },
    });
    return { cluster, made, user: new NodeRedisCluster(cluster, "global") };
  }

  /** The first one that is tried does as it is told, all others connect. @param {() => Promise<void>} greet */
  function firstDoes(greet) {
    /** @type {NodeClient | null} */
    let first = null;
    return async (/** @type {NodeClient} */ node) => {
      first ??= node;
      if (node === first) await greet();
    };
  }

  const WAYS = {
    "cannot connect": () => Promise.reject(new Error("refused")),
    "stands still": () => new Promise(() => {}),
  };

  for (const [version, hasSlots] of /** @type {[string, boolean][]} */ ([
    ["4", false],
    ["5 and 6", true],
  ])) {
    for (const [what, greet] of Object.entries(WAYS)) {
      it(`${version}: listens to a third node if it ${what}, and ends what it gives up`, async () => {
        const { cluster, made, user } = clusterOf(hasSlots, firstDoes(/** @type {any} */ (greet)));
        user.listenElsewhere();
        const place = cluster.pubSubNode;
        const listening = await waitFor(() => place.client.isReady && place.client, {
          what: "a client that listens",
        });
        assert.strictEqual(place.address, `h:${listening.port}`);
        assert.deepStrictEqual(listening.listeners_, CHANNELS);
        assert.deepStrictEqual(made.map(({ port }) => port).sort(), [1, 2, 3]);
        assert.deepStrictEqual(
          made.filter(({ isOpen }) => isOpen),
          [listening],
        );
        assert.strictEqual(place.connectPromise, undefined);
      });
    }

    it(`${version}: stops to look for a node when it is closed`, async () => {
      const { cluster, made, user } = clusterOf(hasSlots, () => new Promise(() => {}));
      user.listenElsewhere();
      const { client, connectPromise } = cluster.pubSubNode;
      cluster.isOpen = false;
      await assert.rejects(connectPromise ?? client, /elsewhere/);
      assert.deepStrictEqual(
        made.filter(({ isOpen }) => isOpen),
        [],
      );
    });
  }

  leavesNoRejection();
});
