// @ts-check
"use strict";

/** It has types alone: see typed-events.d.ts. */

Object.defineProperty(exports, "__esModule", { value: true });
