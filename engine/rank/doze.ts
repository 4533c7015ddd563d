/** Awaits Dawn's answers in Node without burning a core. */

const cell = new Int32Array(new SharedArrayBuffer(4));
/** Milliseconds asleep between two polls. */
const NAP = 0.25;

/**
 * Awaits a promise of dawn.node. Dawn polls for the device's answers in a loop that never sleeps: with four ranks on two
 * cores, the loops take the processor from the software adapter that they wait for. Sleeping in between frees it.
 */
export async function doze<T>(promise: Promise<T>): Promise<T> {
  let waiting = true;
  const nap = () => {
    if (!waiting) return;
    Atomics.wait(cell, 0, 0, NAP);
    setImmediate(nap);
  };
  setImmediate(nap);
  try {
    return await promise;
  } finally {
    waiting = false;
  }
}
