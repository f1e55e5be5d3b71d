// @ts-check
"use strict";

/**
 * Removes secrets from texts that errors show.
 */

/** Up to the last `@`: a password may have one in it. */
const LOGIN = /^([a-z][a-z\d+.-]*:\/\/)?[^]*@/i;

const PARAMETER = /([?&](?:pass|password|auth_pass|auth)=)[^&#]*/gi;

/**
 * A text without the user and the password that it has if it is a URL.
 *
 * @param {string} text
 */
function withoutSecrets(text) {
  return text.replace(LOGIN, "$1***@").replace(PARAMETER, "$1***");
}

module.exports = { withoutSecrets };
