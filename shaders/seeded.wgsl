// Rows of a seeded tensor, f32: the same recipe and the same bits as seededRows of engine/tensor/seeded.ts.
//
// Contract: a value depends on (seed, tensor, row, column) only. tensor: q 0, k 1, v 2. All arithmetic is on u32 until
// the last line, whose numbers are whole 32nds of at most 7 bits: exact.
//
// Shapes: values [rows, columns]; row 0 is row first_row of the tensor. Grid: one invocation an element. Invocations go
// on to elements beyond the grid.

const GOLDEN: u32 = 0x9e3779b9u;

struct Params {
  seed: u32,
  tensor: u32,
  first_row: u32,
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;

fn mix32(a: u32) -> u32 {
  var x: u32 = (a ^ (a >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

@compute @workgroup_size(64)
fn seeded(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let key = mix32(mix32(params.seed + GOLDEN) + params.tensor);
  let all = params.rows * params.columns;
  for (var i: u32 = id.x; i < all; i += grid.x * 64u) {
    let row_key = mix32(key ^ (params.first_row + i / params.columns));
    let bits = mix32((row_key ^ ((i % params.columns) * GOLDEN)) + key);
    let sum = (bits & 63u) + ((bits >> 6u) & 63u) + ((bits >> 12u) & 63u) + ((bits >> 18u) & 63u);
    values[i] = f32(i32(sum) - 126i) / 32.0;
  }
}
