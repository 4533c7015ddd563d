/** The package's name, as programs import it: the `name` of package.json. */
export const PACKAGE = "ringside-cp";
