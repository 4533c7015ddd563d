/**
 * The page of `ringside bench --peers`: runs the peer and ours on the same inputs in turns, and compares their outputs.
 * The driver calls `measurePeers`.
 */
import { difference } from "../../reference/error.ts";
import { reference } from "../../reference/attention.ts";
import { operandsOf, timeAttention } from "../attention-run.ts";
import { checkKernels } from "../grid.ts";
import { type Heads, inputOf } from "../inputs.ts";
import { type PageRequest, type PageResult, type Peer, PEER_TOLERANCE } from "../peer-types.ts";
import { interleave, repeatsOf } from "../stats.ts";
import { coldStart } from "./cold.ts";
import { openOurs } from "./ours.ts";
import { peerDevice, type PeerSetup, preparePeer } from "./peer.ts";

declare global {
  var measurePeers: (request: PageRequest) => Promise<PageResult>;
}

const seconds = async (work: () => Promise<void>) => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

const prefill = (heads: Heads, tokens: number) => {
  const input = inputOf({ ...heads, sequences: [{ new: tokens, cached: 0 }] });
  return { input, attention: { ...heads, tokens, scale: 1 / Math.sqrt(heads.headDim) } };
};

/** The peer's largest error against float64 on a small prefill. */
async function peerError(setup: PeerSetup, heads: Heads): Promise<number> {
  const { input, attention } = prefill(heads, 64);
  const peer = await preparePeer(setup, attention, input);
  await peer.run();
  const { max } = difference(await peer.output(), reference(input).out);
  await peer.dispose();
  return max;
}

/**
 * A device on which the peer computes correctly: with subgroups, as the peer would choose, or else without. (On
 * SwiftShader, whose subgroups have four lanes, the output of version 1.30 is wrong from the fifth row on. Without
 * subgroups it is right, and as fast.)
 */
async function soundDevice(
  files: Omit<PeerSetup, "device">,
  shapes: readonly Heads[],
): Promise<{ readonly device: GPUDevice; readonly note: string | undefined }> {
  const withAll = await peerDevice(true);
  let worst = 0;
  for (const heads of shapes) worst = Math.max(worst, await peerError({ ...files, device: withAll }, heads));
  if (worst <= PEER_TOLERANCE) return { device: withAll, note: undefined };
  withAll.destroy();
  return {
    device: await peerDevice(false),
    note: `on a device with subgroups the peer's output is off by ${
      worst.toPrecision(2)
    }; it was measured on one without`,
  };
}

globalThis.measurePeers = async ({ ort, file, sizes, shapes, repeats }) => {
  const cold = await coldStart();
  const bench = await openOurs();
  const { facts } = bench.gpu;
  const checks = await checkKernels(bench, shapes);
  if (!checks.every((c) => c.passed)) {
    return { adapter: facts, isolated: crossOriginIsolated, checks, peers: [], coldStart: cold, note: undefined };
  }
  const { device, note } = await soundDevice({ ort, file }, shapes);
  const peers: Peer[] = [];
  for (const heads of shapes) {
    for (const tokens of sizes) {
      const { input, attention } = prefill(heads, tokens);
      const operands = operandsOf(input);
      const peer = await preparePeer({ ort, file, device }, attention, input);
      await peer.run(); // compiles
      let ours = new Float32Array(0);
      const { kernel } = await timeAttention(
        bench,
        operands,
        undefined,
        (data) => ours = new Float32Array(data, 0, input.q.length),
      );
      const { max } = difference(ours, await peer.output());
      const runs = [() => seconds(() => peer.run()), async () => (await timeAttention(bench, operands)).wall];
      const [theirs, own] = (await interleave(runs, repeats, (run) => run())).map(repeatsOf);
      peers.push({
        name: peer.name,
        version: peer.version,
        shape: { ...heads, tokens, cached: 0, causal: true, dtype: "f32" },
        peerSeconds: theirs.median,
        ourSeconds: own.median,
        ratio: theirs.median / own.median,
        peer: theirs,
        ours: own,
        kernel,
        maxDifference: max,
        agrees: max <= PEER_TOLERANCE,
      });
      await peer.dispose();
    }
  }
  device.destroy();
  bench.gpu.device.destroy();
  return { adapter: facts, isolated: crossOriginIsolated, checks, peers, coldStart: cold, note };
};
