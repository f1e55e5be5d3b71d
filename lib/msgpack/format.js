// @ts-check
"use strict";

/** What the writer and the reader of msgpack agree on. */

/** Deepest nesting, in both directions: what is deeper cannot be read by a peer of ours, so it is not sent. */
const MAX_DEPTH = 1024;

const TWO_32 = 2 ** 32;
const TWO_34 = 2 ** 34;
const TWO_63 = 2 ** 63;
const TWO_64 = 2 ** 64;

/** The type of the extension that is a point in time. */
const TIMESTAMP = -1;

/** What is nested deeper. What a getter or a toJSON of the user's throws may be a RangeError, too, and is none of these. */
class NestingError extends RangeError {}

module.exports = { MAX_DEPTH, NestingError, TIMESTAMP, TWO_32, TWO_34, TWO_63, TWO_64 };
