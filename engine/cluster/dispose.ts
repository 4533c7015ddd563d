/** `await using` for what has a `dispose`, also where the runtime has no such symbol yet (Safari). */
export const asyncDispose = (Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")) as typeof Symbol.asyncDispose;
