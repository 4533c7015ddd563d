// Split-KV attention for few query rows (decode): each workgroup attends four query heads of one token to one piece of
// the keys, so that a single query keeps a whole device busy; merge.wgsl puts the pieces together.
//
// Contract: as attend.wgsl's; a piece without keys gives O = 0 and LSE = NONE.
// Shapes: q [rows, H, D]; k, v [pages * PAGE, Hkv, D]; o [slots, rows, H, D]; lse [slots, rows, H]; D = 4 * V4.
// Grid: x, z = piece, y = four query heads of a KV head. A piece is (query row, first key, end of keys, slot), at most
// KEYS keys; the first key is a multiple of 4.
//
// Scores: a thread a key. O: a thread four columns and every GROUPS-th key, summed over the groups at the end.
// The lines marked `specialise` are replaced by the host for other head sizes and storage types.

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const THREADS: u32 = 64u;
const KEYS: u32 = 256u;
const GROUPS: u32 = THREADS / V4;
const NONE: f32 = -3e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;

struct Params {
  heads: u32,
  kv_heads: u32,
  pieces: u32,
  rows: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params; // the experiment's numbers
@group(0) @binding(1) var<storage, read> q: array<Q4>; // queries [rows, H, D]
@group(0) @binding(2) var<storage, read> k: array<KV4>; // keys [pages * PAGE, Hkv, D]
@group(0) @binding(3) var<storage, read> v: array<KV4>; // values [pages * PAGE, Hkv, D]
@group(0) @binding(4) var<storage, read> pieces: array<vec4u>; // [pieces]: query row, first key, end of keys, slot
@group(0) @binding(5) var<storage, read> pages: array<u32>; // page table: where each page of keys lies
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>; // O of the pieces [slots, rows, H, D]
@group(0) @binding(7) var<storage, read_write> lse: array<f32>; // LSE of the pieces [slots, rows, H]

var<workgroup> query: array<vec4f, 4u * V4>; // four heads
var<workgroup> weights: array<vec4f, KEYS>; // a key's scores, then weights, for the four heads
var<workgroup> exchange: array<vec4f, THREADS * 4u>; // maxima, sums, then partial columns of O

fn row_of(key: u32) -> u32 {
  return pages[key / PAGE] * PAGE + key % PAGE;
}

@compute @workgroup_size(64)
fn decode(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = group.z * grid.x + group.x;
  var piece: vec4u = vec4u(0u);
  if (index < params.pieces) { piece = pieces[index]; }
  let group_size = params.heads / params.kv_heads;
  let quads = (group_size + 3u) / 4u;
  let kv_head = group.y / quads;
  let first_head = (group.y % quads) * 4u;
  let lanes = min(4u, group_size - first_head);
  let at = piece.x * params.heads + kv_head * group_size + first_head;
  let count = piece.z - piece.y;

  for (var i: u32 = thread; i < 4u * V4; i += THREADS) {
    query[i] = unpack_q(q[(at + min(i / V4, lanes - 1u)) * V4 + i % V4]);
  }
  workgroupBarrier();

  var top: vec4f = vec4f(NONE);
  for (var i: u32 = thread; i < count; i += THREADS) {
    let row = (row_of(piece.y + i) * params.kv_heads + kv_head) * V4;
    var s: vec4f = vec4f(0.0);
    for (var d: u32 = 0u; d < V4; d++) {
      let key = unpack_kv(k[row + d]);
      s += vec4f(dot(query[d], key), dot(query[V4 + d], key), dot(query[2u * V4 + d], key), dot(query[3u * V4 + d], key));
    }
    s *= params.scale * LOG2E;
    weights[i] = s;
    top = max(top, s);
  }
  exchange[thread] = top;
  workgroupBarrier();
  for (var i: u32 = 0u; i < THREADS; i++) { top = max(top, exchange[i]); }
  workgroupBarrier();

  var sum: vec4f = vec4f(0.0);
  for (var i: u32 = thread; i < count; i += THREADS) {
    let w = exp2(weights[i] - top);
    weights[i] = w;
    sum += w;
  }
  exchange[thread] = sum;
  workgroupBarrier();
  sum = vec4f(0.0);
  for (var i: u32 = 0u; i < THREADS; i++) { sum += exchange[i]; }
  workgroupBarrier();

  let column = thread % V4;
  let part = thread / V4;
  var a0: vec4f = vec4f(0.0);
  var a1: vec4f = vec4f(0.0);
  var a2: vec4f = vec4f(0.0);
  var a3: vec4f = vec4f(0.0);
  if (part < GROUPS) {
    for (var i: u32 = part; i < count; i += GROUPS) {
      let value = unpack_kv(v[(row_of(piece.y + i) * params.kv_heads + kv_head) * V4 + column]);
      let w = weights[i];
      a0 += w.x * value;
      a1 += w.y * value;
      a2 += w.z * value;
      a3 += w.w * value;
    }
  }
  exchange[thread * 4u] = a0;
  exchange[thread * 4u + 1u] = a1;
  exchange[thread * 4u + 2u] = a2;
  exchange[thread * 4u + 3u] = a3;
  workgroupBarrier();

  let slot = piece.w * params.rows * params.heads;
  if (index < params.pieces) {
    for (var i: u32 = thread; i < lanes * V4; i += THREADS) {
      let head = i / V4;
      var total: vec4f = vec4f(0.0);
      for (var g: u32 = 0u; g < GROUPS; g++) { total += exchange[(g * V4 + i % V4) * 4u + head]; }
      o[(slot + at + head) * V4 + i % V4] = select(vec4f(0.0), total / sum[head], count > 0u);
    }
    if (thread < lanes) { lse[slot + at + thread] = select(NONE, (top[thread] + log2(sum[thread])) * LN2, count > 0u); }
  }
}
