// Blockwise attention for devices whose subgroups have four lanes (SwiftShader), if there is much work. It is
// attend-subgroup4.wgsl with eight packed rows a lane: each key and value that a lane loads or receives serves eight
// rows. It takes longer to compile.
//
// The rows of a lane are two fours, `_l` and `_h`. One mat4x4f holds a 4 x 4 block of scores, or four rows of four
// columns of O.
//
// Contract, shapes, pages and tiles: as in attend.wgsl, with tiles of 32 packed rows.
// The host rewrites the lines marked `specialise` for other head sizes and storage types.

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
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>; // [tiles]: first packed row, rows, first key, end of keys
@group(0) @binding(5) var<storage, read> bands: array<vec2u>; // [rows]: first key that a row sees, and their end
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>; // O [rows, H, D]
@group(0) @binding(7) var<storage, read_write> lse: array<f32>; // LSE [rows, H]
@group(0) @binding(8) var<storage, read> pages: array<u32>; // page table: where each page of keys lies

fn begins_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].x, bands[token.y].x, bands[token.z].x, bands[token.w].x);
}

fn ends_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].y, bands[token.y].y, bands[token.z].y, bands[token.w].y);
}

// The four lanes' values as columns.
fn spread(x: vec4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(x, 0u),
    subgroupBroadcast(x, 1u),
    subgroupBroadcast(x, 2u),
    subgroupBroadcast(x, 3u),
  );
}

// Where key `key` lies. Those past the end are loaded but weigh nothing.
fn row_of(key: u32, last: u32) -> u32 {
  let at = min(key, last);
  return pages[at / PAGE] * PAGE + at % PAGE;
}

@compute @workgroup_size(4)
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

  // Rows past the tile's end repeat its first row and see nothing.
  let l = rows_of(tile, lane * 8u, kv_head);
  let h = rows_of(tile, lane * 8u + 4u, kv_head);
  let q_l = l.at * V4;
  let q_h = h.at * V4;
  let scale = params.scale * LOG2E;

  var m_l: vec4f = vec4f(NONE);
  var m_h: vec4f = vec4f(NONE);
  var sum_l: vec4f = vec4f(0.0);
  var sum_h: vec4f = vec4f(0.0);
  var acc_l: array<mat4x4f, V4> = array<mat4x4f, V4>();
  var acc_h: array<mat4x4f, V4> = array<mat4x4f, V4>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    let stride = params.kv_heads * V4;
    let head = kv_head * V4;
    let at_a = row_of(base + 0u + lane, last) * stride + head;
    let at_b = row_of(base + 4u + lane, last) * stride + head;
    let at_c = row_of(base + 8u + lane, last) * stride + head;
    let at_d = row_of(base + 12u + lane, last) * stride + head;

    var s_al: mat4x4f = mat4x4f();
    var s_bl: mat4x4f = mat4x4f();
    var s_cl: mat4x4f = mat4x4f();
    var s_dl: mat4x4f = mat4x4f();
    var s_ah: mat4x4f = mat4x4f();
    var s_bh: mat4x4f = mat4x4f();
    var s_ch: mat4x4f = mat4x4f();
    var s_dh: mat4x4f = mat4x4f();
    for (var d: u32 = 0u; d < V4; d++) {
      let rows_l = mat4x4f(
        unpack_q(q[q_l.x + d]),
        unpack_q(q[q_l.y + d]),
        unpack_q(q[q_l.z + d]),
        unpack_q(q[q_l.w + d]),
      );
      let rows_h = mat4x4f(
        unpack_q(q[q_h.x + d]),
        unpack_q(q[q_h.y + d]),
        unpack_q(q[q_h.z + d]),
        unpack_q(q[q_h.w + d]),
      );
      let k_a = transpose(spread(unpack_kv(k[at_a + d])));
      s_al += k_a * rows_l;
      s_ah += k_a * rows_h;
      let k_b = transpose(spread(unpack_kv(k[at_b + d])));
      s_bl += k_b * rows_l;
      s_bh += k_b * rows_h;
      let k_c = transpose(spread(unpack_kv(k[at_c + d])));
      s_cl += k_c * rows_l;
      s_ch += k_c * rows_h;
      let k_d = transpose(spread(unpack_kv(k[at_d + d])));
      s_dl += k_d * rows_l;
      s_dh += k_d * rows_h;
    }

    let keys = base + vec4u(0u, 1u, 2u, 3u);
    s_al = masked(s_al, keys + 0u, l.begin, l.count, scale);
    s_bl = masked(s_bl, keys + 4u, l.begin, l.count, scale);
    s_cl = masked(s_cl, keys + 8u, l.begin, l.count, scale);
    s_dl = masked(s_dl, keys + 12u, l.begin, l.count, scale);
    s_ah = masked(s_ah, keys + 0u, h.begin, h.count, scale);
    s_bh = masked(s_bh, keys + 4u, h.begin, h.count, scale);
    s_ch = masked(s_ch, keys + 8u, h.begin, h.count, scale);
    s_dh = masked(s_dh, keys + 12u, h.begin, h.count, scale);
    let top_l = max(m_l, max(max(top(s_al), top(s_bl)), max(top(s_cl), top(s_dl))));
    let alpha_l = exp2(m_l - top_l);
    m_l = top_l;
    let top_h = max(m_h, max(max(top(s_ah), top(s_bh)), max(top(s_ch), top(s_dh))));
    let alpha_h = exp2(m_h - top_h);
    m_h = top_h;
    let p_al = weights(s_al, m_l);
    let p_bl = weights(s_bl, m_l);
    let p_cl = weights(s_cl, m_l);
    let p_dl = weights(s_dl, m_l);
    let p_ah = weights(s_ah, m_h);
    let p_bh = weights(s_bh, m_h);
    let p_ch = weights(s_ch, m_h);
    let p_dh = weights(s_dh, m_h);
    sum_l = sum_l * alpha_l + total(p_al) + total(p_bl) + total(p_cl) + total(p_dl);
    sum_h = sum_h * alpha_h + total(p_ah) + total(p_bh) + total(p_ch) + total(p_dh);

    for (var d: u32 = 0u; d < V4; d++) {
      let v_a = spread(unpack_kv(v[at_a + d]));
      let v_b = spread(unpack_kv(v[at_b + d]));
      let v_c = spread(unpack_kv(v[at_c + d]));
      let v_d = spread(unpack_kv(v[at_d + d]));
      acc_l[d] = scaled(acc_l[d], alpha_l) + v_a * p_al + v_b * p_bl + v_c * p_cl + v_d * p_dl;
      acc_h[d] = scaled(acc_h[d], alpha_h) + v_a * p_ah + v_b * p_bh + v_c * p_ch + v_d * p_dh;
    }
  }

  let ended_l = ended(l, m_l, sum_l);
  let ended_h = ended(h, m_h, sum_h);
  for (var d: u32 = 0u; d < V4; d++) {
    put(l, ended_l, d, acc_l[d]);
    put(h, ended_h, d, acc_h[d]);
  }
}

