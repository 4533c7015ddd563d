// Blockwise attention with online softmax: O and LSE of query rows over one block of keys and values.
//
// Contract: O is normalised, LSE is a natural logarithm, both f32. A row that sees no key gets O = 0 and LSE = NONE,
// which the host turns into -Infinity (WGSL may assume that no infinity exists). With params.merge = 1, the epilogue
// merges the result into what `o` and `lse` hold (Eq. 4).
//
// Shapes: q [rows, H, D]; k [pages * PAGE, Hkv, D]; v [pages * PAGE, Hkv, DV]; o [rows, H, DV]; lse [rows, H];
// bands [rows]; D = 4 * V4, DV = 4 * O4. V may be the first DV elements of each row of K: then v is k's buffer.
// Keys lie in pages: key row r is row r % PAGE of page pages[r / PAGE]. A sequence's keys begin at a multiple of 4.
// The rows of a tile are packed over the GQA group: packed row r is token r / G, head kv_head * G + r % G, G = H / Hkv.
// Grid: x, z = tile from first_tile up to `tiles`, y = KV head. A tile is (first packed row, packed rows, first key,
// end of keys); its first key is a multiple of 4. A workgroup never loads keys past that end, and begins at that first
// key. It masks those of them that are not in a row's own band. Bands end at the tile's end, or multiples of KEYS later.
//
// Each of the 8 x 8 threads holds scores of 4 rows x 4 keys, then 4 rows x every eighth column of O.
// Lines between `same` and `end same` stand in other kernels too; a test keeps the copies equal.
// The host rewrites the lines marked `specialise` for other head sizes and storage types.

const D: u32 = 64u; // specialise
const DV: u32 = 64u; // specialise: head size of values and O
const V_ROW: u32 = 16u; // specialise: vec4 from one row of V to the next
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const O4: u32 = DV / 4u;
const COLUMNS: u32 = (O4 + 7u) / 8u;
const KEYS: u32 = 32u;
const NONE: f32 = -3e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  heads: u32,
  kv_heads: u32,
  tiles: u32,
  merge: u32,
  scale: f32,
  first_tile: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // the experiment's numbers
@group(0) @binding(1) var<storage, read> q: array<Q4>; // queries [rows, H, D]
@group(0) @binding(2) var<storage, read> k: array<KV4>; // keys [pages * PAGE, Hkv, D]
@group(0) @binding(3) var<storage, read> v: array<KV4>; // values [pages * PAGE, Hkv, DV]
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>; // [tiles]: first packed row, rows, first key, end of keys
@group(0) @binding(5) var<storage, read> bands: array<vec2u>; // [rows]: first key that a row sees, and their end
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>; // O [rows, H, DV]
@group(0) @binding(7) var<storage, read_write> lse: array<f32>; // LSE [rows, H]
@group(0) @binding(8) var<storage, read> pages: array<u32>; // page table: where each page of keys lies

var<workgroup> exchange: array<f32, 256>; // [32 rows][8 threads]: a row's maxima, at the end its sums
var<workgroup> weights: array<vec4f, 256>; // [32 rows][8 threads]: exp(score - maximum) of 4 keys each

fn begins_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].x, bands[token.y].x, bands[token.z].x, bands[token.w].x);
}

fn ends_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].y, bands[token.y].y, bands[token.z].y, bands[token.w].y);
}

// Where the four keys from `key` on lie. `key` is a multiple of 4, so they are in one page. Those past the end are
// loaded but weigh nothing.
fn rows_of(key: u32, last: u32) -> vec4u {
  let first = min(key, last - last % 4u);
  return pages[first / PAGE] * PAGE + first % PAGE + vec4u(0u, 1u, 2u, 3u);
}

fn row_max(row: u32) -> f32 {
  var m: f32 = NONE;
  for (var i: u32 = 0u; i < 8u; i++) { m = max(m, exchange[row * 8u + i]); }
  return m;
}

fn row_sum(row: u32) -> f32 {
  var sum: f32 = 0.0;
  for (var i: u32 = 0u; i < 8u; i++) { sum += exchange[row * 8u + i]; }
  return sum;
}

