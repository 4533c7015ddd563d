// Records the run that the Remote view ships: `node test/record-remote.mjs`, after `npm run test:all` has set up the
// worker's Python.
//
// Starts a worker of four gloo processes on the CPU, runs the experiment below in both variants, verifies rows as the
// page does, and writes the page's own file.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { build } from "../engine/cli/setup/build.mjs";
import { root } from "../engine/cli/setup/common.mjs";
import { findWorkerPython } from "../engine/cli/setup/python.mjs";

const { python, reason } = await findWorkerPython();
if (python === undefined) throw new Error(reason);
await build();
const dist = (file) => import(path.join(root, "dist", file));
const { Remote } = await dist("cuda-bridge/client/node.js");
const { sampleRows, verifyRows } = await dist("engine/node.js");
const { defaults, presets, withPreset } = await dist("web/views/remote/model.js");
const { attendInput, batchOf } = await dist("web/views/remote/params.js");
const { writeRun } = await dist("web/views/remote/record.js");
const { rowOf } = await dist("web/views/remote/runner.js");

/** Four processes are ranks with a wire of their own, so there is no model of one. */
const experiment = { ...withPreset(defaults, presets.find(({ id }) => id === "4k")), link: null, rows: 32 };
const args = [
  "-m",
  "ringside_worker",
  "--listen",
  "127.0.0.1:0",
  "--device",
  "cpu",
  "--processes",
  String(experiment.N),
];
const worker = spawn(python, [...args, "--json"], {
  cwd: path.join(root, "cuda-bridge", "worker"),
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const [line] = await Promise.race([
    (async () => {
      for await (const text of createInterface({ input: worker.stdout })) return [text];
      throw new Error("the worker ended before it said its address");
    })(),
    new Promise((_, reject) =>
      setTimeout(() => reject(new Error("the worker did not start within 120 s")), 120_000).unref()
    ),
  ]);
  const { address, token } = JSON.parse(line);
  const remote = await Remote.connect(address, { token });
  const { T, P, H, N } = experiment;
  const rows = sampleRows({ sequences: [{ new: T, cached: P }], heads: H }, N, experiment.rows);
  const run = async (variant) => {
    const spans = [];
    const began = performance.now();
    const { out, lse, report } = await remote.attendSeeded({
      ...attendInput(experiment, variant),
      output: "rows",
      rows,
      onSpans: (some) => spans.push(...some),
    });
    return { variant, seconds: (performance.now() - began) / 1000, out, lse, value: report.remote.value, spans };
  };
  // The first run of a variant warms kernels and connections up; the second is kept.
  for (const variant of ["pass-kv", "pass-q"]) await run(variant);
  const date = new Date().toISOString();
  const ran = [await run("pass-kv"), await run("pass-q")];
  const laps = [];
  for (const { out, lse, ...lap } of ran) {
    const { seconds, tolerance, rows: checked, passed } = await verifyRows({ ...batchOf(experiment), rows, out, lse });
    if (!passed) throw new Error(`${lap.variant}: its rows differ from float64`);
    laps.push({ ...lap, verification: { rows: checked.map(rowOf), of: rows.length, tolerance, seconds } });
  }
  await remote.dispose();
  const text = writeRun({
    format: "ringside-remote-run",
    version: 1,
    provenance: {
      date,
      worker: `python ${args.join(" ")}`,
      client: "test/record-remote.mjs, with the bridge's client in Node; the second of two runs",
    },
    facts: { ...remote.facts, platform: `${os.type()}, ${os.machine()}` },
    experiment,
    laps,
  });
  const file = path.join(root, "web", "views", "remote", "runs", "cpu-4-ranks.json");
  writeFileSync(file, text);
  console.log(`${file}: ${text.length} bytes`);
} finally {
  worker.kill("SIGTERM");
}
