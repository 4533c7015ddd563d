// Split-KV attention for few query rows (decode) with subgroups. LANES neighbouring lanes read one key after another,
// side by side, so that they read whole lines of memory. Each lane keeps its part of every head's O in registers. The
// groups of a workgroup merge their parts at the end, and merge-parts.wgsl merges the pieces (Eq. 4).
//
// Contract, shapes and grid are those of decode.wgsl. A piece can have any number of keys.
//
// A lane holds up to four vec4 of a key, as a matrix. LANES follows from D: 16 for D 132 to 256, 8 for D 68 to 128, 4
// for D 36 to 64, 2, 1. subgroupShuffleXor sums a score over the lanes, so subgroups may have any size that LANES
// divides.
// The host rewrites the lines marked `specialise` for other head sizes and storage types. On hardware it unrolls the
// loops marked `unroll`: only then does a driver keep the arrays that they index in registers.

enable subgroups;

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
const QUADS: u32 = 2u; // specialise: fours of query heads that a workgroup attends
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const LANES: u32 = select(select(select(select(16u, 8u, V4 <= 32u), 4u, V4 <= 16u), 2u, V4 <= 8u), 1u, V4 <= 4u);
const THREADS: u32 = 64u;
const GROUPS: u32 = THREADS / LANES;
const HEADS: u32 = 4u * QUADS;
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

var<workgroup> query: array<vec4f, HEADS * 4u * LANES>; // [head][column][lane], scaled; zeros past the end of a row
var<workgroup> tops: array<f32, GROUPS * HEADS>; // the groups' maxima [group][head]
var<workgroup> sums: array<f32, GROUPS * HEADS>; // and sums
var<workgroup> parts: array<vec4f, THREADS * 4u>; // and O of one head [group][column][lane]

// A lane's vec4 of the key or value at `place`; zeros past the end of a row.
fn key_at(place: u32, lane: u32) -> mat4x4f {
  var x: mat4x4f = mat4x4f();
  x[0] = unpack_kv(k[place + lane]);
  if (LANES + lane < V4) { x[1] = unpack_kv(k[place + LANES + lane]); }
  if (2u * LANES + lane < V4) { x[2] = unpack_kv(k[place + 2u * LANES + lane]); }
  if (3u * LANES + lane < V4) { x[3] = unpack_kv(k[place + 3u * LANES + lane]); }
  return x;
}

fn value_at(place: u32, lane: u32) -> mat4x4f {
  var x: mat4x4f = mat4x4f();
  x[0] = unpack_kv(v[place + lane]);
  if (LANES + lane < V4) { x[1] = unpack_kv(v[place + LANES + lane]); }
  if (2u * LANES + lane < V4) { x[2] = unpack_kv(v[place + 2u * LANES + lane]); }
  if (3u * LANES + lane < V4) { x[3] = unpack_kv(v[place + 3u * LANES + lane]); }
  return x;
}

// A lane's part of a head's score.
fn score(head: u32, lane: u32, key: mat4x4f) -> f32 {
  let at = head * 4u * LANES + lane;
  return (dot(query[at], key[0]) + dot(query[at + LANES], key[1]))
    + (dot(query[at + 2u * LANES], key[2]) + dot(query[at + 3u * LANES], key[3]));
}

// The sum over the lanes of a group.
fn over_group(x: f32) -> f32 {
  var s: f32 = x;
  if (LANES > 1u) { s += subgroupShuffleXor(s, 1u); }
  if (LANES > 2u) { s += subgroupShuffleXor(s, 2u); }
  if (LANES > 4u) { s += subgroupShuffleXor(s, 4u); }
  if (LANES > 8u) { s += subgroupShuffleXor(s, 8u); }
  return s;
}

// Where key `i` lies, in vec4.
fn place_of(i: u32, kv_head: u32) -> u32 {
  return ((pages[i / PAGE] * PAGE + i % PAGE) * params.kv_heads + kv_head) * V4;
}

