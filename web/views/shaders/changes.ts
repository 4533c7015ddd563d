/** The lines of a text that another text does not have. */

/** Numbers, from 1, of the lines of `text` that are outside a longest common subsequence with `base`. */
export function changedLines(base: string, text: string): ReadonlySet<number> {
  const [a, b] = [base.split("\n"), text.split("\n")];
  // Equal lines at both ends need no search. In most edits those are all but a few.
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let same = 0;
  while (same < Math.min(a.length, b.length) - start && a[a.length - 1 - same] === b[b.length - 1 - same]) same++;
  const [n, m] = [a.length - same - start, b.length - same - start];
  const changed = new Set<number>();
  if (n * m > 4e6) {
    for (let j = 0; j < m; j++) changed.add(start + j + 1);
    return changed;
  }
  const width = m + 1;
  const longest = new Uint32Array((n + 1) * width);
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      longest[i * width + j] = a[start + i] === b[start + j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  for (let i = 0, j = 0; j < m;) {
    if (i < n && a[start + i] === b[start + j]) i++, j++;
    else if (i < n && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i++;
    else changed.add(start + ++j);
  }
  return changed;
}
