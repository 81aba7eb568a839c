/** Below this many bytes a loop is over sooner than a call of `set`, or than the view it may need. */
const setFrom = 24;
const viewFrom = 64;

/** Copies `source[start..end)` to `target` from `at` on. */
export function copyRange(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  const isWhole = start === 0 && end === source.length;
  if (end - start < (isWhole ? setFrom : viewFrom)) {
    for (let from = start, to = at; from < end; from++, to++) target[to] = source[from] as number;
  } else if (isWhole) {
    target.set(source, at);
  } else {
    // Half of what `subarray` of a Buffer takes on Node 20.
    target.set(new Uint8Array(source.buffer, source.byteOffset + start, end - start), at);
  }
}