@compute @workgroup_size(THREADS)
fn decode(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_size) subgroup_size: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  // same: piece
  let index = group.z * grid.x + group.x;
  var piece: vec4u = vec4u(0u);
  if (index < params.pieces) { piece = pieces[index]; }
  let group_size = params.heads / params.kv_heads;
  // end same
  let shares = (group_size + HEADS - 1u) / HEADS;
  let kv_head = group.y / shares;
  let first_head = (group.y % shares) * HEADS;
  let heads = min(HEADS, group_size - first_head);
  let at = piece.x * params.heads + kv_head * group_size + first_head;
  let own = (subgroup * subgroup_size + invocation) / LANES;
  let lane = invocation % LANES;

  for (var i: u32 = thread; i < HEADS * 4u * LANES; i += THREADS) {
    let column = i % (4u * LANES);
    let place = (at + min(i / (4u * LANES), heads - 1u)) * V4 + min(column, V4 - 1u);
    query[i] = select(vec4f(0.0), unpack_q(q[place]) * (params.scale * LOG2E), column < V4);
  }
  workgroupBarrier();

  let last = max(piece.z, 1u) - 1u;
  // While the lane uses one key and value, the next ones are on their way. Those past the end weigh nothing.
  let first = place_of(min(piece.y + own, last), kv_head);
  var next_key: mat4x4f = key_at(first, lane);
  var next_value: mat4x4f = value_at(first, lane);
  var m: array<f32, HEADS> = array<f32, HEADS>();
  var sum: array<f32, HEADS> = array<f32, HEADS>();
  var acc: array<mat4x4f, HEADS> = array<mat4x4f, HEADS>();
  for (var h: u32 = 0u; h < HEADS; h++) { // unroll
    m[h] = NONE;
  }
  for (var base: u32 = piece.y; base < piece.z; base += GROUPS) {
    let key = next_key;
    let value = next_value;
    let next = place_of(min(base + GROUPS + own, last), kv_head);
    next_key = key_at(next, lane);
    next_value = value_at(next, lane);
    let seen = base + own < piece.z;
    var s: array<f32, HEADS> = array<f32, HEADS>();
    var rises: bool = false;
    for (var h: u32 = 0u; h < HEADS; h++) { // unroll
      s[h] = select(NONE, over_group(score(h, lane, key)), seen);
      rises = rises || s[h] > m[h];
    }
    if (rises) {
      for (var h: u32 = 0u; h < HEADS; h++) { // unroll
        let higher = max(m[h], s[h]);
        let alpha = exp2(m[h] - higher);
        sum[h] *= alpha;
        acc[h] *= alpha;
        m[h] = higher;
      }
    }
    for (var h: u32 = 0u; h < HEADS; h++) { // unroll
      // A masked key weighs 0. Without the mask, exp2(s - m) is 1 in a group that has seen no key yet.
      let p = select(0.0, exp2(s[h] - m[h]), seen);
      sum[h] += p;
      acc[h] += value * p;
    }
  }

  if (lane == 0u) {
    for (var h: u32 = 0u; h < HEADS; h++) { // unroll
      tops[own * HEADS + h] = m[h];
      sums[own * HEADS + h] = sum[h];
    }
  }
  workgroupBarrier();
  let slot = piece.w * params.rows * params.heads + at;
  let stored = select(0u, heads, index < params.pieces);
  for (var h: u32 = 0u; h < HEADS; h++) { // unroll
    var top: f32 = NONE;
    for (var g: u32 = 0u; g < GROUPS; g++) { top = max(top, tops[g * HEADS + h]); }
    var total: f32 = 0.0;
    for (var g: u32 = 0u; g < GROUPS; g++) { total += sums[g * HEADS + h] * exp2(tops[g * HEADS + h] - top); }
    let part = acc[h] * (exp2(m[h] - top) / max(total, 1e-30));
    let place = own * 4u * LANES + lane;
    parts[place] = part[0];
    parts[place + LANES] = part[1];
    parts[place + 2u * LANES] = part[2];
    parts[place + 3u * LANES] = part[3];
    workgroupBarrier();
    if (thread < V4 && h < stored) {
      var merged: vec4f = vec4f(0.0);
      for (var g: u32 = 0u; g < GROUPS; g++) { merged += parts[g * 4u * LANES + thread]; }
      o[(slot + h) * V4 + thread] = merged;
    }
    if (thread == 0u && h < stored) { lse[slot + h] = select(NONE, (top + log2(total)) * LN2, total > 0.0); }
    workgroupBarrier();
  }
}
