/** Keeps buffers and hands them out again: no hop after the first allocates anything. */

/** Most free buffers that a pool keeps. */
const FREE = 64;

/** The buffers of one device, handed out by size and usage. */
export class Pool {
  /** Buffers that exist now, free or handed out. */
  count = 0;
  /** Their bytes. */
  bytes = 0;
  readonly #device: GPUDevice;
  readonly #free: GPUBuffer[] = [];
  readonly #all = new Set<GPUBuffer>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** A buffer of at least `size` bytes with exactly this usage: the smallest free one that fits, or a new one. */
  take(size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const need = rounded(size);
    let best = -1;
    this.#free.forEach((b, i) => {
      if (b.usage === usage && b.size >= need && b.size <= 2 * need && (best < 0 || b.size < this.#free[best].size)) {
        best = i;
      }
    });
    if (best >= 0) return this.#free.splice(best, 1)[0];
    const made = this.#device.createBuffer({ size: need, usage });
    this.#all.add(made);
    this.count += 1;
    this.bytes += need;
    return made;
  }

  /** Takes buffers back. If more are free than any experiment needs, destroys those that were free longest. */
  give(...buffers: readonly GPUBuffer[]): void {
    this.#free.push(...buffers);
    if (this.#free.length > FREE) this.drop(...this.#free.splice(0, this.#free.length - FREE));
  }

  /** Destroys buffers that were handed out. */
  drop(...buffers: readonly GPUBuffer[]): void {
    for (const b of buffers) {
      b.destroy();
      this.#all.delete(b);
      this.count -= 1;
      this.bytes -= b.size;
    }
  }

  /** Destroys every buffer, those handed out too. */
  destroy(): void {
    for (const b of this.#all) b.destroy();
    this.#all.clear();
    this.#free.length = 0;
    this.count = 0;
    this.bytes = 0;
  }
}

/**
 * Similar sizes share buffers: rounds up to a quarter of the power of two. Sizes above 64 MiB stay exact, since
 * rounding would waste much.
 */
function rounded(size: number): number {
  const least = Math.max(256, Math.ceil(size / 16) * 16);
  if (least > 2 ** 26) return least;
  const step = 2 ** Math.max(6, Math.ceil(Math.log2(least)) - 3);
  return Math.ceil(least / step) * step;
}
