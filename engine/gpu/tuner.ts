/**
 * Finds which of the kernels that suit a device is fastest on it, by running them on the real work: trying costs no
 * more than the slower tries.
 */
import type { AttendShape, TileKernelName } from "./kernels.ts";

/** Tries of each kernel before the tuner keeps one. */
const TRIES = 2;
/** A call of fewer FLOPs says little of a kernel's rate. */
const LEAST = 1e8;

/**
 * The rates of kernels seen on one device, by head size and storage types. Every kernel is exact, so a try changes no
 * result beyond rounding.
 */
export class Tuner {
  readonly #rates = new Map<string, number[]>();

  /** The kernel for a call of `flops`: an untried one if any, else the fastest. Small calls try nothing. */
  pick(shape: AttendShape, candidates: readonly TileKernelName[], flops: number): TileKernelName {
    const untried = flops < LEAST ? undefined : candidates.find((name) => this.#seen(name, shape).length < TRIES);
    // Array.sort is stable: while no rate is known, the first candidate stays first.
    return untried ?? [...candidates].sort((a, b) => this.#best(b, shape) - this.#best(a, shape))[0];
  }

  /** Notes how long a kernel took for a call. */
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
    // Only the last ones count, so the tuner follows a rate that rises or falls (clocks, other work).
    if (rates.length > 2 * TRIES) rates.splice(0, rates.length - 2 * TRIES);
    return rates;
  }
}
