/** Lets the page respond between pieces of long work. */

/** Resolves in another task. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
