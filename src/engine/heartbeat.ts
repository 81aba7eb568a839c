/** Something that looks at its deadlines now and then. */
export interface Beating {
  /** @param now - `performance.now()`, in milliseconds. */
  onBeat(now: number): void;
}

/** All connections with the same period share one timer, so that an idle one owns none. */
const beats = new Map<number, { members: Set<Beating>; timer: NodeJS.Timeout }>();

/** Calls `member.onBeat` every `period` milliseconds, without keeping the process alive. */
export function startBeat(member: Beating, period: number): void {
  let beat = beats.get(period);
  if (beat === undefined) {
    const members = new Set<Beating>();
    const timer = setInterval(() => {
      const now = performance.now();
      for (const each of members) each.onBeat(now);
    }, period);
    timer.unref();
    beat = { members, timer };
    beats.set(period, beat);
  }
  beat.members.add(member);
}

/** Ends what `startBeat` began with the same arguments; harmless if it did not. */
export function stopBeat(member: Beating, period: number): void {
  const beat = beats.get(period);
  if (beat === undefined) return;
  beat.members.delete(member);
  if (beat.members.size > 0) return;
  clearInterval(beat.timer);
  beats.delete(period);
}
