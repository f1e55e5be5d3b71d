// @ts-check
"use strict";

/**
 * What the pages for users say that can be looked up: links, options and their defaults, counters, reasons, and the
 * rules for ACL users, which are enough.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { readEmitterOptions } = require("../lib/emitter/options");
const { readOptions, readShardedOptions, readStreamsOptions } = require("../lib/options/options");
const main = require("..");
const streams = require("../streams");
const { membersOf } = require("./support/declared");
const { startRedis } = require("./support/redis");
const { waitFor } = require("./support/wait");

const ROOT = path.join(__dirname, "..");
const PAGES = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...fs
    .readdirSync(path.join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name.replaceAll(path.sep, "/")}`),
];

/** The defaults by the page and the heading that their table stands under. @type {Record<string, Record<string, any>>} */
const DEFAULTS = {
  "README.md Options": { ...renamed(readShardedOptions({})), ...readOptions({}) },
  "docs/choosing.md Sharded": renamed(readShardedOptions({})),
  "docs/streams.md Options": { ...renamed(readStreamsOptions({})), useShardedPubSub: false },
  "docs/emitter.md Which servers": {
    ...readEmitterOptions({}).link,
    key: "socket.io",
    ...readEmitterOptions({ mode: "sharded" }).shown,
  },
};

/** The rows and the columns of the table of connections. */
const HOW = /** @type {const} */ (["native", "url", "client", "reference"]);
const FAMILIES = /** @type {const} */ (["classic", "sharded", "streams", "emitter"]);

/** @type {Record<typeof FAMILIES[number], any>} */
const OURS = {
  classic: main.createAdapter,
  sharded: main.createShardedAdapter,
  streams: streams.createAdapter,
  emitter: require("../emitter"),
};

/** @type {Record<typeof FAMILIES[number], any>} */
const REFERENCE = {
  classic: require("@socket.io/redis-adapter").createAdapter,
  sharded: require("@socket.io/redis-adapter").createShardedAdapter,
  streams: require("@socket.io/redis-streams-adapter").createAdapter,
  emitter: require("@socket.io/redis-emitter"),
};

/** In place of a value there may stand what it is. */
const WORDS = new Set(["msgpack", "as the adapter", "–", ""]);

