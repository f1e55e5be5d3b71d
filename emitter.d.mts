import * as emitter from "./emitter.js";

export * from "./emitter.js";
export default emitter;
