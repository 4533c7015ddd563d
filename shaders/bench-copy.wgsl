// Ceiling: how many bytes a second a kernel moves. It reads and writes one vec4f an element.
//
// Grid: workgroups of 64. Invocations go on to elements beyond the grid. Both buffers hold `count` vec4f.

struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // how much to copy
@group(0) @binding(1) var<storage, read> source: array<vec4f>; // what is copied [count]
@group(0) @binding(2) var<storage, read_write> target_: array<vec4f>; // where the copy goes [count]

@compute @workgroup_size(64)
fn ceiling(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  for (var i: u32 = id.x; i < params.count; i += grid.x * 64u) { target_[i] = source[i]; }
}
