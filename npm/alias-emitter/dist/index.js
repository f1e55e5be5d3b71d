// @ts-check
"use strict";

const { BroadcastOperator, Emitter, RESERVED_EVENTS } = require("socket.io-redis-native/emitter");

exports.BroadcastOperator = BroadcastOperator;
exports.Emitter = Emitter;
exports.RESERVED_EVENTS = RESERVED_EVENTS;
