// Ceiling: how many multiply-adds a second a device does on vec4, in eight independent chains.
//
// A turn is 32 vec4 multiply-adds: 256 floating-point operations. The chains converge, so no value grows or becomes
// denormal.
// Grid: any number of workgroups of 64; `out` holds one element an invocation.
// The host rewrites the lines marked `specialise` for f16.

alias T = f32; // specialise
alias T4 = vec4f; // specialise

struct Params {
  turns: u32,
  seed: f32,
}

@group(0) @binding(0) var<uniform> params: Params; // how long to compute
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // the sums, so that they are computed [invocations]

@compute @workgroup_size(64)
fn ceiling(@builtin(global_invocation_id) id: vec3u) {
  let x = T4(T(params.seed)) * T4(0.25, 0.5, 0.75, 1.0);
  let m = x * T(0.5) + T4(T(id.x % 7u)) * T(0.001);
  var s0: T4 = x;
  var s1: T4 = x + T4(0.1);
  var s2: T4 = x + T4(0.2);
  var s3: T4 = x + T4(0.3);
  var s4: T4 = x + T4(0.4);
  var s5: T4 = x + T4(0.5);
  var s6: T4 = x + T4(0.6);
  var s7: T4 = x + T4(0.7);
  for (var i: u32 = 0u; i < params.turns; i++) {
    s0 = s0 * m + x;
    s1 = s1 * m + x;
    s2 = s2 * m + x;
    s3 = s3 * m + x;
    s4 = s4 * m + x;
    s5 = s5 * m + x;
    s6 = s6 * m + x;
    s7 = s7 * m + x;
    s0 = s0 * m + x;
    s1 = s1 * m + x;
    s2 = s2 * m + x;
    s3 = s3 * m + x;
    s4 = s4 * m + x;
    s5 = s5 * m + x;
    s6 = s6 * m + x;
    s7 = s7 * m + x;
    s0 = s0 * m + x;
    s1 = s1 * m + x;
    s2 = s2 * m + x;
    s3 = s3 * m + x;
    s4 = s4 * m + x;
    s5 = s5 * m + x;
    s6 = s6 * m + x;
    s7 = s7 * m + x;
    s0 = s0 * m + x;
    s1 = s1 * m + x;
    s2 = s2 * m + x;
    s3 = s3 * m + x;
    s4 = s4 * m + x;
    s5 = s5 * m + x;
    s6 = s6 * m + x;
    s7 = s7 * m + x;
  }
  out[id.x] = f32(dot(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)), T4(1.0)));
}
