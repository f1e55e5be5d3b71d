// @ts-check
"use strict";

/**
 * The examples of docs/PROTOCOL.md: blocks of code that are marked `wire` (one command each) or `wire-table` (a row for
 * each value).
 */

/**
 * @typedef {object} Example
 * @property {string} name
 * @property {string[]} notes the lines that begin with `//`; the first says what publishes this
 * @property {string[]} words of the command, with PAYLOAD where the payload goes
 * @property {Buffer} payload
 * @property {boolean} isBase64 whether the payload goes to Redis as base64
 * @property {string} text the lines of the payload
 *
 * @typedef {object} Table
 * @property {string} name
 * @property {[string, string][]} rows what stands before and behind the semicolon
 */

const notepack = /** @type {any} */ (require("notepack.io"));

/** What JSON begins with, and msgpack does not. */
const JSON_MARK = 0x7b;

/** What stands in a command for the payload. */
const PAYLOAD = "PAYLOAD";

/** The line in front of bytes that go to Redis as base64. */
const BASE64 = "base64 of";

/** @param {string} page @returns {{ examples: Example[], tables: Table[], others: string[] }} */
function findExamples(page) {
  /** @type {ReturnType<typeof findExamples>} */
  const found = { examples: [], tables: [], others: [] };
  for (const [, info, body] of page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)) {
    const [kind, name, ...more] = info.split(" ");
    const lines = body.split("\n").filter((line) => line.trim() !== "");
    if (!name || more.length > 0) found.others.push(info);
    else if (kind === "wire") found.examples.push(readExample(name, lines));
    else if (kind === "wire-table") found.tables.push({ name, rows: lines.map(rowOf) });
    else found.others.push(info);
  }
  return found;
}

/** @param {string} name @param {string[]} lines @returns {Example} */
function readExample(name, lines) {
  const notes = lines.filter((line) => line.startsWith("// ")).map((line) => line.slice(3));
  const [command, ...rest] = lines.filter((line) => !line.startsWith("// "));
  const words = command.split(" ");
  if (words.filter((word) => word === PAYLOAD).length !== 1) throw new Error(`${name} has no ${PAYLOAD}`);
  const isBase64 = rest[0] === BASE64;
  const payload =
    isBase64 || !rest[0]?.startsWith("{") ? bytesOf(rest.slice(isBase64 ? 1 : 0)) : textOf(rest);
  return { name, notes, words, payload, isBase64, text: rest.join("\n") };
}

/** @param {string[]} lines */
function textOf(lines) {
  if (lines.length !== 1) throw new Error(`JSON is one line: ${lines[0]}`);
  return Buffer.from(lines[0]);
}

/** @param {string[]} lines */
function bytesOf(lines) {
  const digits = lines.map((line) => rowOf(line)[0].replaceAll(" ", "")).join("");
  if (!/^([0-9a-f]{2})+$/.test(digits)) throw new Error(`this is not hex: ${lines[0]}`);
  return Buffer.from(digits, "hex");
}

