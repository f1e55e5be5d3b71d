// @ts-check
"use strict";

/**
 * Calls of the addon that are more than a wrong value: getters that throw or call it again, arrays that are not what they
 * say, the methods of one object on another, links that have ended, memory that is not simply the caller's. Each throws
 * an error that says what is wrong, or does nothing; none ends the process. So they are made in processes of their own,
 * here and by the oldest Node, which ends a process where newer ones throw. Wrong values are in runtimes.test.js.
 */

const { bringRuntime } = require("../scripts/bring");
const { RUNTIMES } = require("../scripts/runtimes");
const { GROUPS } = require("./runtimes/hostile-calls");
const { runHostileCalls } = require("./runtimes/run");

/** How long npm may take for 100 MB, and a program, in milliseconds. */
const DOWNLOAD = 300_000;
const PROGRAM = 90_000;

describe("the addon is not ended by", () => {
  const [oldest] = RUNTIMES.filter(({ name }) => name === "node");

  for (const { title, command } of [
    { title: "this Node", command: async () => [process.execPath] },
    {
      title: `Node ${oldest.version}`,
      command: async () => (await bringRuntime(oldest.name, oldest.version)).command,
    },
  ]) {
    describe(title, () => {
      /** @type {string[]} */
      let node;
      before(async function () {
        this.timeout(DOWNLOAD);
        node = await command();
      });

      for (const group of Object.keys(GROUPS)) it(group, () => runHostileCalls(node, group)).timeout(PROGRAM);
    });
  }
});
