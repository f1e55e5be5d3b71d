export { createShardedAdapter } from "../index.js";
export type { ShardedRedisAdapter, ShardedRedisAdapterOptions } from "../index.js";
