import emitter from "./emitter.js";

export const { BroadcastOperator, Emitter, RESERVED_EVENTS } = emitter;
export default emitter;
