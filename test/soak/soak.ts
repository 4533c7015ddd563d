/**
 * Random scripts of experiments, sessions and faults. Every result must be exact or a named error, and nothing may be
 * lost or left running.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { Cluster } from "../../engine/cluster/cluster.ts";
import type { AttendInput, Backend } from "../../engine/cluster/types.ts";
import type { Platform } from "../../engine/platform.ts";
import { InputError, LimitError, RankError } from "../../engine/errors.ts";
import { check } from "../../engine/reference/check.ts";
import { experiment } from "../experiment.ts";
import { Dice } from "./dice.ts";
import { Talk } from "./talk.ts";

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What disturbs an action. */
type Strike = "none" | "cancel" | "exit" | "lose-device" | "terminate" | "drop" | "dispose-session" | "beside";

/** Runs one script. Throws at the first mistake, with the script up to there. */
export async function soak(given: Platform, backend: Backend, seed: number): Promise<void> {
  const said: string[] = [];
  const say = (text: string) => {
    said.push(text);
    if (process.env.SOAK_ALOUD) console.log(`${backend} ${seed}: ${text}`);
  };
  try {
    await script(given, backend, new Dice(seed), say);
  } catch (error) {
    throw new Error(`${backend}, seed ${seed}: ${error instanceof Error ? error.message : error}\n${said.join("\n")}`, {
      cause: error,
    });
  }
}

