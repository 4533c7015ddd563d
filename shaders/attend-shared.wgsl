// Blockwise attention with online softmax for GPUs: a workgroup of 8 x 8 threads attends 64 packed rows to 64 keys at a
// time through 16 KiB of workgroup memory, as a matrix product would.
//
// A thread holds scores of 8 rows x 8 keys, then 8 rows x every eighth column of O, all in registers. Slices of Q and K go
// through workgroup memory turned (element by element, rows side by side), so that 4 loads of vec4 feed 64 multiply-adds;
// the weights go through the same memory, and each value that is loaded meets 8 rows. O is rescaled only where a row's
// maximum moved, and divided once, at the end.
//
// Contract, shapes, pages and tiles: as attend.wgsl's, with tiles of 64 packed rows.
// The lines marked `specialise` are replaced by the host for other head sizes and storage types.

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const COLUMNS: u32 = (V4 + 7u) / 8u;
const KEYS: u32 = 64u;
const SLICE: u32 = 4u; // vec4 of a row that one slice takes
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
@group(0) @binding(5) var<storage, read> ends: array<u32>;
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> lse: array<f32>;
@group(0) @binding(8) var<storage, read> pages: array<u32>;

// In turn: a slice of Q [element][16 fours of rows] and of K [element][16 fours of keys]; rows' maxima [thread.x][16 fours
// of rows]; weights [key][16 fours of rows].
var<workgroup> shared4: array<vec4f, 1024>;

const K_AT: u32 = SLICE * 4u * 16u;

fn row_of(key: u32, last: u32) -> u32 {
  let at = min(key, last);
  return pages[at / PAGE] * PAGE + at % PAGE;
}

// The vec4 of thread x's columns; past the end the last one, which is not stored.
fn column_of(c: u32, x: u32) -> u32 { return min(c * 8u + x, V4 - 1u); }

// Rows across, four keys down: column i is row i's.
fn outer(row: vec4f, key: vec4f) -> mat4x4f { return mat4x4f(key * row.x, key * row.y, key * row.z, key * row.w); }

fn by_row(m: mat4x4f, x: vec4f) -> mat4x4f { return mat4x4f(m[0] * x.x, m[1] * x.y, m[2] * x.z, m[3] * x.w); }

