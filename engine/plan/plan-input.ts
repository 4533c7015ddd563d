/** The input of a plan, and the checks on it. */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { isLocal, type Mask, validateMask } from "../layout/mask.ts";
import { type Dealing, DEALINGS } from "../layout/shards.ts";
import { ranksAlike } from "./calls.ts";
import type { ClusterSpec } from "./clusters.ts";
import type { Disturbance } from "./layer.ts";
import { type FfnPrecision, type MaskedLayers, masksOf, type Model } from "./models.ts";
import type { PlanParameters } from "./parameters.ts";

/** A step to plan, on a layout of a cluster. */
export interface PlanInput {
  /** The model to run. */
  readonly model: Model;
  /** The hardware to run it on. */
  readonly cluster: ClusterSpec;
  /** N, context-parallel ranks; default 1. */
  readonly cp?: number;
  /** GPUs of a rank; default one host. More than one host is the paper's multi-node TP baseline. */
  readonly tp?: number;
  /** T of each sequence. Decode always has T = 1. */
  readonly new?: number;
  /** P of each sequence; default 0. In decode, the context that each token reads. */
  readonly cached?: number;
  /**
   * Cached tokens of a sequence on each rank, N numbers that sum to `cached`. Set it if decode and earlier turns left
   * them uneven; the default is head-tail.
   */
  readonly held?: readonly number[];
  /** B equal sequences; default 1. */
  readonly batch?: number;
  /** Default "auto": simulate both variants and take the faster. */
  readonly variant?: Variant | "auto";
  /** The mask of every layer; default the model's own. */
  readonly mask?: Mask;
  /**
   * How ranks get tokens. Default "auto": if a layer has a window or chunk mask, simulate both dealings and take the
   * faster, else head-tail.
   */
  readonly dealing?: Dealing | "auto";
  /** One token for each sequence: TTIT instead of TTFT. */
  readonly decode?: boolean;
  /** Whether the prefill has a persistent KV cache; default: if cached > 0. */
  readonly persistent?: boolean;
  /** Default: the model's own. */
  readonly ffn?: FfnPrecision;
  /** Bytes of a KV element; default 2 (bf16). */
  readonly kvBytes?: number;
  /** Default: PARAMETERS. */
  readonly parameters?: PlanParameters;
  /** Slow ranks or jitter to simulate. */
  readonly disturbance?: Disturbance;
  /** Simulate every rank, even on a large and even cluster. */
  readonly everyRank?: boolean;
  /** Keep the spans of one layer. */
  readonly spans?: boolean;
  /** Ends the simulation. */
  readonly signal?: AbortSignal;
}

/** A checked input, with its defaults filled in. */
export interface CheckedInput {
  readonly cp: number;
  readonly tp: number;
  readonly new: number;
  readonly cached: number;
  readonly batch: number;
  readonly kvBytes: number;
  readonly decode: boolean;
  readonly persistent: boolean;
  readonly ffn: FfnPrecision;
  readonly variant: Variant | "auto";
  /** The model's layers by mask. */
  readonly masks: readonly MaskedLayers[];
  /** The dealings to simulate. */
  readonly dealings: readonly Dealing[];
}

/**
 * Checks an input and fills in its defaults. Errors: InputError with the field, what was found and what was expected.
 */
export function checkInput(input: PlanInput): CheckedInput {
  const decode = input.decode === true;
  const cached = whole("cached", input.cached ?? 0, 0, MOST_TOKENS);
  const fresh = decode ? 1 : whole("new", input.new ?? Number.NaN, 1, MOST_TOKENS);
  const kvBytes = input.kvBytes ?? 2;
  if (!(kvBytes > 0 && kvBytes <= 8)) {
    throw new InputError(`kvBytes: found ${kvBytes}, expected the bytes of an element: above 0, and at most 8 (f64)`);
  }
  const masks = masksIn(input);
  const local = masks.some(({ mask }) => isLocal(mask));
  const dealings = dealingsIn(input, local);
  const each = input.everyRank === true || input.disturbance !== undefined || input.held !== undefined ||
    input.spans === true || masks.some(({ mask }) => dealings.some((dealing) => !ranksAlike({ mask, dealing })));
  const cp = whole("cp", input.cp ?? 1, 1, each ? MOST_RANKS_EACH : MOST_RANKS);
  const sum = input.held?.reduce((total, n) => total + whole("held", n, 0, MOST_TOKENS), 0);
  if (input.held !== undefined && (input.held.length !== cp || sum !== cached)) {
    throw new InputError(
      `held: found ${input.held.length} ranks with ${sum} tokens together, ` +
        `expected ${cp} ranks with the ${cached} cached tokens`,
    );
  }
  if (input.held !== undefined && local) {
    throw new InputError(
      "held: found beside a window or chunk mask, expected it without one: numbers of tokens don't say which tokens a " +
        "rank holds",
    );
  }
  const { gpusPerHost } = input.cluster;
  const tp = whole("tp", input.tp ?? Math.min(gpusPerHost, input.model.heads), 1, {
    most: input.model.heads,
    why: `each GPU needs at least one of the ${input.model.heads} query heads of ${input.model.name}`,
  });
  if (tp > gpusPerHost && tp % gpusPerHost !== 0) {
    throw new InputError(`tp ${tp} does not fill hosts of ${gpusPerHost} GPUs; a multiple of ${gpusPerHost} does`);
  }
  return {
    cp,
    tp,
    new: fresh,
    cached,
    batch: whole("batch", input.batch ?? 1, 1, MOST_SEQUENCES),
    kvBytes,
    decode,
    persistent: input.persistent ?? cached > 0,
    ffn: input.ffn ?? input.model.ffnPrecision,
    variant: input.variant ?? "auto",
    masks,
    dealings: cp === 1 ? dealings.slice(0, 1) : dealings,
  };
}

function masksIn({ mask, model }: PlanInput): readonly MaskedLayers[] {
  if (mask === undefined) return masksOf(model);
  validateMask(mask);
  return [{ mask, layers: model.layers }];
}

function dealingsIn({ dealing = "auto" }: PlanInput, local: boolean): readonly Dealing[] {
  if (dealing === "auto") return local ? ["head-tail", "contiguous"] : ["head-tail"];
  if (!DEALINGS.includes(dealing)) {
    throw new InputError(`dealing: found ${JSON.stringify(dealing)}, expected auto or ${DEALINGS.join(" or ")}`);
  }
  return [dealing];
}

/** An upper bound and its reason. */
interface Bound {
  readonly most: number;
  readonly why: string;
}

const MOST_RANKS: Bound = { most: 65_536, why: "the planner simulates each hop" };
const MOST_RANKS_EACH: Bound = {
  most: 1_024,
  why: "the planner simulates every rank, N x N hops; " +
    "without --every-rank, --slow, --jitter, a trace, and masks or shards that make ranks differ, one may stand for all",
};
const MOST_TOKENS: Bound = { most: 1e12, why: "with more tokens, costs have no exact digits left" };
const MOST_SEQUENCES: Bound = { most: 1e6, why: "no cluster decodes more sequences in a step" };

function whole(name: string, value: number, least: number, { most, why }: Bound): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InputError(`${name}: found ${value}, expected a whole number of at least ${least}`);
  }
  if (value > most) throw new InputError(`${name}: found ${value}, expected at most ${most}: ${why}`);
  return value;
}
