// @ts-check
"use strict";

/**
 * What an object was like: its keys and values in the order of printing, so that it can be told whether printing it again would
 * make another text.
 */

/** An object with more keys, or nested deeper, is not remembered. */
const MOST_KEYS = 200;
const MOST_DEPTH = 4;

/** Stand in a snapshot before an object or an array, and where it ends. */
const OBJECT = Symbol("object");
const ARRAY = Symbol("array");
const END = Symbol("end");

/** @typedef {any[]} Snapshot a mark, keys and values in turn, and another mark; an object within is the same */

/**
 * Null if what is printed of it may be different though its keys and values are not.
 *
 * @param {any} object
 * @param {string} [except] a key that is not printed
 * @returns {Snapshot | null}
 */
function snapshotOf(object, except) {
  if (!isPlain(object)) return null;
  /** @type {Snapshot} */
  const snapshot = [markOf(object)];
  return add(object, snapshot, 0, except) ? snapshot : null;
}

/**
 * @param {any} object
 * @param {Snapshot} snapshot
 * @param {number} depth
 * @param {string} [except]
 * @returns {boolean} whether it could be added
 */
function add(object, snapshot, depth, except) {
  for (const key in object) {
    if (key === except) continue;
    const value = object[key];
    if (!Object.hasOwn(object, key) || snapshot.length > 2 * MOST_KEYS) return false;
    snapshot.push(key);
    switch (typeof value) {
      case "object":
        if (value === null) {
          snapshot.push(null);
          break;
        }
        if (depth === MOST_DEPTH || !isPlain(value)) return false;
        snapshot.push(markOf(value));
        if (!add(value, snapshot, depth + 1)) return false;
        break;
      // These may have a toJSON.
      case "function":
      case "bigint":
        return false;
      default:
        snapshot.push(value);
    }
  }
  snapshot.push(END);
  return true;
}

/** What stands before an object. @param {object} object */
function markOf(object) {
  return Array.isArray(object) ? ARRAY : OBJECT;
}

/** Whether printing it takes its own keys and values alone. @param {any} object */
function isPlain(object) {
  if (object === null || typeof object !== "object" || typeof object.toJSON === "function") return false;
  const prototype = Object.getPrototypeOf(object);
  if (Array.isArray(object))
    return prototype === Array.prototype && Object.keys(object).length === object.length;
  // As `querystring` makes them: their prototype has none.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

/** What `isSame` returns for what is different. */
const DIFFERENT = 0;

/** @param {any} object @param {Snapshot} snapshot @param {string} [except] a key that is not printed */
function isAsBefore(object, snapshot, except) {
  return (
    isPlain(object) && markOf(object) === snapshot[0] && isSame(object, snapshot, 1, except) !== DIFFERENT
  );
}

/**
 * @param {any} object
 * @param {Snapshot} snapshot
 * @param {number} at where the object begins there
 * @param {string} [except]
 * @returns {number} where it ends
 */
function isSame(object, snapshot, at, except) {
  for (const key in object) {
    if (key === except) continue;
    if (snapshot[at++] !== key) return DIFFERENT;
    const value = object[key];
    const before = snapshot[at++];
    // First of all, for it takes no look at a string that is still the same one.
    if (Object.is(before, value)) continue;
    if (before !== OBJECT && before !== ARRAY) return DIFFERENT;
    if (!isPlain(value) || markOf(value) !== before) return DIFFERENT;
    at = isSame(value, snapshot, at);
    if (at === DIFFERENT) return DIFFERENT;
  }
  return snapshot[at] === END ? at + 1 : DIFFERENT;
}

module.exports = { isAsBefore, snapshotOf };
