// @ts-check
"use strict";

/**
 * `dist/util` of `@socket.io/redis-adapter` and `@socket.io/redis-streams-adapter`: of what these have there, only what
 * programs import. The rest was for the reference itself.
 */

/**
 * Returns whether a value contains binary data, as what `toJSON()` makes of it if there is such a method.
 *
 * @param {any} value
 * @param {boolean} [isJson] whether `toJSON()` was called already
 * @returns {boolean}
 */
function hasBinary(value, isJson) {
  if (value === null || typeof value !== "object") return false;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return true;
  if (!Array.isArray(value) && typeof value.toJSON === "function" && !isJson)
    return hasBinary(value.toJSON(), true);
  return Object.keys(value).some((key) => hasBinary(value[key]));
}

exports.hasBinary = hasBinary;
