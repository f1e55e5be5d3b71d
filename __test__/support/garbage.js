// @ts-check
"use strict";

const v8 = require("node:v8");
const vm = require("node:vm");

v8.setFlagsFromString("--expose-gc");

/** Has V8 collect what nobody holds. @type {() => void} */
const collectGarbage = vm.runInNewContext("gc");

module.exports = { collectGarbage };
