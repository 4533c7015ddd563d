/**
 * The package as users get it: `npm pack` in the clone, the tarball installed in an empty project, and its programs run.
 * One process, so that all of it packs and installs once.
 */
import "./contents.mjs";
import "./types.mjs";
import "./run.mjs";
