// @ts-check
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { spawnSync } = require("node:child_process");
const { addonName, findLibrary, isOlder, isStale } = require("../scripts/addon");
const { runsNapiCli } = require("../scripts/build");
const { isAllowed } = require("../scripts/check");
const { installScript, isOnPath } = require("../scripts/setup");
const { countCargo, dealOut, judge, summary } = require("../scripts/test");

describe("scripts", () => {
  describe("counting", () => {
    it("adds up what cargo says of each test program", () => {
      const output = [
        "running 3 tests",
        "test a::b ... ok",
        "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        "   Doc-tests socket_io_redis_native",
        "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        'printed by a test: "test result: ok. 99 passed; 9 failed; 9 ignored;"',
      ].join("\n");
      assert.deepStrictEqual(countCargo(output), { passed: 15, failed: 2, skipped: 1 });
      assert.deepStrictEqual(countCargo(""), { passed: 0, failed: 0, skipped: 0 });
    });

    it("counts a step that crashed as a failure", () => {
      const counts = { passed: 3, failed: 0, skipped: 0 };
      assert.strictEqual(judge("a step", 0, counts).failed, 0);
      assert.strictEqual(judge("a step", 5, { ...counts, failed: 5 }).failed, 5);
      assert.strictEqual(silently(() => judge("a step", 101, counts)).failed, 1);
      assert.strictEqual(silently(() => judge("a step", "SIGKILL", counts)).failed, 1);
    });

    it("deals out each file of tests once", () => {
      const names = fs.readdirSync(__dirname);
      assert.deepStrictEqual(
        dealOut(names).flat().sort(),
        names
          .filter((name) => name.endsWith(".test.js"))
          .map((name) => path.join("__test__", name))
          .sort(),
      );
    });

    it("says it in the form that is asked for", () => {
      assert.strictEqual(summary({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
      assert.strictEqual(summary({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
    });

    it("has a reporter that counts, and tells why a test was skipped", () => {
      inTempDir((dir) => {
        fs.writeFileSync(
          path.join(dir, "some.js"),
          `const { skip } = require(${JSON.stringify(path.join(__dirname, "support", "hooks.js"))});
           it("good", () => {});
           it("bad", () => { throw new Error("on purpose"); });
           it("left out", function () { skip(this, "no such server"); });
           it.skip("unsaid", () => {});
           describe("suite", () => {
             before(function () { skip(this, "all of it"); });
             it("inside", () => {});
           });`,
        );
        const counts = mocha(dir, []).counts;
        assert.deepStrictEqual(counts, {
          passed: 1,
          failed: 1,
          skipped: [
            { title: "left out", reason: "no such server" },
            { title: "unsaid", reason: null },
            { title: "suite inside", reason: "all of it" },
          ],
        });
      });
    });
  });

  describe("test hooks", () => {
    it("fail a run in which a rejection was not handled", () => {
      inTempDir((dir) => {
        fs.writeFileSync(
          path.join(dir, "some.js"),
          `it("careless", () => { Promise.reject(new Error("lost")); });`,
        );
        const { counts, output } = mocha(dir, ["--require", path.join(__dirname, "support", "hooks.js")]);
        assert.strictEqual(counts.failed, 1);
        assert.match(output, /during or after "careless": Error: lost/);
      });
    });

    it("let through what a test expects", () => {
      inTempDir((dir) => {
        fs.writeFileSync(
          path.join(dir, "some.js"),
          `const { expectRejections, expectExceptions } = require(${JSON.stringify(path.join(__dirname, "support", "hooks.js"))});
           const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
           it("rejects", async () => {
             const seen = expectRejections();
             Promise.reject(new Error("wanted"));
             await turn();
             require("assert").strictEqual(seen[0].message, "wanted");
           });
           it("throws", async () => {
             const seen = expectExceptions();
             setImmediate(() => { throw new Error("wanted"); });
             await turn();
             require("assert").strictEqual(seen[0].message, "wanted");
           });
           it("throws unexpectedly", async () => {
             setImmediate(() => { throw new Error("not wanted"); });
             // Mocha counts a test that throws and then ends as two failures.
             await new Promise(() => {});
           });`,
        );
        const { counts } = mocha(dir, ["--require", path.join(__dirname, "support", "hooks.js")]);
        assert.strictEqual(counts.passed, 2);
        assert.strictEqual(counts.failed, 1);
      });
    });

    it("say what every node waits for when a test has waited in vain", function () {
      this.timeout(20_000);
      inTempDir((dir) => {
        const support = (/** @type {string} */ name) =>
          `require(${JSON.stringify(path.join(__dirname, "support", name))})`;
        fs.writeFileSync(
          path.join(dir, "some.js"),
          `const { startRedis } = ${support("redis")};
           const { startRing } = ${support("ring")};
           const { waitFor } = ${support("wait")};
           let redis, ring;
           it("waits", async () => {
             redis = await startRedis();
             ring = await startRing({ redis, nodes: ["ours", "reference"] });
             ring.nodes[0].io.emit("published");
             await waitFor(() => false, { timeout: 100 });
           });
           after(async () => {
             await ring.close();
             await redis.stop();
           });
           it("fails at once", () => { throw new Error("on purpose"); });`,
        );
        const { counts, output } = mocha(dir, ["--require", path.join(__dirname, "support", "hooks.js")]);
        assert.strictEqual(counts.failed, 2);
        assert.match(output, /While "waits" waited:/);
        assert.match(output, /RedisAdapter \S+ of \/: 2 sockets, 2 rooms; transport .*"published":\d/);
        assert.match(output, /RedisAdapter \S+ of \/: 2 sockets, 2 rooms; pubClient ready; subClient ready/);
        assert.match(output, /Redis at \d+:\n +id=.* psub=1 /s);
        assert.doesNotMatch(output, /While "fails at once"/);
      });
    });
  });

  describe("the addon", () => {
    it("is named as the generated binding.js names it", () => {
      const names = /** @type {const} */ ([
        ["linux", "x64", false, "linux-x64-gnu"],
        ["linux", "arm64", true, "linux-arm64-musl"],
        ["linux", "arm", false, "linux-arm-gnueabihf"],
        ["linux", "arm", true, "linux-arm-musleabihf"],
        ["darwin", "arm64", false, "darwin-arm64"],
        ["win32", "x64", false, "win32-x64-msvc"],
        ["freebsd", "x64", false, "freebsd-x64"],
        ["android", "arm", false, "android-arm-eabi"],
      ]);
      const loader = path.join(__dirname, "..", "binding.js");
      const generated = fs.existsSync(loader) ? fs.readFileSync(loader, "utf8") : null;
      for (const [platform, arch, musl, expected] of names) {
        const name = addonName(platform, arch, musl);
        assert.strictEqual(name, `socket.io-redis-native.${expected}.node`);
        if (generated) assert.ok(generated.includes(`./${name}`), name);
      }
    });

    it("is stale when it is missing or older than a source, or when a source was removed", () => {
      inTempDir((dir) => {
        const at = (/** @type {string} */ file, /** @type {number} */ time) =>
          fs.utimesSync(path.join(dir, file), time, time);
        const sources = ["one", "src", "missing"].map((name) => path.join(dir, name));
        fs.mkdirSync(path.join(dir, "src", "deep"), { recursive: true });
        for (const file of ["one", "src/deep/two", "built"]) fs.writeFileSync(path.join(dir, file), "");
        for (const file of ["one", "src/deep/two", "src/deep", "src"]) at(file, 100);
        at("built", 200);
        const stale = () => isStale(path.join(dir, "built"), sources);
        assert.strictEqual(stale(), false);
        at("src/deep/two", 300);
        assert.strictEqual(stale(), true);
        at("built", 400);
        assert.strictEqual(stale(), false);
        fs.rmSync(path.join(dir, "src", "deep", "two"));
        assert.strictEqual(stale(), true);
        assert.strictEqual(isStale(path.join(dir, "nowhere"), sources), true);
      });
    });

    it("is found among cargo's messages", () => {
      const artifact = (/** @type {string} */ kind, /** @type {string[]} */ filenames) =>
        JSON.stringify({ reason: "compiler-artifact", target: { kind: [kind] }, filenames });
      const output = [
        artifact("proc-macro", ["/t/libmacro.so"]),
        artifact("cdylib", ["/t/libours.so", "/t/libours.rlib"]),
        '{"reason":"build-finished","success":true}',
        "",
      ].join("\n");
      assert.strictEqual(findLibrary(output), "/t/libours.so");
      assert.strictEqual(findLibrary(artifact("cdylib", ["/t/ours.dll", "/t/ours.dll.lib"])), "/t/ours.dll");
      assert.strictEqual(findLibrary(""), null);
    });
  });

  it("know which versions will do", () => {
    assert.ok(isOlder("1.87.9", "1.88"));
    assert.ok(isOlder("0.66.0", "1.88"));
    for (const version of ["1.88.0", "1.88", "1.100.0", "2.0.0"])
      assert.ok(!isOlder(version, "1.88"), version);
    for (const version of ["20.17.0", "22.13.1", "23.5.0", "24.0.0"])
      assert.ok(runsNapiCli(version), version);
    for (const version of ["18.20.0", "20.16.0", "21.7.0", "22.12.0", "23.4.0"])
      assert.ok(!runsNapiCli(version));
  });

  it("know which licences will do", () => {
    for (const good of ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR X) AND Unicode-3.0"]) {
      assert.ok(isAllowed(good), good);
    }
    assert.ok(isAllowed("Apache-2.0 WITH LLVM-exception OR X"));
    for (const bad of [undefined, "", "GPL-3.0", "MIT AND GPL-3.0", "MIT MIT", "(MIT", "OR MIT"]) {
      assert.ok(!isAllowed(bad), String(bad));
    }
  });

  it("install Redis without starting it, on Debian", () => {
    const script = installScript({ command: "apt-get", steps: ["apt-get install x"] });
    assert.ok(script.indexOf("policy-rc.d") < script.indexOf("apt-get install x"));
    assert.strictEqual(installScript({ command: "apk", steps: ["apk add redis"] }), "set -e\napk add redis");
    if (process.platform !== "win32") {
      assert.strictEqual(spawnSync("sh", ["-n", "-c", script]).status, 0);
      assert.ok(isOnPath("sh"));
    }
    assert.ok(!isOnPath("no-such-command-here"));
  });
});

/**
 * Runs mocha on `some.js` of a directory, by itself.
 *
 * @param {string} dir
 * @param {string[]} args
 * @returns {{ counts: import("../scripts/mocha-reporter").Counts, output: string }}
 */
function mocha(dir, args) {
  const file = path.join(dir, "counts.json");
  const bin = require.resolve("mocha/bin/mocha.js");
  const reporter = require.resolve("../scripts/mocha-reporter");
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [bin, "--no-config", "--reporter", reporter, "--reporter-option", `counts=${file}`, ...args, "some.js"],
    { cwd: dir, encoding: "utf8" },
  );
  const output = stdout + stderr;
  assert.ok(fs.existsSync(file), output);
  return { counts: JSON.parse(fs.readFileSync(file, "utf8")), output };
}

/** @param {(dir: string) => void} test */
function inTempDir(test) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "scripts-test-"));
  try {
    test(dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * @template T
 * @param {() => T} fn
 * @returns {T}
 */
function silently(fn) {
  const { error } = console;
  console.error = () => {};
  try {
    return fn();
  } finally {
    console.error = error;
  }
}
