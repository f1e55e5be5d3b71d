// @ts-check
"use strict";

/**
 * Credentials that change: the link's own connections ask for them each time they connect, as the user's clients do.
 */

/**
 * @typedef {() => unknown} CredentialsSource returns `{ username, password }`, each of them optional, or a promise of it
 *
 * @typedef {import("../clients").Settings & { credentials?: CredentialsSource }} Settings
 */

/**
 * The settings as the binding takes them, which only needs to know that there is somebody to ask.
 *
 * @param {Settings} settings
 * @param {string[] | null} [allowedHosts]
 * @returns {import("../../binding").LinkSettings}
 */
function settingsForBinding(settings, allowedHosts = null) {
  const { credentials, ...rest } = settings;
  return {
    ...rest,
    // Left out rather than null: that is how optional properties cross.
    ...(credentials !== undefined && { credentials: true }),
    ...(allowedHosts !== null && { allowedHosts }),
  };
}

/**
 * Answers a CREDENTIALS record. Whatever the user's function does, there is an answer if it ever ends.
 *
 * @param {import("../../binding").Link} native
 * @param {number} token
 * @param {Settings | null} settings
 */
async function answerForCredentials(native, token, settings) {
  try {
    const given = (await settings?.credentials?.()) ?? {};
    const { username, password } = /** @type {Record<string, unknown>} */ (given);
    native.credentials(token, textOf("username", username), textOf("password", password), null);
  } catch (error) {
    native.credentials(token, null, null, reasonOf(error));
  }
}

/** @param {string} what @param {unknown} value */
function textOf(what, value) {
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw new TypeError(`the ${what} must be a string, not ${typeof value}`);
  return value;
}

/** @param {any} error whatever was thrown */
function reasonOf(error) {
  const reason = error?.message ?? error;
  return typeof reason === "string" ? reason : "the function that knows them failed";
}

module.exports = { answerForCredentials, settingsForBinding };
