/**
 * A bound on the bytes that many connections hold together: messages that are being gathered,
 * unread input of connections that stopped reading, output that peers do not take.
 *
 * A connection that would exceed it is closed with 1013 ("try again later") when the bytes come
 * in, and gets a `SendBufferFullError` when they go out.
 */
export class MemoryBudget {
  /** Bytes at most. */
  readonly limit: number;
  /** Bytes held now. */
  used = 0;

  /** @param limit - Bytes at most, a positive integer or `Infinity`. */
  constructor(limit: number) {
    if (!(limit > 0)) throw new RangeError(`A memory budget is a positive number, not ${limit}.`);
    this.limit = limit;
  }
}

/** The budget of all connections that are not given another: 512 MiB. */
export const processMemoryBudget = new MemoryBudget(512 * 1024 * 1024);
