export { createAdapter, RedisAdapter } from "./index.js";
export type {
  AdapterFactory,
  LinkStats,
  OldOptions,
  Parser,
  RedisAdapterOptions,
  RedisAddress,
  TransportInfo,
} from "./index.js";
export { createAdapter as default } from "./index.js";
