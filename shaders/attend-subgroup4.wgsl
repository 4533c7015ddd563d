// Blockwise attention with online softmax for devices whose subgroups have four lanes (SwiftShader): no workgroup memory
// and no barrier. A workgroup is one subgroup; a lane owns four packed rows, and the lanes share what they load.
//
// On SwiftShader a vec4 load costs a lane 11-16 ns, a broadcast 2-3 ns and a dot 0.4 ns: so each lane loads every fourth
// key and broadcasts it, and every value that is loaded or received meets four rows.
//
// Contract, shapes, pages and tiles: as attend.wgsl's, with tiles of 16 packed rows.
// The lines marked `specialise` are replaced by the host for other head sizes and storage types.

enable subgroups;

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const KEYS: u32 = 16u;
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
@group(0) @binding(3) var<storage, read> v: array<KV4>; // values [pages * PAGE, Hkv, D]
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>; // [tiles]: first packed row, packed rows, first key, end of keys
@group(0) @binding(5) var<storage, read> ends: array<u32>; // [rows]: end of the keys that a row sees
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>; // O [rows, H, D]
@group(0) @binding(7) var<storage, read_write> lse: array<f32>; // LSE [rows, H]
@group(0) @binding(8) var<storage, read> pages: array<u32>; // page table: where each page of keys lies

// The four lanes' values as columns.
fn spread(x: vec4f) -> mat4x4f {
  return mat4x4f(subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u), subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u));
}

// Where key `key` lies; those past the end are loaded but weigh nothing.
fn row_of(key: u32, last: u32) -> u32 {
  let at = min(key, last);
  return pages[at / PAGE] * PAGE + at % PAGE;
}

