// Ceiling: how many multiply-adds a second a device does as dots of vec4, 16 independent ones a turn.
//
// A turn is 16 dots with their sums (8 floating-point operations each) and one vec4 addition (4): 132 operations. The
// addition keeps the compiler from computing the dots once for all turns. The values stay small. The kernel stores the
// sum, so that the compiler drops nothing.
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
  let a0 = x + T4(T(id.x % 7u)) * T(0.001);
  let a1 = a0.yzwx;
  let a2 = a0.zwxy;
  let a3 = a0.wxyz;
  var y: T4 = x;
  var s0: T4 = T4(0.0);
  var s1: T4 = T4(0.0);
  var s2: T4 = T4(0.0);
  var s3: T4 = T4(0.0);
  let b0 = -a0.wzyx;
  let b1 = -a1.wzyx;
  let b2 = -a2.wzyx;
  let b3 = -a3.wzyx;
  let c0 = a0 * T(0.5);
  let c1 = a1 * T(0.5);
  let c2 = a2 * T(0.5);
  let c3 = a3 * T(0.5);
  let d0 = b0 * T(0.5);
  let d1 = b1 * T(0.5);
  let d2 = b2 * T(0.5);
  let d3 = b3 * T(0.5);
  for (var i: u32 = 0u; i < params.turns; i++) {
    s0 += T4(dot(a0, y), dot(a1, y), dot(a2, y), dot(a3, y));
    s1 += T4(dot(b0, y), dot(b1, y), dot(b2, y), dot(b3, y));
    s2 += T4(dot(c0, y), dot(c1, y), dot(c2, y), dot(c3, y));
    s3 += T4(dot(d0, y), dot(d1, y), dot(d2, y), dot(d3, y));
    y += x;
  }
  out[id.x] = f32(dot((s0 + s1) + (s2 + s3), T4(1.0)));
}
