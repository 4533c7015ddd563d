/** The page's door to kernel texts: what a text declares, what it is for, and its trials beside the shipped one. */
export type { CaseResult } from "../../engine/bench/grid.ts";
export type { Repeats } from "../../engine/bench/stats.ts";
export { isRun, readTexts, roleOf, suits, tileKernelOf, tileKernelOfAll } from "../../engine/bench/texts.ts";
export { type Message, Trials, type TrialTime } from "../../engine/bench/trial.ts";
export { openDevice } from "../../engine/gpu/device.ts";
export { TILE_KERNELS, type TileKernelName } from "../../engine/gpu/kernels.ts";
export { type Declarations, declarationsOf, SPECIALISED } from "../../engine/gpu/reflect.ts";
