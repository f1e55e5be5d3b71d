// @ts-check
"use strict";

/**
 * msgpack as the reference's parser (notepack.io 3) puts it on the wire: the way round the fast path, for what
 * Rust does not encode. Bytes are the same wherever the reference is right; where it is not, see FAULTS. `encodeAsIs`
 * is that of the streams adapter (`@msgpack/msgpack` 2).
 */

const { decode } = require("./decode");
const { encode, encodeAsIs, encodeBetween } = require("./encode");

module.exports = { encode, encodeAsIs, encodeBetween, decode };