fn max4(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

@compute @workgroup_size(8, 8)
fn attend(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) thread: vec3u,
) {
  // same: tile
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  // end same
  let group_size = params.heads / params.kv_heads;
  let row = thread.y * 4u;

  // Rows past the tile's end repeat its first row and see nothing.
  let packed = tile.x + select(vec4u(0u), row + vec4u(0u, 1u, 2u, 3u), row + vec4u(0u, 1u, 2u, 3u) < vec4u(tile.y));
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let own = row + vec4u(0u, 1u, 2u, 3u) < vec4u(tile.y);
  let begin = begins_of(token);
  let count = select(vec4u(0u), ends_of(token) - begin, own);
  let scale = params.scale * LOG2E;

  var m: vec4f = vec4f(NONE);
  var sum: vec4f = vec4f(0.0);
  var acc: array<vec4f, COLUMNS * 4u> = array<vec4f, COLUMNS * 4u>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    let key = base + thread.x * 4u;
    let keys = (rows_of(key, last) * params.kv_heads + kv_head) * V4;
    var s0: vec4f = vec4f(0.0);
    var s1: vec4f = vec4f(0.0);
    var s2: vec4f = vec4f(0.0);
    var s3: vec4f = vec4f(0.0);
    for (var d: u32 = 0u; d < V4; d++) {
      let k0 = unpack_kv(k[keys.x + d]);
      let k1 = unpack_kv(k[keys.y + d]);
      let k2 = unpack_kv(k[keys.z + d]);
      let k3 = unpack_kv(k[keys.w + d]);
      let q0 = unpack_q(q[at.x * V4 + d]);
      let q1 = unpack_q(q[at.y * V4 + d]);
      let q2 = unpack_q(q[at.z * V4 + d]);
      let q3 = unpack_q(q[at.w * V4 + d]);
      s0 += vec4f(dot(q0, k0), dot(q0, k1), dot(q0, k2), dot(q0, k3));
      s1 += vec4f(dot(q1, k0), dot(q1, k1), dot(q1, k2), dot(q1, k3));
      s2 += vec4f(dot(q2, k0), dot(q2, k1), dot(q2, k2), dot(q2, k3));
      s3 += vec4f(dot(q3, k0), dot(q3, k1), dot(q3, k2), dot(q3, k3));
    }
    let key4 = key + vec4u(0u, 1u, 2u, 3u);
    let see0 = key4 - begin.x < vec4u(count.x);
    let see1 = key4 - begin.y < vec4u(count.y);
    let see2 = key4 - begin.z < vec4u(count.z);
    let see3 = key4 - begin.w < vec4u(count.w);
    s0 = select(vec4f(NONE), s0 * scale, see0);
    s1 = select(vec4f(NONE), s1 * scale, see1);
    s2 = select(vec4f(NONE), s2 * scale, see2);
    s3 = select(vec4f(NONE), s3 * scale, see3);

    exchange[row * 8u + thread.x] = max4(s0);
    exchange[(row + 1u) * 8u + thread.x] = max4(s1);
    exchange[(row + 2u) * 8u + thread.x] = max4(s2);
    exchange[(row + 3u) * 8u + thread.x] = max4(s3);
    workgroupBarrier();
    let higher = max(m, vec4f(row_max(row), row_max(row + 1u), row_max(row + 2u), row_max(row + 3u)));
    let alpha = exp2(m - higher);
    m = higher;

    // Masks the weights too, not only the scores: exp2(s - m) is 1 on a row that has seen no key yet.
    let p0 = select(vec4f(0.0), exp2(s0 - m.x), see0);
    let p1 = select(vec4f(0.0), exp2(s1 - m.y), see1);
    let p2 = select(vec4f(0.0), exp2(s2 - m.z), see2);
    let p3 = select(vec4f(0.0), exp2(s3 - m.w), see3);
    let one = vec4f(1.0);
    sum = sum * alpha + vec4f(dot(p0, one), dot(p1, one), dot(p2, one), dot(p3, one));
    weights[row * 8u + thread.x] = p0;
    weights[(row + 1u) * 8u + thread.x] = p1;
    weights[(row + 2u) * 8u + thread.x] = p2;
    weights[(row + 3u) * 8u + thread.x] = p3;
    workgroupBarrier();

    let groups = min(8u, (tile.w - base + 3u) / 4u);
    for (var c: u32 = 0u; c < COLUMNS; c++) {
      let column = min(c * 8u + thread.x, O4 - 1u);
      var a0: vec4f = vec4f(0.0);
      var a1: vec4f = vec4f(0.0);
      var a2: vec4f = vec4f(0.0);
      var a3: vec4f = vec4f(0.0);
      for (var g: u32 = 0u; g < groups; g++) {
        let rows = (rows_of(base + g * 4u, last) * params.kv_heads + kv_head) * V_ROW + column;
        let v0 = unpack_kv(v[rows.x]);
        let v1 = unpack_kv(v[rows.y]);
        let v2 = unpack_kv(v[rows.z]);
        let v3 = unpack_kv(v[rows.w]);
        let w0 = weights[row * 8u + g];
        let w1 = weights[(row + 1u) * 8u + g];
        let w2 = weights[(row + 2u) * 8u + g];
        let w3 = weights[(row + 3u) * 8u + g];
        a0 += w0.x * v0 + w0.y * v1 + w0.z * v2 + w0.w * v3;
        a1 += w1.x * v0 + w1.y * v1 + w1.z * v2 + w1.w * v3;
        a2 += w2.x * v0 + w2.y * v1 + w2.z * v2 + w2.w * v3;
        a3 += w3.x * v0 + w3.y * v1 + w3.z * v2 + w3.w * v3;
      }
      acc[c * 4u] = acc[c * 4u] * alpha.x + a0;
      acc[c * 4u + 1u] = acc[c * 4u + 1u] * alpha.y + a1;
      acc[c * 4u + 2u] = acc[c * 4u + 2u] * alpha.z + a2;
      acc[c * 4u + 3u] = acc[c * 4u + 3u] * alpha.w + a3;
    }
  }

  let held = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
  workgroupBarrier();
  exchange[row * 8u + thread.x] = sum.x;
  exchange[(row + 1u) * 8u + thread.x] = sum.y;
  exchange[(row + 2u) * 8u + thread.x] = sum.z;
  exchange[(row + 3u) * 8u + thread.x] = sum.w;
  workgroupBarrier();
  let total = vec4f(row_sum(row), row_sum(row + 1u), row_sum(row + 2u), row_sum(row + 3u));
  let some = total > vec4f(0.0);
  var result: vec4f = select(vec4f(NONE), (m + log2(total)) * LN2, some);
  var keep: vec4f = vec4f(0.0);
  var gain: vec4f = select(vec4f(0.0), 1.0 / total, some);
  if (params.merge == 1u) {
    // same: shares of a merge
    let top = max(held, result);
    let before = select(vec4f(0.0), exp(held - top), held > vec4f(0.5 * NONE));
    let now = select(vec4f(0.0), exp(result - top), some);
    let both = before + now;
    let any = both > vec4f(0.0);
    // end same
    // same: merged
    keep = select(vec4f(0.0), before / both, any);
    gain = gain * select(vec4f(0.0), now / both, any);
    result = select(vec4f(NONE), top + log(both), any);
    // end same
  }
  for (var i: u32 = 0u; i < 4u; i++) {
    if (!own[i]) { continue; }
    for (var c: u32 = 0u; c < COLUMNS; c++) {
      let column = c * 8u + thread.x;
      if (column >= O4) { continue; }
      let place = at[i] * O4 + column;
      var merged: vec4f = acc[c * 4u + i] * gain[i];
      if (params.merge == 1u) { merged += o[place] * keep[i]; }
      o[place] = merged;
    }
    if (thread.x == 0u) { lse[at[i]] = result[i]; }
  }
}
