// Merges partial attentions of the same query rows (Eq. 4): O = sum_s O_s exp(LSE_s - max) / sum_s exp(LSE_s - max).
//
// Contract: f32 throughout; an empty partial has O = 0 and LSE = NONE and weighs nothing; a row whose partials are all
// empty gets O = 0, LSE = NONE. Exact and independent of which partials are empty.
//
// Shapes: parts_o [S, rows, D], parts_lse [S, rows], o [rows, D], lse [rows], where a row is a token and head; D = 4 * columns.
// Grid: one invocation per 4 columns of a row, striding over what the grid does not reach.

const NONE: f32 = -3e38;

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
  let all = params.rows * params.columns;
  for (var i: u32 = id.x; i < all; i += grid.x * 64u) {
    let row = i / params.columns;
    var top: f32 = NONE;
    for (var s: u32 = 0u; s < params.parts; s++) { top = max(top, parts_lse[s * params.rows + row]); }
    var total: f32 = 0.0;
    var sum: vec4f = vec4f(0.0);
    for (var s: u32 = 0u; s < params.parts; s++) {
      let part = parts_lse[s * params.rows + row];
      let weight = select(0.0, exp(part - top), part > 0.5 * NONE);
      total += weight;
      sum += weight * parts_o[s * all + i];
    }
    o[i] = select(vec4f(0.0), sum / total, total > 0.0);
    if (i % params.columns == 0u) { lse[row] = select(NONE, top + log(total), total > 0.0); }
  }
}
