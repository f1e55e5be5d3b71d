// @ts-check
"use strict";

// Which tests to run is said on the command line (scripts/test.js says: all): a list here would be added to it.

module.exports = {
  require: ["./__test__/support/hooks.js"],
  reporter: "./scripts/mocha-reporter.js",
  // A test that waits says for how long; this is for one that hangs.
  timeout: 20_000,
  // Given up on, a handle that is left open would keep the run from ending: that is a failure worth seeing.
  exit: false,
  forbidOnly: Boolean(process.env.CI),
};
