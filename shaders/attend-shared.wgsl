// Blockwise attention with online softmax for GPUs, computed like two matrix products: a workgroup of 8 x 16 threads
// attends 128 packed rows to 64 keys at a time through 28 KiB of workgroup memory.
//
// A thread holds scores of 8 rows x 8 keys, and 8 rows x every eighth column of O, all in registers. Slices of Q and K
// lie transposed in workgroup memory (element by element, rows side by side), so that 4 loads of vec4 feed 64
// multiply-adds. Weights, for half the keys at a time, and slices of V lie there too: 6 loads for 128. While the
// threads use one slice of Q and K, they load the next one to registers. Neighbouring threads load neighbouring memory.
// The kernel rescales O only if a row's maximum moved, and divides it once, at the end.
//
// Contract, shapes, pages and tiles: as in attend.wgsl, with tiles of 128 packed rows.
// The host rewrites the lines marked `specialise` for other head sizes and storage types. On hardware it unrolls the
// loops marked `unroll`: only then does a driver keep the arrays that they index in registers.

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec4f; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return x; } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const COLUMNS: u32 = (V4 + 7u) / 8u;
const ROWS: u32 = 128u;
const KEYS: u32 = 64u;
const YS: u32 = ROWS / 8u; // threads along the rows; 8 are along the keys
const THREADS: u32 = 8u * YS;
const FOURS: u32 = ROWS / 4u; // fours of rows
const SLICE: u32 = 4u; // vec4 of a row that one slice of Q and K takes
const V_KEYS: u32 = select(select(8u, 16u, V4 <= 32u), 32u, V4 <= 16u); // keys of one slice of V
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

// Where the tile's rows of Q begin, and the current keys and values, in vec4.
var<workgroup> row_at: array<u32, ROWS>;
var<workgroup> key_at: array<u32, KEYS>;
const STEP: u32 = THREADS / SLICE; // distance of the rows that a thread loads
// In turn: a slice of Q [element][fours of rows] and of K [element][fours of keys]; a slice of V [key][column].
const K_AT: u32 = SLICE * 4u * FOURS;
var<workgroup> slice4: array<vec4f, max(K_AT + SLICE * 64u, V_KEYS * V4)>;
// In turn: rows' maxima, later sums [thread.x][fours of rows]; weights of half the keys [key][fours of rows].
var<workgroup> weights4: array<vec4f, max(KEYS / 2u, 8u) * FOURS>;

fn begins_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].x, bands[token.y].x, bands[token.z].x, bands[token.w].x);
}

fn ends_of(token: vec4u) -> vec4u {
  return vec4u(bands[token.x].y, bands[token.y].y, bands[token.z].y, bands[token.w].y);
}

fn row_of(key: u32, last: u32) -> u32 {
  let at = min(key, last);
  return pages[at / PAGE] * PAGE + at % PAGE;
}

// The transposed elements of a row's vec4 `c` lie in the four of rows `four`. The place depends on c, so that four
// neighbouring c are in different banks.
fn moved(four: u32, c: u32) -> u32 { return four ^ ((c % 4u) * 2u); }

// The vec4 of thread x's columns; past the end the last one, which isn't stored.
fn column_of(c: u32, x: u32) -> u32 { return min(c * 8u + x, V4 - 1u); }

// Rows across, four keys down: column i belongs to row i.
fn outer(row: vec4f, key: vec4f) -> mat4x4f { return mat4x4f(key * row.x, key * row.y, key * row.z, key * row.w); }

fn by_row(m: mat4x4f, x: vec4f) -> mat4x4f { return mat4x4f(m[0] * x.x, m[1] * x.y, m[2] * x.z, m[3] * x.w); }

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

// Stores four keys' weights of four rows, transposed.
fn store(key: u32, rows: u32, p: mat4x4f) {
  let t = transpose(p);
  for (var i: u32 = 0u; i < 4u; i++) { weights4[(key + i) * FOURS + rows] = t[i]; }
}

