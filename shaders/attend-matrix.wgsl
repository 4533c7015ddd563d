// Blockwise attention on matrix units, for keys and values in f16. A workgroup of four subgroups of 32 attends 64
// packed rows to 32 keys at a time. A subgroup has 16 of the rows. Its products are 16 x 16 x 16, f16 times f16 into
// f32.
//
// Q stays in left matrices and O in result matrices from the first key to the last. K and V go through workgroup
// memory; while the subgroups use them, the next ones are on their way to registers. The scores come back through
// workgroup memory, since no lane can see the elements of a matrix. Weights refer to a maximum that may lag: the kernel
// rescales O (also through memory) only if a row's maximum has risen by more than LAZY, so that no weight exceeds
// 2^LAZY. It divides O once, at the end. Before it rounds a row of Q to f16, it divides the row by a power of two near
// its largest element, so that no f32 is too large.
//
// It rounds weights to f16, and queries too if they are f32: a kernel for results that 16-bit keys and values have
// rounded already.
//
// Contract, shapes, pages and tiles: as in attend.wgsl, with tiles of 64 packed rows, and D a multiple of 16 up to 128.
// The host rewrites the lines marked `specialise` for other head sizes and storage types. On hardware it unrolls the
// loops marked `unroll`: only then does a driver keep the arrays that they index in registers.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const D: u32 = 64u; // specialise
alias Q4 = vec4f; // specialise
alias KV4 = vec2u; // specialise
fn unpack_q(x: Q4) -> vec4f { return x; } // specialise
fn unpack_kv(x: KV4) -> vec4f { return vec4f(unpack2x16float(x.x), unpack2x16float(x.y)); } // specialise

const PAGE: u32 = 64u;
const V4: u32 = D / 4u;
const THREADS: u32 = 128u;
const ROWS: u32 = 64u;
const KEYS: u32 = 32u;
const LOADS: u32 = KEYS * V4 / THREADS; // vec4 of K, and of V, that a thread loads
const M: u32 = 16u; // rows, columns and depth of a matrix
const STEPS: u32 = D / M;
const BLOCKS: u32 = KEYS / M;
const NONE: f32 = -3e38;
const LOG2E: f32 = 1.4426950408889634;
const LN2: f32 = 0.6931471805599453;
const LAZY: f32 = 8.0;

// Lengths of rows in workgroup memory in vec4: a little more than their content, so that neighbouring rows begin in
// different banks.
const OPERAND: u32 = V4 + 2u;
const SCORE: u32 = KEYS / 4u + 1u;
const WEIGHT: u32 = KEYS / 4u + 2u;

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

// First Q, 64 rows at a time; later K in the first KEYS rows and V in the others.
var<workgroup> operands: array<vec4<f16>, 2u * KEYS * OPERAND>;
// Scores [row][key]; and 16 columns of O on their way in and out.
var<workgroup> scores: array<vec4f, ROWS * SCORE>;
var<workgroup> weights: array<vec4<f16>, ROWS * WEIGHT>;
// Where a row's two lanes exchange values.
var<workgroup> halves: array<vec2f, ROWS>;
// Not 0 if some row's maximum has risen too far.
var<workgroup> risen: atomic<u32>;

// Where key `key` lies. Those past the end are loaded but weigh nothing.
fn row_of(key: u32, last: u32) -> u32 {
  let at = min(key, last);
  return pages[at / PAGE] * PAGE + at % PAGE;
}

