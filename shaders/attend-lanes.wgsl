// Blockwise attention with online softmax for software adapters without subgroups (lavapipe): no workgroup memory and
// no barrier. A lane owns four packed rows and loads all keys on its own; the lanes of a workgroup read the same keys.
//
// One mat4x4f holds a 4 x 4 block of scores, or four rows of four columns of O: each loaded value serves four rows. The
// compiler (LLVM) unrolls the loops over D and so keeps the accumulators in registers. That is 2 to 4 times as fast as
// the general kernel, and takes up to 4 times as long to compile.
//
// Contract, shapes, pages and tiles: as in attend.wgsl.
// The host rewrites the lines marked `specialise` for other head sizes and storage types.

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Q4>;
@group(0) @binding(2) var<storage, read> k: array<KV4>;
@group(0) @binding(3) var<storage, read> v: array<KV4>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read> bands: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read> pages: array<u32>;

fn begins_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].x, bands[token.y].x, bands[token.z].x, bands[token.w].x);
}

fn ends_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].y, bands[token.y].y, bands[token.z].y, bands[token.w].y);
}

fn keys4(at: vec4u) -> mat4x4f {
  return mat4x4f(unpack_kv(k[at.x]), unpack_kv(k[at.y]), unpack_kv(k[at.z]), unpack_kv(k[at.w]));
}

fn values4(at: vec4u) -> mat4x4f {
  return mat4x4f(unpack_kv(v[at.x]), unpack_kv(v[at.y]), unpack_kv(v[at.z]), unpack_kv(v[at.w]));
}

// Where four keys lie. Those past the end are loaded but weigh nothing.
fn row_of(key: vec4u, last: u32) -> vec4u {
  let at = min(key, vec4u(last));
  let page = vec4u(pages[at.x / PAGE], pages[at.y / PAGE], pages[at.z / PAGE], pages[at.w / PAGE]);
  return page * PAGE + at % PAGE;
}

