import { quiet } from "../deferred.js";
import { HubError } from "../errors.js";

/** What a schema library that follows the Standard Schema specification (version 1) gives. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (
      value: unknown,
      // biome-ignore lint/suspicious/noExplicitAny: later versions of the specification pass options.
      options?: any,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: a schema of anything.
type AnySchema = StandardSchema<any, any>;

/** A parameter that is a stream of items from the client; made by {@link upload}. */
export interface Upload<TSchema extends AnySchema = AnySchema> {
  readonly upload: TSchema;
}

/** A stream from the client, in the arguments of a contract; `schema` is that of one item. */
export function upload<TSchema extends AnySchema>(schema: TSchema): Upload<TSchema> {
  return { upload: schema };
}

/** A method of the hub: its arguments, and what it answers with. */
export interface ServerMethodDefinition {
  /** Default: none. */
  readonly args?: readonly (AnySchema | Upload)[];
  /** What it returns. Default: anything, unchecked. */
  readonly result?: AnySchema;
  /** Instead of `result`: it answers with a stream of these. */
  readonly stream?: AnySchema;
}

/** A method of the client. */
export interface ClientMethodDefinition {
  readonly args?: readonly AnySchema[];
  readonly result?: AnySchema;
}

export interface ContractDefinition {
  readonly server: Readonly<Record<string, ServerMethodDefinition>>;
  readonly client?: Readonly<Record<string, ClientMethodDefinition>>;
}

type OutputOf<T> = T extends StandardSchema<infer _I, infer O> ? O : never;
type InputOf<T> = T extends StandardSchema<infer I, infer _O> ? I : never;

type ArgumentsIn<T> = T extends readonly (AnySchema | Upload)[]
  ? {
      -readonly [K in keyof T]: T[K] extends Upload<infer S>
        ? AsyncIterable<OutputOf<S>>
        : OutputOf<T[K]>;
    }
  : [];

type ArgumentsOut<T> = T extends readonly AnySchema[]
  ? { -readonly [K in keyof T]: InputOf<T[K]> }
  : [];

type AnswerOf<D extends ServerMethodDefinition> = D extends { stream: infer S }
  ? AsyncIterable<InputOf<S>> | ReadableStream<InputOf<S>>
  : D extends { result: infer R }
    ? InputOf<R> | Promise<InputOf<R>>
    : unknown;

/** The methods that a contract asks of the hub class: `class ChatHub … implements ServerOf<typeof chat>`. */
export type ServerOf<T> =
  T extends Contract<infer D>
    ? {
        [K in keyof D["server"]]: (
          ...args: ArgumentsIn<D["server"][K]["args"]>
        ) => AnswerOf<D["server"][K]>;
      }
    : never;

/** The methods that a contract gives clients: `class ChatHub extends Hub<ClientOf<typeof chat>>`. */
export type ClientOf<T> =
  T extends Contract<infer D>
    ? {
        [K in keyof D["client"]]: D["client"][K] extends ClientMethodDefinition
          ? (
              ...args: ArgumentsOut<D["client"][K]["args"]>
            ) => D["client"][K] extends { result: infer R } ? OutputOf<R> : void
          : never;
      }
    : never;

/** One parameter of a method. */
export interface ParameterContract {
  readonly schema: AnySchema;
  readonly isUpload: boolean;
}

/** A hub method under a contract. */
export interface MethodContract {
  readonly parameters: readonly ParameterContract[];
  readonly result: AnySchema | undefined;
  readonly isStream: boolean;
}

/** A client's method under a contract. */
export interface ClientMethodContract {
  readonly parameters: readonly AnySchema[];
  readonly result: AnySchema | undefined;
}

/** The methods of a hub and its clients, checked at run time; made by {@link defineContract}. */
export class Contract<TDefinition extends ContractDefinition = ContractDefinition> {
  /** Only for types. */
  declare readonly definition: TDefinition;
  readonly server: ReadonlyMap<string, MethodContract>;
  /** `undefined` when the contract says nothing of clients. */
  readonly client: ReadonlyMap<string, ClientMethodContract> | undefined;

