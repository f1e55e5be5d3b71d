export { createAdapter, createShardedAdapter, RedisAdapter } from "./index.js";
export type {
  AdapterFactory,
  AdapterStats,
  FactoryEvents,
  FanOutStats,
  Gap,
  LinkOptions,
  LinkStats,
  OldOptions,
  Parser,
  RedisAdapterOptions,
  RedisAddress,
  ShardedRedisAdapter,
  ShardedRedisAdapterOptions,
  TransportInfo,
} from "./index.js";
export { createAdapter as default } from "./index.js";
