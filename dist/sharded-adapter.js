// @ts-check
"use strict";

/** `@socket.io/redis-adapter/dist/sharded-adapter`. */

const { createShardedAdapter } = require("../index.js");

exports.createShardedAdapter = createShardedAdapter;
