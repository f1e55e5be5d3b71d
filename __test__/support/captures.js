// @ts-check
"use strict";

/**
 * Broadcasts as @socket.io/redis-adapter 8.3.0 with notepack.io 3.0.1 put them on the wire, captured there, and
 * what a client receives of them. The last is in the form of notepack.io 2.
 */

const SIXTEEN = Array.from({ length: 16 }, (_, i) => i);

module.exports = [
  {
    what: "an event to everyone",
    room: "",
    hex: "93a635735a64314d83a47479706502a46461746193a568656c6c6f01a161a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: ["hello", 1, "a"],
  },
  {
    what: "an event to a room",
    room: "room",
    hex: "93a65a6e7467563783a47479706502a46461746193a568656c6c6f01a161a36e7370a12f83a5726f6f6d7391a4726f6f6da665786365707490a5666c61677380",
    event: ["hello", 1, "a"],
  },
  {
    what: "numbers",
    room: "",
    hex: "93a65a6e7467563783a47479706502a464617461dc0015a16e007fcc80ccffcd0100cdffffce00010000ceffffffffcf0000000100000000cf0020000000000000ffe0d0dfd080d1ff7fd2ffff7fffd3ffffffff7fffffffd3ffe0000000000000cb3ff8000000000000cbbfb999999999999aa36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: [
      "n",
      0,
      127,
      128,
      255,
      256,
      65535,
      65536,
      4294967295,
      4294967296,
      2 ** 53,
      -1,
      -32,
      -33,
      -128,
      -129,
      -32769,
      -2147483649,
      -(2 ** 53),
      1.5,
      -0.1,
    ],
  },
  {
    what: "text",
    room: "",
    hex: `93a65a6e7467563783a47479706502a46461746196a174a0a9c3a9e6bca2f09fa680a600225ce280a8d920${"78".repeat(32)}da0100${"78".repeat(256)}a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380`,
    event: ["t", "", "é漢🦀", '\u0000"\\\u2028', "x".repeat(32), "x".repeat(256)],
  },
  {
    what: "maps and arrays",
    room: "",
    hex: "93a65a6e7467563783a47479706502a46461746196a16d809081a16181a16294c0c3c280dc0010000102030405060708090a0b0c0d0e0fde0010a26b3000a26b3101a26b3202a26b3303a26b3404a26b3505a26b3606a26b3707a26b3808a26b3909a36b31300aa36b31310ba36b31320ca36b31330da36b31340ea36b31350fa36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: [
      "m",
      {},
      [],
      { a: { b: [null, true, false, {}] } },
      SIXTEEN,
      Object.fromEntries(SIXTEEN.map((i) => [`k${i}`, i])),
    ],
  },
  {
    what: "what is undefined",
    room: "",
    hex: "93a65a6e7467563783a47479706502a46461746194a175c091c081a16201a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: ["u", null, [null], { b: 1 }],
  },
  {
    what: "dates",
    room: "",
    hex: "93a65a6e7467563783a47479706502a46461746196a164d6ff00000000d7ff1d535300499602d2c70cff3b8b87c0ffffffffffffffffc70cff00000000000000040000000081a26174d7ff003d090000000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: [
      "d",
      "1970-01-01T00:00:00.000Z",
      "2009-02-13T23:31:30.123Z",
      "1969-12-31T23:59:59.999Z",
      "2514-05-30T01:53:04.000Z",
      { at: "1970-01-01T00:00:00.001Z" },
    ],
  },
  {
    what: "binary",
    room: "",
    hex: `93a65a6e7467563783a47479706502a46461746194a162c40200ffc50100${"07".repeat(256)}81a46465657091c400a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380`,
    event: ["b", Buffer.from([0, 255]), Buffer.alloc(256, 7), { deep: [Buffer.alloc(0)] }],
  },
  {
    what: "not a number",
    room: "",
    hex: "93a65a6e7467563783a47479706502a46461746194a178cb7ff8000000000000cb7ff000000000000091cbfff0000000000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: ["x", null, null, [null]],
  },
  {
    what: "volatile and compress",
    room: "",
    hex: "93a65a6e7467563783a47479706502a46461746192a16601a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
    event: ["f", 1],
  },
  {
    what: "two rooms, one of them left out",
    room: "a",
    hex: "93a65a6e7467563783a47479706502a46461746191a172a36e7370a12f83a5726f6f6d7392a161a162a665786365707491a163a5666c61677380",
    event: ["r"],
  },
  {
    what: "an older node's dates, undefined and ArrayBuffers",
    room: "",
    hex: "93a635735a64314d83a47479706502a46461746194a16fd70000000000000003e8d40000c70300010203a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    event: ["o", "1970-01-01T00:00:01.000Z", null, Buffer.from([1, 2, 3])],
  },
];
