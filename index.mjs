import createAdapter from "./index.js";

export const { RedisAdapter, createShardedAdapter } = createAdapter;
export { createAdapter, createAdapter as default };
