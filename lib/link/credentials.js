// @ts-check
"use strict";

/**
 * Asks for credentials that change, each time that one of the link's own connections is made, as the user's clients do.
 */

/**
 * @typedef {() => unknown} CredentialsSource returns `{ username, password }`, each of them optional, or a promise of it
 *
 * @typedef {import("../clients").Settings & { credentials?: CredentialsSource }} Settings
 */

/**
 * The settings as the binding takes them: it only has to know that there are credentials to ask for.
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
 * Answers a CREDENTIALS record, whether the user's function returns, rejects or throws.
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