fn largest(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

@compute @workgroup_size(THREADS)
fn attend(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  // same: tile
  let index = params.first_tile + group.z * grid.x + group.x;
  var tile: vec4u = vec4u(0u);
  if (index < params.tiles) { tile = tiles[index]; }
  let kv_head = group.y;
  // end same
  let group_size = params.heads / params.kv_heads;

  // Two lanes share a row; each takes every other vec4. Rows past the tile's end repeat its first row and see nothing.
  let row = subgroup * M + lane / 2u;
  let side = lane % 2u;
  let own = row < tile.y;
  let packed = tile.x + select(0u, row, own);
  let token = packed / group_size;
  let at = token * params.heads + kv_head * group_size + packed % group_size;
  let begin = bands[token].x;
  let count = select(0u, bands[token].y - begin, own);
  let first_row = subgroup * M;

  var top: f32 = 0.0;
  for (var c: u32 = side; c < V4; c += 2u) { top = max(top, largest(abs(unpack_q(q[at * V4 + c])))); }
  halves[row][side] = top;
  workgroupBarrier();
  let magnitude = exp2(ceil(log2(max(max(halves[row].x, halves[row].y), 1e-30))));
  for (var c: u32 = side; c < V4; c += 2u) {
    operands[row * OPERAND + c] = vec4<f16>(unpack_q(q[at * V4 + c]) / magnitude);
  }
  let scale = params.scale * LOG2E * magnitude;
  workgroupBarrier();
  var query: array<subgroup_matrix_left<f16, 16, 16>, STEPS>;
  for (var d: u32 = 0u; d < STEPS; d++) { // unroll
    query[d] = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
      &operands, first_row * OPERAND + d * 4u, OPERAND
    );
  }

  var m: f32 = NONE;
  var sum: f32 = 0.0;
  var acc: array<subgroup_matrix_result<f32, 16, 16>, STEPS>;

  var next_k: array<KV4, LOADS> = array<KV4, LOADS>();
  var next_v: array<KV4, LOADS> = array<KV4, LOADS>();
  for (var n: u32 = 0u; n < LOADS; n++) { // unroll
    let i = n * THREADS + thread;
    let place = (row_of(tile.z + i / V4, tile.w - 1u) * params.kv_heads + kv_head) * V4 + i % V4;
    next_k[n] = k[place];
    next_v[n] = v[place];
  }

  for (var base: u32 = tile.z; base < tile.w; base += KEYS) {
    workgroupBarrier();
    if (thread == 0u) { atomicStore(&risen, 0u); }
    for (var n: u32 = 0u; n < LOADS; n++) { // unroll
      let i = n * THREADS + thread;
      operands[(i / V4) * OPERAND + i % V4] = bitcast<vec4<f16>>(next_k[n]);
      operands[(KEYS + i / V4) * OPERAND + i % V4] = bitcast<vec4<f16>>(next_v[n]);
    }
    workgroupBarrier();
    for (var n: u32 = 0u; n < LOADS; n++) { // unroll
      let i = n * THREADS + thread;
      let place = (row_of(base + KEYS + i / V4, tile.w - 1u) * params.kv_heads + kv_head) * V4 + i % V4;
      next_k[n] = k[place];
      next_v[n] = v[place];
    }

    var block: array<subgroup_matrix_result<f32, 16, 16>, BLOCKS>;
    for (var t: u32 = 0u; t < BLOCKS; t++) { // unroll
      block[t] = subgroup_matrix_result<f32, 16, 16>();
    }
    for (var d: u32 = 0u; d < STEPS; d++) { // unroll
      for (var t: u32 = 0u; t < BLOCKS; t++) { // unroll
        let keys = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(
          &operands, t * M * OPERAND + d * 4u, OPERAND
        );
        block[t] = subgroupMatrixMultiplyAccumulate(query[d], keys, block[t]);
      }
    }
    for (var t: u32 = 0u; t < BLOCKS; t++) { // unroll
      subgroupMatrixStore<row_major>(&scores, first_row * SCORE + t * 4u, block[t], SCORE);
    }
    workgroupBarrier();

    var s: array<vec4f, KEYS / 8u>;
    var higher: f32 = NONE;
    for (var c: u32 = 0u; c < KEYS / 8u; c++) { // unroll
      let keys = base + (c * 2u + side) * 4u + vec4u(0u, 1u, 2u, 3u);
      s[c] = select(vec4f(NONE), scores[row * SCORE + c * 2u + side] * scale, keys - begin < vec4u(count));
      higher = max(higher, largest(s[c]));
    }
    halves[row][side] = higher;
    if (higher > m + LAZY) { atomicStore(&risen, 1u); }
    if (workgroupUniformLoad(&risen) != 0u) {
      higher = max(halves[row].x, halves[row].y);
      let rises = higher > m + LAZY;
      let alpha = select(1.0, exp2(m - higher), rises);
      m = select(m, higher, rises);
      sum *= alpha;
      for (var d: u32 = 0u; d < STEPS; d++) { // unroll
        subgroupMatrixStore<row_major>(&scores, first_row * SCORE, acc[d], SCORE);
        workgroupBarrier();
        for (var c: u32 = side; c < 4u; c += 2u) { scores[row * SCORE + c] *= alpha; }
        workgroupBarrier();
        acc[d] = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&scores, first_row * SCORE, SCORE);
        workgroupBarrier();
      }
    }
    for (var c: u32 = 0u; c < KEYS / 8u; c++) { // unroll
      // Masked scores weigh 0. Without the mask, exp2(s - m) is 1 on a row that has seen no key yet.
      let p = select(vec4f(0.0), exp2(s[c] - m), s[c] > vec4f(0.5 * NONE));
      sum += dot(p, vec4f(1.0));
      weights[row * WEIGHT + c * 2u + side] = vec4<f16>(p);
    }
    workgroupBarrier();

    for (var t: u32 = 0u; t < BLOCKS; t++) { // unroll
      let p = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
        &weights, first_row * WEIGHT + t * 4u, WEIGHT
      );
      for (var d: u32 = 0u; d < STEPS; d++) { // unroll
        let values = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(
          &operands, (KEYS + t * M) * OPERAND + d * 4u, OPERAND
        );
        acc[d] = subgroupMatrixMultiplyAccumulate(p, values, acc[d]);
      }
    }
  }

  workgroupBarrier();
  halves[row][side] = sum;
  workgroupBarrier();
  sum = halves[row].x + halves[row].y;
  let some = sum > 0.0;
  var result: f32 = select(NONE, (m + log2(sum)) * LN2, some);
  var gain: f32 = select(0.0, 1.0 / sum, some);
  var keep: f32 = 0.0;
  // Merges with what was there if params.merge = 1 (Eq. 4). Both lanes read it before either writes.
  let held = lse[at];
  storageBarrier();
  if (params.merge == 1u) {
    let most = max(held, result);
    let before = select(0.0, exp(held - most), held > 0.5 * NONE);
    let now = select(0.0, exp(result - most), some);
    let both = before + now;
    let any = both > 0.0;
    keep = select(0.0, before / both, any);
    gain = gain * select(0.0, now / both, any);
    result = select(NONE, most + log(both), any);
  }
  for (var d: u32 = 0u; d < STEPS; d++) { // unroll
    subgroupMatrixStore<row_major>(&scores, first_row * SCORE, acc[d], SCORE);
    workgroupBarrier();
    for (var c: u32 = side; c < 4u; c += 2u) {
      let place = at * V4 + d * 4u + c;
      var merged: vec4f = scores[row * SCORE + c] * gain;
      if (params.merge == 1u) { merged += o[place] * keep; }
      if (own) { o[place] = merged; }
    }
    workgroupBarrier();
  }
  if (own && side == 0u) { lse[at] = result; }
}
