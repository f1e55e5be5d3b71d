// @ts-check
"use strict";

const { createAdapter } = require("socket.io-redis-native/streams");

exports.createAdapter = createAdapter;
