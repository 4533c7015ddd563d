// Merges partial attentions of the same query rows (Eq. 4): O = sum_s O_s exp(LSE_s - max) / sum_s exp(LSE_s - max).
//
// Contract: f32 throughout. An empty partial has O = 0 and LSE = NONE and weighs nothing. A row whose partials are all
// empty gets O = 0 and LSE = NONE. Exact, whichever partials are empty.
//
// Shapes: parts_o [S, rows, D], parts_lse [S, rows], o [rows, D], lse [rows]; D = 4 * columns. A row is a token and
// head.
// Grid: one invocation for each COLUMNS columns of a row, which share the weights. Invocations go on to rows beyond the
// grid.

const NONE: f32 = -3e38;
const COLUMNS: u32 = 4u;

struct Params {
  parts: u32,
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // how much there is to merge
@group(0) @binding(1) var<storage, read> parts_o: array<vec4f>; // O of the parts [S, rows, D]
@group(0) @binding(2) var<storage, read> parts_lse: array<f32>; // LSE of the parts [S, rows]
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>; // merged O [rows, D]
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // merged LSE [rows]

@compute @workgroup_size(64)
fn merge(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let across = (params.columns + COLUMNS - 1u) / COLUMNS;
  for (var i: u32 = id.x; i < params.rows * across; i += grid.x * 64u) {
    let row = i / across;
    let first = (i % across) * COLUMNS;
    // Columns past the row's end repeat its last one and aren't stored.
    let column = min(first + vec4u(0u, 1u, 2u, 3u), vec4u(params.columns - 1u));
    var top: f32 = NONE;
    for (var s: u32 = 0u; s < params.parts; s++) { top = max(top, parts_lse[s * params.rows + row]); }
    var total: f32 = 0.0;
    var sum: mat4x4f = mat4x4f();
    for (var s: u32 = 0u; s < params.parts; s++) {
      let part = parts_lse[s * params.rows + row];
      let weight = select(0.0, exp(part - top), part > 0.5 * NONE);
      total += weight;
      let at = (s * params.rows + row) * params.columns + column;
      sum += weight * mat4x4f(parts_o[at.x], parts_o[at.y], parts_o[at.z], parts_o[at.w]);
    }
    let place = row * params.columns + column;
    let gain = select(0.0, 1.0 / total, total > 0.0);
    o[place.x] = sum[0] * gain;
    if (first + 1u < params.columns) { o[place.y] = sum[1] * gain; }
    if (first + 2u < params.columns) { o[place.z] = sum[2] * gain; }
    if (first + 3u < params.columns) { o[place.w] = sum[3] * gain; }
    if (first == 0u) { lse[row] = select(NONE, top + log(total), total > 0.0); }
  }
}
