import createAdapter from "./index.js";

export const { RedisAdapter } = createAdapter;
export { createAdapter, createAdapter as default };
