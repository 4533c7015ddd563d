// Ceiling: how many multiply-adds a second a device's matrix units do, f16 times f16 into f32, on matrices that stay in
// registers, in eight independent chains.
//
// A turn is eight products of 16 x 16 x 16 a subgroup: 65,536 floating-point operations. Factors are 1/16, so that a
// chain grows by 1/16 a turn. Grid: any number of workgroups of four subgroups of 32; `out` holds 16 x 16 elements a
// chain, so that the compiler keeps all of them.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

struct Params {
  turns: u32,
  seed: f32,
}

@group(0) @binding(0) var<uniform> params: Params; // how long to compute
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // sums, stored so that they are computed

var<workgroup> factors: array<f16, 256>;

@compute @workgroup_size(128)
fn ceiling(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  for (var i: u32 = thread; i < 256u; i += 128u) { factors[i] = f16(0.0625); }
  workgroupBarrier();
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&factors, 0u, 16u);
  let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&factors, 0u, 16u);
  var s0 = subgroup_matrix_result<f32, 16, 16>(params.seed);
  var s1 = subgroup_matrix_result<f32, 16, 16>(params.seed + 1.0);
  var s2 = subgroup_matrix_result<f32, 16, 16>(params.seed + 2.0);
  var s3 = subgroup_matrix_result<f32, 16, 16>(params.seed + 3.0);
  var s4 = subgroup_matrix_result<f32, 16, 16>(params.seed + 4.0);
  var s5 = subgroup_matrix_result<f32, 16, 16>(params.seed + 5.0);
  var s6 = subgroup_matrix_result<f32, 16, 16>(params.seed + 6.0);
  var s7 = subgroup_matrix_result<f32, 16, 16>(params.seed + 7.0);
  for (var i: u32 = 0u; i < params.turns; i++) {
    s0 = subgroupMatrixMultiplyAccumulate(left, right, s0);
    s1 = subgroupMatrixMultiplyAccumulate(left, right, s1);
    s2 = subgroupMatrixMultiplyAccumulate(left, right, s2);
    s3 = subgroupMatrixMultiplyAccumulate(left, right, s3);
    s4 = subgroupMatrixMultiplyAccumulate(left, right, s4);
    s5 = subgroupMatrixMultiplyAccumulate(left, right, s5);
    s6 = subgroupMatrixMultiplyAccumulate(left, right, s6);
    s7 = subgroupMatrixMultiplyAccumulate(left, right, s7);
  }
  let at = (group.x * 4u + subgroup) * 2048u;
  subgroupMatrixStore<row_major>(&out, at, s0, 16u);
  subgroupMatrixStore<row_major>(&out, at + 256u, s1, 16u);
  subgroupMatrixStore<row_major>(&out, at + 512u, s2, 16u);
  subgroupMatrixStore<row_major>(&out, at + 768u, s3, 16u);
  subgroupMatrixStore<row_major>(&out, at + 1024u, s4, 16u);
  subgroupMatrixStore<row_major>(&out, at + 1280u, s5, 16u);
  subgroupMatrixStore<row_major>(&out, at + 1536u, s6, 16u);
  subgroupMatrixStore<row_major>(&out, at + 1792u, s7, 16u);
}
