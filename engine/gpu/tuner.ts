/**
 * Which of the kernels that suit a device is fastest on it: found on the work itself, so that trying costs nothing but
 * the slower tries.
 */
import type { AttendShape, TileKernelName } from "./kernels.ts";

/** Tries of each kernel before one is kept. */
const TRIES = 2;
/** FLOPs below which a call says little of a kernel's rate. */
const LEAST = 1e8;

/**
 * The rates of kernels seen on one device, by head size and storage types. Every kernel is exact, so which one is tried
 * changes no result beyond rounding.
 */
export class Tuner {
  readonly #rates = new Map<string, number[]>();

  /** The kernel for a call of `flops`: one that has not been tried yet, else the fastest. Small calls try nothing. */
  pick(shape: AttendShape, candidates: readonly TileKernelName[], flops: number): TileKernelName {
    const untried = flops < LEAST ? undefined : candidates.find((name) => this.#seen(name, shape).length < TRIES);
    // Array.sort is stable: where nothing is known the first candidate stays.
    return untried ?? [...candidates].sort((a, b) => this.#best(b, shape) - this.#best(a, shape))[0];
  }

  /** Takes in what a kernel took for a call. */
  saw(shape: AttendShape, name: TileKernelName, flops: number, seconds: number): void {
    if (flops >= LEAST && seconds > 0) this.#seen(name, shape).push(flops / seconds);
  }

  #best(name: TileKernelName, shape: AttendShape): number {
    return Math.max(0, ...this.#seen(name, shape));
  }

  #seen(name: TileKernelName, shape: AttendShape): number[] {
    const key = [name, shape.headDim, shape.q, shape.kv].join(" ");
    const rates = this.#rates.get(key) ?? [];
    this.#rates.set(key, rates);
    // The last ones count: a rate that rose or fell (clocks, other work) is followed.
    if (rates.length > 2 * TRIES) rates.splice(0, rates.length - 2 * TRIES);
    return rates;
  }
}
