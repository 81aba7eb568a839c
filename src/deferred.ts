function ignore(): void {}

/**
 * A promise that never counts as an unhandled rejection: an application that does not await what a
 * socket gives it must not be ended by what a peer does. Who awaits it sees the error all the same.
 */
export function rejected(reason: unknown): Promise<never> {
  return quiet(Promise.reject(reason));
}

/** Makes `promise` one whose rejection need not be handled; see {@link rejected}. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}

/** What an async function gives that does `run`, without its frame, which lives until it settles. */
export function settled<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    const result = run();
    return result instanceof Promise ? result : Promise.resolve(result);
  } catch (error) {
    return Promise.reject(error);
  }
}

type Resolve = (value: never) => void;
type Reject = (reason: unknown) => void;

let lastResolve: Resolve = ignore;
let lastReject: Reject = ignore;
/** One function for all, so that a `Deferred` needs no closure of its own to get at the two. */
function remember(resolve: Resolve, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

/** A promise and the means to settle it; see {@link rejected} for its rejections. */
export class Deferred<T> {
  readonly promise = new Promise<T>(remember);
  readonly resolve = lastResolve as (value: T) => void;
  readonly #reject = lastReject;

  constructor() {
    // They hold the promise, and that holds whoever waits for it.
    lastResolve = lastReject = ignore;
  }

  reject(reason: unknown): void {
    this.promise.catch(ignore);
    this.#reject(reason);
  }
}