fn max4(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

fn sum4(x: vec4f) -> f32 { return (x.x + x.y) + (x.z + x.w); }

@compute @workgroup_size(4)
fn attend(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  let group_size = params.heads / params.kv_heads;

  // Rows past the tile's end repeat its first row and see nothing.
  let row = lane * 4u + vec4u(0u, 1u, 2u, 3u);
  let own = row < vec4u(tile.y);
  let packed = tile.x + select(vec4u(0u), row, own);
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let end = select(vec4u(0u), vec4u(ends[token.x], ends[token.y], ends[token.z], ends[token.w]), own);
  let q_at = at * V4;
  let scale = params.scale * LOG2E;

  var m: vec4f = vec4f(NONE);
  var sum: vec4f = vec4f(0.0);
  var acc0: array<vec4f, V4> = array<vec4f, V4>();
  var acc1: array<vec4f, V4> = array<vec4f, V4>();
  var acc2: array<vec4f, V4> = array<vec4f, V4>();
  var acc3: array<vec4f, V4> = array<vec4f, V4>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    let stride = params.kv_heads * V4;
    let head = kv_head * V4;
    let ka = row_of(base + lane, last) * stride + head;
    let kb = row_of(base + 4u + lane, last) * stride + head;
    let kc = row_of(base + 8u + lane, last) * stride + head;
    let kd = row_of(base + 12u + lane, last) * stride + head;

    // Scores of four rows against sixteen keys: s<row><four keys>.
    var s0a: vec4f = vec4f(0.0);
    var s0b: vec4f = vec4f(0.0);
    var s0c: vec4f = vec4f(0.0);
    var s0d: vec4f = vec4f(0.0);
    var s1a: vec4f = vec4f(0.0);
    var s1b: vec4f = vec4f(0.0);
    var s1c: vec4f = vec4f(0.0);
    var s1d: vec4f = vec4f(0.0);
    var s2a: vec4f = vec4f(0.0);
    var s2b: vec4f = vec4f(0.0);
    var s2c: vec4f = vec4f(0.0);
    var s2d: vec4f = vec4f(0.0);
    var s3a: vec4f = vec4f(0.0);
    var s3b: vec4f = vec4f(0.0);
    var s3c: vec4f = vec4f(0.0);
    var s3d: vec4f = vec4f(0.0);
    for (var d: u32 = 0u; d < V4; d++) {
      let q0 = unpack_q(q[q_at.x + d]);
      let q1 = unpack_q(q[q_at.y + d]);
      let q2 = unpack_q(q[q_at.z + d]);
      let q3 = unpack_q(q[q_at.w + d]);
      let a = spread(unpack_kv(k[ka + d]));
      s0a += q0 * a;
      s1a += q1 * a;
      s2a += q2 * a;
      s3a += q3 * a;
      let b = spread(unpack_kv(k[kb + d]));
      s0b += q0 * b;
      s1b += q1 * b;
      s2b += q2 * b;
      s3b += q3 * b;
      let c = spread(unpack_kv(k[kc + d]));
      s0c += q0 * c;
      s1c += q1 * c;
      s2c += q2 * c;
      s3c += q3 * c;
      let e = spread(unpack_kv(k[kd + d]));
      s0d += q0 * e;
      s1d += q1 * e;
      s2d += q2 * e;
      s3d += q3 * e;
    }

    let keys = base + vec4u(0u, 1u, 2u, 3u);
    let s0 = array<vec4f, 4>(masked(s0a, keys, end.x, scale), masked(s0b, keys + 4u, end.x, scale), masked(s0c, keys + 8u, end.x, scale), masked(s0d, keys + 12u, end.x, scale));
    let s1 = array<vec4f, 4>(masked(s1a, keys, end.y, scale), masked(s1b, keys + 4u, end.y, scale), masked(s1c, keys + 8u, end.y, scale), masked(s1d, keys + 12u, end.y, scale));
    let s2 = array<vec4f, 4>(masked(s2a, keys, end.z, scale), masked(s2b, keys + 4u, end.z, scale), masked(s2c, keys + 8u, end.z, scale), masked(s2d, keys + 12u, end.z, scale));
    let s3 = array<vec4f, 4>(masked(s3a, keys, end.w, scale), masked(s3b, keys + 4u, end.w, scale), masked(s3c, keys + 8u, end.w, scale), masked(s3d, keys + 12u, end.w, scale));
    let top = vec4f(max4(max(max(s0[0], s0[1]), max(s0[2], s0[3]))), max4(max(max(s1[0], s1[1]), max(s1[2], s1[3]))), max4(max(max(s2[0], s2[1]), max(s2[2], s2[3]))), max4(max(max(s3[0], s3[1]), max(s3[2], s3[3]))));
    let higher = max(m, top);
    let alpha = exp2(m - higher);
    m = higher;

    let p0a = weight(s0[0], m.x);
    let p0b = weight(s0[1], m.x);
    let p0c = weight(s0[2], m.x);
    let p0d = weight(s0[3], m.x);
    let p1a = weight(s1[0], m.y);
    let p1b = weight(s1[1], m.y);
    let p1c = weight(s1[2], m.y);
    let p1d = weight(s1[3], m.y);
    let p2a = weight(s2[0], m.z);
    let p2b = weight(s2[1], m.z);
    let p2c = weight(s2[2], m.z);
    let p2d = weight(s2[3], m.z);
    let p3a = weight(s3[0], m.w);
    let p3b = weight(s3[1], m.w);
    let p3c = weight(s3[2], m.w);
    let p3d = weight(s3[3], m.w);
    sum = sum * alpha + vec4f(sum4((p0a + p0b) + (p0c + p0d)), sum4((p1a + p1b) + (p1c + p1d)), sum4((p2a + p2b) + (p2c + p2d)), sum4((p3a + p3b) + (p3c + p3d)));

    for (var d: u32 = 0u; d < V4; d++) {
      let a = spread(unpack_kv(v[ka + d]));
      let b = spread(unpack_kv(v[kb + d]));
      let c = spread(unpack_kv(v[kc + d]));
      let e = spread(unpack_kv(v[kd + d]));
      acc0[d] = acc0[d] * alpha.x + ((a * p0a + b * p0b) + (c * p0c + e * p0d));
      acc1[d] = acc1[d] * alpha.y + ((a * p1a + b * p1b) + (c * p1c + e * p1d));
      acc2[d] = acc2[d] * alpha.z + ((a * p2a + b * p2b) + (c * p2c + e * p2d));
      acc3[d] = acc3[d] * alpha.w + ((a * p3a + b * p3b) + (c * p3c + e * p3d));
    }
  }

  let some = sum > vec4f(0.0);
  var result: vec4f = select(vec4f(NONE), (m + log2(sum)) * LN2, some);
  var keep: vec4f = vec4f(0.0);
  var gain: vec4f = select(vec4f(0.0), 1.0 / sum, some);
  if (params.merge == 1u) {
    let held = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
    let top = max(held, result);
    let before = select(vec4f(0.0), exp(held - top), held > vec4f(0.5 * NONE));
    let now = select(vec4f(0.0), exp(result - top), some);
    let both = before + now;
    let any = both > vec4f(0.0);
    keep = select(vec4f(0.0), before / both, any);
    gain = gain * select(vec4f(0.0), now / both, any);
    result = select(vec4f(NONE), top + log(both), any);
  }
  for (var i: u32 = 0u; i < 4u; i++) {
    if (!own[i]) { continue; }
    for (var d: u32 = 0u; d < V4; d++) {
      let place = at[i] * V4 + d;
      var merged: vec4f = array<vec4f, 4>(acc0[d], acc1[d], acc2[d], acc3[d])[i] * gain[i];
      if (params.merge == 1u) { merged += o[place] * keep[i]; }
      o[place] = merged;
    }
    lse[at[i]] = result[i];
  }
}

fn masked(s: vec4f, keys: vec4u, end: u32, scale: f32) -> vec4f {
  return select(vec4f(NONE), s * scale, keys < vec4u(end));
}

// Weights of masked scores are 0: exp2(s - m) alone is 1 on a row that has seen no key yet.
fn weight(s: vec4f, m: f32) -> vec4f {
  return select(vec4f(0.0), exp2(s - m), s > vec4f(0.5 * NONE));
}
