/** Buffers that are kept and used again: nothing is allocated on a hop after the first. */

/** Most buffers that are kept free. */
const FREE = 64;

/** Buffers of one device by usage, given out and taken back. */
export class Pool {
  /** Buffers that exist now, free or given out. */
  count = 0;
  /** Their bytes. */
  bytes = 0;
  readonly #device: GPUDevice;
  readonly #free: GPUBuffer[] = [];
  readonly #all = new Set<GPUBuffer>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** A buffer of at least `size` bytes with exactly this usage: the smallest free one that fits, else a new one. */
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

  /** Takes buffers back. Those that waited longest are given up where more are free than any experiment needs. */
  give(...buffers: readonly GPUBuffer[]): void {
    this.#free.push(...buffers);
    if (this.#free.length > FREE) this.drop(...this.#free.splice(0, this.#free.length - FREE));
  }

  /** Gives the memory of buffers back that were given out. */
  drop(...buffers: readonly GPUBuffer[]): void {
    for (const b of buffers) {
      b.destroy();
      this.#all.delete(b);
      this.count -= 1;
      this.bytes -= b.size;
    }
  }

  /** Gives every buffer's memory back, those given out included. */
  destroy(): void {
    for (const b of this.#all) b.destroy();
    this.#all.clear();
    this.#free.length = 0;
    this.count = 0;
    this.bytes = 0;
  }
}

/**
 * Sizes that differ little share buffers: rounded up to a quarter of their power of two, and exact where that would
 * waste much.
 */
function rounded(size: number): number {
  const least = Math.max(256, Math.ceil(size / 16) * 16);
  if (least > 2 ** 26) return least;
  const step = 2 ** Math.max(6, Math.ceil(Math.log2(least)) - 3);
  return Math.ceil(least / step) * step;
}