describe("docs", function () {
  this.timeout(20_000);

  for (const page of PAGES) {
    it(`${page}: what it links to is there`, () => {
      const links = textOf(page).matchAll(/\]\(([^)\s]+)\)/g);
      for (const [, link] of links) {
        if (/^https?:/.test(link)) continue;
        const [file, anchor] = link.split("#");
        const target = file === "" ? page : path.join(path.dirname(page), file);
        assert.ok(fs.existsSync(path.join(ROOT, target)), `${page}: ${link}`);
        if (anchor) assert.ok(anchorsOf(target).includes(anchor), `${page}: ${link}`);
      }
    });
  }

  for (const [place, defaults] of Object.entries(DEFAULTS)) {
    it(`${place}: the options have the defaults that are said`, () => {
      const [page, ...heading] = place.split(" ");
      const rows = optionsOf(page, heading.join(" "));
      assert.ok(rows.length > 1, "no table");
      for (const { names, value } of rows) {
        for (const name of names) {
          if (WORDS.has(value)) continue;
          assert.deepStrictEqual(JSON.parse(value), defaults[name], name);
        }
      }
    });
  }

  it("CHANGELOG.md begins with what is not released, or with the version of the package", () => {
    const [, first] = /^## (.+)$/m.exec(textOf("CHANGELOG.md")) ?? [];
    assert.ok(["Unreleased", require("../package.json").version].includes(first), first);
  });

  it("the types say the same defaults", () => {
    /** @type {["index" | "streams" | "emitter", string, Record<string, any>][]} */
    const types = [
      ["index", "RedisAdapterOptions", readOptions({})],
      ["index", "ShardedRedisAdapterOptions", renamed(readShardedOptions({}))],
      [
        "streams",
        "RedisStreamsAdapterOptions",
        { ...renamed(readStreamsOptions({})), useShardedPubSub: false },
      ],
      ["emitter", "EmitterOptions", { ...readEmitterOptions({}).link, key: "socket.io", mode: "classic" }],
      [
        ...["emitter", "ShardedEmitterOptions"],
        { ...readEmitterOptions({}).link, ...readEmitterOptions({ mode: "sharded" }).shown },
      ],
      [
        ...["emitter", "StreamsEmitterOptions"],
        { ...readEmitterOptions({}).link, ...readEmitterOptions({ mode: "streams" }).shown },
      ],
    ];
    for (const [entry, type, defaults] of types) {
      const said = membersOf(entry, type).filter((member) =>
        /^["\d]|^(true|false)$/.test(member.fallback ?? ""),
      );
      assert.ok(said.length > 1, `${type} says none`);
      for (const { name, fallback } of said)
        assert.deepStrictEqual(JSON.parse(fallback ?? ""), defaults[name], `${type}.${name}`);
    }
  });

  it("docs/operating.md: the counters that are worth a look are there", () => {
    const names = membersOf("index", "LinkStats").map(({ name }) => name);
    const rows = tableOf("docs/operating.md", "stats()");
    assert.ok(rows.length > 5, "no table");
    for (const [counter] of rows) assert.ok(names.includes(counter.replace(/`/g, "")), counter);
  });

  it("docs/clients.md: the reasons are those that adapters give", () => {
    const code = [...sourcesOf("lib", ".js"), ...sourcesOf("src", ".rs")].join("\n");
    const rows = tableOf("docs/clients.md", "When your clients carry the bytes");
    assert.ok(rows.length > 5, "no table");
    for (const [reason] of rows) {
      // A dot stands for what is told of the case at hand.
      for (const part of reason.split(/…|;|, |\(.*?\)/).map((text) => text.trim()))
        assert.ok(code.includes(part.replace(/^(natMap|nodeAddressMap) /, "")), part);
    }
  });

  it("docs/choosing.md: there are as many connections as are said", async () => {
    const rows = tableOf("docs/choosing.md", "Connections to Redis");
    assert.strictEqual(rows.length, HOW.length);
    for (const [row, how] of HOW.entries())
      for (const [column, family] of FAMILIES.entries())
        await checkConnections(how, family, Number(rows[row][column + 1]));
  });

  const rules = aclRules().flatMap(([page, line, rule]) => [
    // What a connection may ask of the server besides: the page says what it is for.
    { title: `${page}:${line}: the rule is enough`, rule, besides: ["ping", "role", "client|info"] },
    {
      title: `${page}:${line}: with +ping and +role nothing is refused`,
      rule: `${rule} +ping +role${rule.includes("+xadd") ? " +client|info +client|kill" : ""}`,
      besides: [],
    },
  ]);
  for (const { title, rule, besides } of rules) {
    it(title, async () => {
      const redis = await startRedis();
      const ios = [];
      /** @type {Error[]} */
      const errors = [];
      try {
        await redis.cli(...rule.split(" "));
        const url = redis.url.replace("//", "//app:secret@");
        const create = rule.includes("+xadd")
          ? () => streams.createAdapter(url)
          : rule.includes("+spublish")
            ? () => main.createShardedAdapter(url, { requestsTimeout: 2000 })
            : () => main.createAdapter(url, { requestsTimeout: 2000 });
        for (let server = 0; server < 2; server++) {
          const io = new Server({
            adapter: create(),
            ...(rule.includes("+xadd") && { connectionStateRecovery: {} }),
          });
          ios.push(io);
          io.of("/").adapter.on("error", (error) => errors.push(error));
        }
        const adapters = ios.map((io) => /** @type {any} */ (io.of("/").adapter));
        await Promise.all(adapters.map((adapter) => adapter.ready));
        const heard = new Promise((resolve) => ios[1].on("hello", resolve));
        ios[0].emit("event");
        ios[0].to("room").emit("event");
        ios[0].socketsJoin("room");
        ios[0].serverSideEmit("hello");
        assert.strictEqual(await adapters[0].serverCount(), 2);
        assert.deepStrictEqual(await ios[0].fetchSockets(), []);
        await heard;
        if (rule.includes("+xadd")) {
          adapters[0].persistSession({ sid: "sid", pid: "pid", rooms: ["sid"], data: {} });
          await assert.rejects(adapters[1].restoreSession("unknown", "0-0"));
        }
        assert.deepStrictEqual(errors, []);
        const denied = await redis.cli("ACL", "LOG");
        const commands = denied.map((/** @type {any[]} */ entry) =>
          String(entry[entry.indexOf("object") + 1]),
        );
        assert.deepStrictEqual(
          commands.filter((/** @type {never} */ name) => !besides.includes(name)),
          [],
        );
      } finally {
        await Promise.all(ios.map((io) => io.of("/").adapter.close()));
        await redis.stop();
      }
    });
  }
});

/**
 * Asserts that a server or an emitter makes so many connections, its clients' among them, and no more when it is used.
 *
 * @param {typeof HOW[number]} how
 * @param {typeof FAMILIES[number]} family
 * @param {number} said
 */
async function checkConnections(how, family, said) {
  const redis = await startRedis();
  const needed = how === "url" ? 0 : family === "classic" || family === "sharded" ? 2 : 1;
  const clients = Array.from({ length: needed }, () => createClient({ url: redis.url }));
  await Promise.all(clients.map((client) => client.connect()));
  const place = how === "url" ? [redis.url] : clients;
  const opts = how === "url" || how === "reference" ? {} : { transport: how };
  const from = how === "reference" ? REFERENCE : OURS;
  const user =
    family === "emitter"
      ? new from.emitter.Emitter(place[0], opts)
      : new Server({ adapter: from[family](...place, opts) });
  const adapter = user instanceof Server ? /** @type {any} */ (user.of("/").adapter) : user;
  // The one that asks is among them.
  const count = async () => Number((await redis.info("clients")).connected_clients) - 1;
  try {
    await adapter.ready;
    user.emit("event");
    await adapter.flush?.();
    await waitFor(async () => (await count()) === said, { what: `${how}, ${family}: ${said} connections` });
    user.emit("event");
    await adapter.flush?.();
    if (user instanceof Server) await user.fetchSockets();
    assert.strictEqual(await count(), said, `${how}, ${family}`);
    // The reference's rejects, if it is closed before it is subscribed; and it has to read that it is.
    const subscribes = how === "reference" && user instanceof Server;
    await waitFor(async () => !subscribes || (await isSubscribed(redis)), {
      what: `${how}, ${family} to subscribe`,
    });
    if (subscribes) await redis.info("stats");
  } finally {
    await adapter.close?.();
    await Promise.all(clients.map((client) => client.close()));
    await redis.stop();
  }
}

/** Whether somebody is subscribed to something. @param {Awaited<ReturnType<typeof startRedis>>} redis */
async function isSubscribed(redis) {
  const { pubsub_channels: channels, pubsubshard_channels: shards } = await redis.info("stats");
  return Number(channels) + Number(shards) > 0;
}

/** @param {string} page */
function textOf(page) {
  return fs.readFileSync(path.join(ROOT, page), "utf8");
}

/** What its headings can be linked to by. @param {string} page */
function anchorsOf(page) {
  const headings = textOf(page).matchAll(/^#+ (.*)$/gm);
  return Array.from(headings, ([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replace(/ /g, "-"),
  );
}

/** The part of a page under a heading, with what stands under the smaller ones in it. @param {string} page @param {string} heading */
function sectionOf(page, heading) {
  const text = textOf(page);
  const found = new RegExp(`^(#+) ${heading.replace(/[()]/g, "\\$&")}$`, "m").exec(text);
  assert.ok(found, `${page} has no heading ${heading}`);
  const rest = text.slice(found.index + found[0].length);
  const end = rest.search(new RegExp(`^#{1,${found[1].length}} `, "m"));
  return rest.slice(0, end === -1 ? undefined : end);
}

/** The rows of the tables in a section, without the heads. @param {string} page @param {string} heading */
function tableOf(page, heading) {
  const lines = sectionOf(page, heading).split("\n");
  return lines
    .filter(
      (line, index) => line.startsWith("|") && !/^\| -/.test(line) && !/^\| -/.test(lines[index + 1] ?? ""),
    )
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The options in the tables of a section. @param {string} page @param {string} heading */
function optionsOf(page, heading) {
  return tableOf(page, heading)
    .filter(([first]) => /^`\w+`/.test(first) && !/^`"/.test(first))
    .map((cells) => {
      // That of the emitter has the mode between.
      const value = page === "docs/emitter.md" ? cells[2] : cells[1];
      return {
        names: Array.from(cells[0].matchAll(/`(\w+)`/g), ([, name]) => name),
        value: value.replace(/`/g, ""),
      };
    });
}

/** The options as users name them. @param {Record<string, any>} options */
function renamed({ key, ...options }) {
  return { ...options, channelPrefix: key };
}

/** @param {string} folder @param {string} extension @returns {string[]} */
function sourcesOf(folder, extension) {
  return fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension))
    .map((name) => fs.readFileSync(path.join(ROOT, folder, name), "utf8"));
}

/** The commands that make ACL users, with where they stand. @returns {[string, number, string][]} */
function aclRules() {
  return PAGES.flatMap((page) =>
    textOf(page)
      .split("\n")
      .flatMap((line, index) =>
        line.startsWith("ACL SETUSER ")
          ? [/** @type {[string, number, string]} */ ([page, index + 1, line])]
          : [],
      ),
  );
}