/** @param {string} line @returns {[string, string]} */
function rowOf(line) {
  const at = line.indexOf(";");
  return at < 0 ? [line.trim(), ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

/** The words of a command as Redis gets them. @param {Example} example @returns {Buffer[]} */
function commandOf({ words, payload, isBase64 }) {
  const value = isBase64 ? Buffer.from(payload.toString("base64")) : payload;
  return words.map((word) => (word === PAYLOAD ? value : Buffer.from(word)));
}

/**
 * The lines of a payload, as they have to stand in an example: JSON as it is, msgpack in hex with what it means.
 *
 * @param {Buffer} payload
 * @param {boolean} isBase64
 */
function printPayload(payload, isBase64) {
  if (payload[0] === JSON_MARK) return payload.toString();
  const reader = new Reader(payload);
  reader.value(0, "", "");
  if (reader.at !== payload.length) throw new Error("there is more behind the value");
  const width = Math.max(...reader.lines.map(({ depth, hex }) => 2 * depth + hex.length));
  const lines = reader.lines.map(({ depth, hex, note }) => {
    const indent = "  ".repeat(depth);
    return `${(indent + hex).padEnd(width)} ; ${indent}${note}`;
  });
  return [...(isBase64 ? [BASE64] : []), ...lines].join("\n");
}

/** Goes through msgpack, and says what each byte means. */
class Reader {
  at = 0;
  /** @type {{ depth: number, hex: string, note: string }[]} */
  lines = [];
  #bytes;

  /** @param {Buffer} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  /**
   * Notes a value, behind its key if it has one.
   *
   * @param {number} depth
   * @param {string} keyHex
   * @param {string} keyNote
   */
  value(depth, keyHex, keyNote) {
    const { hex, note, items = 0, isMap = false } = this.#token();
    this.lines.push({ depth, hex: keyHex + hex, note: keyNote + note });
    for (let index = 0; index < items; index++) {
      const key = isMap ? this.#token() : null;
      this.value(depth + 1, key ? `${key.hex} ` : "", key ? `${key.note}: ` : "");
    }
  }

  /** @returns {{ hex: string, note: string, items?: number, isMap?: boolean }} */
  #token() {
    const first = this.#take(1)[0];
    const head = first.toString(16).padStart(2, "0");
    const list = (/** @type {number} */ items, /** @type {boolean} */ isMap, hex = head) => ({
      hex,
      note: items === 0 ? (isMap ? "{}" : "[]") : `${isMap ? "map" : "array"} of ${items}`,
      items,
      isMap,
    });
    if (first < 0x80) return { hex: head, note: String(first) };
    if (first < 0x90) return list(first & 15, true);
    if (first < 0xa0) return list(first & 15, false);
    if (first < 0xc0) return this.#text(head, first & 31);
    if (first >= 0xe0) return { hex: head, note: String(first - 256) };
    const name = { 0xc0: "null", 0xc2: "false", 0xc3: "true" }[first];
    if (name) return { hex: head, note: name };
    /** @param {number} size */
    const length = (size) => {
      const bytes = this.#take(size);
      return { count: bytes.readUIntBE(0, size), hex: `${head} ${bytes.toString("hex")}` };
    };
    switch (first) {
      case 0xc4:
      case 0xc5: {
        const { count, hex } = length(first === 0xc4 ? 1 : 2);
        return { hex: `${hex} ${this.#take(count).toString("hex")}`.trimEnd(), note: `${count} bytes` };
      }
      case 0xd9: {
        const { count, hex } = length(1);
        return this.#text(hex, count);
      }
      case 0xdc:
      case 0xde: {
        const { count, hex } = length(2);
        return list(count, first === 0xde, hex);
      }
      case 0xcb: {
        const bytes = this.#take(8);
        return { hex: `${head} ${bytes.toString("hex")}`, note: String(bytes.readDoubleBE(0)) };
      }
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xd0:
      case 0xd1:
      case 0xd2: {
        const bytes = this.#take(1 << (first & 3));
        const value = first < 0xd0 ? bytes.readUIntBE(0, bytes.length) : bytes.readIntBE(0, bytes.length);
        return { hex: `${head} ${bytes.toString("hex")}`, note: String(value) };
      }
      case 0xcf:
      case 0xd3: {
        const bytes = this.#take(8);
        const value = first === 0xcf ? bytes.readBigUInt64BE(0) : bytes.readBigInt64BE(0);
        return { hex: `${head} ${bytes.toString("hex")}`, note: String(value) };
      }
      case 0xd6: {
        const type = this.#take(1).toString("hex");
        const bytes = this.#take(4);
        const date = new Date(1000 * bytes.readUInt32BE(0));
        return { hex: `${head} ${type} ${bytes.toString("hex")}`, note: `Date ${date.toJSON()}` };
      }
    }
    throw new Error(`no example has the byte ${head} yet`);
  }

  /** @param {string} head @param {number} length */
  #text(head, length) {
    const bytes = this.#take(length);
    return { hex: `${head} ${bytes.toString("hex")}`.trimEnd(), note: JSON.stringify(bytes.toString()) };
  }

  /** @param {number} count */
  #take(count) {
    const bytes = this.#bytes.subarray(this.at, this.at + count);
    if (bytes.length < count) throw new Error("the bytes end too early");
    this.at += count;
    return bytes;
  }
}