async function script(given: Platform, backend: Backend, dice: Dice, say: (text: string) => void): Promise<void> {
  const size = backend === "cpu" ? dice.pick([1, 2, 4, 8]) : dice.pick([1, 2, 3]);
  const link = dice.chance(0.3) ? { bandwidth: dice.pick([2e5, 1e7]), latency: dice.pick([0, 0.002]) } : undefined;
  const spread = backend === "cpu" ? 40 : 900;
  const workers: { ended: boolean; terminate(): void }[] = [];
  const platform: Platform = {
    ...given,
    startWorker() {
      const worker = given.startWorker();
      const one = { ended: false, terminate: () => void worker.terminate() };
      worker.onDeath(() => (one.ended = true));
      workers.push(one);
      const terminate = async () => {
        await worker.terminate();
        one.ended = true;
      };
      return { ...worker, terminate };
    },
  };
  say(`${size} ranks, link ${JSON.stringify(link)}`);
  if (dice.chance(0.15)) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), dice.next() * 2 * spread);
    const early = await Cluster.start(platform, { ranks: size, backend, link, signal: controller.signal }).catch(named);
    say(`a start that is cancelled: ${early instanceof Cluster ? "came first" : early}`);
    if (early instanceof Cluster) await early.dispose();
    await gone(workers);
  }
  const first = workers.length;
  const cluster = await Cluster.start(platform, { ranks: size, backend, link, timeout: 1 });
  const talks: Talk[] = [];
  const strike = (kind: Strike) => {
    const rank = dice.whole(0, size - 1);
    if (kind === "terminate") workers.slice(first).filter((w) => !w.ended)[0]?.terminate();
    else if (kind === "exit" || kind === "lose-device") void cluster.ranks.service(rank).strike(kind).catch(() => {});
  };

  /** Repairs the cluster, with other calls and now and then another fault in the middle of it. */
  const mend = async () => {
    const repairing = cluster.repair();
    const input = attention();
    const beside = dice.chance(0.6) ? cluster.attend(input).then((r) => exact(input, r), named) : undefined;
    const again = dice.chance(0.3) ? cluster.repair().catch(named) : undefined;
    if (dice.chance(0.15)) {
      setTimeout(() => strike(backend === "cpu" ? "exit" : dice.pick(["exit", "lose-device"])), dice.next() * spread);
    }
    const replaced = await repairing.catch(named);
    const also = await beside;
    await again;
    say(`repair: ${replaced}${also === undefined ? "" : `; attend beside it: ${also}`}`);
  };
  /** The result of `call`, after as many repairs as it needs. */
  const atLast = async <T>(call: () => Promise<T>): Promise<T> => {
    for (let attempt = 0; attempt < 12; attempt++) {
      try {
        return await call();
      } catch (error) {
        say(`not whole: ${named(error)}`);
        await mend();
      }
    }
    return assert.fail("twelve repairs did not bring the cluster back");
  };
  const attention = () => {
    const heads = dice.pick([[4, 2], [8, 1], [4, 4]] as const);
    const sequences = Array.from(
      { length: dice.whole(1, 2) },
      () => ({ new: dice.whole(1, 60), cached: dice.pick([0, 0, dice.whole(1, 50)]) }),
    );
    const options = {
      variant: dice.pick(["pass-kv", "pass-q", "auto"] as const),
      wireDtype: dice.pick(["f32", "f32", "bf16", "f16"] as const),
      causal: dice.chance(0.8),
    };
    return {
      ...experiment({ sequences, heads: heads[0], kvHeads: heads[1], seed: dice.whole(1, 9) }),
      ...options,
    } as AttendInput;
  };
  const exact = (input: AttendInput, result: { out: Float32Array; lse: Float32Array }) => {
    const { passed, out, lse } = check(input, result);
    const { sequences, variant, wireDtype, causal } = input;
    assert.ok(
      passed,
      `a result that is not exact: ${
        JSON.stringify({ sequences, variant, wireDtype, causal, heads: input.heads, kvHeads: input.kvHeads, out, lse })
      }`,
    );
    return "exact";
  };

  try {
    for (let turn = dice.whole(5, 9); turn > 0; turn--) {
      const kinds: readonly Strike[] = [
        "none",
        "none",
        "none",
        "none",
        "cancel",
        "cancel",
        "exit",
        "drop",
        "beside",
        "dispose-session",
        backend === "cpu" ? "terminate" : "lose-device",
      ];
      const kind = dice.pick(kinds);
      const talk = talks.length > 0 ? dice.pick(talks) : undefined;
      const what = talk === undefined ? dice.pick(["open", "attend"] as const) : dice.pick(
        [
          "open",
          "attend",
          "prefill",
          "prefill",
          "prefill",
          "decode",
          "decode",
          "snapshot",
          "restore",
          "drop",
        ] as const,
      );
      const controller = new AbortController();
      const { signal } = controller;
      const fault = kind === "drop" && size > 1
        ? { rank: dice.whole(0, size - 1), hop: dice.whole(0, size - 2), kind: "drop" as const }
        : undefined;
      const between = dice.chance(0.3);
      if (between) strike(kind);
      if (between && dice.chance(0.5)) await wait(dice.next() * spread);
      let changed: Talk | undefined;
      const act = async (): Promise<string> => {
        if (what === "attend") {
          const input = attention();
          const { out, lse } = await cluster.attend({ ...input, signal });
          return exact(input, { out, lse });
        }
        if (what === "open" || talk === undefined) {
          if (talks.length === 2) return "two are open";
          const options = {
            heads: 4,
            kvHeads: 2,
            headDim: 16,
            capacity: 192,
            wireDtype: dice.pick(["f32", "bf16"] as const),
            variant: dice.pick(["auto", "pass-kv", "pass-q"] as const),
          };
          const one = new Talk(await cluster.session(options), options);
          talks.push(one);
          changed = one;
          return "opened";
        }
        const { session, held } = talk;
        if (what === "snapshot") {
          const bytes = await session.snapshot();
          talk.saved = { bytes, held: new Map(held) };
          return "byte-equal";
        }
        if (what === "restore") {
          if (talk.saved === undefined) return "nothing was saved";
          const { saved } = talk;
          await session.restore(saved.bytes);
          [talk.held, talk.bytes] = [new Map(saved.held), saved.bytes];
          return "restored";
        }
        if (what === "drop") {
          const sequence = dice.pick([...held.keys(), 0]);
          if (!held.has(sequence)) return "nothing is held";
          await session.drop(sequence);
          held.delete(sequence);
          changed = talk;
          return "dropped";
        }
        const decode = what === "decode" && held.size > 0;
        const sequences = decode
          ? [...held.keys()].filter(() => dice.chance(0.8))
          : [0, 1, 2].filter(() => dice.chance(0.5));
        if (sequences.length === 0) sequences.push(decode ? [...held.keys()][0] : 0);
        const batch = sequences.map((s) => talk.rows(s, decode ? 1 : Math.max(1, dice.whole(1, 50))));
        const result =
          await (decode ? session.decode(batch, { signal, fault }) : session.prefill(batch, { signal, fault }));
        talk.done(batch, result);
        changed = talk;
        return "exact";
      };
      say(`${what}, ${kind}${between ? " before it" : ""} ...`);
      const acting = act().then((ok) => ok, named);
      if (!between && kind !== "none") await wait(dice.next() * spread);
      if (!between) strike(kind);
      if (kind === "cancel") controller.abort();
      let beside: unknown;
      if (kind === "beside") beside = await cluster.attend(attention()).then(() => "exact", named);
      if (kind === "dispose-session" && talk !== undefined) {
        talks.splice(talks.indexOf(talk), 1);
        await talk.session.dispose();
      }
      const how = await acting;
      say(
        `${what}, ${kind}${between ? " before it" : ""}: ${how}${beside === undefined ? "" : `; beside it: ${beside}`}`,
      );
      // Whatever happened, every session holds its bytes, and another experiment is exact.
      for (const one of talks) {
        const bytes = await atLast(() => one.session.snapshot());
        if (one === changed) one.bytes = bytes;
        const same = bytes.length === one.bytes.length && bytes.every((b, i) => b === one.bytes[i]);
        assert.ok(same, "a cache changed");
      }
      const input = attention();
      exact(input, await atLast(() => cluster.attend(input)));
    }
    if (backend === "webgpu") {
      await atLast(() => cluster.attend(attention()));
      for (const { buffers } of await cluster.ranks.askAll((service) => service.held())) {
        assert.ok(buffers <= 100, `${buffers} buffers on a rank`);
      }
    }
    if (dice.chance(0.3)) {
      const running = cluster.attend(attention()).then(() => "exact", named);
      await wait(dice.next() * spread);
      await cluster.dispose();
      say(`disposed while it attends: ${await running}`);
    }
  } finally {
    await cluster.dispose();
  }
  await gone(workers);
}

/** A named error as text. Throws any other error again. */
function named(error: unknown): string {
  if (error instanceof RankError || error instanceof LimitError || error instanceof InputError) {
    return `${error.name}: ${error.message}`;
  }
  if (error instanceof DOMException && error.name === "AbortError") return `AbortError: ${error.message}`;
  throw error;
}

/** Waits until every worker has ended. */
async function gone(workers: readonly { readonly ended: boolean }[]): Promise<void> {
  for (const end = performance.now() + 60_000; workers.some((w) => !w.ended);) {
    assert.ok(performance.now() < end, "some workers do not end");
    await wait(10);
  }
}