  /** @internal */
  constructor({ server, client }: ContractDefinition) {
    this.server = new Map(
      Object.entries(server).map(([name, { args = [], result, stream }]) => {
        if (result !== undefined && stream !== undefined) {
          throw new TypeError(`The contract gives '${name}' both a result and a stream.`);
        }
        const parameters = args.map((each, index) =>
          parameterOf(each, `${name}, argument ${index + 1}`),
        );
        const answer = stream ?? result;
        if (answer !== undefined) checkSchema(answer, `${name}, result`);
        return [name, { parameters, result: answer, isStream: stream !== undefined }];
      }),
    );
    this.client =
      client &&
      new Map(
        Object.entries(client).map(([name, { args = [], result }]) => {
          args.forEach((each, index) => {
            checkSchema(each, `${name}, argument ${index + 1}`);
          });
          if (result !== undefined) checkSchema(result, `${name}, result`);
          return [name, { parameters: args, result }];
        }),
      );
  }
}

/**
 * Declares what clients may call and what they can be called with, in any Standard Schema library
 * (Zod, Valibot, ArkType, …). Given to `mapHub` as `contract` it is the allow-list of methods;
 * arguments and results that do not fit are refused before they reach a method.
 *
 * @example
 * const chat = defineContract({
 *   server: { send: { args: [z.string().max(500)] } },
 *   client: { message: { args: [z.string(), z.string()] } },
 * });
 * class ChatHub extends Hub<ClientOf<typeof chat>> implements ServerOf<typeof chat> { … }
 * @throws TypeError, naming the method, for what is no Standard Schema.
 */
export function defineContract<const TDefinition extends ContractDefinition>(
  definition: TDefinition,
): Contract<TDefinition> {
  return new Contract<TDefinition>(definition) as Contract<TDefinition>;
}

function parameterOf(parameter: AnySchema | Upload, where: string): ParameterContract {
  const isUpload = typeof parameter === "object" && parameter !== null && "upload" in parameter;
  const schema = isUpload ? parameter.upload : parameter;
  checkSchema(schema, where);
  return { schema, isUpload };
}

function checkSchema(schema: AnySchema, where: string): void {
  if (typeof schema?.["~standard"]?.validate !== "function") {
    throw new TypeError(`The contract has no Standard Schema for ${where}.`);
  }
}

/**
 * A value as its schema gives it back.
 *
 * @param what - Names the value in the error.
 * @returns The value, or a promise of it if the schema checks asynchronously.
 * @throws HubError `ERR_CONTRACT`, with what the schema says is wrong.
 */
export function checked(schema: AnySchema, value: unknown, what: string): unknown {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise
    ? result.then((each) => checkedValue(each, what))
    : checkedValue(result, what);
}

function checkedValue(result: SchemaResult<unknown>, what: string): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 3).map(({ message, path }) => {
    const steps = path?.map((step) => (typeof step === "object" ? step.key : step)) ?? [];
    return steps.length === 0 ? message : `${steps.map(String).join(".")}: ${message}`;
  });
  throw new HubError(`${what}: ${issues.join("; ")}`, { code: "ERR_CONTRACT" });
}

/**
 * Checks several values in their order.
 *
 * @returns Them, or a promise of them if a schema checks asynchronously.
 * @throws As {@link checked} does.
 */
export function allChecked(
  schemas: readonly AnySchema[],
  values: readonly unknown[],
): unknown[] | Promise<unknown[]> {
  let isAsync = false;
  const results = schemas.map((schema, index) => {
    const result = checked(schema, values[index], `Argument ${index + 1}`);
    if (!(result instanceof Promise)) return result;
    isAsync = true;
    // Another schema may throw before anybody waits for this one.
    return quiet(result);
  });
  return isAsync ? Promise.all(results) : results;
}
