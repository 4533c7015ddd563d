/** The values of GPUBufferUsage and GPUMapMode (WebGPU specification), which Node doesn't have as globals. */

/** GPUBufferUsage. */
export const MAP_READ = 0x1, COPY_SRC = 0x4, COPY_DST = 0x8, UNIFORM = 0x40, STORAGE = 0x80, QUERY_RESOLVE = 0x200;

/** GPUMapMode. */
export const READ = 0x1;
