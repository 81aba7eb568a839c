import { type DeflateSettings, ZlibContext } from "./zlib-context.js";

/** Unused contexts kept per kind; each has up to 300 KiB. */
const maxSpare = 4;

/** The contexts of one kind that are not in use; all connections share them. */
export class ZlibPool {
  readonly #kind: DeflateSettings | "inflate";
  readonly #spare: ZlibContext[] = [];

  constructor(kind: DeflateSettings | "inflate") {
    this.#kind = kind;
  }

  /** A context with an empty window. */
  borrow(): ZlibContext {
    const context = this.#spare.pop();
    if (context === undefined) return new ZlibContext(this.#kind);
    // Only now, because it clears the table that the next run looks things up in, which then lies
    // in the processor's cache.
    context.reset();
    return context;
  }

  /** Takes a context back, whatever its window holds. */
  giveBack(context: ZlibContext): void {
    if (this.#spare.length < maxSpare) this.#spare.push(context);
    else context.close();
  }
}

export const inflaters = new ZlibPool("inflate");

const deflaters = new Map<string, ZlibPool>();

/** The pool of the compressors that `key` names: the same for the same settings. */
export function deflatersOf(settings: DeflateSettings): { key: string; pool: ZlibPool } {
  const key = `${settings.windowBits} ${settings.level} ${settings.memLevel}`;
  const pool = deflaters.get(key) ?? new ZlibPool(settings);
  deflaters.set(key, pool);
  return { key, pool };
}
