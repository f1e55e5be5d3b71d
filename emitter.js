// @ts-check
"use strict";

/** `require("socket.io-redis-native/emitter")`, as `@socket.io/redis-emitter` has it. */

const { Emitter } = require("./lib/emitter/emitter");
const { BroadcastOperator, RESERVED_EVENTS } = require("./lib/emitter/broadcast-operator");

module.exports = { BroadcastOperator, Emitter, RESERVED_EVENTS };
