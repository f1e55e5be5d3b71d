import createAdapter = require("../index.js");

export = createAdapter;
