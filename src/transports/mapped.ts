import type { Hub, HubClass } from "../hub/hub.js";
import { hubHandler } from "../hub/hub-handler.js";
import { type HubOptions, hubOptionNames } from "../hub/options.js";
import { Endpoint } from "./endpoint.js";
import { type ConnectionOptions, connectionOptionNames } from "./options.js";
import { type RawHandler, rawConnections } from "./raw-connection.js";

/**
 * What `mapHub` of every framework serves.
 * @throws RangeError or TypeError, naming the option, when one is wrong or unknown.
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function hubEndpoint<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): Endpoint {
  checkNames(options, { ...hubOptionNames, ...connectionOptionNames });
  return new Endpoint(path, hubHandler(hubClass, options), options);
}

/**
 * What `mapConnection` of every framework serves.
 * @throws RangeError or TypeError, naming the option, when one is wrong or unknown.
 */
export function connectionEndpoint(
  path: string,
  handler: RawHandler,
  options: ConnectionOptions = {},
): Endpoint {
  checkNames(options, connectionOptionNames);
  return new Endpoint(path, rawConnections(handler, options), options);
}

/** An option that is misspelt would silently leave its default in force. */
function checkNames(options: object, names: Readonly<Record<string, true>>): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(names, name));
  if (unknown !== undefined) {
    throw new TypeError(
      `There is no option ${unknown}; there are ${Object.keys(names).join(", ")}.`,
    );
  }
}
