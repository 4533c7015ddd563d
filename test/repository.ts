/** Files of the repository for tests, which Node runs from a build in a folder dist of it. */

/** The address of a file, by its path from the root. */
export function repository(path: string): URL {
  return new URL(`${/\/dist[./]/.test(import.meta.url) ? "../../" : "../"}${path}`, import.meta.url);
}