fn masked(s: mat4x4f, keys: vec4u, end: vec4u, scale: f32) -> mat4x4f {
  return mat4x4f(
    select(vec4f(NONE), s[0] * scale, keys < vec4u(end.x)),
    select(vec4f(NONE), s[1] * scale, keys < vec4u(end.y)),
    select(vec4f(NONE), s[2] * scale, keys < vec4u(end.z)),
    select(vec4f(NONE), s[3] * scale, keys < vec4u(end.w)),
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

// Weights of masked scores are 0: exp2(s - m) alone is 1 on a row that has seen no key yet.
fn weight(s: vec4f, m: f32) -> vec4f {
  return select(vec4f(0.0), exp2(s - m), s > vec4f(0.5 * NONE));
}

fn weights(s: mat4x4f, m: vec4f) -> mat4x4f {
  return mat4x4f(weight(s[0], m.x), weight(s[1], m.y), weight(s[2], m.z), weight(s[3], m.w));
}

// Four keys' weights of four rows, turned.
fn store(key: u32, rows: u32, p: mat4x4f) {
  let t = transpose(p);
  for (var i: u32 = 0u; i < 4u; i++) { shared4[(key + i) * 16u + rows] = t[i]; }
}

struct Rows {
  at: vec4u,
  own: vec4<bool>,
  end: vec4u,
}

// Four rows of a tile: those past its end repeat its first row and see nothing.
fn rows_of(tile: vec4u, first: u32, kv_head: u32) -> Rows {
  let group_size = params.heads / params.kv_heads;
  let row = first + vec4u(0u, 1u, 2u, 3u);
  let own = row < vec4u(tile.y);
  let packed = tile.x + select(vec4u(0u), row, own);
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  return Rows(at, own, select(vec4u(0u), vec4u(ends[token.x], ends[token.y], ends[token.z], ends[token.w]), own));
}

@compute @workgroup_size(8, 8)
fn attend(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_id) thread: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  let group_size = params.heads / params.kv_heads;
  let scale = params.scale * LOG2E;
  // This thread's rows are fours y and y + 8, its keys fours x and x + 8: neighbours read neighbouring memory.
  let low = rows_of(tile, thread.y * 4u, kv_head);
  let high = rows_of(tile, thread.y * 4u + 32u, kv_head);
  // The row that this thread brings to workgroup memory.
  let brought = tile.x + select(0u, lane, lane < tile.y);
  let q_at = ((brought / group_size) * params.heads + kv_head * group_size + brought % group_size) * V4;

  var m_low: vec4f = vec4f(NONE);
  var m_high: vec4f = vec4f(NONE);
  var sum_low: vec4f = vec4f(0.0);
  var sum_high: vec4f = vec4f(0.0);
  var acc_low: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();
  var acc_high: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    let k_at = (row_of(base + lane, last) * params.kv_heads + kv_head) * V4;
    var s_ll: mat4x4f = mat4x4f();
    var s_lh: mat4x4f = mat4x4f();
    var s_hl: mat4x4f = mat4x4f();
    var s_hh: mat4x4f = mat4x4f();
    for (var slice: u32 = 0u; slice < V4; slice += SLICE) {
      workgroupBarrier();
      for (var d: u32 = 0u; d < SLICE; d++) {
        var x: vec4f = vec4f(0.0);
        var y: vec4f = vec4f(0.0);
        if (slice + d < V4) {
          x = unpack_q(q[q_at + slice + d]);
          y = unpack_kv(k[k_at + slice + d]);
        }
        for (var i: u32 = 0u; i < 4u; i++) {
          shared4[(d * 4u + i) * 16u + lane / 4u][lane % 4u] = x[i];
          shared4[K_AT + (d * 4u + i) * 16u + lane / 4u][lane % 4u] = y[i];
        }
      }
      workgroupBarrier();
      for (var d: u32 = 0u; d < SLICE * 4u; d++) {
        let q_low = shared4[d * 16u + thread.y];
        let q_high = shared4[d * 16u + thread.y + 8u];
        let k_low = shared4[K_AT + d * 16u + thread.x];
        let k_high = shared4[K_AT + d * 16u + thread.x + 8u];
        s_ll += outer(q_low, k_low);
        s_lh += outer(q_low, k_high);
        s_hl += outer(q_high, k_low);
        s_hh += outer(q_high, k_high);
      }
    }
    let keys = base + thread.x * 4u + vec4u(0u, 1u, 2u, 3u);
    s_ll = masked(s_ll, keys, low.end, scale);
    s_lh = masked(s_lh, keys + 32u, low.end, scale);
    s_hl = masked(s_hl, keys, high.end, scale);
    s_hh = masked(s_hh, keys + 32u, high.end, scale);

    workgroupBarrier();
    shared4[thread.x * 16u + thread.y] = max(top(s_ll), top(s_lh));
    shared4[thread.x * 16u + thread.y + 8u] = max(top(s_hl), top(s_hh));
    workgroupBarrier();
    var higher_low: vec4f = m_low;
    var higher_high: vec4f = m_high;
    for (var i: u32 = 0u; i < 8u; i++) {
      higher_low = max(higher_low, shared4[i * 16u + thread.y]);
      higher_high = max(higher_high, shared4[i * 16u + thread.y + 8u]);
    }
    if (any(higher_low > m_low) || any(higher_high > m_high)) {
      let alpha_low = exp2(m_low - higher_low);
      let alpha_high = exp2(m_high - higher_high);
      sum_low *= alpha_low;
      sum_high *= alpha_high;
      for (var c: u32 = 0u; c < COLUMNS; c++) {
        acc_low[c] = by_row(acc_low[c], alpha_low);
        acc_high[c] = by_row(acc_high[c], alpha_high);
      }
      m_low = higher_low;
      m_high = higher_high;
    }
    s_ll = weights(s_ll, m_low);
    s_lh = weights(s_lh, m_low);
    s_hl = weights(s_hl, m_high);
    s_hh = weights(s_hh, m_high);
    sum_low += total(s_ll) + total(s_lh);
    sum_high += total(s_hl) + total(s_hh);

    workgroupBarrier();
    store(thread.x * 4u, thread.y, s_ll);
    store(thread.x * 4u + 32u, thread.y, s_lh);
    store(thread.x * 4u, thread.y + 8u, s_hl);
    store(thread.x * 4u + 32u, thread.y + 8u, s_hh);
    workgroupBarrier();
    for (var j: u32 = 0u; j < min(KEYS, tile.w - base); j++) {
      let row = (row_of(base + j, last) * params.kv_heads + kv_head) * V4;
      let p_low = shared4[j * 16u + thread.y];
      let p_high = shared4[j * 16u + thread.y + 8u];
      for (var c: u32 = 0u; c < COLUMNS; c++) {
        let value = unpack_kv(v[row + column_of(c, thread.x)]);
        acc_low[c] += outer(p_low, value);
        acc_high[c] += outer(p_high, value);
      }
    }
  }

  // The threads of a row each saw other keys: their sums together are the row's.
  workgroupBarrier();
  shared4[thread.x * 16u + thread.y] = sum_low;
  shared4[thread.x * 16u + thread.y + 8u] = sum_high;
  workgroupBarrier();
  sum_low = vec4f(0.0);
  sum_high = vec4f(0.0);
  for (var i: u32 = 0u; i < 8u; i++) {
    sum_low += shared4[i * 16u + thread.y];
    sum_high += shared4[i * 16u + thread.y + 8u];
  }
  // Every thread of a row reads what was there before the first of them writes.
  let held_low = vec4f(lse[low.at.x], lse[low.at.y], lse[low.at.z], lse[low.at.w]);
  let held_high = vec4f(lse[high.at.x], lse[high.at.y], lse[high.at.z], lse[high.at.w]);
  storageBarrier();
  let end_low = ended(m_low, sum_low, held_low);
  let end_high = ended(m_high, sum_high, held_high);
  for (var c: u32 = 0u; c < COLUMNS; c++) {
    let column = c * 8u + thread.x;
    if (column < V4) {
      put(low, column, acc_low[c], end_low);
      put(high, column, acc_high[c], end_high);
    }
  }
  if (thread.x == 0u) {
    for (var i: u32 = 0u; i < 4u; i++) {
      if (low.own[i]) { lse[low.at[i]] = end_low.lse[i]; }
      if (high.own[i]) { lse[high.at[i]] = end_high.lse[i]; }
    }
  }
}

