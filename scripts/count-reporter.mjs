// The last line of a test run: how many tests there were, whatever the runner's own summary says.

export default async function* countReporter(events) {
  const counts = { pass: 0, fail: 0, cancelled: 0, skipped: 0, todo: 0 };
  for await (const { type, data } of events) {
    const summary = type === "test:diagnostic" ? /^(\w+) (\d+)$/.exec(data.message) : null;
    if (summary && summary[1] in counts) counts[summary[1]] = Number(summary[2]);
  }
  const left = counts.skipped + counts.todo;
  yield `${counts.pass} passed, ${counts.fail + counts.cancelled} failed, ${left} skipped\n`;
}
