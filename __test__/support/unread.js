// @ts-check
"use strict";

/** A server whose event loop is blocked for so long that Redis no longer waits for it to read. */

const { execFileSync } = require("node:child_process");

/** What all servers of the classic family listen to. */
const CHANNEL = "socket.io-request#/#";

/** Less than the limit: what is handed on at once cuts nobody off who reads. */
const LENGTH = 400_000;

const SCRIPT = `
  local text = string.rep("x", ${LENGTH})
  return redis.call("publish", "${CHANNEL}", '{"uid":"other","type":6,"data":["unread","' .. text .. '"]}')`;

/**
 * Returns a Redis that cuts off subscribers which do not read a megabyte.
 *
 * @param {import("./redis").RedisServer} redis
 */
async function impatient(redis) {
  await redis.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1");
  return redis;
}

/**
 * Blocks this process until Redis has cut off its subscriber. The adapter's bound of the inbox has to be small.
 *
 * @param {import("./redis").RedisServer} redis
 */
function blockUntilCut(redis) {
  const cli = (/** @type {string[]} */ ...args) =>
    execFileSync("redis-cli", ["-p", String(redis.port), ...args], { encoding: "utf8" });
  for (let i = 0; i < 500; i++) {
    cli("EVAL", SCRIPT, "0");
    if (cli("PUBSUB", "NUMSUB", CHANNEL).trim().endsWith("0")) return;
  }
  throw new Error("Redis cuts nobody off");
}

module.exports = { blockUntilCut, impatient };