/**
 * The same message as others may write it, which receivers have to take: with the fields in another order and some that
 * nobody knows, in the longest forms of msgpack, and in the other encoding.
 *
 * @param {Example} example
 * @param {boolean} takesBoth whether JSON and msgpack are both taken where it goes
 * @returns {{ how: string, example: Example }[]}
 */
function otherForms(example, takesBoth) {
  const { payload } = example;
  const isJson = payload[0] === JSON_MARK;
  const value = isJson ? JSON.parse(payload.toString()) : notepack.decode(payload);
  /** @type {[string, Buffer][]} */
  const forms = [];
  const disordered = disorder(value);
  forms.push([
    "with other fields in another order",
    isJson ? printed(disordered) : notepack.encode(disordered),
  ]);
  if (!isJson) forms.push(["in the longest forms", longest(value)]);
  if (takesBoth) {
    const other = isJson ? notepack.encode(value) : printed(value);
    // Binary and an array have no JSON that is told from msgpack.
    if (isJson || (other[0] === JSON_MARK && !other.includes('"Buffer"')))
      forms.push([isJson ? "in msgpack" : "in JSON", other]);
  }
  return forms.map(([how, bytes]) => {
    // The fields of an entry have no order either.
    const fields = /^XADD (.*) \* (.*) data PAYLOAD$/.exec(example.words.join(" "));
    const words = fields
      ? [
          "XADD",
          ...fields[1].split(" "),
          "*",
          "more",
          "yes",
          "data",
          "PAYLOAD",
          ...pairs(fields[2]).reverse().flat(),
        ]
      : example.words;
    return { how, example: { ...example, words, payload: bytes } };
  });
}

/** @param {string} text */
function pairs(text) {
  const words = text.split(" ");
  return words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1]]] : []));
}

/** @param {any} value */
function printed(value) {
  return Buffer.from(JSON.stringify(value));
}

/** What the maps of the protocol have, and those of the application do not. */
const OF_THE_PROTOCOL = ["type", "opts", "rooms", "requestId"];

/** @param {any} value @returns {any} */
function disorder(value) {
  if (Array.isArray(value)) return value.map(disorder);
  if (value === null || typeof value !== "object" || Buffer.isBuffer(value)) return value;
  const more = OF_THE_PROTOCOL.some((name) => name in value) ? [["more", { of: [1] }]] : [];
  const entries = Object.entries(value).map(([name, member]) => [name, disorder(member)]);
  return Object.fromEntries([...more, ...entries.reverse()]);
}

/** @param {any} value @returns {Buffer} msgpack in which everything has the longest form that there is */
function longest(value) {
  const head = (/** @type {number} */ mark, /** @type {number} */ length) => {
    const bytes = Buffer.alloc(5, mark);
    bytes.writeUInt32BE(length, 1);
    return bytes;
  };
  if (Array.isArray(value)) return Buffer.concat([head(0xdd, value.length), ...value.map(longest)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(0xc6, value.length), value]);
  if (typeof value === "string") {
    const bytes = Buffer.from(value);
    return Buffer.concat([head(0xdb, bytes.length), bytes]);
  }
  if (Number.isInteger(value)) {
    const bytes = Buffer.alloc(9, 0xd3);
    bytes.writeBigInt64BE(BigInt(value), 1);
    return bytes;
  }
  if (value === null || typeof value !== "object") return notepack.encode(value);
  const entries = Object.entries(value);
  return Buffer.concat([head(0xdf, entries.length), ...entries.flat().map(longest)]);
}

module.exports = { commandOf, findExamples, otherForms, printPayload };
