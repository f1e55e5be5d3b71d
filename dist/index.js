// @ts-check
"use strict";

/**
 * `@socket.io/redis-adapter/dist` and `socket.io-redis/dist`, for programs that name the file. Nothing is compiled into
 * this folder: it has the paths of the packages that this one stands in for.
 */

module.exports = require("../index.js");
