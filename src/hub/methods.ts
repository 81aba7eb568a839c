import type { Contract, MethodContract } from "./contract.js";
import { Hub, type HubClass, lifeCycleMethods } from "./hub.js";
import { parametersOf } from "./parameters.js";

// biome-ignore lint/suspicious/noExplicitAny: hub methods take what their authors like.
type AnyFunction = (this: Hub<any>, ...args: any[]) => unknown;

/** A method that clients can call. */
export interface HubMethod {
  /** As declared; clients may write it in any case. */
  readonly name: string;
  readonly run: AnyFunction;
  /** Fewest and most arguments, upload streams included. */
  readonly required: number;
  readonly maximum: number;
  /** Whether it answers with a stream; `undefined` when only its result will tell. */
  readonly isStreaming: boolean | undefined;
  /** How many upload streams it takes; `undefined` for any, behind the arguments. */
  readonly uploads: number | undefined;
  readonly contract: MethodContract | undefined;
}

/** The methods of a hub class that clients can call, found without regard to case. */
export class HubMethods {
  readonly #methods = new Map<string, HubMethod>();

  /**
   * Without a contract these are the class's own methods; with one, exactly those it names.
   *
   * @throws TypeError when two names differ in case only, or when the contract names a method that
   *   the class lacks or that nobody may call.
   */
  constructor(hubClass: HubClass, contract: Contract | undefined) {
    const names = contract === undefined ? ownMethods(hubClass) : contract.server.keys();
    for (const name of names) {
      const run = findMethod(hubClass, name);
      if (run === undefined) {
        throw new TypeError(
          `The contract of ${hubClass.name} names '${name}', which is no method that clients may call.`,
        );
      }
      const key = name.toLowerCase();
      if (this.#methods.has(key)) {
        throw new TypeError(`Duplicate definitions of '${name}'. Overloading is not supported.`);
      }
      this.#methods.set(key, describe(name, run, contract?.server.get(name)));
    }
    // Most clients write names as they are declared, which saves a lower-cased string per call.
    for (const method of [...this.#methods.values()]) this.#methods.set(method.name, method);
  }

  find(target: string): HubMethod | undefined {
    return this.#methods.get(target) ?? this.#methods.get(target.toLowerCase());
  }

  get names(): string[] {
    return [...new Set([...this.#methods.values()].map(({ name }) => name))];
  }
}

/** Names of the methods that stand in the class itself, other than accessors and life cycle. */
function ownMethods(hubClass: HubClass): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(hubClass.prototype))
    .filter(([name, { value }]) => typeof value === "function" && isCallable(name))
    .map(([name]) => name);
}

function isCallable(name: string): boolean {
  return !lifeCycleMethods.has(name.toLowerCase()) && !(name in Hub.prototype);
}

/** The method of the class or of a base below Hub; a contract may name inherited ones. */
function findMethod(hubClass: HubClass, name: string): AnyFunction | undefined {
  if (!isCallable(name)) return undefined;
  for (
    let prototype = hubClass.prototype as object | null;
    prototype !== null && prototype !== Hub.prototype && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    const value = Object.getOwnPropertyDescriptor(prototype, name)?.value;
    if (typeof value === "function") return value;
  }
  return undefined;
}

const generatorKinds = new Set(["AsyncGeneratorFunction", "GeneratorFunction"]);

function describe(name: string, run: AnyFunction, contract: MethodContract | undefined): HubMethod {
  if (contract !== undefined) {
    const { length } = contract.parameters;
    return {
      name,
      run,
      required: length,
      maximum: length,
      isStreaming: contract.isStream,
      uploads: contract.parameters.filter(({ isUpload }) => isUpload).length,
      contract,
    };
  }
  const isGenerator = generatorKinds.has(
    (run as unknown as Record<symbol, string>)[Symbol.toStringTag] ?? "",
  );
  return {
    name,
    run,
    ...parametersOf(run),
    isStreaming: isGenerator ? true : undefined,
    uploads: undefined,
    contract: undefined,
  };
}
