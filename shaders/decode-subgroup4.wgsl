// Split-KV attention for few query rows (decode) on devices whose subgroups have four lanes (SwiftShader): no workgroup
// memory and no barrier, which are expensive there. A workgroup is one subgroup.
//
// Contract, shapes, grid and pieces: as in decode.wgsl.
//
// Of 32 keys a lane scores eight, for all heads; the lanes load the queries in turn and broadcast them. Then a lane
// takes every fourth column of O, with the weights that the others broadcast. One mat4x4f holds four heads by four
// keys, or four elements of O of four heads. `_l` and `_h` are the first and the second four heads.
// The host rewrites the lines marked `specialise` for other head sizes and storage types.

enable subgroups;

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
const QUADS: u32 = 2u; // specialise: fours of query heads that a workgroup attends
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const KEYS: u32 = 32u;
const COLUMNS: u32 = (V4 + 3u) / 4u;
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

@compute @workgroup_size(4)
fn decode(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
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
  let heads = min(4u * QUADS, group_size - first_head);
  let at = piece.x * params.heads + kv_head * group_size + first_head;
  let q_l = (at + min(lane, heads - 1u)) * V4;
  let q_h = (at + min(lane + 4u, heads - 1u)) * V4;
  let stride = params.kv_heads * V4;
  let scale = params.scale * LOG2E;

  var m_l: vec4f = vec4f(NONE);
  var m_h: vec4f = vec4f(NONE);
  var sum_l: vec4f = vec4f(0.0);
  var sum_h: vec4f = vec4f(0.0);
  var acc_l: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();
  var acc_h: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();

  // From a multiple of 4 on, four keys are in one page. Those before the piece weigh nothing, and those past its end
  // repeat its last key and weigh nothing.
  for (var base: u32 = piece.y - piece.y % 4u; base < piece.z; base += KEYS) {
    let key_a = base + lane * 4u;
    let key_b = key_a + 16u;
    let at_a = rows_of(key_a, piece.z - 1u) * stride + kv_head * V4;
    let at_b = rows_of(key_b, piece.z - 1u) * stride + kv_head * V4;

    // Scores: heads down, keys across.
    var s_la: mat4x4f = mat4x4f();
    var s_lb: mat4x4f = mat4x4f();
    var s_ha: mat4x4f = mat4x4f();
    var s_hb: mat4x4f = mat4x4f();
    for (var d: u32 = 0u; d < V4; d++) {
      let k_a = mat4x4f(
        unpack_kv(k[at_a.x + d]),
        unpack_kv(k[at_a.y + d]),
        unpack_kv(k[at_a.z + d]),
        unpack_kv(k[at_a.w + d]),
      );
      let k_b = mat4x4f(
        unpack_kv(k[at_b.x + d]),
        unpack_kv(k[at_b.y + d]),
        unpack_kv(k[at_b.z + d]),
        unpack_kv(k[at_b.w + d]),
      );
      let low = transpose(spread(unpack_q(q[q_l + d])));
      s_la += low * k_a;
      s_lb += low * k_b;
      if (QUADS > 1u) {
        let high = transpose(spread(unpack_q(q[q_h + d])));
        s_ha += high * k_a;
        s_hb += high * k_b;
      }
    }
    let seen_a = key_a + vec4u(0u, 1u, 2u, 3u) - piece.y < vec4u(piece.z - piece.y);
    let seen_b = key_b + vec4u(0u, 1u, 2u, 3u) - piece.y < vec4u(piece.z - piece.y);
    s_la = masked(s_la * scale, seen_a);
    s_lb = masked(s_lb * scale, seen_b);
    s_ha = masked(s_ha * scale, seen_a);
    s_hb = masked(s_hb * scale, seen_b);

    // Weights: keys down, heads across.
    let top_l = max(m_l, subgroupMax(max(top(s_la), top(s_lb))));
    let top_h = max(m_h, subgroupMax(max(top(s_ha), top(s_hb))));
    let alpha_l = exp2(m_l - top_l);
    let alpha_h = exp2(m_h - top_h);
    m_l = top_l;
    m_h = top_h;
    let p_la = weights(s_la, m_l);
    let p_lb = weights(s_lb, m_l);
    let p_ha = weights(s_ha, m_h);
    let p_hb = weights(s_hb, m_h);
    sum_l = sum_l * alpha_l + total(p_la) + total(p_lb);
    sum_h = sum_h * alpha_h + total(p_ha) + total(p_hb);

    let at_a0 = subgroupBroadcast(at_a, 0u);
    let at_a1 = subgroupBroadcast(at_a, 1u);
    let at_a2 = subgroupBroadcast(at_a, 2u);
    let at_a3 = subgroupBroadcast(at_a, 3u);
    let at_b0 = subgroupBroadcast(at_b, 0u);
    let at_b1 = subgroupBroadcast(at_b, 1u);
    let at_b2 = subgroupBroadcast(at_b, 2u);
    let at_b3 = subgroupBroadcast(at_b, 3u);
    let w_la0 = from_0(p_la);
    let w_la1 = from_1(p_la);
    let w_la2 = from_2(p_la);
    let w_la3 = from_3(p_la);
    let w_lb0 = from_0(p_lb);
    let w_lb1 = from_1(p_lb);
    let w_lb2 = from_2(p_lb);
    let w_lb3 = from_3(p_lb);
    let w_ha0 = from_0(p_ha);
    let w_ha1 = from_1(p_ha);
    let w_ha2 = from_2(p_ha);
    let w_ha3 = from_3(p_ha);
    let w_hb0 = from_0(p_hb);
    let w_hb1 = from_1(p_hb);
    let w_hb2 = from_2(p_hb);
    let w_hb3 = from_3(p_hb);
    for (var c: u32 = 0u; c < COLUMNS; c++) {
      let column = min(lane + c * 4u, V4 - 1u);
      let v_a0 = values(at_a0 + column);
      let v_a1 = values(at_a1 + column);
      let v_a2 = values(at_a2 + column);
      let v_a3 = values(at_a3 + column);
      let v_b0 = values(at_b0 + column);
      let v_b1 = values(at_b1 + column);
      let v_b2 = values(at_b2 + column);
      let v_b3 = values(at_b3 + column);
      acc_l[c] = scaled(acc_l[c], alpha_l)
        + v_a0 * w_la0
        + v_a1 * w_la1
        + v_a2 * w_la2
        + v_a3 * w_la3
        + v_b0 * w_lb0
        + v_b1 * w_lb1
        + v_b2 * w_lb2
        + v_b3 * w_lb3;
      if (QUADS > 1u) {
        acc_h[c] = scaled(acc_h[c], alpha_h)
          + v_a0 * w_ha0
          + v_a1 * w_ha1
          + v_a2 * w_ha2
          + v_a3 * w_ha3
          + v_b0 * w_hb0
          + v_b1 * w_hb1
          + v_b2 * w_hb2
          + v_b3 * w_hb3;
      }
    }
  }

  sum_l = subgroupAdd(sum_l);
  sum_h = subgroupAdd(sum_h);
  if (index < params.pieces) {
    let some = piece.z > piece.y;
    let place = piece.w * params.rows * params.heads + at;
    for (var c: u32 = 0u; c < COLUMNS; c++) {
      let column = lane + c * 4u;
      for (var head: u32 = 0u; head < heads && column < V4; head++) {
        let high = QUADS > 1u && head >= 4u;
        let sums = select(acc_l[c][head % 4u], acc_h[c][head % 4u], high);
        let weight = select(sum_l[head % 4u], sum_h[head % 4u], high);
        o[(place + head) * V4 + column] = select(vec4f(0.0), sums / weight, some);
      }
    }
    if (lane < heads) { lse[place + lane] = select(NONE, (m_l[lane] + log2(sum_l[lane])) * LN2, some); }
    if (lane + 4u < heads) { lse[place + lane + 4u] = select(NONE, (m_h[lane] + log2(sum_h[lane])) * LN2, some); }
  }
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

fn from_0(x: mat4x4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(x[0], 0u),
    subgroupBroadcast(x[1], 0u),
    subgroupBroadcast(x[2], 0u),
    subgroupBroadcast(x[3], 0u),
  );
}

