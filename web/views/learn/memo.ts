/** Keeps the last answer of a computation, so that a control that it does not depend on does not ask again. */
export function last<A extends readonly (number | string)[], R>(compute: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  let key = "";
  let answer: Promise<R> | undefined;
  return (...args) => {
    const asked = args.join();
    if (answer === undefined || asked !== key) [key, answer] = [asked, compute(...args)];
    return answer;
  };
}
