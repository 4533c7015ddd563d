// Merges many partial attentions of few query rows (Eq. 4), as split-KV makes them. A workgroup merges eight columns of
// one row: 32 shares of eight invocations divide the parts among them. In merge.wgsl, one invocation takes all parts of
// a row.
//
// Contract and shapes: as in merge.wgsl. Grid: x = row, y = eight columns.

const NONE: f32 = -3e38;
const COLUMNS: u32 = 8u;
const SHARES: u32 = 32u;
const THREADS: u32 = COLUMNS * SHARES;

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

var<workgroup> tops: array<f32, THREADS>;
var<workgroup> sums: array<vec4f, THREADS>;
var<workgroup> totals: array<f32, SHARES>;

@compute @workgroup_size(256)
fn merge(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x;
  var top: f32 = NONE;
  for (var s: u32 = thread; s < params.parts; s += THREADS) { top = max(top, parts_lse[s * params.rows + row]); }
  tops[thread] = top;
  workgroupBarrier();
  for (var half: u32 = THREADS / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tops[thread] = max(tops[thread], tops[thread + half]); }
    workgroupBarrier();
  }
  top = tops[0];

  let column = group.y * COLUMNS + thread % COLUMNS;
  let share = thread / COLUMNS;
  // A column past the row's end repeats its last one and isn't stored.
  let here = min(column, params.columns - 1u);
  var total: f32 = 0.0;
  var sum: vec4f = vec4f(0.0);
  for (var first: u32 = share; first < params.parts; first += 4u * SHARES) {
    // Four at a time, so that their loads overlap; those past the end weigh nothing.
    let s = first + SHARES * vec4u(0u, 1u, 2u, 3u);
    let at = min(s, vec4u(params.parts - 1u)) * params.rows + row;
    let part = vec4f(parts_lse[at.x], parts_lse[at.y], parts_lse[at.z], parts_lse[at.w]);
    let weight = select(vec4f(0.0), exp(part - top), (part > vec4f(0.5 * NONE)) & (s < vec4u(params.parts)));
    let place = at * params.columns + here;
    total += dot(weight, vec4f(1.0));
    sum += mat4x4f(parts_o[place.x], parts_o[place.y], parts_o[place.z], parts_o[place.w]) * weight;
  }
  sums[thread] = sum;
  if (thread % COLUMNS == 0u) { totals[share] = total; }
  workgroupBarrier();
  for (var half: u32 = SHARES / 2u; half > 0u; half /= 2u) {
    if (share < half) {
      sums[thread] += sums[thread + half * COLUMNS];
      if (thread % COLUMNS == 0u) { totals[share] += totals[share + half]; }
    }
    workgroupBarrier();
  }
  if (share == 0u) {
    total = totals[0];
    if (column < params.columns) {
      o[row * params.columns + column] = select(vec4f(0.0), sums[thread] / total, total > 0.0);
    }
    if (column == 0u) { lse[row] = select(NONE, top + log(total), total > 0.0); }
  }
}
