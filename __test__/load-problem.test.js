// @ts-check
"use strict";

/**
 * An addon that does not load: what those read who require the package, and those who install it.
 */

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { REASONS, RUST, describeLoadProblem } = require("../lib/base/load-problem");
const { addonName, addonPath, isMusl } = require("../scripts/addon");

const ROOT = path.join(__dirname, "..");

/** As binding.js makes it: a chain of what each place has said. @param {string[]} messages */
function failure(...messages) {
  const cause = messages.reduce((/** @type {any} */ before, message) => {
    return Object.assign(new Error(message), { cause: before });
  }, null);
  return Object.assign(new Error("Cannot find native binding. npm has a bug …"), { cause });
}

const MACHINE = { platform: "linux", arch: "x64", runtime: "Node.js 18.0.0", libc: "glibc 2.31" };
const NOWHERE = [
  "Cannot find module './socket.io-redis-native.linux-x64-gnu.node'\nRequire stack:\n- /x",
  "Cannot find module 'socket.io-redis-native-linux-x64-gnu'\nRequire stack:\n- /x",
];

describe("an addon that does not load", () => {
  it("is told with the machine, and what the loader has said", () => {
    const said = "/lib/libc.so.6: version `GLIBC_2.34' not found (required by /app/x.node)";
    const text = describeLoadProblem(failure(said, NOWHERE[1]), MACHINE);
    assert.strictEqual(
      text,
      [
        "socket.io-redis-native: its addon does not load here (linux-x64, glibc 2.31, Node.js 18.0.0).",
        `It says: ${said}`,
        "It was built for a newer C library than this system has.",
        "Update the system, or build it: npm rebuild socket.io-redis-native --ignore-scripts=false. That takes Rust 1.88 or later (https://rustup.rs).",
      ].join("\n"),
    );
  });

  it("names the Rust that the crate needs", () => {
    const manifest = fs.readFileSync(path.join(ROOT, "Cargo.toml"), "utf8");
    assert.strictEqual(/^rust-version = "(.+)"/m.exec(manifest)?.[1], RUST);
  });

  for (const [said, why] of [
    ["/app/x.node: invalid ELF header", /damaged, or for a machine of another kind/],
    ["/app/x.node: file too short", /damaged, or for a machine of another kind/],
    ["dlopen(x.node): tried: (mach-o file, but is an incompatible architecture)", /another kind/],
    ["\\\\?\\x.node is not a valid Win32 application.", /another kind/],
    ["Error loading shared library ld-linux-x86-64.so.2: No such file", /another C library/],
    ["Error relocating /app/x.node: fcntl64: symbol not found", /another C library/],
    ["x.node: failed to map segment from shared object", /system forbids it/],
    ["something that nobody has seen before", /Remove node_modules and install again/],
    ["Unsupported OS: sunos, architecture: x64", /Unsupported OS: sunos/],
  ]) {
    it(`has its reason: ${said}`, () => {
      const text = describeLoadProblem(failure(NOWHERE[0], String(said)), MACHINE);
      assert.match(text, /** @type {RegExp} */ (why));
      assert.ok(text.includes(`It says: ${said}`));
      assert.doesNotMatch(text, /There is none|npm has a bug/);
    });
  }

  it("is in the page about errors, with each reason", () => {
    const page = fs.readFileSync(path.join(ROOT, "docs", "troubleshooting.md"), "utf8");
    for (const [, why] of REASONS) assert.ok(page.includes(why), why);
    assert.ok(page.includes("There is none: neither a prebuilt one"));
    assert.ok(page.includes("It cannot be built now: there is no cargo on the PATH"));
  });

  it("is none, if it is nowhere", () => {
    const text = describeLoadProblem(failure(...NOWHERE), MACHINE);
    assert.match(text, /There is none/);
    assert.match(text, /--ignore-scripts/);
    assert.match(text, /--omit=optional/);
    assert.doesNotMatch(text, /npm has a bug|It says/);
  });

  describe("in a package that is installed", () => {
    /** @type {string} */
    let dir;
    /** Where the addon has to be. @type {string} */
    let addon;

    before(() => {
      dir = fs.mkdtempSync(path.join(os.tmpdir(), "load-problem-"));
      addon = path.join(dir, addonName());
      for (const name of ["lib", "scripts", "index.js", "binding.js", "package.json", "Cargo.toml"]) {
        fs.cpSync(path.join(ROOT, name), path.join(dir, name), { recursive: true });
      }
      fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(dir, "node_modules"), "junction");
    });
    afterEach(() => fs.rmSync(addon, { force: true }));
    after(() => fs.rmSync(dir, { recursive: true, force: true }));

    /** @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
    function node(args, env = process.env) {
      const { status, stderr } = spawnSync(process.execPath, args, { cwd: dir, env, encoding: "utf8" });
      return { status, text: stderr };
    }

    const machine = new RegExp(
      `does not load here \\(${process.platform}-${process.arch}.*Node\\.js ${process.versions.node}`,
    );

    it("is told to who requires it: there is none", () => {
      const { status, text } = node(["-e", 'require("./index.js")']);
      assert.notStrictEqual(status, 0);
      assert.match(text, machine);
      assert.match(text, /There is none/);
    });

    it("is told to who requires it: the file is damaged", () => {
      fs.writeFileSync(addon, "this is no library, and long enough to have the head of one".repeat(4));
      const { status, text } = node(["-e", 'require("./index.js")']);
      assert.notStrictEqual(status, 0);
      assert.match(text, machine);
      assert.match(text, /It says: .*\.node/);
      assert.match(text, /damaged, or for a machine of another kind/);
      assert.doesNotMatch(text.split("[cause]")[0], /There is none/);
    });

    if (process.platform === "linux" && !isMusl()) {
      it("is told to who requires it: the C library is too old", () => {
        const bytes = fs.readFileSync(addonPath());
        // The newest version that it asks for, as one that no system has.
        const versions = bytes.toString("latin1").match(/GLIBC_2\.\d\d/g) ?? [];
        const newest = versions.sort().at(-1) ?? "";
        for (let at = bytes.indexOf(newest); at >= 0; at = bytes.indexOf(newest, at))
          bytes.write("GLIBC_9.99", at);
        fs.writeFileSync(addon, bytes);
        const { status, text } = node(["-e", 'require("./index.js")']);
        assert.notStrictEqual(status, 0);
        assert.match(text, /It says: .*version .GLIBC_9\.99. not found/);
        assert.match(text, /built for a newer C library/);
      });
    }

    it("is told to who installs it without Rust", () => {
      const { status, text } = node(["scripts/install.js"], { ...process.env, PATH: dir });
      assert.strictEqual(status, 1);
      assert.match(text, machine);
      assert.match(text, /There is none/);
      assert.match(
        text,
        /It cannot be built now: there is no cargo on the PATH \(Rust 1\.\d+ or later is needed\)/,
      );
      assert.doesNotMatch(text, /npm has a bug/);
    });
  });
});