struct End {
  lse: vec4f,
  // What O of this block, and what O that was held, is multiplied by.
  gain: vec4f,
  keep: vec4f,
}

// Four rows' LSE, merged with what was held if asked for (Eq. 4).
fn ended(m: vec4f, sum: vec4f, held: vec4f) -> End {
  let some = sum > vec4f(0.0);
  let result = select(vec4f(NONE), (m + log2(sum)) * LN2, some);
  let gain = select(vec4f(0.0), 1.0 / sum, some);
  if (params.merge == 0u) { return End(result, gain, vec4f(0.0)); }
  let top = max(held, result);
  let before = select(vec4f(0.0), exp(held - top), held > vec4f(0.5 * NONE));
  let now = select(vec4f(0.0), exp(result - top), some);
  let both = before + now;
  let any = both > vec4f(0.0);
  return End(select(vec4f(NONE), top + log(both), any), gain * select(vec4f(0.0), now / both, any), select(vec4f(0.0), before / both, any));
}

fn put(rows: Rows, column: u32, acc: mat4x4f, end: End) {
  let place = rows.at * V4 + column;
  var merged: mat4x4f = by_row(acc, end.gain);
  if (params.merge == 1u) { merged += by_row(mat4x4f(o[place.x], o[place.y], o[place.z], o[place.w]), end.keep); }
  for (var i: u32 = 0u; i < 4u; i++) {
    if (rows.own[i]) { o[place[i]] = merged[i]; }
  }
}
