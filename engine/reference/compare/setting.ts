/** Who holds which token in a comparison: the layout's shards of new and of cached tokens, and what a rank meets when. */
import { type Layout, layoutOf, PADDING } from "../../layout/catalog.ts";
import type { Sequence } from "../../layout/shards.ts";
import { ownerAt, type Variant } from "../../ring/contract.ts";
import type { KeyRun } from "../attention.ts";

/** A batch on ranks. */
export class Setting {
  readonly layout: Layout;
  readonly ranks: number;
  readonly variant: Variant;
  readonly sequences: readonly Sequence[];
  /** By rank: the row of Q at each place, PADDING where it has none. */
  readonly rows: readonly Int32Array[];
  /** By rank: the keys that it holds, cached and new. */
  readonly keys: readonly (readonly KeyRun[])[];
  /** By sequence and position of a key: its place among the keys of that sequence on its rank. */
  readonly places: readonly Int32Array[];
  /** By sequence and position of a key: its rank. */
  readonly owners: readonly Int32Array[];

  /** Errors: InputError if the layout can't deal these lengths. */
  constructor(layout: string, ranks: number, variant: Variant, sequences: readonly Sequence[]) {
    this.layout = layoutOf(layout, "--layout");
    this.ranks = ranks;
    this.variant = variant;
    this.sequences = sequences;
    const fresh = sequences.map((s) => this.layout.deal(s.new, ranks));
    const cached = sequences.map((s) => s.cached === 0 ? undefined : this.layout.deal(s.cached, ranks));
    const all = Array.from({ length: ranks }, (_, k) => k);
    this.rows = this.layout.dealBatch(sequences.map((s) => s.new), ranks);
    this.places = sequences.map((s) => new Int32Array(s.cached + s.new));
    this.owners = sequences.map((s) => new Int32Array(s.cached + s.new));
    this.keys = all.map((k) =>
      sequences.flatMap((s, sequence) => {
        const held = [
          ...(cached[sequence]?.[k] ?? []),
          ...[...fresh[sequence][k]].map((t) => t === PADDING ? PADDING : s.cached + t),
        ];
        held.forEach((position, place) => {
          if (position === PADDING) return;
          this.places[sequence][position] = place;
          this.owners[sequence][position] = k;
        });
        return runsOf(sequence, held.filter((position) => position !== PADDING).sort((a, b) => a - b));
      })
    );
  }

  /** Whose keys rank `rank` meets at `hop`, and whose queries: of pass-Q, the visitor's queries meet its own keys. */
  meets(rank: number, hop: number): { readonly queries: number; readonly keys: number } {
    const visitor = ownerAt(rank, hop, this.ranks);
    return this.variant === "pass-kv" ? { queries: rank, keys: visitor } : { queries: visitor, keys: rank };
  }

  /** The rank whose keys the queries of rank `rank` meet at `hop`. */
  keysMet(rank: number, hop: number): number {
    return this.variant === "pass-kv" ? ownerAt(rank, hop, this.ranks) : (rank + hop) % this.ranks;
  }
}

function runsOf(sequence: number, positions: readonly number[]): KeyRun[] {
  const runs: KeyRun[] = [];
  for (const position of positions) {
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.length === position) {
      runs[runs.length - 1] = { ...last, length: last.length + 1 };
    } else runs.push({ sequence, start: position, length: 1 });
  }
  return runs;
}
