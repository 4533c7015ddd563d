// Split-KV attention for few query rows (decode): each workgroup attends up to eight query heads of one token to one
// piece of the keys, so that a single query keeps a whole device busy. merge.wgsl merges the pieces.
//
// Contract: as in attend.wgsl; a piece without keys gives O = 0 and LSE = NONE.
// Shapes: q [rows, H, D]; k, v [pages * PAGE, Hkv, D]; o [slots, rows, H, D]; lse [slots, rows, H]; D = 4 * V4.
// Grid: x, z = piece, y = eight query heads of a KV head. A piece is (query row, first key, end of keys, slot). It has
// at most KEYS keys.
//
// Decode reads each key and value once, so loads dominate its cost. A thread scores four keys: every four elements of a
// query that it loads serve all four. For O it takes two columns of every GROUPS-th key, and every weight serves both.
// The host rewrites the lines marked `specialise` for other head sizes and storage types.

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
const QUADS: u32 = 2u; // specialise: fours of query heads that a workgroup attends
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const THREADS: u32 = 32u;
const KEYS: u32 = 128u;
const PAIRS: u32 = (V4 + 1u) / 2u;
const GROUPS: u32 = max(1u, THREADS / PAIRS);
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

// Four heads of this workgroup as a mat4x4f: column h belongs to head h.
var<workgroup> query: array<mat4x4f, QUADS * V4>;
var<workgroup> shared_top: array<vec4f, 2>;
var<workgroup> shared_sum: array<vec4f, 2>;
var<workgroup> weights: array<vec4f, QUADS * KEYS>; // a key's scores, then weights, for four heads
var<workgroup> exchange: array<mat4x4f, 2u * PAIRS * GROUPS>; // a thread's maxima, sums, then columns of four heads' O

// Where key `i` of the piece lies. Those past its end are loaded but weigh nothing.
fn row_of(piece: vec4u, i: u32) -> u32 {
  let key = min(piece.y + i, piece.z - 1u);
  return pages[key / PAGE] * PAGE + key % PAGE;
}

@compute @workgroup_size(32)
fn decode(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  // same: piece
  let index = group.z * grid.x + group.x;
  var piece: vec4u = vec4u(0u);
  if (index < params.pieces) { piece = pieces[index]; }
  let group_size = params.heads / params.kv_heads;
  // end same
  let parts = (group_size + 4u * QUADS - 1u) / (4u * QUADS);
  let kv_head = group.y / parts;
  let first_head = (group.y % parts) * 4u * QUADS;
  let lanes = min(4u * QUADS, group_size - first_head);
  let at = piece.x * params.heads + kv_head * group_size + first_head;
  let count = piece.z - piece.y;
  let stride = params.kv_heads * V4;
  let quads = (lanes + 3u) / 4u;

  for (var i: u32 = thread; i < quads * V4; i += THREADS) {
    let head = (i / V4) * 4u + vec4u(0u, 1u, 2u, 3u);
    let place = (at + min(head, vec4u(lanes - 1u))) * V4 + i % V4;
    query[i] = mat4x4f(unpack_q(q[place.x]), unpack_q(q[place.y]), unpack_q(q[place.z]), unpack_q(q[place.w]));
  }
  workgroupBarrier();

  // Scores: heads down, four keys across.
  var top: array<vec4f, 2> = array<vec4f, 2>(vec4f(NONE), vec4f(NONE));
  for (var i: u32 = thread * 4u; i < count; i += THREADS * 4u) {
    let place = vec4u(
      row_of(piece, i),
      row_of(piece, i + 1u),
      row_of(piece, i + 2u),
      row_of(piece, i + 3u),
    ) * stride + kv_head * V4;
    var low: mat4x4f = mat4x4f();
    var high: mat4x4f = mat4x4f();
    for (var d: u32 = 0u; d < V4; d++) {
      let keys = mat4x4f(
        unpack_kv(k[place.x + d]),
        unpack_kv(k[place.y + d]),
        unpack_kv(k[place.z + d]),
        unpack_kv(k[place.w + d]),
      );
      low += transpose(query[d]) * keys;
      if (QUADS > 1u) { high += transpose(query[(QUADS - 1u) * V4 + d]) * keys; }
    }
    low *= params.scale * LOG2E;
    high *= params.scale * LOG2E;
    for (var j: u32 = 0u; j < 4u; j++) {
      if (i + j < count) {
        weights[i + j] = low[j];
        if (QUADS > 1u) { weights[(QUADS - 1u) * KEYS + i + j] = high[j]; }
        top[0] = max(top[0], low[j]);
        top[1] = max(top[1], high[j]);
      }
    }
  }
  exchange[thread][0] = top[0];
  exchange[thread][1] = top[1];
  workgroupBarrier();
  if (thread == 0u) {
    for (var i: u32 = 1u; i < THREADS; i++) {
      top[0] = max(top[0], exchange[i][0]);
      top[1] = max(top[1], exchange[i][1]);
    }
    shared_top = top;
  }
  workgroupBarrier();
  top = shared_top;

  var sum: array<vec4f, 2> = array<vec4f, 2>(vec4f(0.0), vec4f(0.0));
  for (var i: u32 = thread; i < count; i += THREADS) {
    for (var j: u32 = 0u; j < quads; j++) {
      let w = exp2(weights[j * KEYS + i] - top[j]);
      weights[j * KEYS + i] = w;
      sum[j] += w;
    }
  }
  exchange[thread][0] = sum[0];
  exchange[thread][1] = sum[1];
  workgroupBarrier();
  if (thread == 0u) {
    for (var i: u32 = 1u; i < THREADS; i++) {
      sum[0] += exchange[i][0];
      sum[1] += exchange[i][1];
    }
    shared_sum = sum;
  }
  workgroupBarrier();
  sum = shared_sum;

  // O: two columns a thread, or more if a head has more than 2 THREADS of them.
  let slot = piece.w * params.rows * params.heads;
  for (var j: u32 = 0u; j < quads; j++) {
    for (var p: u32 = thread; p < PAIRS * GROUPS; p += THREADS) {
      let left = p % PAIRS;
      let right = min(left + PAIRS, V4 - 1u);
      var a: mat4x4f = mat4x4f();
      var b: mat4x4f = mat4x4f();
      for (var i: u32 = p / PAIRS; i < count; i += GROUPS) {
        let place = row_of(piece, i) * stride + kv_head * V4;
        let w = weights[j * KEYS + i];
        let x = unpack_kv(v[place + left]);
        let y = unpack_kv(v[place + right]);
        a += mat4x4f(x * w.x, x * w.y, x * w.z, x * w.w);
        b += mat4x4f(y * w.x, y * w.y, y * w.z, y * w.w);
      }
      exchange[p] = a;
      exchange[PAIRS * GROUPS + p] = b;
    }
    workgroupBarrier();
    if (index < params.pieces) {
      let here = min(4u, lanes - j * 4u);
      for (var i: u32 = thread; i < here * V4; i += THREADS) {
        let head = i / V4;
        let column = i % V4;
        let side = (column / PAIRS) * PAIRS * GROUPS + column % PAIRS;
        var total: vec4f = vec4f(0.0);
        for (var g: u32 = 0u; g < GROUPS; g++) { total += exchange[side + g * PAIRS][head]; }
        o[(slot + at + j * 4u + head) * V4 + column] = select(vec4f(0.0), total / sum[j][head], count > 0u);
      }
      if (thread < here) {
        lse[slot + at + j * 4u + thread] = select(NONE, (top[j][thread] + log2(sum[j][thread])) * LN2, count > 0u);
      }
    }
    workgroupBarrier();
  }
}
