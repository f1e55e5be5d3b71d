export * from "./emitter.js";
