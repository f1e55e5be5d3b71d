// @ts-check
"use strict";

/**
 * docs/PROTOCOL.md as the tests read it: its examples and tables, and what stands in it for what is random.
 */

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { findExamples } = require("../support/wire-examples");

/** @typedef {import("../support/wire-examples").Example} Example */

const PAGE = fs.readFileSync(path.join(__dirname, "..", "..", "docs", "PROTOCOL.md"), "utf8");
const { examples, tables, others } = findExamples(PAGE);

/** What stands in the page for what is random: who asks or sends, who answers, a request, a socket, its private id. */
const SENDER = { classic: "UIDUID", cluster: "0123456789abcdef" };
const ANSWERER = "fedcba9876543210";
const REQUEST = { classic: "REQREQ", cluster: "00112233aabbccdd" };
const SOCKET = "aSocketIdHas20Chars-";
const PRIVATE_ID = "aPrivateIdHas20Chars";
const ENTRY = "1700000000000-0";

/** Whether it is one of the classic family, which are not JSON. @param {Example} example */
function isBroadcast({ payload }) {
  return payload[0] === 0x93;
}

/** @param {string} name @returns {Example} */
function exampleOf(name) {
  const example = examples.find((one) => one.name === name);
  assert.ok(example, `docs/PROTOCOL.md has no example ${name}`);
  return example;
}

module.exports = {
  PAGE,
  examples,
  tables,
  others,
  SENDER,
  ANSWERER,
  REQUEST,
  SOCKET,
  PRIVATE_ID,
  ENTRY,
  isBroadcast,
  exampleOf,
};
