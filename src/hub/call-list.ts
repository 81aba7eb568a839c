import type { HubCall } from "./hub-call.js";

/**
 * The calls that run on one connection. The calls themselves are the links of the list, because
 * every call is added and removed, and a Set takes longer for that than many a method runs.
 */
export class CallList {
  #first: HubCall | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(call: HubCall): void {
    const first = this.#first;
    call.isListed = true;
    call.next = first;
    if (first !== undefined) first.previous = call;
    this.#first = call;
    this.#size++;
  }

  /** Does nothing if the call is not in the list. */
  delete(call: HubCall): void {
    if (!call.isListed) return;
    const { previous, next } = call;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    call.isListed = false;
    call.previous = undefined;
    call.next = undefined;
    this.#size--;
  }

  /** The call of this id that is not answered. */
  find(invocationId: string): HubCall | undefined {
    let call = this.#first;
    while (call !== undefined && (call.isAnswered || call.invocationId !== invocationId)) {
      call = call.next;
    }
    return call;
  }

  /** Cancels all, which may take them or others out of the list. */
  cancelAll(): void {
    const calls: HubCall[] = [];
    for (let call = this.#first; call !== undefined; call = call.next) calls.push(call);
    for (const call of calls) call.cancel();
  }
}