fn from_1(x: mat4x4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(x[0], 1u),
    subgroupBroadcast(x[1], 1u),
    subgroupBroadcast(x[2], 1u),
    subgroupBroadcast(x[3], 1u),
  );
}

fn from_2(x: mat4x4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(x[0], 2u),
    subgroupBroadcast(x[1], 2u),
    subgroupBroadcast(x[2], 2u),
    subgroupBroadcast(x[3], 2u),
  );
}

fn from_3(x: mat4x4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(x[0], 3u),
    subgroupBroadcast(x[1], 3u),
    subgroupBroadcast(x[2], 3u),
    subgroupBroadcast(x[3], 3u),
  );
}

// Where the four keys from `key` on lie; `key` is a multiple of 4.
fn rows_of(key: u32, last: u32) -> vec4u {
  let first = min(key, last);
  return pages[first / PAGE] * PAGE + first % PAGE + min(vec4u(0u, 1u, 2u, 3u), vec4u(last - first));
}

fn values(at: vec4u) -> mat4x4f {
  return mat4x4f(unpack_kv(v[at.x]), unpack_kv(v[at.y]), unpack_kv(v[at.z]), unpack_kv(v[at.w]));
}

fn masked(s: mat4x4f, seen: vec4<bool>) -> mat4x4f {
  return mat4x4f(
    select(vec4f(NONE), s[0], seen.x),
    select(vec4f(NONE), s[1], seen.y),
    select(vec4f(NONE), s[2], seen.z),
    select(vec4f(NONE), s[3], seen.w),
  );
}

fn top(s: mat4x4f) -> vec4f {
  return max(max(s[0], s[1]), max(s[2], s[3]));
}

// Masked scores weigh 0, also if no key was seen yet.
fn weight(s: vec4f, m: vec4f) -> vec4f {
  return select(vec4f(0.0), exp2(s - m), s > vec4f(0.5 * NONE));
}

fn weights(s: mat4x4f, m: vec4f) -> mat4x4f {
  return transpose(mat4x4f(weight(s[0], m), weight(s[1], m), weight(s[2], m), weight(s[3], m)));
}

// The sum of each head over the four keys.
fn total(p: mat4x4f) -> vec4f {
  let t = transpose(p);
  return (t[0] + t[1]) + (t[2] + t[3]);
}

fn scaled(x: mat4x4f, by: vec4f) -> mat4x4f {
  return mat4x4f(x[0] * by.x, x[1] * by.y, x[2] * by.z, x[3] * by.w);
}
