/** A promise that code elsewhere settles. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** Makes one. Nobody has to handle its rejection. */
export function deferred<T>(): Deferred<T> {
  let resolve: Deferred<T>["resolve"], reject: Deferred<T>["reject"];
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  promise.catch(() => {});
  return { promise, resolve: resolve!, reject: reject! };
}
