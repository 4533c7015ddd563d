/**
 * attend-matrix.wgsl for a device without matrix units: its products written out, halves packed two to a u32, subgroups
 * of 32 counted from the thread's index.
 * A lane holds its part of a result (half a row), its row of a left matrix, and where in workgroup memory a right
 * matrix lies, which the kernel multiplies with before it is overwritten.
 */
const HELPERS = `
struct Left { row: array<vec4f, 4> }
struct Right { at: u32, stride: u32, by_column: bool }
struct Result { x: vec4f, y: vec4f }
var<private> this_lane: u32;
fn halves4(x: vec4f) -> vec2u { return vec2u(pack2x16float(x.xy), pack2x16float(x.zw)); }
fn wide4(x: vec2u) -> vec4f { return vec4f(unpack2x16float(x.x), unpack2x16float(x.y)); }
fn left_operands(at: u32, stride: u32) -> Left {
  let first = at + (this_lane / 2u) * stride;
  return Left(array<vec4f, 4>(
    wide4(operands[first]), wide4(operands[first + 1u]), wide4(operands[first + 2u]), wide4(operands[first + 3u])
  ));
}
fn left_weights(at: u32, stride: u32) -> Left {
  let first = at + (this_lane / 2u) * stride;
  return Left(array<vec4f, 4>(
    wide4(weights[first]), wide4(weights[first + 1u]), wide4(weights[first + 2u]), wide4(weights[first + 3u])
  ));
}
fn right_operands(at: u32, stride: u32, by_column: bool) -> Right { return Right(at, stride, by_column); }
fn result_scores(at: u32, stride: u32) -> Result {
  let first = at + (this_lane / 2u) * stride + (this_lane % 2u) * 2u;
  return Result(scores[first], scores[first + 1u]);
}
fn store_scores(at: u32, m: Result, stride: u32) {
  let first = at + (this_lane / 2u) * stride + (this_lane % 2u) * 2u;
  scores[first] = m.x;
  scores[first + 1u] = m.y;
}
fn element(m: Right, row: u32, column: u32) -> f32 {
  let major = select(row, column, m.by_column);
  let minor = select(column, row, m.by_column);
  return wide4(operands[m.at + major * m.stride + minor / 4u])[minor % 4u];
}
fn multiply_add(l: Left, r: Right, sum: Result) -> Result {
  var left: Left = l;
  var x: vec4f = sum.x;
  var y: vec4f = sum.y;
  let column = (this_lane % 2u) * 8u;
  for (var j: u32 = 0u; j < 16u; j++) {
    let factor = left.row[j / 4u][j % 4u];
    for (var c: u32 = 0u; c < 4u; c++) {
      x[c] += factor * element(r, j, column + c);
      y[c] += factor * element(r, j, column + 4u + c);
    }
  }
  return Result(x, y);
}
`;

/** Rewrites the kernel's text. Throws where something is left that needs matrix units. */
export function writtenOut(text: string): string {
  const code = text
    .replace(/^enable .*$/gm, "")
    .replace(/bitcast<vec4<f16>>\(/g, "(")
    .replace(/vec4<f16>\(/g, "halves4(")
    .replace(/array<vec4<f16>,/g, "array<vec2u,")
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_right<[^>]*>, (row|col)_major>\(\s*&(\w+), ([^;]*?)\s*\);/g,
      (_, major, name, where) => `right_${name}(${where}, ${major === "col"});`,
    )
    .replace(/subgroupMatrixLoad<subgroup_matrix_(left|result)<[^>]*>, row_major>\(\s*&(\w+), /g, "$1_$2(")
    .replace(/subgroupMatrixStore<row_major>\(&(\w+), /g, "store_$1(")
    .replace(/subgroupMatrixMultiplyAccumulate\(/g, "multiply_add(")
    .replace(/subgroup_matrix_left<f16, 16, 16>/g, "Left")
    .replace(/subgroup_matrix_result<f32, 16, 16>/g, "Result")
    .replace(/^ *@builtin\(subgroup_\w+\).*\n/gm, "")
    .replace(
      /^( *)let index = /m,
      "$1let subgroup = thread / 32u;\n$1let lane = thread % 32u;\n$1this_lane = lane;\n$&",
    );
  const left = code.split("\n").find((line) =>
    /f16|subgroup_matrix|subgroupMatrix|@builtin\(subgroup/.test(line.replace(/\/\/.*/, ""))
  );
  if (left !== undefined) throw new Error(`attend-matrix.wgsl has a line that is not written out: ${left}`);
  return `${code}${HELPERS}`;
}
