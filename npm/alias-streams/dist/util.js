// @ts-check
"use strict";

exports.hasBinary = require("socket.io-redis-native/dist/util.js").hasBinary;
