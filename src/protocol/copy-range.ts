/** Below this many bytes a loop is over sooner than the view is made that `set` needs. */
const viewFrom = 64;

/** Copies `source[start..end)` to `target` from `at` on. */
export function copyRange(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  if (end - start < viewFrom) {
    for (let from = start, to = at; from < end; from++, to++) target[to] = source[from] as number;
  } else if (start === 0 && end === source.length) {
    target.set(source, at);
  } else {
    // Half of what `subarray` of a Buffer takes on Node 20.
    target.set(new Uint8Array(source.buffer, source.byteOffset + start, end - start), at);
  }
}
