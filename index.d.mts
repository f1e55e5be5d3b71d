export { createAdapter, RedisAdapter } from "./index.js";
export type { LinkStats, Parser, RedisAdapterOptions, TransportInfo } from "./index.js";
export { createAdapter as default } from "./index.js";
