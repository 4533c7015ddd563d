/**
 * Keeps the last answer of a computation, so that a control that it does not depend on does not ask again. A failure is
 * not kept.
 */
export function last<A extends readonly (number | string)[], R>(
  compute: (...args: A) => Promise<R>,
): (...args: A) => Promise<R> {
  let kept: { readonly key: string; readonly answer: Promise<R> } | undefined;
  return (...args) => {
    const key = args.join();
    if (kept?.key === key) return kept.answer;
    const now = { key, answer: compute(...args) };
    kept = now;
    now.answer.catch(() => {
      if (kept === now) kept = undefined;
    });
    return now.answer;
  };
}
