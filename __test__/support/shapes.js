// @ts-check
"use strict";

/**
 * How objects look from outside, as texts that can be compared: members, properties, what calls return and how they fail.
 */

/** The objects from which it inherits, nearest first. @param {any} object */
function* prototypesOf(object) {
  for (
    let one = Object.getPrototypeOf(object);
    one && one !== Object.prototype;
    one = Object.getPrototypeOf(one)
  )
    yield one;
}

/** What can be called on it, with how many arguments it takes, or is a getter. @param {any} object @returns {Record<string, string>} */
function membersOf(object) {
  /** @type {Record<string, string>} */
  const members = {};
  for (const one of [object, ...prototypesOf(object)]) {
    for (const name of Reflect.ownKeys(one)) {
      const { value, get } = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(one, name));
      if (isPrivate(name) || name === "constructor" || (typeof value !== "function" && get === undefined))
        continue;
      members[String(name)] ??= get ? "a getter" : `(${value.length})`;
    }
  }
  return members;
}

/** Its properties that are no methods, as they look. @param {any} object @returns {Record<string, string>} */
function propertiesOf(object) {
  const names = Reflect.ownKeys(object).filter(
    (name) => !isPrivate(name) && typeof object[name] !== "function",
  );
  return Object.fromEntries(names.map((name) => [String(name), lookOf(object[name], object.uid)]));
}

/** @param {string | symbol} name */
function isPrivate(name) {
  return typeof name === "string" && name.startsWith("_");
}

/** @param {any} value @param {string} [uid] that may stand in it @returns {string} */
function lookOf(value, uid) {
  if (typeof value === "function") return "a function";
  if (typeof value === "string")
    return JSON.stringify(uid ? value.replace(uid, uid.replace(/./g, "x")) : value);
  if (value === null || typeof value !== "object") return String(value);
  if (value instanceof Set || value instanceof Map) return `${value.constructor.name}(${value.size})`;
  const name = value.constructor?.name ?? "Object";
  if (name !== "Object")
    return name === "Namespace" || name === "ParentNamespace" ? "the namespace" : `a ${name}`;
  const fields = Object.entries(value).map(
    ([key, field]) => `${key}: ${typeof field === "object" ? "{}" : lookOf(field)}`,
  );
  return `{ ${fields.sort().join(", ")} }`;
}

/** How what was returned looks, once it is there. @param {any} returned */
async function outcomeOf(returned) {
  const isPromise = typeof returned?.then === "function";
  const value = await returned;
  const look = Array.isArray(value) ? `an array of ${value.length}` : lookOf(value);
  return isPromise ? `a promise of ${look}` : look;
}

/** How a call fails, or what it returns. @param {() => any} call */
async function endOf(call) {
  let returned;
  try {
    returned = call();
  } catch (error) {
    return `throws ${textOf(error)}`;
  }
  try {
    return await outcomeOf(returned);
  } catch (error) {
    return `rejects with ${textOf(error)}`;
  }
}

/** @param {any} error */
function textOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error);
}

/**
 * What differs between two records, in words.
 *
 * @param {Record<string, string>} theirs
 * @param {Record<string, string>} ours
 * @param {string} what they are of
 */
function compare(theirs, ours, what) {
  const differences = [];
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const [their, our] = [theirs[name], ours[name]];
    if (their === our) continue;
    if (our === undefined) differences.push(`${what} ${name}: theirs alone`);
    else if (their === undefined) differences.push(`${what} ${name}: ours alone`);
    else differences.push(`${what} ${name}: ${their} there, ${our} here`);
  }
  return differences;
}

module.exports = { compare, endOf, lookOf, membersOf, outcomeOf, propertiesOf };