struct Rows {
  at: vec4u,
  own: vec4<bool>,
  begin: vec4u,
  count: vec4u,
}

// Four rows of a tile. Those past its end repeat its first row and see nothing.
fn rows_of(tile: vec4u, first: u32, kv_head: u32) -> Rows {
  let group_size = params.heads / params.kv_heads;
  let row = first + vec4u(0u, 1u, 2u, 3u);
  let own = row < vec4u(tile.y);
  let packed = tile.x + select(vec4u(0u), row, own);
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let begin = begins_of(token);
  return Rows(at, own, begin, select(vec4u(0u), ends_of(token) - begin, own));
}

@compute @workgroup_size(8, YS)
fn attend(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) thread: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  // same: tile
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  // end same
  let group_size = params.heads / params.kv_heads;
  let scale = params.scale * LOG2E;
  // This thread's rows are fours y and y + YS, its keys fours x and x + 8: neighbours read neighbouring memory.
  let low = rows_of(tile, thread.y * 4u, kv_head);
  let high = rows_of(tile, thread.y * 4u + ROWS / 2u, kv_head);
  let brought = tile.x + select(0u, lane, lane < tile.y);
  row_at[lane] = ((brought / group_size) * params.heads + kv_head * group_size + brought % group_size) * V4;

  var m_low: vec4f = vec4f(NONE);
  var m_high: vec4f = vec4f(NONE);
  var sum_low: vec4f = vec4f(0.0);
  var sum_high: vec4f = vec4f(0.0);
  var acc_low: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();
  var acc_high: array<mat4x4f, COLUMNS> = array<mat4x4f, COLUMNS>();

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    let last = tile.w - 1u;
    for (var i: u32 = lane; i < KEYS; i += THREADS) {
      key_at[i] = (row_of(base + i, last) * params.kv_heads + kv_head) * V4;
    }
    var s_ll: mat4x4f = mat4x4f();
    var s_lh: mat4x4f = mat4x4f();
    var s_hl: mat4x4f = mat4x4f();
    var s_hh: mat4x4f = mat4x4f();
    workgroupBarrier();
    var next_q: Four = load_q(0u, lane);
    var next_k: Four = load_k(0u, lane);
    for (var slice: u32 = 0u; slice < V4; slice += SLICE) {
      workgroupBarrier();
      store_qk(lane, next_q, next_k);
      workgroupBarrier();
      if (slice + SLICE < V4) {
        next_q = load_q(slice + SLICE, lane);
        next_k = load_k(slice + SLICE, lane);
      }
      for (var c: u32 = 0u; c < SLICE; c++) {
        let q_low = c * 4u * FOURS + moved(thread.y, c);
        let q_high = c * 4u * FOURS + moved(thread.y + YS, c);
        let k_low = K_AT + c * 64u + moved(thread.x, c);
        let k_high = K_AT + c * 64u + moved(thread.x + 8u, c);
        for (var e: u32 = 0u; e < 4u; e++) { // unroll
          let q0 = slice4[q_low + e * FOURS];
          let q1 = slice4[q_high + e * FOURS];
          let k0 = slice4[k_low + e * 16u];
          let k1 = slice4[k_high + e * 16u];
          s_ll += outer(q0, k0);
          s_lh += outer(q0, k1);
          s_hl += outer(q1, k0);
          s_hh += outer(q1, k1);
        }
      }
    }
    let keys = base + thread.x * 4u + vec4u(0u, 1u, 2u, 3u);
    s_ll = masked(s_ll, keys, low.begin, low.count, scale);
    s_lh = masked(s_lh, keys + 32u, low.begin, low.count, scale);
    s_hl = masked(s_hl, keys, high.begin, high.count, scale);
    s_hh = masked(s_hh, keys + 32u, high.begin, high.count, scale);

    weights4[thread.x * FOURS + thread.y] = max(top(s_ll), top(s_lh));
    weights4[thread.x * FOURS + thread.y + YS] = max(top(s_hl), top(s_hh));
    workgroupBarrier();
    var higher_low: vec4f = m_low;
    var higher_high: vec4f = m_high;
    for (var i: u32 = 0u; i < 8u; i++) {
      higher_low = max(higher_low, weights4[i * FOURS + thread.y]);
      higher_high = max(higher_high, weights4[i * FOURS + thread.y + YS]);
    }
    if (any(higher_low > m_low) || any(higher_high > m_high)) {
      let alpha_low = exp2(m_low - higher_low);
      let alpha_high = exp2(m_high - higher_high);
      sum_low *= alpha_low;
      sum_high *= alpha_high;
      for (var c: u32 = 0u; c < COLUMNS; c++) { // unroll
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
    for (var side: u32 = 0u; side < 2u; side++) {
      if (side == 0u) {
        store(thread.x * 4u, thread.y, s_ll);
        store(thread.x * 4u, thread.y + YS, s_hl);
      } else {
        store(thread.x * 4u, thread.y, s_lh);
        store(thread.x * 4u, thread.y + YS, s_hh);
      }
      for (var first: u32 = 0u; first < KEYS / 2u; first += V_KEYS) {
        store_v(lane, load_v(side * (KEYS / 2u) + first, lane));
        workgroupBarrier();
        for (var j: u32 = 0u; j < V_KEYS; j++) {
          let p_low = weights4[(first + j) * FOURS + thread.y];
          let p_high = weights4[(first + j) * FOURS + thread.y + YS];
          for (var c: u32 = 0u; c < COLUMNS; c++) { // unroll
            let value = slice4[j * V4 + column_of(c, thread.x)];
            acc_low[c] += outer(p_low, value);
            acc_high[c] += outer(p_high, value);
          }
        }
        workgroupBarrier();
      }
    }
  }

  // Each thread of a row saw other keys: the row's sum is that of all its threads.
  workgroupBarrier();
  weights4[thread.x * FOURS + thread.y] = sum_low;
  weights4[thread.x * FOURS + thread.y + YS] = sum_high;
  workgroupBarrier();
  sum_low = vec4f(0.0);
  sum_high = vec4f(0.0);
  for (var i: u32 = 0u; i < 8u; i++) {
    sum_low += weights4[i * FOURS + thread.y];
    sum_high += weights4[i * FOURS + thread.y + YS];
  }
  // Every thread of a row reads what was there before any of them writes.
  let held_low = vec4f(lse[low.at.x], lse[low.at.y], lse[low.at.z], lse[low.at.w]);
  let held_high = vec4f(lse[high.at.x], lse[high.at.y], lse[high.at.z], lse[high.at.w]);
  storageBarrier();
  let end_low = ended(m_low, sum_low, held_low);
  let end_high = ended(m_high, sum_high, held_high);
  for (var c: u32 = 0u; c < COLUMNS; c++) { // unroll
    put(low, c * 8u + thread.x, acc_low[c], end_low);
    put(high, c * 8u + thread.x, acc_high[c], end_high);
  }
  if (thread.x == 0u) {
    for (var i: u32 = 0u; i < 4u; i++) {
      if (low.own[i]) { lse[low.at[i]] = end_low.lse[i]; }
      if (high.own[i]) { lse[high.at[i]] = end_high.lse[i]; }
    }
  }
}

