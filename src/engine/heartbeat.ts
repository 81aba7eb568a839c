/** Something that looks at its deadlines now and then. */
export interface Beating {
  /** @param now - `performance.now()`, in milliseconds. */
  onBeat(now: number): void;
}

/** All connections with the same period share one timer, so that an idle one owns none. */
const beats = new Map<number, Set<Beating>>();

/** Calls `member.onBeat` every `period` milliseconds, without keeping the process alive. */
export function startBeat(member: Beating, period: number): void {
  let members = beats.get(period);
  if (members === undefined) {
    members = new Set();
    beats.set(period, members);
    startTimer(members, period);
  }
  members.add(member);
}

/** Ends what `startBeat` began with the same arguments; harmless if it did not. */
export function stopBeat(member: Beating, period: number): void {
  beats.get(period)?.delete(member);
}

/** Beats until nobody is left, not at once: where members come and go, the next is about to come. */
function startTimer(members: Set<Beating>, period: number): void {
  const timer = setInterval(() => {
    const now = performance.now();
    for (const each of members) each.onBeat(now);
    if (members.size > 0) return;
    clearInterval(timer);
    beats.delete(period);
  }, period);
  timer.unref();
}
