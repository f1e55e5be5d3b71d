// @ts-check
"use strict";

exports.createAdapter = require("./index.js").createAdapter;