@compute @workgroup_size(8)
fn attend(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  // same: tile
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  // end same
  let group_size = params.heads / params.kv_heads;

  // same: four rows a lane
  // Rows past the tile's end repeat its first row and see nothing.
  let row = lane * 4u + vec4u(0u, 1u, 2u, 3u);
  let own = row < vec4u(tile.y);
  let packed = tile.x + select(vec4u(0u), row, own);
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let begin = begins_of(token);
  let count = select(vec4u(0u), ends_of(token) - begin, own);
  // end same
  let q_at = at * V4;
  let scale = params.scale * LOG2E;

  var m: vec4f = vec4f(NONE);
  var sum: vec4f = vec4f(0.0);
  var acc: array<mat4x4f, V4> = array<mat4x4f, V4>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    let stride = params.kv_heads * V4;
    let head = kv_head * V4;
    let at_a = row_of(base + 0u + vec4u(0u, 1u, 2u, 3u), last) * stride + head;
    let at_b = row_of(base + 4u + vec4u(0u, 1u, 2u, 3u), last) * stride + head;
    let at_c = row_of(base + 8u + vec4u(0u, 1u, 2u, 3u), last) * stride + head;
    let at_d = row_of(base + 12u + vec4u(0u, 1u, 2u, 3u), last) * stride + head;

    var s_a: mat4x4f = mat4x4f();
    var s_b: mat4x4f = mat4x4f();
    var s_c: mat4x4f = mat4x4f();
    var s_d: mat4x4f = mat4x4f();
    for (var d: u32 = 0u; d < V4; d++) {
      let rows = mat4x4f(
        unpack_q(q[q_at.x + d]),
        unpack_q(q[q_at.y + d]),
        unpack_q(q[q_at.z + d]),
        unpack_q(q[q_at.w + d]),
      );
      s_a += transpose(keys4(at_a + d)) * rows;
      s_b += transpose(keys4(at_b + d)) * rows;
      s_c += transpose(keys4(at_c + d)) * rows;
      s_d += transpose(keys4(at_d + d)) * rows;
    }

    let keys = base + vec4u(0u, 1u, 2u, 3u);
    s_a = masked(s_a, keys + 0u, begin, count, scale);
    s_b = masked(s_b, keys + 4u, begin, count, scale);
    s_c = masked(s_c, keys + 8u, begin, count, scale);
    s_d = masked(s_d, keys + 12u, begin, count, scale);
    var higher: vec4f = m;
    higher = max(higher, top(s_a));
    higher = max(higher, top(s_b));
    higher = max(higher, top(s_c));
    higher = max(higher, top(s_d));
    let alpha = exp2(m - higher);
    m = higher;
    let p_a = weights(s_a, m);
    let p_b = weights(s_b, m);
    let p_c = weights(s_c, m);
    let p_d = weights(s_d, m);
    sum = sum * alpha + total(p_a) + total(p_b) + total(p_c) + total(p_d);

    for (var d: u32 = 0u; d < V4; d++) {
      let held = acc[d];
      acc[d] = mat4x4f(held[0] * alpha.x, held[1] * alpha.y, held[2] * alpha.z, held[3] * alpha.w)
        + values4(at_a + d) * p_a
        + values4(at_b + d) * p_b
        + values4(at_c + d) * p_c
        + values4(at_d + d) * p_d;
    }
  }

  let some = sum > vec4f(0.0);
  var result: vec4f = select(vec4f(NONE), (m + log2(sum)) * LN2, some);
  var keep: vec4f = vec4f(0.0);
  var gain: vec4f = select(vec4f(0.0), 1.0 / sum, some);
  if (params.merge == 1u) {
    let held = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
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
  for (var d: u32 = 0u; d < V4; d++) {
    let rows = acc[d];
    let place = at * V4 + d;
    var merged: mat4x4f = mat4x4f(rows[0] * gain.x, rows[1] * gain.y, rows[2] * gain.z, rows[3] * gain.w);
    if (params.merge == 1u) {
      merged += mat4x4f(o[place.x] * keep.x, o[place.y] * keep.y, o[place.z] * keep.z, o[place.w] * keep.w);
    }
    if (own.x) { o[place.x] = merged[0]; }
    if (own.y) { o[place.y] = merged[1]; }
    if (own.z) { o[place.z] = merged[2]; }
    if (own.w) { o[place.w] = merged[3]; }
  }
  for (var i: u32 = 0u; i < 4u; i++) {
    if (own[i]) { lse[at[i]] = result[i]; }
  }
}

// In the matrices below, column i holds the four keys of row i.

fn masked(s: mat4x4f, keys: vec4u, begin: vec4u, count: vec4u, scale: f32) -> mat4x4f {
  return mat4x4f(
    select(vec4f(NONE), s[0] * scale, keys - begin.x < vec4u(count.x)),
    select(vec4f(NONE), s[1] * scale, keys - begin.y < vec4u(count.y)),
    select(vec4f(NONE), s[2] * scale, keys - begin.z < vec4u(count.z)),
    select(vec4f(NONE), s[3] * scale, keys - begin.w < vec4u(count.w)),
  );
}

fn top(s: mat4x4f) -> vec4f {
  let t = transpose(s);
  return max(max(t[0], t[1]), max(t[2], t[3]));
}

fn total(p: mat4x4f) -> vec4f {
  let t = transpose(p);
  return (t[0] + t[1]) + (t[2] + t[3]);
}

// Masked scores weigh 0. Without the mask, exp2(s - m) is 1 on a row that has seen no key yet.
fn weight(s: vec4f, m: f32) -> vec4f {
  return select(vec4f(0.0), exp2(s - m), s > vec4f(0.5 * NONE));
}

fn weights(s: mat4x4f, m: vec4f) -> mat4x4f {
  return mat4x4f(weight(s[0], m.x), weight(s[1], m.y), weight(s[2], m.z), weight(s[3], m.w));
}
