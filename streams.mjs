import streams from "./streams.js";

export const { createAdapter } = streams;
export default streams;
