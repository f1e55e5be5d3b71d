import * as streams from "./streams.js";

export { createAdapter } from "./streams.js";
export type {
  AdapterStats,
  FanOutStats,
  Gap,
  LinkOptions,
  LinkStats,
  RedisStreamsAdapter,
  RedisStreamsAdapterOptions,
  TransportInfo,
} from "./streams.js";
export default streams;
