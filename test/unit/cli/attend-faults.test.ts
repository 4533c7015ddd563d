/**
 * `ringside attend` when a rank fails. Soon an error names the rank, the hop and the awaited message. No file is written,
 * and the next run works.
 */
import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { RankError } from "../../../engine/errors.ts";
import { experiment } from "../../experiment.ts";
import { call, contents, inFolder, runtime, writeTensors } from "./command.ts";
import { patience } from "../../patience.ts";
import { nodeFirst } from "../../tiers.ts";

interface Case {
  readonly fault: string;
  readonly options: readonly string[];
  readonly says: RegExp;
  /** Wall time: starting and compiling before the fault, the timeout, and stopping the other ranks after it. */
  readonly seconds: number;
}

const CPU = ["--backend", "cpu"];
const TIMEOUT = 2;

/** The error of a rank that waits: it names the missing message and its sender. */
function waits(waiter: number, hop: number, sender: number, mail: string): string {
  const what = `waited [0-9.]+ s, and rank ${sender} has not sent it \\([^)]*\\)`;
  return `rank ${waiter}, hop ${hop}: ${what} \\(awaited: ${mail} from rank ${sender}\\)`;
}

function drop(...about: Parameters<typeof waits>): RegExp {
  return new RegExp(`^${waits(...about)}$`);
}

/**
 * The error for a dead rank. In Deno, a worker that closes itself causes no event, so there the error may also be that
 * the rank does not send.
 */
function dead(...about: Parameters<typeof waits>): RegExp {
  const [waiter, hop, sender, mail] = about;
  const what = "(its worker ended|no sign of life)[^(]*(\\(status \\d+\\) )?";
  const named = `rank ${sender}, hop ${hop}: ${what}\\(awaited: ${mail} by rank ${waiter}\\)`;
  return new RegExp(runtime === "node" ? `^${named}$` : `^(${named}|${waits(...about)})$`);
}

const CASES: readonly Case[] = [
  { fault: "rank=1,hop=0,kind=exit", options: CPU, says: dead(0, 0, 1, "the chunk of hop 0"), seconds: TIMEOUT + 3 },
  { fault: "rank=1,hop=0,kind=drop", options: CPU, says: drop(0, 0, 1, "the chunk of hop 0"), seconds: TIMEOUT + 3 },
  {
    fault: "rank=1,hop=1,kind=drop",
    options: [...CPU, "--variant", "pass-q"],
    says: drop(0, 1, 1, "the All2All parcel"),
    seconds: TIMEOUT + 3,
  },
  {
    fault: "rank=1,hop=1,kind=exit",
    options: [...CPU, "--variant", "pass-q"],
    says: dead(0, 1, 1, "the All2All parcel"),
    seconds: TIMEOUT + 3,
  },
  {
    fault: "rank=0,hop=1,kind=drop",
    options: [...CPU, "--ranks", "3"],
    says: drop(1, 1, 0, "the chunk of hop 1"),
    seconds: TIMEOUT + 3,
  },
  // Without a kind, the worker ends.
  {
    fault: "rank=2",
    options: [...CPU, "--ranks", "3"],
    says: dead(0, 0, 2, "the chunk of hop 0"),
    seconds: TIMEOUT + 3,
  },
  { fault: "rank=1,hop=0,kind=exit", options: [], says: dead(0, 0, 1, "the chunk of hop 0"), seconds: TIMEOUT + 6 },
  { fault: "rank=1,hop=0,kind=drop", options: [], says: drop(0, 0, 1, "the chunk of hop 0"), seconds: TIMEOUT + 6 },
  {
    fault: "rank=1,hop=0,kind=lose-device",
    options: [],
    says: /^rank 1, hop 0: .*device (was|is) lost.*\(awaited: the end of \w+\)$/,
    seconds: TIMEOUT + 6,
  },
];

for (const { fault, options, says, seconds } of CASES) {
  test(`--fault ${fault} ${options.join(" ")}`, nodeFirst, () =>
    inFolder(async (folder) => {
      const input = experiment({ sequences: [{ new: 12, cached: 6 }], heads: 2, kvHeads: 1 });
      const out = (name: string) => path.join(folder, name);
      const argv = [
        ...(await writeTensors(folder, input)),
        "--ranks",
        "2",
        ...options,
        "--out",
        out("o.npy"),
        "--lse",
        out("l.npy"),
        "--trace",
        out("t.json"),
      ];
      const before = await contents(folder);
      const most = patience(1000 * seconds) / 1000;
      const start = performance.now();
      await assert.rejects(call(attend, [...argv, "--fault", fault, "--timeout", String(TIMEOUT)]), (error) => {
        assert.ok(error instanceof RankError, `${error}`);
        assert.match(error.message, says);
        assert.ok(
          error.message.startsWith(`rank ${error.rank}, hop ${error.hop}: `) &&
            error.message.endsWith(`(awaited: ${error.awaited})`),
          error.message,
        );
        return true;
      });
      const took = (performance.now() - start) / 1000;
      // The command stretches its limit by the factor that this machine is slower than a quiet one.
      assert.ok(
        took < Math.max(most, patience(1000 * seconds) / 1000),
        `it took ${took.toFixed(1)} s, expected at most ${most.toFixed(1)} s`,
      );
      assert.deepEqual(await contents(folder), before, "nothing is written");
      const { status } = await call(attend, [...argv, "--backend", "cpu", "--check"]);
      assert.equal(status, 0, "the process can continue");
      assert.deepEqual(Object.keys(await contents(folder)), ["k.npy", "l.npy", "o.npy", "q.npy", "t.json", "v.npy"]);
    }));
}

test("after faults on the adapter, a run on the adapter works", () =>
  inFolder(async (folder) => {
    const input = experiment({ sequences: [{ new: 12, cached: 6 }], heads: 2, kvHeads: 1 });
    const { status } = await call(attend, [...(await writeTensors(folder, input)), "--ranks", "2", "--check"]);
    assert.equal(status, 0);
  }));
