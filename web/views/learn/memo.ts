/**
 * Keeps the last answer of a computation: moving a control that doesn't affect it asks nothing. A failure is not kept.
 */
export function keepLast<A extends readonly (number | string)[], R>(
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