struct Four {
  a: vec4f,
  b: vec4f,
  c: vec4f,
  d: vec4f,
}

// This thread's part of vec4 `slice` to `slice + SLICE` of the rows of Q; zeros beyond a row's end.
fn load_q(slice: u32, lane: u32) -> Four {
  let inside = slice + lane % SLICE < V4;
  let row = lane / SLICE;
  let column = min(slice + lane % SLICE, V4 - 1u);
  let x = Four(
    unpack_q(q[row_at[row] + column]),
    unpack_q(q[row_at[row + STEP] + column]),
    unpack_q(q[row_at[row + 2u * STEP] + column]),
    unpack_q(q[row_at[row + 3u * STEP] + column]),
  );
  return Four(
    select(vec4f(0.0), x.a, inside),
    select(vec4f(0.0), x.b, inside),
    select(vec4f(0.0), x.c, inside),
    select(vec4f(0.0), x.d, inside),
  );
}

fn load_k(slice: u32, lane: u32) -> Four {
  let row = lane / SLICE;
  let column = min(slice + lane % SLICE, V4 - 1u);
  return Four(unpack_kv(k[key_at[row] + column]), unpack_kv(k[key_at[row + STEP] + column]), vec4f(0.0), vec4f(0.0));
}

fn load_v(first: u32, lane: u32) -> Four {
  let i = min(lane + THREADS * vec4u(0u, 1u, 2u, 3u), vec4u(V_KEYS * V4 - 1u));
  let place = vec4u(
    key_at[first + i.x / V4],
    key_at[first + i.y / V4],
    key_at[first + i.z / V4],
    key_at[first + i.w / V4],
  ) + i % V4;
  return Four(unpack_kv(v[place.x]), unpack_kv(v[place.y]), unpack_kv(v[place.z]), unpack_kv(v[place.w]));
}

