/** Returns whether a value contains binary data: a `Buffer`, an `ArrayBuffer`, a typed array. */
export declare function hasBinary(value: any, isJson?: boolean): boolean;
