// @ts-check
"use strict";

/**
 * Why the addon does not load, and what to do: one text for those who require the package and those who install it.
 */

const NAME = "socket.io-redis-native";

/** What Rust it takes to build the addon, as in Cargo.toml. */
const RUST = "1.88";

/** What loaders say, and what is wrong then. @type {[RegExp, string, "build" | "again"][]} */
const REASONS = [
  [
    /version [`'"]?(GLIBC|GLIBCXX|CXXABI)_[\w.]+[`'"]? not found/,
    "It was built for a newer C library than this system has.",
    "build",
  ],
  [
    /libc\.musl|ld-musl|ld-linux|Error relocating|symbol not found|undefined symbol/,
    "It was built for another C library (glibc or musl) than this system has.",
    "again",
  ],
  [
    /invalid ELF header|file too short|wrong ELF class|cannot open shared object|not a valid Win32|[Ee]xec format|mach-o|slice is not valid|cannot read file data|bad image|incompatible/,
    "The file is damaged, or for a machine of another kind.",
    "again",
  ],
  [
    /noexec|failed to map segment|Operation not permitted|EACCES|Permission denied/,
    "This system forbids it.",
    "again",
  ],
];

/**
 * @typedef {object} Machine
 * @property {string} platform as in `process.platform`
 * @property {string} arch as in `process.arch`
 * @property {string} runtime what runs this, with its version
 * @property {string} libc of a Linux, with its version if it is known; otherwise empty
 */

/** What this machine is. @returns {Machine} */
function thisMachine() {
  const { bun, deno, node } = process.versions;
  const runtime = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node.js ${node}`;
  return { platform: process.platform, arch: process.arch, runtime, libc: libcOf() };
}

function libcOf() {
  if (process.platform !== "linux") return "";
  try {
    const { header } = /** @type {any} */ (process.report.getReport());
    return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : "musl";
  } catch {
    return "";
  }
}

/**
 * The text of the error.
 *
 * @param {any} error what binding.js has thrown: each `cause` of it is why one of the places did not do
 * @param {Machine} [machine]
 */
function describeLoadProblem(error, machine = thisMachine()) {
  const { platform, arch, runtime, libc } = machine;
  const place = [`${platform}-${arch}`, libc, runtime].filter(Boolean).join(", ");
  const said = causesOf(error).filter((cause) => !isMissing(cause));
  const lines = [`${NAME}: its addon does not load here (${place}).`];
  if (said.length === 0) {
    lines.push(
      "There is none: neither a prebuilt one, nor one that was built when the package was installed.",
      "- Was npm told to leave out optional dependencies (--omit=optional, --no-optional), or not to run scripts",
      "  (--ignore-scripts)? Then install again without that.",
      "- pnpm, Bun and newer versions of npm run no scripts of a package unless they are told to:",
      `  pnpm approve-builds, bun pm trust ${NAME}, npm install-scripts approve ${NAME}.`,
      "- Was node_modules copied from another machine, or made for another platform? Then install on this one.",
      "- Is it a bundle? Then the addon has to be beside it: see docs/bundling.md in the package.",
      `- Otherwise ${BUILD}`,
    );
    return lines.join("\n");
  }
  for (const cause of said) lines.push(`It says: ${firstLine(cause)}`);
  const reasons = said.map(({ message }) => REASONS.find(([pattern]) => pattern.test(message)));
  const [, why, remedy] = reasons.find((reason) => reason !== undefined) ?? [null, null, "again"];
  if (why !== null) lines.push(why);
  if (remedy === "build") lines.push(`Update the system, or ${BUILD}`);
  else
    lines.push("Remove node_modules and install again, on this machine.", `If that does not help, ${BUILD}`);
  return lines.join("\n");
}

const BUILD = `build it: npm rebuild ${NAME} --ignore-scripts=false. That takes Rust ${RUST} or later (https://rustup.rs).`;

/** @param {any} error @returns {Error[]} the causes of an error, the first one first; itself, if there are none */
function causesOf(error) {
  const causes = [];
  for (let cause = error?.cause; cause instanceof Error && causes.length < 20; cause = cause.cause)
    causes.push(cause);
  return causes.length > 0 ? causes : [error];
}

/** Whether a place of the addon is empty, which all but one are. @param {any} error */
function isMissing({ code, message }) {
  return code === "MODULE_NOT_FOUND" || /^Cannot find (module|package)/.test(message);
}

/** @param {Error} error */
function firstLine({ message }) {
  return String(message).split("\n")[0];
}

module.exports = { REASONS, RUST, describeLoadProblem };