fn store_qk(lane: u32, x: Four, y: Four) {
  let row = lane / SLICE;
  let c = lane % SLICE;
  turn(0u, FOURS, row, c, x.a);
  turn(0u, FOURS, row + STEP, c, x.b);
  turn(0u, FOURS, row + 2u * STEP, c, x.c);
  turn(0u, FOURS, row + 3u * STEP, c, x.d);
  turn(K_AT, 16u, row, c, y.a);
  turn(K_AT, 16u, row + STEP, c, y.b);
}

fn store_v(lane: u32, x: Four) {
  let i = min(lane + THREADS * vec4u(0u, 1u, 2u, 3u), vec4u(V_KEYS * V4 - 1u));
  slice4[i.x] = x.a;
  slice4[i.y] = x.b;
  slice4[i.z] = x.c;
  slice4[i.w] = x.d;
}

fn turn(at: u32, fours: u32, row: u32, c: u32, x: vec4f) {
  let place = at + c * 4u * fours + moved(row / 4u, c);
  slice4[place][row % 4u] = x.x;
  slice4[place + fours][row % 4u] = x.y;
  slice4[place + 2u * fours][row % 4u] = x.z;
  slice4[place + 3u * fours][row % 4u] = x.w;
}

struct End {
  lse: vec4f,
  // Factors of this block's O, and of the O that was there before.
  gain: vec4f,
  keep: vec4f,
}

// Four rows' LSE, merged with what was there if params.merge = 1 (Eq. 4).
fn ended(m: vec4f, sum: vec4f, held: vec4f) -> End {
  let some = sum > vec4f(0.0);
  let result = select(vec4f(NONE), (m + log2(sum)) * LN2, some);
  let gain = select(vec4f(0.0), 1.0 / sum, some);
  if (params.merge == 0u) { return End(result, gain, vec4f(0.0)); }
  // same: shares of a merge
  let top = max(held, result);
  let before = select(vec4f(0.0), exp(held - top), held > vec4f(0.5 * NONE));
  let now = select(vec4f(0.0), exp(result - top), some);
  let both = before + now;
  let any = both > vec4f(0.0);
  // end same
  return End(
    select(vec4f(NONE), top + log(both), any),
    gain * select(vec4f(0.0), now / both, any),
    select(vec4f(0.0), before / both, any),
  );
}

fn put(rows: Rows, column: u32, acc: mat4x4f, end: End) {
  if (column >= V4) { return; }
  let place = rows.at * V4 + column;
  var merged: mat4x4f = by_row(acc, end.gain);
  if (params.merge == 1u) { merged += by_row(mat4x4f(o[place.x], o[place.y], o[place.z], o[place.w]), end.keep); }
  for (var i: u32 = 0u; i < 4u; i++) {
    if (rows.own[i]) { o[place[i]] = merged[i]; }
  }
}
