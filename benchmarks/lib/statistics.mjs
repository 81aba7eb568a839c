/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Ratios of what was measured in the same round, in which both had the same machine, and their
 * median with the spread.
 *
 * @param {readonly number[]} values
 * @param {readonly number[] | undefined} others
 */
export function ratio(values, others) {
  const rounds = Math.min(values.length, others?.length ?? 0);
  if (rounds === 0) return undefined;
  const ratios = values.slice(0, rounds).map((value, round) => value / others[round]);
  return { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) };
}
