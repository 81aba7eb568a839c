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

/** A promise and the means to settle it; see {@link rejected} for its rejections. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  #reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.#reject = reject;
    });
  }

  reject(reason: unknown): void {
    this.promise.catch(ignore);
    this.#reject(reason);
  }
}