// Four packed rows of a tile: which of them are in it, where their queries, O and LSE lie, and which keys they see:
// `count` from `begin` on.
struct Rows {
  own: vec4<bool>,
  at: vec4u,
  begin: vec4u,
  count: vec4u,
}

fn rows_of(tile: vec4u, first: u32, kv_head: u32) -> Rows {
  let row = first + vec4u(0u, 1u, 2u, 3u);
  let own = row < vec4u(tile.y);
  let packed = tile.x + select(vec4u(0u), row, own);
  let group_size = params.heads / params.kv_heads;
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let begin = begins_of(token);
  return Rows(own, at, begin, select(vec4u(0u), ends_of(token) - begin, own));
}

// Factors of four rows: of the O that was there before, and of their sums.
struct Ended {
  keep: vec4f,
  gain: vec4f,
}

// Writes the LSE of four rows, merged with what was there.
fn ended(rows: Rows, m: vec4f, sum: vec4f) -> Ended {
  let some = sum > vec4f(0.0);
  let at = rows.at;
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
  for (var i: u32 = 0u; i < 4u; i++) {
    if (rows.own[i]) { lse[at[i]] = result[i]; }
  }
  return Ended(keep, gain);
}

// Writes column `d` of four rows' O.
fn put(rows: Rows, by: Ended, d: u32, sums: mat4x4f) {
  let place = rows.at * V4 + d;
  var merged: mat4x4f = scaled(sums, by.gain);
  if (params.merge == 1u) { merged += scaled(mat4x4f(o[place.x], o[place.y], o[place.z], o[place.w]), by.keep); }
  if (rows.own.x) { o[place.x] = merged[0]; }
  if (rows.own.y) { o[place.y] = merged[1]; }
  if (rows.own.z) { o[place.z] = merged[2]; }
  if (rows.own.w) { o[place.w] = merged[3]; }
}

fn scaled(rows: mat4x4f, by: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * by.x, rows[1] * by.y, rows[2] * by.z, rows[3] * by.w);
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
