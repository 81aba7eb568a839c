/**
 * Runs jobs one after another: what takes longer than a turn must not be overtaken by what was
 * sent later.
 */
export class JobQueue {
  #last: Promise<unknown> = Promise.resolve();
  #count = 0;
  #bytes = 0;

  /** Whether all jobs are done. */
  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Bytes that belong to jobs which are not done. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a job.
   *
   * @param bytes - What it holds until it is done.
   * @returns What the job gives. It counts as done at once, so that the next one begins.
   */
  add<T>(bytes: number, job: () => T | Promise<T>): Promise<T> {
    this.#count++;
    this.#bytes += bytes;
    const result = this.#last.then(job);
    const done = () => {
      this.#count--;
      this.#bytes -= bytes;
    };
    this.#last = result.then(done, done);
    return result;
  }

  /** Resolves when the jobs added so far are done. */
  whenIdle(): Promise<unknown> {
    return this.#last;
  }
}
